"""Temporary credentials that nobody stores: access key id, secret and a sealed token that says all the rest.

Rule 1: the token names the signing key (by its access key id) and is sealed with a key that is derived from that one's
secret; the temporary secret is derived from the sealed bytes. A changed token has neither a seal nor a secret.
Rule 2: a token has one spelling. It takes away from what its signing key allows, and says nothing that could add to it.
Rule 3: a retired signing key, a forged token and one that is another's look the same: InvalidToken.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Final, NamedTuple, cast

import msgspec

from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import ConfigInvalid, Denied
from valetstore.grants.grant import OPERATIONS
from valetstore.grants.s3.proven import Session
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import ACCESS_KEY_ID, S3, new_access_key_id
from valetstore.units import show_duration

TOKEN_CHARACTERS_MAX: Final = 4096
SECONDS_MAX: Final = 2**53
CLOCK_SECONDS: Final = 900
"""How far ahead of this gateway's clock the one may be by which a session was made: as far as a signature's."""

_VERSION: Final = "valet1"
_TOKEN: Final = re.compile(rf"{_VERSION}\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{{43}})", re.ASCII)
_SEAL: Final = b"valetstore: seal of an S3 session token, version 1"
_SECRET: Final = b"valetstore: secret of an S3 session, version 1"
_SECRET_CHARACTERS: Final = 40
_TEMPORARY: Final = "VT"
"""Temporary access key ids begin with it, as lasting ones do with VK."""


class Credentials(NamedTuple):
    """What an SDK is given: `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`, and the end."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: int


class Signer(NamedTuple):
    """Who may have signed a request, and the secret it was to be signed with."""

    key: SigningKey
    secret: bytes
    session: Session | None = None


class _Sealed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a token holds. `parent` is the access key id of the signing key."""

    parent: str
    access_key_id: str
    expires_at: int
    operations: tuple[str, ...]
    prefixes: tuple[str, ...]


def mint(
    parent: str, secret: bytes, expires_at: int, operations: Iterable[str] = (), prefixes: Iterable[str] = ()
) -> Credentials:
    """Temporary credentials of the signing key `parent` (its access key id and secret), valid until `expires_at`
    (seconds since the epoch). Operations and prefixes narrow; none given leaves what the signing key allows.

    Raises ConfigInvalid.
    """
    sealed = _Sealed(parent, _TEMPORARY + new_access_key_id()[2:], expires_at, tuple(operations), tuple(prefixes))
    _check(sealed)
    data = msgspec.json.encode(sealed)
    token = f"{_VERSION}.{b64url_encode(data).decode()}.{b64url_encode(_derived(secret, _SEAL, data)).decode()}"
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise ConfigInvalid(f"the session token has {len(token)} characters, at most {TOKEN_CHARACTERS_MAX}: name less")
    return Credentials(sealed.access_key_id, _secret_of(secret, data).decode(), token, expires_at)


def signer_of(access_key_id: str, token: str | None, keys: KeyRing, now: float) -> Signer:
    """Who signs with this access key id and, where there is one, this session token.

    Raises `signature_mismatch` (InvalidAccessKeyId, InvalidToken), `key_expired` (ExpiredToken), `ttl_too_long`.
    """
    if token:
        return _of_session(access_key_id, token, keys, now)
    key = keys.find(S3, access_key_id)
    if key is None:
        said = "The AWS Access Key Id you provided does not exist in our records."
        raise Denied("signature_mismatch", reason="no signing key has this access key id").saying(
            "InvalidAccessKeyId", said, 403, AWSAccessKeyId=access_key_id
        )
    return Signer(key, cast(bytes, key.material))


def _of_session(access_key_id: str, token: str, keys: KeyRing, now: float) -> Signer:
    sealed, data, seal = _parsed(token)
    key = keys.find(S3, sealed.parent)
    # A seal is checked in any case: what a refusal costs does not tell which signing keys there are.
    secret = b"" if key is None else cast(bytes, key.material)
    holds = hmac.compare_digest(_derived(secret, _SEAL, data), seal)
    if key is None or not holds or sealed.access_key_id != access_key_id or key.retired(now):
        raise _invalid("its seal does not hold, it is another's, or its signing key is retired")
    if now >= sealed.expires_at:
        raise Denied("key_expired", "Its session is over.", expired_at=sealed.expires_at, signing_key=key.name).saying(
            "ExpiredToken", "The provided token has expired.", 400
        )
    _check_life(sealed, key, now)
    session = Session(sealed.access_key_id, sealed.expires_at, sealed.operations, sealed.prefixes)
    return Signer(key, _secret_of(secret, data), session)


def _check_life(sealed: _Sealed, key: SigningKey, now: float) -> None:
    """Raise `ttl_too_long`: a token does not say since when it is, so what is left of it is measured."""
    ttl_max = key.limits.ttl_max
    if ttl_max is not None and sealed.expires_at > now + ttl_max + CLOCK_SECONDS:
        said = f"Its session is valid for longer than the signing key allows: at most {show_duration(ttl_max)}."
        raise Denied("ttl_too_long", said, expires_at=sealed.expires_at, signing_key=key.name)


def _parsed(token: str) -> tuple[_Sealed, bytes, bytes]:
    """What is sealed, its bytes and the seal; raises `signature_mismatch`."""
    found = _TOKEN.fullmatch(token) if len(token) <= TOKEN_CHARACTERS_MAX else None
    if not found:
        raise _invalid("it is not a session token of this gateway")
    try:
        data, seal = b64url_decode(found[1].encode()), b64url_decode(found[2].encode())
        sealed = msgspec.json.decode(data, type=_Sealed)
        _check(sealed)
    except (ValueError, msgspec.DecodeError, ConfigInvalid):
        raise _invalid("what it holds is not readable") from None
    if msgspec.json.encode(sealed) != data:
        raise _invalid("what it holds is not written as it should be")
    return sealed, data, seal


def _check(sealed: _Sealed) -> None:
    """Raise ConfigInvalid for what could never be a session."""
    if not ACCESS_KEY_ID.fullmatch(sealed.parent) or not ACCESS_KEY_ID.fullmatch(sealed.access_key_id):
        raise ConfigInvalid("an access key id of the session is not well-formed")
    if not 0 < sealed.expires_at <= SECONDS_MAX:
        raise ConfigInvalid(f"the end of the session, {sealed.expires_at}, is not seconds since the epoch")
    strange = sorted(set(sealed.operations) - (OPERATIONS - {"admin"}))
    if strange:
        raise ConfigInvalid(f"operation {strange[0]!r}: must be some of {', '.join(sorted(OPERATIONS - {'admin'}))}")
    for prefix in sealed.prefixes:
        if not (prefix.startswith("/") and prefix.endswith("/")):
            raise ConfigInvalid(f"prefix {prefix!r}: must start and end with a slash, as /photos/")


def _derived(secret: bytes, purpose: bytes, data: bytes) -> bytes:
    """32 bytes for one purpose and this data."""
    return hmac.digest(hmac.digest(secret, purpose, "sha256"), data, "sha256")


def _secret_of(secret: bytes, data: bytes) -> bytes:
    """40 characters, 240 bits, as lasting secrets have."""
    return b64url_encode(_derived(secret, _SECRET, data))[:_SECRET_CHARACTERS]


def _invalid(reason: str) -> Denied:
    said = "The provided token is malformed or otherwise invalid."
    return Denied("signature_mismatch", reason=reason).saying("InvalidToken", said, 400)
