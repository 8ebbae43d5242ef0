"""Resumable sessions: the `upload_id` of a session URI, which is a key of its own once a signed one has begun it.

Rule 1: a token says all there is to know and is sealed by the gateway's own signing key, so nothing is looked up, and
every worker and every restart knows it. A changed token has no seal; a token has one spelling.
Rule 2: a session is never wider than the key that began it: what that one narrowed is sealed in, and its signing key's
profile holds at each request. It outlives that key's end, by a setting, and dies with its revocation.

Sources: Google Cloud, "Resumable uploads" (the session URI acts as an authentication token).
"""

import hmac
import math
import re
from typing import Final

import msgspec

from valetstore.config import RESUMABLE_SECONDS_MAX
from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Proof, Scope
from valetstore.grants.networks import parse_networks
from valetstore.inbound import Inbound
from valetstore.keys.ring import INTERNAL_NAME, KeyRing, SigningKey
from valetstore.keys.vendor import GCS
from valetstore.objectkey import ObjectKey

PARAMETER: Final = "upload_id"
TOKEN_CHARACTERS_MAX: Final = 6144
"""A request line has 8190: the longest name of an object, the terms and the path beside it have room."""

EARLY_SECONDS: Final = 900
"""How far ahead of this gateway's clock the date of a signature may be."""

_VERSION: Final = "valet1"
_TOKEN: Final = re.compile(rf"{_VERSION}\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{{43}})", re.ASCII)
_SEAL: Final = b"valetstore: seal of a resumable session, version 1"


