"""Ground: a folder for one bench's data, in which what was deleted before does not slow down what is made now.

ext4 without a journal takes no inode again that was freed less than five minutes ago: it looks at each such one first.
Where a bench or a test run has just deleted thousands of files, a new file next to them costs twice the time, whoever
makes it. So each contender's folder gets a place of its own on the disk (the flag `T` of chattr(1)).
"""

import contextlib
import fcntl
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# linux/fs.h; "the top of a hierarchy", which ext4's allocator spreads.
_GET_FLAGS: Final = 0x80086601
_SET_FLAGS: Final = 0x40086602
_TOP: Final = 0x00020000


@contextlib.contextmanager
def ground(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, gone at the end with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="valetstore-bench-", dir=parent) as made:
        _spread(made)
        yield Path(made)


def _spread(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Other file systems know no such flag, and need none.
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP))
    finally:
        os.close(descriptor)
