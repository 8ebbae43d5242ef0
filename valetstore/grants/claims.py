"""Claims: what a native key says, read strictly, and the grant that follows.

Rule 1: a claim that is not understood refuses the key: it may be a condition.
Rule 2: every condition is checked for its shape here, once; whoever enforces it later finds it well-formed.
"""

import re
from typing import Final

import msgspec

from valetstore.encoding import UNSAFE_IN_HEADER, holds_all, is_nested_too_deeply, strict_json
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import Budget, Grant, Network, Operation, Scope
from valetstore.grants.networks import parse_networks
from valetstore.grants.overrides import RESPONSE_HEADERS
from valetstore.keys.ring import check_type_pattern

NATIVE: Final = "native"
"""The dialect's name."""

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


def claims_of(payload: bytes) -> Claims:
    """Claims as strictly read as `strict_json` reads; raises `key_malformed`."""
    try:
        claims = _read_claims(payload)
        # Only what an application adds for itself can be nested.
        is_flat = claims.ctx is None or not is_nested_too_deeply(payload)
        if is_flat and holds_all(_write_claims(claims), payload):
            return claims
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # A member given twice, or one that says what holds without it; which, and what is wrong, is found out the long way.
    try:
        return msgspec.convert(strict_json(payload), Claims)
    except msgspec.ValidationError as error:
        raise Denied("key_malformed", _claim_error(str(error))) from None
    except ValueError:
        raise Denied("key_malformed", "Its claims are not one JSON object.") from None


_read_claims = msgspec.json.Decoder(Claims).decode
_write_claims = msgspec.json.Encoder().encode


def _claim_error(message: str) -> str:
    what, _, where = message.replace("Object ", "").partition(" - at `$.")
    name = where.rstrip("`")
    return f"Its claim `{name}`: {what}." if name else f"Its claims: {what}."


def grant_of(claims: Claims, signing_key: str, identity: bytes, skew: float) -> Grant:
    """Claims as a grant; raises `key_malformed` that names the claim."""
    _check_moments(claims)
    if claims.uses is not None and (not 1 <= claims.uses <= INTEGER_MAX or claims.jti is None or claims.iat is None):
        raise Denied("key_malformed", "Its claim `uses` is 1 or more and needs `jti` and `iat`.")
    if not 0 <= claims.window <= INTEGER_MAX or (claims.window and claims.uses is None):
        raise Denied("key_malformed", "Its claim `window` is in seconds and needs `uses`.")
    length = (0, None) if claims.length is None else _length(claims.length)
    if not claims.ops:
        raise Denied("key_malformed", "Its claim `ops` is empty.")
    scope = _scope(claims)
    grant = Grant(
        scheme=NATIVE,
        signing_key=signing_key,
        identity=identity,
        operations=frozenset(claims.ops),
        scopes=((scope,),),
        not_after=claims.exp,
        not_before=claims.nbf,
        issued_at=claims.iat,
        skew=skew,
        early=skew,
        subject=claims.sub or "",
        uses=claims.uses,
    )
    return grant if _is_plain(claims) else _conditional(grant, claims, length)


def _is_plain(claims: Claims) -> bool:
    """Whether they say nothing but who, what, where, when and how often, as most do. An empty condition is one."""
    return (
        claims.length is None
        and claims.type is None
        and claims.ip is None
        and claims.budget is None
        and claims.sha256 is None
        and claims.ctx is None
        and not claims.headers
        and not claims.response
        and not (claims.https or claims.create or claims.window)
    )


def _conditional(grant: Grant, claims: Claims, length: tuple[int, int | None]) -> Grant:
    """With all that they ask besides; raises `key_malformed` that names the claim."""
    return msgspec.structs.replace(
        grant,
        length_min=length[0],
        length_max=length[1],
        types=() if claims.type is None else _types(claims.type),
        networks=() if claims.ip is None else _networks(claims.ip),
        tls_only=claims.https,
        window=claims.window,
        budget=claims.budget,
        create_only=claims.create,
        sha256=None if claims.sha256 is None else _sha256(claims.sha256),
        headers=_required_headers(claims.headers),
        response=_response(claims.response),
        ctx=claims.ctx,
    )


def _check_moments(claims: Claims) -> None:
    # Written so that NaN fails as well: it would never expire.
    if (
        not 0 <= claims.exp <= INTEGER_MAX
        or not 0 <= (claims.nbf or 0) <= INTEGER_MAX
        or not 0 <= (claims.iat or 0) <= INTEGER_MAX
    ):
        named = {"exp": claims.exp, "nbf": claims.nbf or 0, "iat": claims.iat or 0}
        wrong = next(name for name, moment in named.items() if not 0 <= moment <= INTEGER_MAX)
        raise Denied("key_malformed", f"Its claim `{wrong}` is not seconds since the epoch.")


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


def _length(ends: list[int]) -> tuple[int, int | None]:
    if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= INTEGER_MAX:
        raise Denied("key_malformed", "Its claim `length` is [min, max] in bytes.")
    return ends[0], ends[1]


def _types(claim: str | list[str]) -> tuple[tuple[str, ...], ...]:
    patterns = as_list(claim)
    try:
        for pattern in patterns:
            check_type_pattern(pattern)
    except ConfigInvalid as error:
        raise Denied("key_malformed", f"Its claim `type`: {error}.") from None
    return (tuple(pattern.lower() for pattern in patterns),)


def _networks(claim: str | list[str]) -> tuple[tuple[Network, ...], ...]:
    try:
        return (parse_networks(claim),)
    except ValueError as error:
        raise Denied("key_malformed", f"Its claim `ip`: {error}.") from None


def _sha256(text: str) -> bytes:
    if not _HEX_SHA256.fullmatch(text):
        raise Denied("key_malformed", "Its claim `sha256` is 64 hexadecimal digits.")
    return bytes.fromhex(text)


def _required_headers(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    for name in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise Denied("key_malformed", "Its claim `headers` maps header names to values.")
    return tuple((name.lower(), value) for name, value in headers.items())


def _response(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    pairs = tuple((name.lower(), value) for name, value in headers.items())
    for name, value in pairs:
        if name not in RESPONSE_HEADERS:
            allowed = ", ".join(sorted(RESPONSE_HEADERS))
            raise Denied("key_malformed", f"Its claim `response` may set {allowed}.")
        if UNSAFE_IN_HEADER.search(value):
            raise Denied("key_malformed", f"Its claim `response`: the value of {name} has a control character.")
    return pairs
