"""Sign in an application's own process: no daemon, no network, one function.

from valetstore import Signer, sign

signer = Signer.from_json(Path("photos-key.json").read_text())   # what `keys create --json` printed
url = sign(signer, "GET", "/photos/cat.jpg", expires=900, base_url="https://files.example.com")
"""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, TypedDict, Unpack
from urllib.parse import quote, urlsplit

import msgspec

from valetstore.encoding import b64url_decode, content_disposition
from valetstore.errors import ConfigInvalid
from valetstore.grants.claims import Claims, as_list
from valetstore.grants.grant import Budget, Limits, Operation, Profile
from valetstore.grants.native import PARAMETER, TOKEN_BYTES_MAX
from valetstore.grants.native import sign as sign_claims
from valetstore.grants.networks import parse_networks
from valetstore.keys.material import ALGORITHMS, PrivateKey, algorithm_of, check_secret, load_private
from valetstore.keys.ring import NATIVE, KeyRing, SigningKey, check_type_pattern, limits_of
from valetstore.keys.ringfile import RingFile
from valetstore.objectkey import ObjectKey, check_bucket, check_name, split_path
from valetstore.policy.request import type_matches
from valetstore.units import show_duration, show_size

OPERATION_OF: Final[Mapping[str, Operation]] = {
    "GET": "read",
    "HEAD": "read",
    "PUT": "write",
    "DELETE": "delete",
    "LIST": "list",
}
"""What each method needs; LIST stands for GET with `?list`."""


EXPIRES_SECONDS_MAX: Final = 10 * 365 * 86400
"""Whoever needs longer has mistaken the unit, or needs no signed key."""

_BASE_URL: Final = re.compile(r"https?://[^/?#@\s]+/?", re.IGNORECASE)
_HEX_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class ArgumentInvalid(ConfigInvalid):
    """An argument of `sign` is wrong: its `name`, its value, and what is allowed (`why`)."""

    def __init__(self, name: str, value: object, why: str) -> None:
        self.name = name
        self.value = value
        self.why = why
        super().__init__(f"{name} {value!r}: {why}")


class SigningRefused(Exception):  # noqa: N818 - reads as what happened
    """The signing key's profile forbids it: one sentence that says what and how much is allowed."""


@dataclass(frozen=True)
class Signer:
    """A signing key that can sign. Make one with `from_json` or `from_ring`; `material` is secret."""

    kid: str
    algorithm: str
    material: bytes | PrivateKey
    limits: Limits

    def __repr__(self) -> str:
        """Never shows the material."""
        return f"Signer(kid={self.kid!r}, algorithm={self.algorithm!r})"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """From what `valetstore keys create NAME --json` printed. Raises ConfigInvalid."""
        try:
            made = msgspec.json.decode(text, type=_Created)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigInvalid(f"this is not what `keys create --json` prints: {error}") from error
        return cls(made.kid, made.alg, _material(made), limits_of(made.profile))

    @classmethod
    def from_ring(cls, ring_file: RingFile, name: str) -> Self:
        """From the key ring of a data directory on this machine. Raises ConfigInvalid."""
        key = signing_key(ring_file.load(), name)
        material = key.material if isinstance(key.material, bytes) else ring_file.private_half(name)
        return cls(key.record.kid, key.algorithm.name, material, key.limits)


def active_names(ring: KeyRing, scheme: str = NATIVE) -> list[str]:
    """The signing keys of a scheme that are in force now, without the gateway's own."""
    now = time.time()
    active = [key for key in ring if key.record.scheme == scheme and not key.retired(now)]
    return [key.name for key in active if not key.name.startswith("_")]


def signing_key(ring: KeyRing, name: str, scheme: str = NATIVE) -> SigningKey:
    """The signing key of that name, if it signs for this scheme and is in force. Raises ConfigInvalid."""
    key = ring.named(name)
    others = other_names(ring, scheme)
    if key is None:
        raise ConfigInvalid(f"signing key {name!r}: there is none of that name; {others}")
    if key.record.scheme != scheme:
        raise ConfigInvalid(
            f"signing key {name!r}: is for --scheme {key.record.scheme}; take that, or another signing key: {others}"
        )
    if key.retired(time.time()):
        raise ConfigInvalid(f"signing key {name!r}: is retired; {others}")
    return key


