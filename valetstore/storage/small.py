"""SmallObjects: objects that are read here and now, on the event loop, and remembered while nothing about them changes.

Rule 1: what is handed out was opened below its root like any object, at most REOPEN_SECONDS ago, and one stat has shown
just now that its name still leads to the same file in the same state: a change by any process is seen at once.
Rule 2: the loop waits for no disk where the kernel can tell: file systems that are not near, a name that is not in its
memory (RESOLVE_CACHED), bytes that are not in the page cache (RWF_NOWAIT) are left to the store's threads.
Rule 3: file systems stamp by ticks, and two changes within one look alike. So a file that was changed a moment ago is
not remembered, only read.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final, NamedTuple

from valetstore.objectkey import ObjectKey
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file_cached
from valetstore.storage.near import Near
from valetstore.storage.pagecache import read_cached
from valetstore.storage.promise import ObjectInfo
from valetstore.storage.roots import Roots
from valetstore.storage.settled import is_settled

SMALL_BYTES: Final = 64 * 1024
"""The largest object that is read in one go."""

REOPEN_SECONDS: Final = 1.0
"""When an object is opened anew: a stat follows symbolic links on its way, and cannot see what a mapping writes."""

ENTRY_BYTES: Final = 2_048
"""What a remembered object takes beside its bytes, reckoned high."""

State = tuple[int, int, int, int, int]
"""Device, inode, size, and the moments of the last change to the bytes and to anything, in nanoseconds."""


class Small(NamedTuple):
    """An object's state and all its bytes; `body` is None for one that is too large.

    `views` is for what its readers work out from this very state, a few things each.
    """

    info: ObjectInfo
    body: bytes | None
    state: State
    path: str
    reopen_at: float
    views: dict[Hashable, Any]


class SmallObjects:
    """The small objects of a store: at most `bytes_max` bytes of them are remembered, the longest remembered go first.

    For the event loop's thread alone.
    """

    def __init__(self, roots: Roots, near: Near, bytes_max: int) -> None:
        self._roots = roots
        self._near = near
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: OrderedDict[ObjectKey, Small] = OrderedDict()

    def get(self, key: ObjectKey) -> Small | None:
        """The object as it is now; None where it is not small, not there, or a disk would be waited for."""
        held = self._held.get(key)
        if held is not None:
            if time.monotonic() < held.reopen_at:
                if held.body is None:
                    return None
                try:
                    if _state(os.stat(held.path, follow_symlinks=False)) == held.state:
                        return held
                except OSError:
                    pass
            self._forget(key, held)
        try:
            return self._read(key, held)
        except OSError:
            return None  # whoever asks in a thread is told why

    def _read(self, key: ObjectKey, former: Small | None) -> Small | None:
        """What was worked out from a `former` state stays with it while that is the same. Raises OSError, Denied."""
        device = self._near.device_of(key.bucket)
        if device is None:
            return None
        root = self._roots.of(key.bucket)
        path = root.layout.to_path(key.name)
        root_fd = self._roots.open(root)
        try:
            opened = open_file_cached(root_fd, path)
        finally:
            os.close(root_fd)
        if opened is None:
            return None
        fd, found = opened
        try:
            if found.st_dev != device:  # another volume, mounted below the root
                return None
            is_small = found.st_size <= SMALL_BYTES
            body = read_cached(fd, 0, found.st_size) if is_small else None
            if is_small and body is None:
                return None
            state = _state(found)
            # Its bytes are read anew, for a mapping may have written them; to set an attribute changes its state.
            kept = former if former is not None and former.state == state else None
            info = metadata.read(fd, found, key.name) if kept is None else kept.info
            # What was read while it changed is no state of the object.
            if _state(os.fstat(fd)) != state:
                return None
        finally:
            os.close(fd)
        views = {} if kept is None else kept.views
        small = Small(info, body, state, f"{root.path}/{path}", time.monotonic() + REOPEN_SECONDS, views)
        if is_settled(found.st_mtime_ns, found.st_ctime_ns, time.time_ns()):
            self._remember(key, small)
        return small if is_small else None

    def _remember(self, key: ObjectKey, small: Small) -> None:
        self._bytes += _weight(small)
        self._held[key] = small
        while self._bytes > self._bytes_max:
            _, oldest = self._held.popitem(last=False)
            self._bytes -= _weight(oldest)

    def _forget(self, key: ObjectKey, held: Small) -> None:
        del self._held[key]
        self._bytes -= _weight(held)


def _state(found: os.stat_result) -> State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _weight(small: Small) -> int:
    return ENTRY_BYTES + len(small.body or b"")
