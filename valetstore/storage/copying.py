"""Bytes from one file to the end of another, by the kernel: it shares them where the file system can, else copies.

Rule 1: where the kernel cannot (two file systems, an old one), they are read and written here. What it has copied by
then is not copied again.
"""

import errno
import os
from typing import Final

_CHUNK_BYTES: Final = 2**20
# Two file systems; a kernel, a file system or a sandbox that does not know the call; files it does not take.
_CANNOT: Final = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})


def copy_bytes(source: int, offset: int, target: int, count: int) -> int:
    """Append up to `count` bytes from `offset` at the target's position; fewer only at the source's end.

    Raises OSError.
    """
    done = 0
    try:
        while done < count:
            copied = os.copy_file_range(source, target, count - done, offset_src=offset + done)
            if not copied:
                break  # the end; or a file system that says so and is not there, which a read tells
            done += copied
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    return done + _copy_by_hand(source, offset + done, target, count - done)


def _copy_by_hand(source: int, offset: int, target: int, count: int) -> int:
    done = 0
    while done < count:
        chunk = os.pread(source, min(_CHUNK_BYTES, count - done), offset + done)
        if not chunk:
            break
        left = memoryview(chunk)
        while left:
            left = left[os.write(target, left) :]
        done += len(chunk)
    return done
