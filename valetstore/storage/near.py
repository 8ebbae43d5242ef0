"""Near: which buckets lie on file systems of this machine, where a name or a page in the kernel's memory costs no wait.

A network file system may ask its server even for what is in memory, and wait for it without end: its buckets are served
by threads alone. So are those of file systems that are not in the list, which is of the common ones.
"""

import ctypes
import os
from typing import Final

from valetstore.storage.roots import Root

# statfs(2), linux/magic.h.
_LOCAL: Final = {
    0xEF53: "ext2, ext3, ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x01021994: "tmpfs",
    0x794C7630: "overlayfs",
}

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)


class Near:
    """The device of each bucket that was looked at and found near; may be asked from any thread."""

    def __init__(self) -> None:
        self._devices: dict[str, int | None] = {}

    def look(self, root: Root, root_fd: int) -> None:
        """In a thread: find out where an open root lies, once. Raises OSError."""
        if root.bucket not in self._devices:
            is_local = _type_of(root_fd) in _LOCAL
            self._devices[root.bucket] = os.fstat(root_fd).st_dev if is_local else None

    def device_of(self, bucket: str) -> int | None:
        """Its device; None where it was not looked at yet, or is not near."""
        return self._devices.get(bucket)


def _type_of(fd: int) -> int:
    """The file system's magic number: the first word of struct statfs."""
    found = (ctypes.c_long * 64)()
    if _libc.fstatfs(fd, ctypes.byref(found)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(found[0])
