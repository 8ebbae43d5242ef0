"""What each vendor's users call a signing key's id and its secret, in JSON and in words."""

import base64
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from valetstore.encoding import b64url_decode
from valetstore.keys.ring import KeyRecord
from valetstore.keys.vendor import AZURE, CLOUDFRONT, ECDSA, GCS, HMAC, RSA, S3, SWIFT


def _as_text(secret: bytes) -> str:
    # A Swift key may have been imported in any encoding; every other is ASCII.
    return secret.decode("utf-8", "backslashreplace")


def _as_base64(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


class Names(NamedTuple):
    """The members of JSON that have the key id and the secret ("": it has none), and how the secret is written."""

    key_id: str
    secret: str = ""
    written: Callable[[bytes], str] = _as_text


NAMES: Final[Mapping[tuple[str, str], Names]] = {
    (S3, HMAC): Names("access_key_id", "secret_access_key"),
    (GCS, RSA): Names("client_email"),
    (GCS, HMAC): Names("access_id", "secret"),
    (AZURE, HMAC): Names("account_name", "account_key", _as_base64),
    (CLOUDFRONT, RSA): Names("key_pair_id"),
    (CLOUDFRONT, ECDSA): Names("key_pair_id"),
    (SWIFT, HMAC): Names("account", "key"),
}
"""By scheme and algorithm; native keys have the words of JOSE."""

_NATIVE: Final = Names("kid", "secret")


def names_of(record: KeyRecord) -> Names:
    """What its users call the parts of this signing key."""
    return NAMES.get((record.scheme, record.algorithm), _NATIVE)


def key_id_of(record: KeyRecord) -> dict[str, object]:
    """Its key id as a member of JSON."""
    return {names_of(record).key_id: record.kid}


def secret_of(record: KeyRecord) -> dict[str, object]:
    """Its shared secret as a member of JSON, written as its users write it; {} where it has none."""
    if record.secret is None:
        return {}
    names = names_of(record)
    text = record.secret if names is _NATIVE else names.written(b64url_decode(record.secret.encode()))
    return {names.secret: text}


def in_words(member: str) -> str:
    """A member of JSON as a person reads it."""
    return member.replace("_", " ")
