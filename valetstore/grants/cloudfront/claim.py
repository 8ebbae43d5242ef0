"""What a key of CloudFront's says of itself, in a URL or in cookies, and each fault of its shape in CloudFront's words.

Rule 1: names are case-sensitive, as CloudFront's are; each is read once decoded, and refused if given twice.
Rule 2: a query is a key of this dialect by what only this dialect has: Key-Pair-Id, or a Policy with a Signature where
no other vendor's name of a signer is. Expires and Signature are three vendors'.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from valetstore.encoding import SECONDS_MAX, wire_int
from valetstore.errors import Denied
from valetstore.grants.cloudfront.encoded import decode
from valetstore.grants.cloudfront.resource import PARAMETERS
from valetstore.grants.scheme import Carrier
from valetstore.inbound import Inbound
from valetstore.keys.material import SignatureHash

HASHES: Final[Mapping[str, SignatureHash]] = {"SHA1": "sha1", "SHA256": "sha256"}
"""The values of Hash-Algorithm."""

COOKIE_PREFIX: Final = "CloudFront-"
MARKS: Final = frozenset({"key-pair-id", "policy"})
"""What a URL of this dialect has one of in its query, in lower case."""
_COOKIES: Final = frozenset(f"{COOKIE_PREFIX}{name}" for name in ("Expires", "Policy", "Signature", "Key-Pair-Id"))
_OTHERS: Final = frozenset({"AWSAccessKeyId", "GoogleAccessId"})


class Claim(NamedTuple):
    """`policy` is a custom policy's bytes; without one, `expires` is the canned policy's end (seconds since the epoch).

    `hashed` is None where the key does not say which hash was signed.
    """

    key_pair_id: str
    signature: bytes
    policy: bytes | None
    expires: int
    hashed: SignatureHash | None


def in_query(inbound: Inbound) -> bool:
    """Whether a signed URL came, well-formed or not. Raises `target_invalid`."""
    if MARKS.isdisjoint(inbound.names):
        return False
    names = {name for name, _ in inbound.query}
    return "Key-Pair-Id" in names or ({"Policy", "Signature"} <= names and names.isdisjoint(_OTHERS))


def in_cookies(inbound: Inbound) -> bool:
    """Whether signed cookies came, all of them or some."""
    return any(name in _COOKIES for name, _ in inbound.cookies)


def claim_of(inbound: Inbound, carrier: Carrier) -> Claim:
    """The key in a URL or in cookies. Raises `key_malformed`, `key_ambiguous`, `parameter_invalid`."""
    if carrier == "cookie":
        length = len(COOKIE_PREFIX)
        pairs = [(name[length:], value) for name, value in inbound.cookies if name.startswith(COOKIE_PREFIX)]
    else:
        pairs = list(inbound.query)
    said = _once(pairs, carrier)
    if "Policy" in said and "Expires" in said:
        raise Denied("key_ambiguous", "It has Policy and Expires: a custom policy and a canned one.")
    for name in ("Key-Pair-Id", "Signature"):
        _require(name, said)
    hashed = said.get("Hash-Algorithm")
    if hashed is not None and hashed not in HASHES:
        fault = f"Hash-Algorithm must be one of {', '.join(HASHES)}."
        raise Denied("key_malformed", fault).saying("MalformedSignature", fault, 403)
    policy = _decoded("Policy", said) if "Policy" in said else None
    expires = _seconds(_require("Expires", said)) if policy is None else 0
    signature = _decoded("Signature", said)
    return Claim(said["Key-Pair-Id"], signature, policy, expires, None if hashed is None else HASHES[hashed])


def _once(pairs: Sequence[tuple[str, str]], carrier: Carrier) -> dict[str, str]:
    """The members of a key by their names."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in PARAMETERS:
            if name in found:
                where = "cookie" if carrier == "cookie" else "parameter"
                raise Denied("parameter_invalid", f"The {where} {name} is given more than once.")
            found[name] = value
    return found


def _require(name: str, said: dict[str, str]) -> str:
    value = said.get(name, "")
    if not value:
        fault = f"Missing {name} query parameter or cookie value"
        raise Denied("key_malformed", f"{fault}.").saying("MissingKey", fault, 403)
    return value


def _decoded(name: str, said: dict[str, str]) -> bytes:
    try:
        return decode(said[name])
    except ValueError:
        code, fault = f"Malformed{name}", f"Could not unencode {name}"
        raise Denied("key_malformed", f"{fault}.").saying(code, fault, 403) from None


def _seconds(text: str) -> int:
    """The end of a canned policy; its digits are part of what is signed, so there is one way to write it."""
    try:
        seconds = wire_int(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= SECONDS_MAX or str(seconds) != text:
        fault = "Expires is not a whole number of seconds since 1970."
        raise Denied("key_malformed", fault).saying("MalformedPolicy", fault, 403)
    return seconds
