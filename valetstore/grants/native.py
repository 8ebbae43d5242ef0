"""Native keys: JSON Web Tokens (RFC 7519) in JWS compact form (RFC 7515), minted by any JWT library.

Rule 1: `verify` is pure: bytes and a ring in, a Proof or Denied out; it reads no clock.
Rule 2: the signature is checked before the claims are parsed; an unknown signing key and a wrong
signature take the same work and give the same answer.
Rule 3: what the claims mean is said in claims.py.
"""

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from valetstore.encoding import b64url_decode, b64url_encode, strict_json, wire_int
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.claims import NATIVE, Claims, as_list, claims_of, grant_of
from valetstore.grants.grant import Intent, Operation, Proof
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.material import ALGORITHMS, PrivateKey, spend_as_much
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.objectkey import RESERVED_BUCKET, ObjectKey, check_beginning, check_bucket, split_path

NAME: Final = NATIVE
PARAMETER: Final = "valet"
"""The query parameter and the cookie that carry a key."""

REVOCATIONS_PATH: Final = "/_valet/revocations"
"""Where revocations are made, listed and undone: all of it is `admin`."""
RELEASE_PATH: Final = "/_valet/release"
"""Where a key is given back by whoever holds it."""

TOKEN_BYTES_MAX: Final = 8192
_HEADER_BYTES_MAX: Final = 512
"""Of a header's text, for what it says to be kept: one with an algorithm, a name and a type has less than 200."""
_HEADERS_KEPT: Final = 4096
_READS: Final = frozenset({"GET", "HEAD"})
TYPES: Final = frozenset({"JWT", "valet+jwt"})


class Audience(msgspec.Struct, frozen=True):
    """Whom a key must name in `aud`: this gateway's name ("" for none), and whether it has to."""

    name: str = ""
    required: bool = False


class Native:
    """The native scheme, with the settings it judges by: clock skew (seconds) and audience."""

    name = NAME
    signs_method = False
    marks = frozenset({PARAMETER})

    def __init__(self, skew: float = 0, audience: Audience | None = None) -> None:
        self.skew = skew
        self.audience = audience or Audience()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """Every native key in the request: `?valet=`, `Authorization: Bearer`, the cookie `valet`."""
        found = [Credential(self, "query", value) for name, value in inbound.query if name == PARAMETER]
        carriers = inbound.header_names
        if b"authorization" in carriers:
            for value in inbound.header_values("authorization"):
                kind, _, token = value.partition(" ")
                if kind.lower() == "bearer":
                    found.append(Credential(self, "header", token.strip(" ")))
        if b"cookie" in carriers:
            found += [Credential(self, "cookie", value) for name, value in inbound.cookies if name == PARAMETER]
        return found

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `method_not_allowed`, `object_key_invalid`, `parameter_invalid`."""
        path = inbound.path
        bucket, name = split_path(path)
        if bucket == RESERVED_BUCKET:
            return Intent(_own_operation(inbound), path)
        match inbound.method:
            case "GET" | "HEAD" if not name and inbound.parameters("list"):
                return _list_intent(inbound, bucket)
            case "GET" | "HEAD":
                return Intent("read", path, ObjectKey.of(bucket, name))
            case "PUT":
                return _write_intent(inbound, ObjectKey.of(bucket, name))
            case "DELETE":
                return Intent("delete", path, ObjectKey.of(bucket, name))
        raise Denied("method_not_allowed", "Allowed are GET, HEAD, PUT, DELETE and OPTIONS.")

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing, intent: Intent | None = None) -> Proof:
        """Check a token and say what it allows. Raises `key_malformed`, `signature_mismatch`."""
        named, payload, signed, signature = _split(credential.text)
        key = keys.find(NAME, named.kid)
        if key is None or key.algorithm.name != named.algorithm:
            # The same work is done where there is no such key.
            spend_as_much(named.algorithm, signed, signature)
            raise Denied("signature_mismatch", reason="no signing key has this kid and algorithm", signing_key="")
        if not key.holds(signed, signature):
            raise Denied("signature_mismatch", reason="the signature differs", signing_key=key.name)
        claims = claims_of(payload)
        if claims.aud is not None or self.audience.required:
            self._check_audience(claims)
        if claims.jti is not None:
            identity = key.identity_of(claims.jti.encode(), "jti")
        else:
            identity = key.identity_of(_nonce_of(key, signed, signature), "mac")
        try:
            grant = grant_of(claims, key.name, identity, self.skew)
        except Denied as denied:
            raise denied.because(signing_key=key.name, key_identity=identity.hex()) from None
        return Proof(grant, key.limits)

    def covered(self, inbound: Inbound, credential: Credential) -> str:
        """The token alone: wherever it stands in a request, it says the same."""
        return credential.text

    def _check_audience(self, claims: Claims) -> None:
        if claims.aud is None:
            if self.audience.required:
                raise Denied("key_malformed", f"Its `aud` must name {self.audience.name!r}.")
            return
        given = as_list(claims.aud)
        if not self.audience.name or self.audience.name not in given:
            raise Denied("key_malformed", "Its `aud` does not name this gateway.")


def sign(claims: Claims, kid: str, algorithm: str, material: bytes | PrivateKey) -> str:
    """Mint a token: JWS compact, `typ` valet+jwt. Raises ConfigInvalid where the claims could never be admitted."""
    payload = msgspec.json.encode(claims)
    try:
        grant_of(claims_of(payload), "", b"", 0)
    except Denied as denied:
        raise ConfigInvalid(denied.detail) from None
    header = msgspec.json.encode({"alg": algorithm, "kid": kid, "typ": "valet+jwt"})
    signed = b64url_encode(header) + b"." + b64url_encode(payload)
    signature = ALGORITHMS[algorithm].sign(material, signed)
    return (signed + b"." + b64url_encode(signature)).decode()


def unproven(text: str) -> Claims:
    """What a token says, its signature not looked at: to explain a key, never to judge it.

    Raises `key_malformed`.
    """
    return claims_of(_split(text)[1])


def is_revocations(path: str) -> bool:
    """Whether a path is REVOCATIONS_PATH or lies below it."""
    return f"{path}/".startswith(f"{REVOCATIONS_PATH}/")


def _own_operation(inbound: Inbound) -> Operation:
    """What the gateway's own paths ask for: to look is `read`, but revocations say who was trusted with what."""
    return "read" if inbound.method in _READS and not is_revocations(inbound.path) else "admin"


