"""Signing keys of the vendors' dialects: what their users hold, as the ring keeps it.

Rule 1: a dialect's signatures are its own file's business (`grants/`); here is only what a key of it is made of.
Rule 2: what a user brings along is checked where it enters, like what is made here: a weak secret can be found
offline from one URL that it has signed.
"""

import base64
import re
import secrets
from typing import Final

from valetstore.errors import ConfigInvalid

S3: Final = "s3"

HMAC: Final = "HMAC"
"""The algorithm of a shared secret whose dialect says itself how it signs."""

ACCESS_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{3,128}", re.ASCII)
"""A slash would end it in a credential scope, a colon in a V2 header."""

SECRET_CHARACTERS_MIN: Final = 16
SECRET_CHARACTERS_MAX: Final = 256
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 30
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


def new_access_key_id() -> str:
    """20 upper-case letters and digits that begin with VK, in the shape SDKs and secret scanners expect."""
    return "VK" + base64.b32encode(secrets.token_bytes(_ID_BYTES + 2)).decode().rstrip("=")[:18]


def new_secret_access_key() -> str:
    """40 characters, 240 bits: no `+` nor `/`, which get lost in shells and forms."""
    return base64.b64encode(secrets.token_bytes(_SECRET_BYTES), b"-_").decode()


def check_access_key_id(text: str) -> str:
    """An access key id that fits into every place it is sent in. Raises ConfigInvalid."""
    if not ACCESS_KEY_ID.fullmatch(text):
        raise ConfigInvalid(f"access key id {text!r}: must be 3 to 128 letters, digits, dots, hyphens or underscores")
    return text


def check_secret_access_key(secret: bytes) -> bytes:
    """A secret access key as its characters. Raises ConfigInvalid, which never shows it."""
    text = secret.decode("latin-1")
    if not _VISIBLE.fullmatch(text) or not SECRET_CHARACTERS_MIN <= len(text) <= SECRET_CHARACTERS_MAX:
        raise ConfigInvalid(
            f"the secret access key has {len(text)} characters; it must have {SECRET_CHARACTERS_MIN} to "
            f"{SECRET_CHARACTERS_MAX}, none of them a space or beyond ASCII"
        )
    return secret
