"""Room for uploads: what the volume has free, less what running uploads have announced.

Rule 1: an upload is refused at once where what it announces does not fit; it holds the room for its next
bytes until it is published or dropped, and every way out releases it.
Rule 2: this refuses early and politely. The file system has the last word: its ENOSPC is `storage_full` too.
Rule 3: counts are of this process. What other workers have announced and not written is not seen, which
`free-bytes-min` has to cover; a quota is exact all the same, since `quota.py` decides it again at publish.
"""

import os
import threading
from collections import Counter
from typing import Final

from valetstore.errors import Denied
from valetstore.storage.quota import Quota, full
from valetstore.storage.roots import Root

FRESH_SECONDS: Final = 1.0
"""How long a measured volume is believed; bytes written since are subtracted meanwhile."""


AHEAD_BYTES: Final = 64 * 2**20
"""How far ahead of its bytes an upload holds room: who announces all there is must not keep others out."""


class Space:
    """Free bytes by volume (st_dev), and the holds of running uploads."""

    def __init__(self, free_bytes_min: int, quota: Quota) -> None:
        self._free_min = free_bytes_min
        self._quota = quota
        self._free: dict[int, int] = {}
        self._announced: Counter[int] = Counter()  # by volume: not written yet
        self._held: Counter[str] = Counter()  # by bucket with a quota
        self._lock = threading.Lock()

    def measure(self, volume: int, fd: int) -> None:
        """Ask the file system; `fd` is anything on the volume. Raises OSError."""
        state = os.fstatvfs(fd)
        with self._lock:
            self._free[volume] = state.f_bavail * state.f_frsize

    def hold(self, volume: int, root: Root, length: int | None, replaces: int = 0) -> "Hold":
        """Set `length` bytes aside (None: unknown, checked batch by batch). Raises `storage_full`.

        `replaces` is the size of the object that goes when this one comes: a quota counts one of them.
        """
        length = length or 0
        hold = Hold(self, volume, root, length, replaces)
        if length > AHEAD_BYTES:
            self.check(volume, root, length, replaces)
        hold.extend(min(length, AHEAD_BYTES))
        return hold

    def check(self, volume: int, root: Root, count: int, replaces: int) -> None:
        """Raise `storage_full` where so many more bytes do not fit as things stand; nothing is set aside."""
        used = self._quota.used(root) if root.quota is not None else 0
        with self._lock:
            self._check(volume, root, count, used - replaces)

    def reserve(self, volume: int, root: Root, count: int, replaces: int) -> None:
        """For `Hold`: count bytes as announced, or raise `storage_full`."""
        used = self._quota.used(root) if root.quota is not None else 0
        with self._lock:
            self._check(volume, root, count, used - replaces)
            if root.quota is not None:
                self._held[root.bucket] += count
            self._announced[volume] += count

    def _check(self, volume: int, root: Root, count: int, used: int) -> None:
        if self._free.get(volume, 0) - self._announced[volume] - self._free_min < count:
            raise Denied("storage_full", volume=volume, free=self._free.get(volume), needed=count)
        if root.quota is not None and used + self._held[root.bucket] + count > root.quota:
            raise full(root)

    def spend(self, volume: int, count: int) -> None:
        """For `Hold`: announced bytes are written now."""
        with self._lock:
            self._announced[volume] -= count
            if volume in self._free:
                self._free[volume] -= count

    def give_back(self, volume: int, root: Root, unwritten: int, held: int) -> None:
        """For `Hold`: the upload is over."""
        with self._lock:
            self._announced[volume] -= unwritten
            if root.quota is not None:
                self._held[root.bucket] -= held


class Hold:
    """One upload's room. Used by one thread at a time."""

    def __init__(self, space: Space, volume: int, root: Root, length: int = 0, replaces: int = 0) -> None:
        self._space = space
        self._length = length
        self._replaces = replaces
        self._volume = volume
        self._root = root
        self._announced = 0
        self._written = 0
        self._released = False

    def extend(self, count: int) -> None:
        """Set more aside. Raises `storage_full`."""
        self._space.reserve(self._volume, self._root, count, self._replaces)
        self._announced += count

    def write(self, fd: int, count: int) -> None:
        """The next `count` bytes are about to be written to `fd`. Raises `storage_full`."""
        missing = self._written + count - self._announced
        if missing > 0:
            self._space.measure(self._volume, fd)
            self.extend(max(missing, min(AHEAD_BYTES, self._length - self._announced)))
        self._written += count
        self._space.spend(self._volume, count)

    def release(self) -> None:
        """Give back what is held; harmless twice."""
        if not self._released:
            self._released = True
            unwritten = self._announced - self._written
            self._space.give_back(self._volume, self._root, unwritten, self._announced)
