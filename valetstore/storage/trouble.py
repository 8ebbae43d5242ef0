"""The one border where OSError becomes Denied: no operating system error leaves this folder.

The errno and its text are evidence for the audit; a client is only told the table's sentence.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

from valetstore.errors import Denied

Doing = Literal["read", "write"]

_ALWAYS: Final[Mapping[int, str]] = {
    errno.ENAMETOOLONG: "object_key_invalid",
    errno.ENOSPC: "storage_full",
    errno.EDQUOT: "storage_full",
    # Not a fault of the bytes: a mount, a permission, a limit. It may be right again on the next try.
    errno.EROFS: "storage_unavailable",
    errno.EACCES: "storage_unavailable",
    errno.EPERM: "storage_unavailable",
    errno.ESTALE: "storage_unavailable",
    errno.ENXIO: "storage_unavailable",
    errno.ENOTCONN: "storage_unavailable",
    errno.EMFILE: "storage_unavailable",
    errno.ENFILE: "storage_unavailable",
}
_CODES: Final[Mapping[Doing, Mapping[int, str]]] = {
    "read": {
        **_ALWAYS,
        errno.ENOENT: "not_found",
        errno.ENOTDIR: "not_found",
        errno.ELOOP: "not_found",
    },
    "write": {
        **_ALWAYS,
        # What a write needs was there when the bucket was opened: the root has gone since.
        errno.ENOENT: "storage_unavailable",
        errno.ENOTDIR: "conflict",
        errno.EISDIR: "conflict",
        errno.EEXIST: "conflict",
        errno.ELOOP: "conflict",
    },
}


def denied(error: OSError, doing: Doing) -> Denied:
    """The refusal an OSError stands for; `storage_error` where the table knows no better."""
    code = _CODES[doing].get(error.errno or 0, "storage_error")
    return Denied(code, errno=error.errno, error=error.strerror or str(error))


@contextmanager
def translated(doing: Doing) -> Iterator[None]:
    """Raise Denied for any OSError inside."""
    try:
        yield
    except OSError as error:
        raise denied(error, doing) from error


MAYBE: Final = "The change may have been made all the same."
"""What is said where nobody knows (`promise.py`, Rule 3)."""


@contextmanager
def deciding() -> Iterator[None]:
    """Around the call that decides: after EIO nobody knows whether it has."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Denied("storage_error", MAYBE, errno=error.errno, error=error.strerror, unsure=True) from error
