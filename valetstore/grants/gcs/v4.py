"""Signature Version 4 as Google has it: signed URLs by a service account's RSA key or an HMAC key.

Rule 1: the order is shape (400), who signed, the signature, then what else is asked of a signed request. When it is
valid is judged later, by what `Proven` says.
Rule 2: every `x-goog-` header that arrives is signed: an unsigned one could turn one request into another.
Rule 3: a parameter of the key is read once, in whatever case its name is: given twice, it is refused.

Sources: Google Cloud, "Signatures" (V4 signing process), "Signed URLs", "Canonical requests".
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from valetstore.encoding import wire_int
from valetstore.grants import sigv4, terms
from valetstore.grants.address import hosts_signed
from valetstore.grants.gcs import fault
from valetstore.grants.gcs.conditions import PAYLOAD
from valetstore.grants.gcs.parameters import own_of
from valetstore.grants.gcs.proven import Proven
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.signer import hex_signature, signer_of
from valetstore.grants.overrides import overrides_of
from valetstore.grants.sigv4 import GOOGLE, GOOGLE_RSA, UNSIGNED_PAYLOAD, Family, Signed, moment_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import GOOGLE_ID, HMAC, RSA

EXPIRES_SECONDS_MAX: Final = 604_800

FAMILIES: Final[Mapping[str, tuple[Family, str]]] = {
    GOOGLE_RSA.algorithm: (GOOGLE_RSA, RSA),
    GOOGLE.algorithm: (GOOGLE, HMAC),
}
"""How each algorithm is written into what is signed, and which signing keys have it."""

MARKS: Final = frozenset({"x-goog-algorithm", "x-goog-credential", "x-goog-signature"})
"""Query parameters of which each alone says that a key of this kind is meant."""
# Each as it is written where it is missed.
_REQUIRED: Final = tuple(
    f"X-Goog-{name}" for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
)
_DATE: Final = re.compile(r"[0-9]{8}", re.ASCII)
_LOCATION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# A token, and the slash that Google's own signers take.
_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~/-]+(?:;[A-Za-z0-9!#$%&'*+.^_`|~/-]+)*", re.ASCII)
# They say who sends, and nothing about the object: Google's libraries add them to any request.
_SAY_NOTHING: Final = frozenset({"x-goog-api-client", "x-goog-gcs-idempotency-token"})


class Scope(NamedTuple):
    """Who signed, by which algorithm, when and for where; proven by nothing yet."""

    client: str
    family: Family
    kind: str
    stamp: str
    location: str
    issued_at: int


class Claim(NamedTuple):
    """What a URL says of itself; `names` are the signed headers in lower case, `life` is in seconds."""

    scope: Scope
    signed: Signed
    names: frozenset[str]
    life: int


def in_query(inbound: Inbound) -> bool:
    """Whether a signed URL of version 4 came, well-formed or not."""
    return not MARKS.isdisjoint(inbound.names)


def verify_query(inbound: Inbound, rules: Rules, keys: KeyRing) -> Proven:
    """Prove a signed URL. Raises `key_malformed`, `header_required`, `signature_mismatch`, `parameter_invalid`."""
    claim = claim_of(inbound)
    scope, signed = claim.scope, claim.signed
    for name in signed.names:
        if inbound.header(name.lower()) is None and name.lower() != "host":
            raise fault.unlike_signed(name)
    key = made_by(claim, inbound, rules, keys)
    if key is None:
        canonical = sigv4.canonical_request(scope.family, signed, inbound)
        text = sigv4.string_to_sign(scope.family, signed, canonical)
        raise fault.mismatch(text, "no signing key of this client made the signature", canonical)
    _check_all_signed(inbound, claim.names)
    return Proven(
        key=key,
        signature=signed.signature,
        # The last second is valid.
        not_after=math.nextafter(scope.issued_at + claim.life, math.inf),
        issued_at=scope.issued_at,
        terms=terms.of_query(inbound.query),
        response=overrides_of(inbound.query),
    )


def made_by(claim: Claim, inbound: Inbound, rules: Rules, keys: KeyRing) -> SigningKey | None:
    """The signing key that signed this request; None where none did."""
    scope, signed = claim.scope, claim.signed

    def holds(check: sigv4.Check) -> bool:
        return sigv4.holds(scope.family, check, signed, inbound, hosts_signed(inbound, rules))

    return signer_of(scope.client, scope.kind, signed.signature, mac_in(scope), keys, holds)


def claim_of(inbound: Inbound) -> Claim:
    """What a URL says of itself, checked for its shape. Raises `key_malformed`, `parameter_invalid`."""
    found = own_of(inbound, _REQUIRED)
    scope = scope_of(found, "X-Goog-")
    life = _life(found["x-goog-expires"])
    names, lower_names = _names(found["x-goog-signedheaders"])
    # A key for GET answers HEAD as well; the other way round would give away the body.
    methods = ("HEAD", "GET") if inbound.method == "HEAD" else (inbound.method,)
    payload = (inbound.header(PAYLOAD) or "").strip(" \t") if PAYLOAD in lower_names else UNSIGNED_PAYLOAD
    signature = hex_signature(found["x-goog-signature"])
    signed = Signed(scope.stamp, scope.location, names, (payload,), methods, signature)
    return Claim(scope, signed, lower_names, life)


def scope_of(values: Mapping[str, str], prefix: str) -> Scope:
    """Algorithm, credential and date of a URL or a form, by lower-case names; faults name them with their `prefix`.

    Raises `key_malformed`.
    """
    algorithm, credential, stamp = (values[f"x-goog-{name}"] for name in ("algorithm", "credential", "date"))
    names = [prefix + (name.title() if prefix.istitle() else name) for name in ("algorithm", "credential", "date")]
    if algorithm not in FAMILIES:
        raise fault.malformed(names[0], f"The algorithm must be one of {', '.join(FAMILIES)}.")
    family, kind = FAMILIES[algorithm]
    parts = credential.split("/")
    if len(parts) != 5 or not GOOGLE_ID.fullmatch(parts[0]) or not _LOCATION.fullmatch(parts[2]):
        raise fault.malformed(names[1], "The credential must be CLIENT/YYYYMMDD/LOCATION/storage/goog4_request.")
    if parts[3:] != [family.service, family.terminator]:
        raise fault.malformed(names[1], f"The scope must end in {family.service}/{family.terminator}.")
    issued_at = moment_of(stamp)
    if issued_at is None:
        raise fault.malformed(names[2], "The date must be in the ISO 8601 basic format YYYYMMDD'T'HHMMSS'Z'.")
    if not _DATE.fullmatch(parts[1]) or parts[1] != stamp[:8]:
        raise fault.malformed(names[1], "The date of the credential is not the one of the signature.")
    return Scope(parts[0], family, kind, stamp, parts[2], issued_at)


def mac_in(scope: Scope) -> Callable[[bytes, bytes], bytes]:
    """How an HMAC key signs in this scope."""
    signed = Signed(scope.stamp, scope.location, (), (), (), b"")
    return lambda secret, text: sigv4.mac(scope.family, secret, signed, text)


def _life(text: str) -> int:
    try:
        life = wire_int(text)
    except ValueError:
        life = 0
    if not 1 <= life <= EXPIRES_SECONDS_MAX:
        details = f"The expiration must be a whole number of seconds, 1 to {EXPIRES_SECONDS_MAX}."
        raise fault.malformed("X-Goog-Expires", details)
    return life


def _names(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The signed headers as they were written, and in lower case. Raises `key_malformed`.

    The host is one of them, or a key would open every gateway that holds its secret.
    """
    if not _NAMES.fullmatch(text):
        raise fault.malformed(
            "X-Goog-SignedHeaders", "The signed headers must be names with semicolons, as host;range."
        )
    names = tuple(text.split(";"))
    lower = frozenset(map(str.lower, names))
    if "host" not in lower:
        raise fault.malformed("X-Goog-SignedHeaders", "The header host must be signed.")
    terms.refuse_headers(lower)
    return names, lower


def _check_all_signed(inbound: Inbound, names: frozenset[str]) -> None:
    """Raise `header_required` for x-goog- headers that nothing signed."""
    google = {raw.decode("latin-1") for raw in inbound.header_names if raw.startswith(b"x-goog-")}
    unsigned = google - names - _SAY_NOTHING
    if unsigned:
        raise fault.not_signed(sorted(unsigned))
