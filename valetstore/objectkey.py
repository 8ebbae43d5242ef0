"""ObjectKey: the one constructor between the wire and a path on disk.

Rule 1: every entry point (a PUT's path, a form's `key` field, each dialect) comes through here.
Rule 2: what is authorised and what is stored are the same ObjectKey, so no second decoding can differ.
Rule 3: a key is text, not a path: how it becomes a file name is the storage layout's business.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from valetstore.errors import Denied

KEY_BYTES_MAX: Final = 1024
"""The longest object name, in UTF-8 bytes: S3's and Google's limit."""

RESERVED_BUCKET: Final = "_valet"
"""The gateway's own paths (health, administration); never a bucket."""

# The widest set of the vendors' bucket and container names that is also a plain folder name.
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]{0,62}", re.ASCII)
_DOTS: Final = frozenset({".", ".."})


class ObjectKey(NamedTuple):
    """A bucket and the name of an object in it. Make one with `parse` or `of`, never directly."""

    bucket: str
    name: str

    @classmethod
    def of(cls, bucket: str, name: str) -> "ObjectKey":
        """From a bucket and a decoded name; raises `object_key_invalid`."""
        check_bucket(bucket)
        check_name(name)
        if not name:
            raise Denied("object_key_invalid", "The object's name is empty.")
        return cls(bucket, name)

    @classmethod
    def parse(cls, path: str) -> "ObjectKey":
        """From a decoded path `/bucket/name`; raises `object_key_invalid`."""
        bucket, name = split_path(path)
        return cls.of(bucket, name)

    @property
    def path(self) -> str:
        """`/bucket/name`: the form that a key's scope is compared with."""
        return f"/{self.bucket}/{self.name}"


def split_path(path: str) -> tuple[str, str]:
    """A decoded path as (bucket, rest); the rest is "" for `/bucket` and `/bucket/`."""
    if not path.startswith("/"):
        raise Denied("object_key_invalid", "The path must start with a slash.")
    bucket, _, name = path[1:].partition("/")
    return bucket, name


# Only what is a name is remembered, and so none that is long.
@lru_cache(maxsize=1024)
def check_bucket(bucket: str) -> None:
    """Raise `object_key_invalid` unless this can be a bucket's name."""
    if not _BUCKET.fullmatch(bucket):
        raise Denied(
            "object_key_invalid",
            "A bucket's name starts with a letter or digit and has 1 to 63 of letters, digits, `.`, `_`, `-` and `$`.",
        )


def check_name(name: str) -> None:
    """Raise `object_key_invalid` unless this can be an object's name (or none at all, "")."""
    check_beginning(name)
    # Browsers, proxies and SDKs resolve these before they sign or send: two parties would disagree.
    if ("/." in name or name.startswith(".")) and not _DOTS.isdisjoint(name.split("/")):
        raise Denied("object_key_invalid", "The object's name has a segment that is `.` or `..`.")


def check_beginning(text: str) -> None:
    """Raise `object_key_invalid` unless names could begin so: `a/.` is none, but `a/.profile` begins with it."""
    try:
        size = len(text) if text.isascii() else len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise Denied("object_key_invalid", "The object's name is not Unicode text.") from None
    if size > KEY_BYTES_MAX:
        raise Denied("object_key_invalid", f"The object's name is longer than {KEY_BYTES_MAX} bytes.")
    if "\0" in text:
        raise Denied("object_key_invalid", "The object's name contains a NUL.")