def other_names(ring: KeyRing, scheme: str = NATIVE) -> str:
    """What can be done instead: the names there are, or how to make one."""
    active = active_names(ring, scheme)
    option = "" if scheme == NATIVE else f" --scheme {scheme}"
    return f"there are: {', '.join(active)}" if active else f"`valetstore keys create NAME{option}` makes one"


class _Created(msgspec.Struct):
    kid: str
    alg: str
    secret: str | None = None
    private_key: str | None = None
    private_key_file: str | None = None
    profile: Profile = Profile()


class Terms(TypedDict, total=False):
    """What a key may say beside the operation, the path and the expiry. Left out means not limited.

    `start` is seconds since the epoch; `prefix` opens everything below a path that ends in a slash; `uses` and
    `window` (seconds) are single use; `budget` is a Budget or a mapping of its members (`rate` requests a second,
    `burst` of them at once, `transfers` at once); `length` is (min, max) in bytes; `types` are content types
    (`image/*`), `networks` CIDRs; `sha256` is hex; `filename` and `inline` say how a browser saves a download;
    `headers` must be present in the request, `response` is set on a download; `ctx` goes to the audit.
    """

    start: float | None
    prefix: bool
    uses: int | None
    window: int
    budget: Budget | Mapping[str, float] | None
    length: tuple[int, int] | None
    types: Sequence[str]
    networks: Sequence[str]
    https: bool
    create_only: bool
    sha256: str | None
    filename: str | None
    inline: bool
    subject: str | None
    audience: str | None
    headers: Mapping[str, str]
    response: Mapping[str, str]
    ctx: object


def sign(signer: Signer, method: str, path: str, *, expires: int, base_url: str = "", **terms: Unpack[Terms]) -> str:
    """A signed URL for one method (GET, HEAD, PUT, DELETE, LIST) on one decoded path; `Terms` has the rest.

    `expires` is seconds from now, or from `start`. Raises SigningRefused where the signing key's profile
    forbids it, ConfigInvalid or Denied (`object_key_invalid`) where an argument is not well-formed.
    """
    token = token_for(signer, claims_for(method, path, expires=expires, **terms))
    return url_for(method, path, token, base_url)


def claims_for(method: str, path: str, *, expires: int, **terms: Unpack[Terms]) -> Claims:
    """The claims that `sign` signs. Raises ConfigInvalid, Denied (`object_key_invalid`)."""
    operation = _operation(method)
    _check_terms(expires, terms)
    is_prefix = terms.get("prefix", False) or operation == "list"
    check_path(path, is_prefix)
    if operation == "list" and path == "/":
        raise ArgumentInvalid("path", path, "a list is of one bucket, as /photos/")
    now = int(time.time())
    start, uses, length = terms.get("start"), terms.get("uses"), terms.get("length")
    return Claims(
        exp=int(now if start is None else start) + expires,
        ops=[operation],
        path=None if is_prefix else path,
        prefix=path if is_prefix else None,
        nbf=None if start is None else int(start),
        iat=now,
        jti=None if uses is None else secrets.token_urlsafe(16),
        sub=terms.get("subject"),
        aud=terms.get("audience"),
        length=None if length is None else list(length),
        type=list(terms.get("types", ())) or None,
        ip=list(terms.get("networks", ())) or None,
        https=terms.get("https", False),
        uses=uses,
        window=terms.get("window", 0),
        budget=_budget(terms.get("budget")),
        create=terms.get("create_only", False),
        sha256=terms.get("sha256"),
        headers=dict(terms.get("headers", {})),
        response=download_headers(terms.get("response", {}), terms.get("filename"), terms.get("inline", False)),
        ctx=terms.get("ctx"),
    )


def token_for(signer: Signer, claims: Claims) -> str:
    """Claims as a signed token. Raises SigningRefused, ConfigInvalid."""
    token = sign_claims(claims, signer.kid, signer.algorithm, signer.material)  # finds what is not well-formed
    refuse_beyond(claims, signer.limits)
    if len(token) > TOKEN_BYTES_MAX:
        raise ConfigInvalid(
            f"the key has {len(token)} bytes; a gateway takes at most {TOKEN_BYTES_MAX}: let it say less, "
            "in its path, types, networks, filename, subject or ctx"
        )
    return token


