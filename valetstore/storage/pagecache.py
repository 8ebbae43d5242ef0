"""The page cache, asked without waiting for a disk (preadv2(2), RWF_NOWAIT).

Where a file system cannot tell, it says so by an error, and the answer here is the careful one.
"""

import os
from typing import Final

_SCRATCH: Final = [bytearray(1)]
"""Where the probes' bytes go; nobody reads it."""


def read_cached(descriptor: int, start: int, count: int) -> bytes | None:
    """These bytes of a file, where all of them are in memory; else None, also at the file's end."""
    buffer = bytearray(count)
    try:
        got = os.preadv(descriptor, [buffer], start, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: not in memory; EOPNOTSUPP: cannot tell; a fault shows again where it is waited for
        return None
    return bytes(buffer) if got == count else None


def seems_cached(descriptor: int, start: int, count: int) -> bool:
    """Whether a stretch is likely to be in memory: its first and its last byte are.

    A likelihood, not a proof: pages that are missing only in the middle are not seen. True where the file system
    cannot tell, since whoever asks reads next, and meets any fault there.
    """
    try:
        os.preadv(descriptor, _SCRATCH, start, os.RWF_NOWAIT)
        os.preadv(descriptor, _SCRATCH, start + count - 1, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
