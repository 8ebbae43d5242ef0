"""What an object's blocks come to, kept in a small file beside them: each new one need not look at all others.

Rule 1: it is a count, not a truth. It names the folder's time stamp that it belongs to, which every block that comes
changes: one that a crash has left behind is counted anew.
Rule 2: that it is there says that the folder's name is durable. It is written under the upload's lock.
"""

import os
import struct
from typing import Final

from valetstore.storage.multipart.shelf import TALLY, entries, identity_of, size_of
from valetstore.storage.uploads import Staged

_RECORD: Final = struct.Struct("<QQQH")
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


def read(upload: int) -> Staged:
    """What is in an upload's folder, counted where that is not known. Raises OSError."""
    try:
        fd = os.open(TALLY, _FLAGS, dir_fd=upload)
    except FileNotFoundError:
        return _counted(upload)
    try:
        raw = os.pread(fd, _RECORD.size, 0)
    finally:
        os.close(fd)
    if len(raw) == _RECORD.size:
        stamp, *found = _RECORD.unpack(raw)
        if stamp == os.fstat(upload).st_mtime_ns:
            return Staged(*found)
    return _counted(upload)


def is_there(upload: int) -> bool:
    """Whether one was ever written there."""
    try:
        os.stat(TALLY, dir_fd=upload, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def make(upload: int) -> None:
    """The file, with nothing in it yet: its making changes the folder's time stamp."""
    os.close(os.open(TALLY, _FLAGS | os.O_CREAT, 0o600, dir_fd=upload))


def write(upload: int, staged: Staged) -> None:
    """This is what is there now. Raises OSError."""
    fd = os.open(TALLY, _FLAGS, dir_fd=upload)
    try:
        os.pwrite(fd, _RECORD.pack(os.fstat(upload).st_mtime_ns, *staged), 0)
    finally:
        os.close(fd)


def _counted(upload: int) -> Staged:
    found = entries(upload)
    label = identity_of(found[0])[1] if found else ""
    return Staged(len(found), sum(size_of(upload, entry) for entry in found), len(label))
