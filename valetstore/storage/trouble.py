"""The one border where OSError becomes Denied: no operating system error leaves this folder.

The errno and its text are evidence for the audit; a client is only told the table's sentence.
"""

import errno
from collections.abc import Mapping
from contextlib import AbstractContextManager
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


class _Translated:
    """A context manager that keeps nothing, so one does for all: a generator would take a microsecond each time."""

    __slots__ = ("_doing",)

    def __init__(self, doing: Doing) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise denied(error, self._doing) from error


_TRANSLATED: Final[Mapping[Doing, _Translated]] = {"read": _Translated("read"), "write": _Translated("write")}


def translated(doing: Doing) -> AbstractContextManager[None]:
    """Raise Denied for any OSError inside."""
    return _TRANSLATED[doing]


MAYBE: Final = "The change may have been made all the same."
"""What is said where nobody knows (`promise.py`, Rule 3)."""


class _Deciding:
    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno == errno.EIO:
            raise Denied("storage_error", MAYBE, errno=error.errno, error=error.strerror, unsure=True) from error


_DECIDING: Final = _Deciding()


def deciding() -> AbstractContextManager[None]:
    """Around the call that decides: after EIO nobody knows whether it has."""
    return _DECIDING