def _write_intent(inbound: Inbound, key: ObjectKey) -> Intent:
    length = inbound.header("content-length")
    try:
        announced = None if length is None else wire_int(length)
    except ValueError:
        raise Denied("request_malformed", "Content-Length is not a number of bytes.") from None
    return Intent("write", inbound.path, key, announced, inbound.header("content-type"))


def _list_intent(inbound: Inbound, bucket: str) -> Intent:
    check_bucket(bucket)
    prefix = inbound.parameter("prefix") or ""
    check_beginning(prefix)
    return Intent("list", f"/{bucket}/{prefix}")


class _Header(msgspec.Struct, frozen=True):
    """A JOSE header (RFC 7515 section 4.1). Other members say nothing about what is allowed."""

    alg: str
    kid: str
    typ: str | None = None
    crit: object = msgspec.UNSET

    @property
    def fault(self) -> str:
        """Why no key with this header is taken; "" where one may be."""
        if self.alg not in ALGORITHMS or self.crit is not msgspec.UNSET:
            return f"Its `alg` must be one of {', '.join(ALGORITHMS)}, and `crit` absent."
        return "" if self.typ is None or self.typ in TYPES else "Its `typ` must be absent, JWT or valet+jwt."


class _Named(NamedTuple):
    """What is read of a header: the algorithm and the signing key's id, and `_Header.fault`."""

    algorithm: str
    kid: str
    fault: str


def _split(text: str) -> tuple[_Named, bytes, bytes, bytes]:
    """(header, payload, signing input, signature); raises `key_malformed`."""
    if len(text) > TOKEN_BYTES_MAX:
        raise Denied("key_malformed", f"It is longer than {TOKEN_BYTES_MAX} bytes.")
    try:
        token = text.encode("ascii")
        head, payload, signature = token.split(b".")
        named = _known(head) if len(head) <= _HEADER_BYTES_MAX else _named(head)
        parts = named, b64url_decode(payload), token[: -len(signature) - 1], b64url_decode(signature)
    except (ValueError, msgspec.ValidationError):
        raise Denied("key_malformed", "It is not a signed JWT with `alg` and `kid`.") from None
    if named.fault:
        raise Denied("key_malformed", named.fault)
    return parts


def _named(head: bytes) -> _Named:
    """What a header's text says, signed or not; raises ValueError, ValidationError."""
    header = msgspec.convert(strict_json(b64url_decode(head)), _Header)
    return _Named(header.alg, header.kid, header.fault)


# All keys of one signing key have the same few bytes there. What they say is nobody's secret and proves nothing.
_known = lru_cache(maxsize=_HEADERS_KEPT)(_named)


def _nonce_of(key: SigningKey, signed: bytes, signature: bytes) -> bytes:
    """What stands for a key without `jti`: its MAC, or the signed text where a signature can be altered."""
    return signed if key.algorithm.malleable else signature
