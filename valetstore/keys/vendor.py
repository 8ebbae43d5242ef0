"""Signing keys of the vendors' dialects: what their users hold, as the ring keeps it.

Rule 1: a dialect's signatures are its own file's business (`grants/`); here is only what a key of it is made of.
Rule 2: what a user brings along is checked where it enters, like what is made here: a weak secret can be found
offline from one URL that it has signed.
"""

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from valetstore.errors import ConfigInvalid

S3: Final = "s3"
GCS: Final = "gcs"
AZURE: Final = "azure"
CLOUDFRONT: Final = "cloudfront"
SWIFT: Final = "swift"

HMAC: Final = "HMAC"
"""The algorithm of a shared secret whose dialect says itself how it signs."""

RSA: Final = "RSA"
"""The algorithm of an RSA key (PKCS #1 v1.5) whose dialect says which hash it signs."""

ECDSA: Final = "ECDSA"
"""The algorithm of a P-256 key whose dialect says how its signatures are written."""

ACCESS_KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{3,128}", re.ASCII)
"""A slash would end it in a credential scope, a colon in a V2 header."""

SECRET_CHARACTERS_MIN: Final = 16
SECRET_CHARACTERS_MAX: Final = 256
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 30
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)

GOOGLE_ID: Final = re.compile(r"[A-Za-z0-9._%+@-]{3,254}", re.ASCII)
"""A service account's e-mail address, or the access id of an HMAC key: a slash would end it in a credential scope."""
ACCOUNT_NAME: Final = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
"""Azure's rule for a storage account."""
ACCOUNT_KEY_BYTES: Final = 64
ACCOUNT_KEY_BYTES_MIN: Final = 16
KEY_PAIR_ID: Final = re.compile(r"[A-Za-z0-9_-]{3,128}", re.ASCII)
SWIFT_ACCOUNT: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)
"""An account as it stands in a path: `AUTH_test`."""
SWIFT_KEY_CHARACTERS_MAX: Final = 512
SWIFT_KEY_CHARACTERS_ENOUGH: Final = 16
"""A shorter one can be guessed from one URL that it has signed. Clusters take any, and so their users' are taken."""


class Vendor(NamedTuple):
    """What signing keys of one dialect are made of.

    `key_id` is what the vendor calls that which a credential names. `rotates` says that several signing keys may have
    the same one, since a credential does not say which of them signed it.
    """

    title: str
    key_id: str
    algorithms: tuple[str, ...]
    check_key_id: Callable[[str], str]
    check_secret: Callable[[bytes], bytes]
    rotates: bool


def new_access_key_id() -> str:
    """20 upper-case letters and digits that begin with VK, in the shape SDKs and secret scanners expect."""
    return "VK" + base64.b32encode(secrets.token_bytes(_ID_BYTES + 2)).decode().rstrip("=")[:18]


def new_secret_access_key() -> str:
    """40 characters, 240 bits: no `+` nor `/`, which get lost in shells and forms."""
    return base64.b64encode(secrets.token_bytes(_SECRET_BYTES), b"-_").decode()


def new_account_key() -> bytes:
    """512 bits, as many as Azure's own have; they are written in base64."""
    return secrets.token_bytes(ACCOUNT_KEY_BYTES)


def new_key_pair_id() -> str:
    """14 upper-case letters and digits, in the shape of CloudFront's."""
    return "KV" + base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode()[:12]


def new_swift_key() -> str:
    """64 hexadecimal digits, 256 bits: a key stands on command lines, and must not look like an option there."""
    return secrets.token_hex(32)


def account_name_from(name: str) -> str:
    """An account name as like a signing key's name as Azure's rule allows. Raises ConfigInvalid."""
    fit = re.sub(r"[^a-z0-9]", "", name.lower())
    if not ACCOUNT_NAME.fullmatch(fit):
        raise ConfigInvalid(
            f"no account name can be made of {name!r}; give one of 3 to 24 lower-case letters and digits"
        )
    return fit


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


def check_google_id(text: str) -> str:
    """A service account's e-mail address or an HMAC key's access id. Raises ConfigInvalid."""
    if not GOOGLE_ID.fullmatch(text):
        raise ConfigInvalid(f"{text!r}: must be a service account's e-mail address, or an HMAC key's access id")
    return text


def check_account_name(text: str) -> str:
    """The name of a storage account of Azure's. Raises ConfigInvalid."""
    if not ACCOUNT_NAME.fullmatch(text):
        raise ConfigInvalid(f"account name {text!r}: must be 3 to 24 lower-case letters and digits")
    return text


def check_account_key(key: bytes) -> bytes:
    """An account key of Azure's, decoded. Raises ConfigInvalid, which never shows it."""
    if len(key) < ACCOUNT_KEY_BYTES_MIN:
        raise ConfigInvalid(f"the account key has {len(key)} bytes; it must have {ACCOUNT_KEY_BYTES_MIN} or more")
    return key


def check_key_pair_id(text: str) -> str:
    """The id of a public key of CloudFront's. Raises ConfigInvalid."""
    if not KEY_PAIR_ID.fullmatch(text):
        raise ConfigInvalid(f"key pair id {text!r}: must be 3 to 128 letters, digits, hyphens or underscores")
    return text


def check_swift_account(text: str) -> str:
    """An account of Swift's as it stands in a path. Raises ConfigInvalid."""
    if not SWIFT_ACCOUNT.fullmatch(text) or text in (".", ".."):
        raise ConfigInvalid(
            f"account {text!r}: must be 1 to 128 letters, digits, `.`, `_`, `~` or `-`, as AUTH_account"
        )
    return text


def check_swift_key(key: bytes) -> bytes:
    """A TempURL key as its text in UTF-8: what the operator of a cluster took for one. Raises ConfigInvalid."""
    if not 1 <= len(key) <= SWIFT_KEY_CHARACTERS_MAX or b"\n" in key or b"\0" in key:
        raise ConfigInvalid(f"the key has {len(key)} bytes; it must be one line of 1 to {SWIFT_KEY_CHARACTERS_MAX}")
    return key


def _no_secret(_secret: bytes) -> bytes:
    raise ConfigInvalid("has no secret")


VENDORS: Final[Mapping[str, Vendor]] = {
    S3: Vendor("S3", "access key id", (HMAC,), check_access_key_id, check_secret_access_key, rotates=False),
    GCS: Vendor(
        "Google Cloud Storage",
        "client e-mail or access id",
        (RSA, HMAC),
        check_google_id,
        check_secret_access_key,
        rotates=True,
    ),
    AZURE: Vendor("Azure Blob", "account name", (HMAC,), check_account_name, check_account_key, rotates=True),
    CLOUDFRONT: Vendor("CloudFront", "key pair id", (RSA, ECDSA), check_key_pair_id, _no_secret, rotates=False),
    SWIFT: Vendor("Swift", "account", (HMAC,), check_swift_account, check_swift_key, rotates=True),
}
"""Every dialect but our own, by the name that `--scheme` has for it."""
