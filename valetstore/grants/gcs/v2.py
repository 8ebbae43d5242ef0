"""Signature Version 2 as Google has it: signed URLs of the older process, still what its SDKs make unless told.

Rule 1: it signs the method, the end, Content-MD5, Content-Type, every `x-goog-` header and the resource `/bucket/name`,
whatever Host the request goes by. It signs no Host and no other header; of the query it signs all that is the
signer's, or nothing.
Rule 2: what was not signed says nothing: a download's headers come from a signed query alone, and of a list whose
prefix is not signed the whole bucket is opened, as it is at Google. Only the signing key's profile narrows that.
Rule 3: what it cannot sign but would change what is allowed (`x-valet-`) is refused, not passed over.

Sources: Google Cloud, "V2 signing process"; google-cloud-storage for Python, which signs its further parameters.
"""

import math
from collections.abc import Iterator
from itertools import combinations, product
from typing import Final, NamedTuple

from valetstore.encoding import SECONDS_MAX, percent_decode, wire_int
from valetstore.errors import Denied
from valetstore.grants import sigv4, terms
from valetstore.grants.address import address_of
from valetstore.grants.gcs import fault
from valetstore.grants.gcs.operations import RESUMABLE
from valetstore.grants.gcs.parameters import own_of
from valetstore.grants.gcs.proven import Proven
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.signer import algorithm_by_length, base64_signature, sha1_mac, signer_of
from valetstore.grants.overrides import overrides_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing, SigningKey

MARKS: Final = frozenset({"googleaccessid"})
"""What a URL of this version has in its query, in lower case."""

_REQUIRED: Final = ("GoogleAccessId", "Expires", "Signature")
_OWN: Final = frozenset(map(str.lower, _REQUIRED))
# What Python's SDK adds to the query after it has signed the rest.
_ADDED: Final = frozenset({"response-content-type", "response-content-disposition", "generation"})
_PREFIX: Final = b"x-goog-"


class Claim(NamedTuple):
    """What a URL says of itself. `expires` is seconds since the epoch."""

    client: str
    expires: int
    signature: bytes


class Text(NamedTuple):
    """One text that may have been signed, and the part of the query that is in it."""

    line: bytes
    signed: tuple[tuple[str, str], ...]


def in_query(inbound: Inbound) -> bool:
    """Whether a signed URL of version 2 came, well-formed or not."""
    return not MARKS.isdisjoint(inbound.names)


