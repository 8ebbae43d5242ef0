"""Native keys: JSON Web Tokens (RFC 7519) in JWS compact form (RFC 7515), minted by any JWT library.

Rule 1: `verify` is pure: bytes and a ring in, a Proof or Denied out; it reads no clock.
Rule 2: the signature is checked before the claims are parsed; an unknown signing key and a wrong
signature take the same work and give the same answer.
Rule 3: a claim that is not understood refuses the key: it may be a condition.
"""

import re
from typing import Final, Literal

import msgspec

from valetstore.encoding import UNSAFE_IN_HEADER, b64url_decode, b64url_encode, strict_json, wire_int
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import Budget, Grant, Intent, Network, Operation, Proof, Scope
from valetstore.grants.networks import parse_networks
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.material import ALGORITHMS, PrivateKey, fingerprint, spend_as_much
from valetstore.keys.ring import KeyRing, SigningKey, check_type_pattern
from valetstore.objectkey import RESERVED_BUCKET, ObjectKey, check_beginning, check_bucket, split_path

NAME: Final = "native"
PARAMETER: Final = "valet"
"""The query parameter and the cookie that carry a key."""

REVOCATIONS_PATH: Final = "/_valet/revocations"
"""Where revocations are made, listed and undone: all of it is `admin`."""
RELEASE_PATH: Final = "/_valet/release"
"""Where a key is given back by whoever holds it."""

TOKEN_BYTES_MAX: Final = 8192
_READS: Final = frozenset({"GET", "HEAD"})
TYPES: Final = frozenset({"JWT", "valet+jwt"})

RESPONSE_HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    }
)
"""What the `response` claim may set on a download."""

_HEX_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)

INTEGER_MAX: Final = 2**53
"""JSON numbers beyond it do not mean the same everywhere (RFC 7493 section 2.2), and no condition needs one."""

Moment = int | float


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The claims of a native key, as docs/KEYS.md describes them; unknown ones are refused."""

    exp: Moment
    ops: list[Operation]
    path: str | None = None
    prefix: str | None = None
    nbf: Moment | None = None
    iat: Moment | None = None
    jti: str | None = None
    sub: str | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    length: list[int] | None = None
    type: str | list[str] | None = None
    ip: str | list[str] | None = None
    https: bool = False
    uses: int | None = None
    window: int = 0
    budget: Budget | None = None
    create: bool = False
    sha256: str | None = None
    headers: dict[str, str] = {}
    response: dict[str, str] = {}
    ctx: object = None


def as_list(value: str | list[str] | None) -> list[str]:
    """A claim that may be one text or several, as several; none where it is absent."""
    return [value] if isinstance(value, str) else value or []


class Audience(msgspec.Struct, frozen=True):
    """Whom a key must name in `aud`: this gateway's name ("" for none), and whether it has to."""

    name: str = ""
    required: bool = False


class Native:
    """The native scheme, with the settings it judges by: clock skew (seconds) and audience."""

    name = NAME
    signs_method = False

    def __init__(self, skew: float = 0, audience: Audience | None = None) -> None:
        self.skew = skew
        self.audience = audience or Audience()

    def recognises(self, inbound: Inbound) -> list[Credential]:
        """Every native key in the request: `?valet=`, `Authorization: Bearer`, the cookie `valet`."""
        found = [Credential(self, "query", value) for value in inbound.parameters(PARAMETER)]
        for value in inbound.header_values("authorization"):
            kind, _, token = value.partition(" ")
            if kind.lower() == "bearer":
                found.append(Credential(self, "header", token.strip(" ")))
        found += [Credential(self, "cookie", value) for name, value in inbound.cookies if name == PARAMETER]
        return found

    def intent(self, inbound: Inbound) -> Intent:
        """What the request asks for. Raises `method_not_allowed`, `object_key_invalid`, `parameter_invalid`."""
        bucket, name = split_path(inbound.path)
        if bucket == RESERVED_BUCKET:
            return Intent(_own_operation(inbound), inbound.path)
        match inbound.method:
            case "GET" | "HEAD" if not name and inbound.parameters("list"):
                return _list_intent(inbound, bucket)
            case "GET" | "HEAD":
                return _object_intent("read", inbound)
            case "PUT":
                return _object_intent("write", inbound)
            case "DELETE":
                return _object_intent("delete", inbound)
        raise Denied("method_not_allowed", "Allowed are GET, HEAD, PUT, DELETE and OPTIONS.")

    def verify(self, inbound: Inbound, credential: Credential, keys: KeyRing) -> Proof:
        """Check a token and say what it allows. Raises `key_malformed`, `signature_mismatch`."""
        header, payload, signed, signature = _split(credential.text)
        key, holds = _check_signature(header, signed, signature, keys)
        if key is None or not holds:
            raise Denied(
                "signature_mismatch",
                reason="the signature differs" if key else "no signing key has this kid and algorithm",
                signing_key=key.name if key else "",
            )
        claims = _claims(payload)
        self._check_audience(claims)
        nonce = claims.jti.encode() if claims.jti is not None else _nonce_of(key, signed, signature)
        identity = fingerprint(NAME.encode(), key.id, b"jti" if claims.jti is not None else b"mac", nonce)
        try:
            grant = _grant(claims, key, identity, self.skew)
        except Denied as denied:
            raise denied.because(signing_key=key.name, key_identity=identity.hex()) from None
        return Proof(grant, key.limits)

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
        _grant(_claims(payload), None, b"", 0)
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
    return _claims(_split(text)[1])


