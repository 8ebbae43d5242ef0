"""When a folder was made: the one time of it that its entries do not change (statx(2), `stx_btime`).

Rule 1: where the file system or the C library does not keep it, the last change of the folder's entries stands in.
"""

import ctypes
import os
import struct
from typing import Final

_AT_FDCWD: Final = -100
_AT_SYMLINK_FOLLOW: Final = 0
_STATX_BTIME: Final = 0x800
# linux/stat.h, struct statx: 256 bytes; stx_mask first, stx_btime (seconds, nanoseconds) at byte 80.
_STATX_BYTES: Final = 256
_MASK: Final = struct.Struct("=I")
_BTIME: Final = struct.Struct("=qI")
_BTIME_AT: Final = 80

_statx: Final = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)


def born_ns(path: str) -> int:
    """Nanoseconds since the epoch. Raises OSError where nothing is there."""
    state = os.stat(path)
    if _statx is not None:
        found = ctypes.create_string_buffer(_STATX_BYTES)
        asked = (ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_int(_AT_SYMLINK_FOLLOW))
        if _statx(*asked, ctypes.c_uint(_STATX_BTIME), found) == 0 and _MASK.unpack_from(found)[0] & _STATX_BTIME:
            seconds, nanoseconds = _BTIME.unpack_from(found, _BTIME_AT)
            if seconds > 0:  # images are unpacked with folders that were made at no time
                return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return state.st_mtime_ns