def verify_query(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a signed URL. Raises `key_malformed`, `parameter_invalid`, `signature_mismatch`."""
    if not rules.v2:
        raise unsupported()
    claim = claim_of(inbound)
    _refuse_unsigned(inbound)
    made = made_by(claim, inbound, rules, keys)
    if made is None:
        shown = next(texts_to_sign(inbound, rules, claim.expires)).line
        raise fault.mismatch(shown, "no signing key of this client made the signature")
    key, text = made
    return Proven(
        key=key,
        signature=claim.signature,
        # The last second is valid.
        not_after=math.nextafter(claim.expires, math.inf),
        response=overrides_of(text.signed),
    )


def made_by(claim: Claim, inbound: Inbound, rules: Rules, keys: KeyRing) -> tuple[SigningKey, Text] | None:
    """The signing key that signed this request, and what it signed; None where none did."""
    held: list[Text] = []

    def holds(check: sigv4.Check) -> bool:
        held[:] = next(([text] for text in texts_to_sign(inbound, rules, claim.expires) if check(text.line)), [])
        return bool(held)

    kind = algorithm_by_length(claim.signature)
    key = signer_of(claim.client, kind, claim.signature, sha1_mac, keys, holds)
    return None if key is None else (key, held[0])


def claim_of(inbound: Inbound) -> Claim:
    """What a URL says of itself. Raises `key_malformed`."""
    found = own_of(inbound, _REQUIRED)
    return Claim(found["googleaccessid"], _seconds(found["expires"]), base64_signature(found["signature"]))


def texts_to_sign(inbound: Inbound, rules: Rules, expires: int) -> Iterator[Text]:
    """What may have been signed, the usual first: a finite list, each of which means the same request.

    A HEAD may have been signed as GET, never the reverse. Proxies write a path's escapes anew; signers write a bucket's
    path with and without its last slash; Python's SDK puts x-goog-resumable last and signs parameters.
    """
    methods = ("HEAD", "GET") if inbound.method == "HEAD" else (inbound.method,)
    lines = [_value(inbound, "content-md5"), _value(inbound, "content-type"), str(expires).encode()]
    for method, path, query, headers in product(
        methods, _paths(inbound, rules), _queries(inbound), _extensions(inbound)
    ):
        resource = path if query is None else path + b"?" + query[0]
        yield Text(b"\n".join((method.encode(), *lines, *headers, resource)), () if query is None else query[1])


def unsupported() -> Denied:
    """The refusal where this version opens nothing."""
    said = "Signature version 2 is not accepted here: sign with version 4."
    return Denied("key_malformed", said).saying("InvalidArgument", "Invalid argument.", 400, Details=said)


def _seconds(text: str) -> int:
    try:
        seconds = wire_int(text)
    except ValueError:
        seconds = SECONDS_MAX + 1
    if seconds > SECONDS_MAX:
        said = "Expires parameter is not a valid long value"
        raise Denied("key_malformed", said).saying("InvalidArgument", said, 400, Details=said)
    return seconds


def _refuse_unsigned(inbound: Inbound) -> None:
    for name, _ in terms.of_query(inbound.query):
        raise fault.argument(f"{name} is not signed by version 2: sign this URL with version 4.")


def _value(inbound: Inbound, name: str) -> bytes:
    """A header as it is signed; "" where it did not come."""
    return (inbound.header(name) or "").strip(" \t").encode("latin-1")


def _extensions(inbound: Inbound) -> tuple[tuple[bytes, ...], ...]:
    """The lines of the x-goog- headers: sorted, and with x-goog-resumable at their end."""
    found: dict[bytes, bytes] = {}
    for name, value in inbound.headers:
        lower = name.lower()
        if lower.startswith(_PREFIX):
            value = b" ".join(value.split())
            found[lower] = found[lower] + b"," + value if lower in found else value
    usual = tuple(b"%b:%b" % pair for pair in sorted(found.items()))
    resumable = f"{RESUMABLE}:".encode()
    last = tuple(sorted(usual, key=lambda line: line.startswith(resumable)))
    return (usual,) if last == usual else (usual, last)


def _paths(inbound: Inbound, rules: Rules) -> tuple[bytes, ...]:
    """`/bucket/name`, also where the bucket is in the Host: without it, a name could be taken for a bucket."""
    address = address_of(inbound, rules)
    front = b"/" + address.bucket.encode() if address.virtual else b""
    if address.bucket and not address.name:
        bucket = b"/" + address.bucket.encode()
        return (bucket, bucket + b"/")
    return tuple(dict.fromkeys((front + inbound.raw_path, front + sigv4.encode(inbound.path, safe="/"))))


_Query = tuple[bytes, tuple[tuple[str, str], ...]]


def _queries(inbound: Inbound) -> tuple[_Query | None, ...]:
    """What of the query may be in the resource: nothing, all that is not the key's own, or that without some of
    what is added afterwards.

    As it was sent, sorted by name: the SDK that signs it writes what it signs.
    """
    parts = [part for part in inbound.raw_query.split(b"&") if part]
    # `Inbound.query` has the same pairs in the same order, decoded.
    named = sorted(((name, part) for part, (name, _) in zip(parts, inbound.query, strict=True)), key=lambda row: row[0])
    # Decoded here, once: a request that nobody signed is held against all that follows.
    rows = [(name, part, _spaced(part)) for name, part in named if name.lower() not in _OWN]
    found: list[_Query | None] = [None]
    added = sorted({name for name, _, _ in rows} & _ADDED)
    for count in range(len(added) + 1):
        for unsigned in combinations(added, count):
            kept = [row for row in rows if row[0] not in unsigned]
            if kept:
                found.append((b"&".join(row[1] for row in kept), tuple((row[0], row[2]) for row in kept)))
    return tuple(found)


def _spaced(part: bytes) -> str:
    """The value of a parameter that this SDK has signed: it writes a space as `+`, and a plus as `%2B`."""
    return percent_decode(part.partition(b"=")[2].replace(b"+", b"%20"))