def is_revocations(path: str) -> bool:
    """Whether a path is REVOCATIONS_PATH or lies below it."""
    return f"{path}/".startswith(f"{REVOCATIONS_PATH}/")


def _own_operation(inbound: Inbound) -> Operation:
    """What the gateway's own paths ask for: to look is `read`, but revocations say who was trusted with what."""
    return "read" if inbound.method in _READS and not is_revocations(inbound.path) else "admin"


def _object_intent(operation: Literal["read", "write", "delete"], inbound: Inbound) -> Intent:
    key = ObjectKey.parse(inbound.path)
    if operation != "write":
        return Intent(operation, inbound.path, key)
    length = inbound.header("content-length")
    try:
        announced = None if length is None else wire_int(length)
    except ValueError:
        raise Denied("request_malformed", "Content-Length is not a number of bytes.") from None
    return Intent(operation, inbound.path, key, announced, inbound.header("content-type"))


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


def _split(text: str) -> tuple[_Header, bytes, bytes, bytes]:
    """(header, payload, signing input, signature); raises `key_malformed`."""
    if len(text) > TOKEN_BYTES_MAX:
        raise Denied("key_malformed", f"It is longer than {TOKEN_BYTES_MAX} bytes.")
    try:
        token = text.encode("ascii")
        head, payload, signature = token.split(b".")
        header = msgspec.convert(strict_json(b64url_decode(head)), _Header)
        parts = b64url_decode(payload), b64url_decode(signature)
    except (ValueError, msgspec.ValidationError):
        raise Denied("key_malformed", "It is not a signed JWT with `alg` and `kid`.") from None
    if header.alg not in ALGORITHMS or header.crit is not msgspec.UNSET:
        raise Denied("key_malformed", f"Its `alg` must be one of {', '.join(ALGORITHMS)}, and `crit` absent.")
    if header.typ is not None and header.typ not in TYPES:
        raise Denied("key_malformed", "Its `typ` must be absent, JWT or valet+jwt.")
    return header, parts[0], token[: len(head) + 1 + len(payload)], parts[1]


def _check_signature(header: _Header, signed: bytes, signature: bytes, keys: KeyRing) -> tuple[SigningKey | None, bool]:
    """The signing key, and whether it signed this. The same work is done where there is no such key."""
    key = keys.find(NAME, header.kid)
    if key is not None and key.algorithm.name == header.alg:
        return key, key.algorithm.verify(key.material, signed, signature)
    spend_as_much(header.alg, signed, signature)
    return None, False


def _nonce_of(key: SigningKey, signed: bytes, signature: bytes) -> bytes:
    """What stands for a key without `jti`: its MAC, or the signed text where a signature can be altered."""
    return signed if key.algorithm.malleable else signature


def _claims(payload: bytes) -> Claims:
    try:
        return msgspec.convert(strict_json(payload), Claims)
    except msgspec.ValidationError as error:
        raise Denied("key_malformed", _claim_error(str(error))) from None
    except ValueError:
        raise Denied("key_malformed", "Its claims are not one JSON object.") from None


def _claim_error(message: str) -> str:
    what, _, where = message.replace("Object ", "").partition(" - at `$.")
    name = where.rstrip("`")
    return f"Its claim `{name}`: {what}." if name else f"Its claims: {what}."