class Session(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One upload in chunks that a signed key has begun, as its token holds it. Times are seconds since the epoch.

    `upload` is storage's id of it; `bucket` and `name` are where it goes. `key_id` and `key_name` are the signing key's
    in the ring (`SigningKey.record.id`, `.name`), `identity` is that of the key that began it, in hexadecimal digits,
    `issued_at` when that one was signed, `key_not_after` its end. What binds the whole object: `length_min` and
    `length_max` in bytes (both ends included), `create_only`, `content_type` as the object will have it. `networks` are
    the groups from which its chunks may come: of each group one must hold the client's address.
    """

    upload: str
    bucket: str
    name: str
    key_id: str
    key_name: str
    identity: str
    not_after: int
    key_not_after: float
    issued_at: float | None = None
    length_min: int = 0
    length_max: int | None = None
    create_only: bool = False
    content_type: str = ""
    networks: tuple[tuple[str, ...], ...] = ()

    @property
    def key(self) -> ObjectKey:
        """The object that it makes. Raises `object_key_invalid`."""
        return ObjectKey.of(self.bucket, self.name)


def begun(
    grant: Grant, key: ObjectKey, upload: str, keys: KeyRing, *, now: float, seconds: int, content_type: str = ""
) -> Session:
    """The session that a key begins at `now`, for at most `seconds` from then: with all that its grant narrows.

    `grant` is that of the admission, `upload` storage's id. Raises `key_revoked` where the signing key is gone.
    """
    signing_key = keys.named(grant.signing_key)
    if signing_key is None:
        raise _gone()
    return Session(
        upload=upload,
        bucket=key.bucket,
        name=key.name,
        key_id=signing_key.record.id,
        key_name=signing_key.name,
        identity=grant.identity.hex(),
        not_after=int(now) + seconds,
        key_not_after=grant.not_after,
        issued_at=grant.issued_at,
        length_min=grant.length_min,
        length_max=grant.length_max,
        create_only=grant.create_only,
        content_type=content_type,
        networks=tuple(tuple(map(str, group)) for group in grant.networks),
    )


def seal(keys: KeyRing, session: Session) -> str:
    """The token of a session: text that goes into a query as it is, 200 to TOKEN_CHARACTERS_MAX characters.

    Raises `not_implemented` where the gateway has no signing key of its own, `parameter_invalid` where it would be too
    long.
    """
    secret = _own_secret(keys)
    if secret is None:
        raise Denied("not_implemented", "Resumable uploads need the gateway's own signing key, which is not there.")
    data = msgspec.json.encode(session)
    token = f"{_VERSION}.{b64url_encode(data).decode()}.{b64url_encode(_seal_of(secret, data)).decode()}"
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise Denied("parameter_invalid", "The conditions of this upload are too long for a session URI.")
    return token


def token_of(inbound: Inbound) -> str | None:
    """The token in a request, well-formed or not; None where there is none. Raises `key_malformed` for two."""
    values = inbound.parameters(PARAMETER)
    if len(values) > 1:
        raise Denied("key_malformed", "upload_id is given more than once.").saying(
            "InvalidArgument", "Invalid argument.", 400, Details="upload_id is given more than once."
        )
    return values[0] if values else None


def parsed(token: str) -> Session:
    """What a token says, proven or not. Raises `signature_mismatch` where it is none."""
    return _read(_parts(token)[0])


def opened(token: str, keys: KeyRing) -> Session:
    """What a token holds, its seal proven; when it ends is for others. Raises `signature_mismatch`."""
    data, provided = _parts(token)
    secret = _own_secret(keys)
    if secret is None:
        raise _invalid("the gateway has no signing key of its own")
    if not hmac.compare_digest(_seal_of(secret, data), provided):
        raise _invalid("its seal does not hold")
    return _read(data)


def _parts(token: str) -> tuple[bytes, bytes]:
    """What is sealed, and the seal. Raises `signature_mismatch`."""
    found = _TOKEN.fullmatch(token) if len(token) <= TOKEN_CHARACTERS_MAX else None
    if not found:
        raise _invalid("it is not a session of this gateway")
    try:
        return b64url_decode(found[1].encode()), b64url_decode(found[2].encode())
    except ValueError:
        raise _invalid("it is not written as it should be") from None


def _read(data: bytes) -> Session:
    try:
        return msgspec.json.decode(data, type=Session)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("what it holds is not readable") from None


def verify(inbound: Inbound, keys: KeyRing) -> Proof:
    """Prove the session that a request names: it allows the chunks of one object, their status, and giving it up.

    Raises `key_malformed`, `signature_mismatch`, `key_expired` (410, as clients look for to begin anew), `key_revoked`.
    """
    session = opened(token_of(inbound) or "", keys)
    signing_key = keys.named(session.key_name)
    if signing_key is None or signing_key.record.id != session.key_id:
        raise _gone()
    if inbound.now >= session.not_after:
        raise Denied(
            "key_expired", "Its session is over.", expired_at=session.not_after, signing_key=signing_key.name
        ).saying("ExpiredToken", "The resumable session has expired.", 410)
    # How long a session lives is the operator's to say: its key was judged when it began.
    limits = msgspec.structs.replace(signing_key.limits, ttl_max=None)
    return Proof(_grant(session, signing_key), limits)


def _grant(session: Session, signing_key: SigningKey) -> Grant:
    return Grant(
        scheme=GCS,
        signing_key=signing_key.name,
        identity=bytes.fromhex(session.identity),
        operations=frozenset({"write"}),
        scopes=((Scope(session.key.path),),),
        not_after=session.not_after,
        issued_at=session.issued_at,
        early=EARLY_SECONDS,
        # The key that began it has begun others, or will: a revocation names them all, and ends after the last.
        outlived_by=max(0, math.ceil(session.key_not_after + RESUMABLE_SECONDS_MAX - session.not_after)),
        length_min=session.length_min,
        length_max=session.length_max,
        networks=tuple(parse_networks(list(group)) for group in session.networks),
        create_only=session.create_only,
    )


def _own_secret(keys: KeyRing) -> bytes | None:
    own = keys.named(INTERNAL_NAME)
    return own.material if own is not None and isinstance(own.material, bytes) else None


def _seal_of(secret: bytes, data: bytes) -> bytes:
    """32 bytes for this purpose and this data."""
    return hmac.digest(hmac.digest(secret, _SEAL, "sha256"), data, "sha256")


def _gone() -> Denied:
    return Denied("key_revoked", "The signing key of this upload is gone.")


def _invalid(reason: str) -> Denied:
    return Denied("signature_mismatch", "This session URI is not valid here.", reason=reason).saying(
        "AccessDenied", "Access denied.", 403, Details="The session URI is not valid."
    )