def url_for(method: str, path: str, token: str, base_url: str) -> str:
    """The URL that carries a token: the path percent-encoded, a list's prefix in its query."""
    if base_url:
        check_base_url(base_url)
    base = base_url.rstrip("/")
    if method.upper() != "LIST":
        return f"{base}{quote(path, safe='/~')}?{PARAMETER}={token}"
    bucket, within = split_path(path)
    asked = f"list&prefix={quote(within, safe='/~')}" if within else "list"
    return f"{base}/{quote(bucket)}/?{asked}&{PARAMETER}={token}"


def check_path(path: str, is_prefix: bool) -> None:
    """Raise where a key for this path could open nothing."""
    if is_prefix and not (path.startswith("/") and path.endswith("/")):
        raise ArgumentInvalid("path", path, "a prefix starts and ends with a slash, as /photos/")
    if not is_prefix:
        ObjectKey.parse(path)
    elif path != "/":
        bucket, name = split_path(path)
        check_bucket(bucket)
        check_name(name)


def check_base_url(base_url: str) -> None:
    """Raise ArgumentInvalid unless a URL can start with it."""
    try:
        well_formed = _BASE_URL.fullmatch(base_url) and (urlsplit(base_url).port or 1)
    except ValueError:
        well_formed = None
    if not well_formed:
        # A path would be signed nowhere: keys are for the gateway's own paths, as it sees them.
        raise ArgumentInvalid(
            "base_url", base_url, "must be http:// or https:// and a host, without a path, a query or a user"
        )


def _check_terms(expires: int, terms: Terms) -> None:
    """What claims could only name as claims is named here as the arguments the caller knows."""
    if expires <= 0:
        raise ArgumentInvalid("expires", expires, "must be 1 second or more")
    if expires > EXPIRES_SECONDS_MAX:
        raise ArgumentInvalid("expires", expires, f"must be {EXPIRES_SECONDS_MAX} seconds (10 years) or less")
    if terms.get("window") and terms.get("uses") is None:
        raise ArgumentInvalid("window", terms["window"], "needs limited uses: a use may be repeated within it")
    sha256 = terms.get("sha256")
    if sha256 is not None and not _HEX_SHA256.fullmatch(sha256):
        raise ArgumentInvalid("sha256", sha256, "must be 64 hexadecimal digits")
    for pattern in terms.get("types", ()):
        try:
            check_type_pattern(pattern)
        except ConfigInvalid:
            raise ArgumentInvalid("types", pattern, "must be type/subtype, type/* or */*") from None
    for network in terms.get("networks", ()):
        try:
            parse_networks(network)
        except ValueError:
            raise ArgumentInvalid(
                "networks", network, "must be an address, or a network without host bits, as 203.0.113.0/24"
            ) from None


def refuse_beyond(claims: Claims, limits: Limits) -> None:
    """Raise SigningRefused where the claims ask for more than the profile allows.

    What the claims leave open needs no word here: the gateway narrows it.
    """
    refuse_operations(claims.ops, limits)
    refuse_path(claims.path or "" if claims.prefix is None else claims.prefix, limits)
    refuse_life(claims.exp - (claims.iat if claims.iat is not None else time.time()), limits)
    _refuse_uses(claims, limits)
    _refuse_budget(claims.budget, limits.budget)
    _refuse_length(claims, limits)
    for pattern in as_list(claims.type):
        for allowed_types in limits.types:
            if not any(type_matches(pattern.lower(), allowed) for allowed in allowed_types):
                raise SigningRefused(f"type {pattern}: the signing key allows {', '.join(allowed_types)}")
    _refuse_networks(claims, limits)


def refuse_operations(operations: Sequence[str], limits: Limits) -> None:
    """Raise SigningRefused unless the profile has all of these."""
    beyond = [op for op in operations if op not in limits.operations]
    if beyond:
        raise SigningRefused(f"{beyond[0]}: the signing key allows {', '.join(sorted(limits.operations))}")


def refuse_path(path: str, limits: Limits) -> None:
    """Raise SigningRefused unless the profile covers this path, or all that begins with it if it ends in a slash."""
    for group in limits.scopes:
        if not any(allowed.covers(path) for allowed in group):
            raise SigningRefused(f"{path}: the signing key allows {' or '.join(map(str, group))}")