def _grant(claims: Claims, key: SigningKey | None, identity: bytes, skew: float) -> Grant:
    """Claims as a grant; raises `key_malformed` that names the claim."""
    _check_moments(claims)
    if claims.uses is not None and (not 1 <= claims.uses <= INTEGER_MAX or claims.jti is None or claims.iat is None):
        raise Denied("key_malformed", "Its claim `uses` is 1 or more and needs `jti` and `iat`.")
    if not 0 <= claims.window <= INTEGER_MAX or (claims.window and claims.uses is None):
        raise Denied("key_malformed", "Its claim `window` is in seconds and needs `uses`.")
    low, high = _length(claims)
    return Grant(
        scheme=NAME,
        signing_key=key.name if key else "",
        identity=identity,
        operations=_operations(claims),
        scopes=((_scope(claims),),),
        not_after=claims.exp,
        not_before=claims.nbf,
        issued_at=claims.iat,
        skew=skew,
        early=skew,
        subject=claims.sub or "",
        length_min=low,
        length_max=high,
        types=_types(claims),
        networks=_networks(claims),
        tls_only=claims.https,
        uses=claims.uses,
        window=claims.window,
        budget=claims.budget,
        create_only=claims.create,
        sha256=_sha256(claims),
        headers=_required_headers(claims),
        response=_response(claims),
        ctx=claims.ctx,
    )


def _check_moments(claims: Claims) -> None:
    for name in ("exp", "nbf", "iat"):
        moment = getattr(claims, name)
        # Written so that NaN fails as well: it would never expire.
        if moment is not None and not 0 <= moment <= INTEGER_MAX:
            raise Denied("key_malformed", f"Its claim `{name}` is not seconds since the epoch.")


def _operations(claims: Claims) -> frozenset[str]:
    if not claims.ops:
        raise Denied("key_malformed", "Its claim `ops` is empty.")
    return frozenset(claims.ops)


def _scope(claims: Claims) -> Scope:
    if (claims.path is None) == (claims.prefix is None):
        raise Denied("key_malformed", "It needs exactly one of the claims `path` and `prefix`.")
    if claims.prefix is not None:
        if not (claims.prefix.startswith("/") and claims.prefix.endswith("/")):
            raise Denied("key_malformed", "Its claim `prefix` must start and end with a slash.")
        return Scope(claims.prefix, is_prefix=True)
    path = claims.path or ""
    if not path.startswith("/"):
        raise Denied("key_malformed", "Its claim `path` must start with a slash, as /bucket/key.")
    return Scope(path)


def _length(claims: Claims) -> tuple[int, int | None]:
    if claims.length is None:
        return 0, None
    if len(claims.length) != 2 or not 0 <= claims.length[0] <= claims.length[1] <= INTEGER_MAX:
        raise Denied("key_malformed", "Its claim `length` is [min, max] in bytes.")
    return claims.length[0], claims.length[1]


def _types(claims: Claims) -> tuple[tuple[str, ...], ...]:
    if claims.type is None:
        return ()
    patterns = as_list(claims.type)
    try:
        for pattern in patterns:
            check_type_pattern(pattern)
    except ConfigInvalid as error:
        raise Denied("key_malformed", f"Its claim `type`: {error}.") from None
    return (tuple(pattern.lower() for pattern in patterns),)


def _networks(claims: Claims) -> tuple[tuple[Network, ...], ...]:
    if claims.ip is None:
        return ()
    try:
        return (parse_networks(claims.ip),)
    except ValueError as error:
        raise Denied("key_malformed", f"Its claim `ip`: {error}.") from None


def _sha256(claims: Claims) -> bytes | None:
    if claims.sha256 is None:
        return None
    if not _HEX_SHA256.fullmatch(claims.sha256):
        raise Denied("key_malformed", "Its claim `sha256` is 64 hexadecimal digits.")
    return bytes.fromhex(claims.sha256)


def _required_headers(claims: Claims) -> tuple[tuple[str, str], ...]:
    for name in claims.headers:
        if not _HEADER_NAME.fullmatch(name):
            raise Denied("key_malformed", "Its claim `headers` maps header names to values.")
    return tuple((name.lower(), value) for name, value in claims.headers.items())


def _response(claims: Claims) -> tuple[tuple[str, str], ...]:
    pairs = tuple((name.lower(), value) for name, value in claims.response.items())
    for name, value in pairs:
        if name not in RESPONSE_HEADERS:
            allowed = ", ".join(sorted(RESPONSE_HEADERS))
            raise Denied("key_malformed", f"Its claim `response` may set {allowed}.")
        if UNSAFE_IN_HEADER.search(value):
            raise Denied("key_malformed", f"Its claim `response`: the value of {name} has a control character.")
    return pairs
