"""Catalogue: the entries of large folders, remembered in order, so that only the first page of a list reads the folder.

Rule 1: one fstat at each page judges what is remembered. Whatever is made, removed or renamed in a folder, by any
process, sets its times: then it is read again.
Rule 2: file systems stamp by ticks, and two changes within one look alike. A folder that was changed shortly before it
was read is not remembered, for a change behind our back may bear the same stamp.
Rule 3: a clock may be set, and that of a file server may not be ours: after LIFE_SECONDS a folder is read again anyhow.
Rule 4: what is remembered has a bound; who was not asked for longest goes first.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from valetstore.storage.entries import Entries, read_entries
from valetstore.storage.layout import Layout
from valetstore.storage.settled import is_settled

BYTES_MAX: Final = 32 * 2**20
"""What one process remembers at most: of names of 40 bytes about 700,000."""

LIFE_SECONDS: Final = 30.0
"""How long what is remembered is believed."""

COUNT_MIN: Final = 200
"""A folder of fewer entries is read as quickly as it is looked up."""

Place = tuple[str, str]
"""A bucket's root, and the folder's path below it."""


class _Stamp(NamedTuple):
    """A folder and its last change. What the kernel says of when cannot be set by a program: `changed_ns`."""

    device: int
    inode: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, fd: int) -> "_Stamp":
        state = os.fstat(fd)
        return cls(state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)

    def is_settled(self, now_ns: int) -> bool:
        """Whether a change from now on will have another stamp."""
        return is_settled(self.modified_ns, self.changed_ns, now_ns)


class _Kept(NamedTuple):
    stamp: _Stamp
    entries: Entries
    until: float
    weight: int


class Catalogue:
    """What is remembered of a store's folders, at most `bytes_max` bytes. Any thread may ask."""

    def __init__(
        self,
        bytes_max: int = BYTES_MAX,
        count_min: int = COUNT_MIN,
        read: Callable[[int, Layout], Entries] = read_entries,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._bytes_max = bytes_max
        self._count_min = count_min
        self._read = read
        self._now_ns = now_ns
        self._kept: dict[Place, _Kept] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._reading: dict[Place, threading.Lock] = {}

    def entries(self, place: Place, fd: int, layout: Layout) -> Entries:
        """What is in the open folder now. Raises OSError."""
        stamp = _Stamp.of(fd)
        known = self._known(place, stamp)
        if known is not None:
            return known
        if not stamp.is_settled(self._now_ns()):
            return self._read(fd, layout)
        # Of several threads one reads. Where the folder changes meanwhile, each does: what it saw before says so.
        with self._reading.setdefault(place, threading.Lock()):
            try:
                known = self._known(place, stamp)
                if known is None:
                    known = self._read(fd, layout)
                    self._keep(place, _Kept(stamp, known, time.monotonic() + LIFE_SECONDS, known.weight))
            finally:
                self._reading.pop(place, None)
        return known

    def _known(self, place: Place, stamp: _Stamp) -> Entries | None:
        with self._lock:
            kept = self._kept.get(place)
            if kept is None:
                return None
            if kept.stamp != stamp or time.monotonic() > kept.until:
                self._forget(place)
                return None
            self._put(place, kept._replace(weight=kept.entries.weight))  # it becomes less once they are parted
            return kept.entries

    def _keep(self, place: Place, kept: _Kept) -> None:
        if kept.entries.count >= self._count_min and kept.weight <= self._bytes_max:
            with self._lock:
                self._put(place, kept)
                while self._bytes > self._bytes_max:
                    self._forget(next(iter(self._kept)))

    def _put(self, place: Place, kept: _Kept) -> None:
        if place in self._kept:
            self._forget(place)
        self._kept[place] = kept
        self._bytes += kept.weight

    def _forget(self, place: Place) -> None:
        self._bytes -= self._kept.pop(place).weight
