"""Writeback begun early: the kernel starts to write what an fsync will wait for (sync_file_range(2)).

Rule 1: it is a hint and no promise: whether bytes are durable says the fsync alone, which must follow all the same.
"""

import ctypes
from typing import Final

_SYNC_FILE_RANGE_WRITE: Final = 2

_call: Final = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
if _call is not None:
    _call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin_writeback(fd: int, offset: int = 0, count: int = 0) -> None:
    """Of `count` bytes from `offset` on, 0 for all that follow; waits only where the device's queue is full."""
    if _call is not None:
        # What fails here fails in the fsync too, which tells it.
        _call(fd, offset, count, _SYNC_FILE_RANGE_WRITE)