def refuse_life(seconds: float, limits: Limits) -> None:
    """Raise SigningRefused where that is longer than the profile lets its keys live."""
    if limits.ttl_max is not None and seconds > limits.ttl_max:
        raise SigningRefused(f"expires: the signing key allows at most {show_duration(limits.ttl_max)} after signing")


def _refuse_uses(claims: Claims, limits: Limits) -> None:
    if claims.uses is None:
        return
    if limits.uses is not None and claims.uses > limits.uses:
        raise SigningRefused(f"uses {claims.uses}: the signing key allows at most {limits.uses}")
    # A key for several operations may have its uses for those that are not single-use.
    if claims.uses > 1 and limits.single_use.issuperset(claims.ops):
        raise SigningRefused(f"uses {claims.uses}: the signing key makes {', '.join(claims.ops)} single-use")


def _refuse_budget(asked: Budget | None, allowed: Budget | None) -> None:
    """All keys of the signing key together have what is allowed: one can never have more."""
    if asked is None or allowed is None:
        return
    for name, mine, theirs in (
        ("rate", asked.rate, allowed.rate),
        ("burst", asked.at_once, allowed.at_once if allowed.rate is not None else None),
        ("transfers", asked.transfers, allowed.transfers),
    ):
        if mine is not None and theirs is not None and mine > theirs:
            raise SigningRefused(f"budget {name} {mine:g}: the signing key allows {allowed}")


def _refuse_length(claims: Claims, limits: Limits) -> None:
    if claims.length is None:
        return
    low, high = claims.length
    if limits.length_max is not None and high > limits.length_max:
        raise SigningRefused(f"length: the signing key allows at most {show_size(limits.length_max)}")
    if low < limits.length_min:
        raise SigningRefused(f"length: the signing key asks for at least {show_size(limits.length_min)}")


def _refuse_networks(claims: Claims, limits: Limits) -> None:
    for network in parse_networks(claims.ip) if claims.ip else ():
        for group in limits.networks:
            if not any(network.version == a.version and network.subnet_of(a) for a in group):  # type: ignore[arg-type]
                raise SigningRefused(f"ip {network}: the signing key allows {', '.join(map(str, group))}")


def _operation(method: str) -> Operation:
    try:
        return OPERATION_OF[method.upper()]
    except KeyError:
        raise ArgumentInvalid("method", method, f"must be one of {', '.join(OPERATION_OF)}") from None


def _budget(given: Budget | Mapping[str, float] | None) -> Budget | None:
    if given is None or isinstance(given, Budget):
        return given
    try:
        return msgspec.convert(dict(given), Budget)
    except msgspec.ValidationError as error:
        raise ArgumentInvalid("budget", dict(given), f"{error}") from None


def download_headers(given: Mapping[str, str], filename: str | None, inline: bool) -> dict[str, str]:
    """What a download is to be answered with: `given` headers, and how a browser saves it."""
    response = dict(given)
    kind: Literal["inline", "attachment"] = "inline" if inline else "attachment"
    if filename is not None:
        response["content-disposition"] = content_disposition(kind, filename)
    elif inline:
        response["content-disposition"] = kind
    return response


def _material(made: _Created) -> bytes | PrivateKey:
    if made.alg not in ALGORITHMS:
        raise ConfigInvalid(f"alg {made.alg!r}: must be one of {', '.join(ALGORITHMS)}")
    if made.secret is not None:
        try:
            return check_secret(b64url_decode(made.secret.encode()))
        except ValueError as error:
            raise ConfigInvalid("secret: is not unpadded base64url") from error
    pem = made.private_key
    if pem is None and made.private_key_file is not None:
        try:
            pem = Path(made.private_key_file).read_text()
        except OSError as error:
            raise ConfigInvalid(f"{made.private_key_file}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigInvalid(f"{made.private_key_file}: is not PEM text") from None
    if pem is None:
        raise ConfigInvalid("it holds neither secret nor private_key_file: there is nothing to sign with")
    private = load_private(pem)
    if algorithm_of(private) != made.alg:
        raise ConfigInvalid(f"the private key is for {algorithm_of(private)}, not {made.alg}")
    return private
