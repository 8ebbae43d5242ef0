"""What an upload stands on: the volume of its bucket, where its temp files go, how much room it has there."""

import os
import time
from typing import Final, NamedTuple

from valetstore.storage.roots import Root, Roots
from valetstore.storage.space import FRESH_SECONDS, Hold, Space
from valetstore.storage.temp import TempFolder, folder_for

_GROUNDS_MAX: Final = 1024


class Ground(NamedTuple):
    """What was found out about a bucket's volume, believed until `until` (monotonic seconds)."""

    volume: int
    temp: TempFolder
    until: float


class Grounds:
    """The grounds of a store's buckets, remembered for a moment."""

    def __init__(self, roots: Roots, space: Space, temp: TempFolder) -> None:
        self._roots = roots
        self._space = space
        self._temp = temp
        self._known: dict[str, Ground] = {}

    def known(self, root: Root) -> Ground | None:
        """What was found a moment ago, without a look at any disk."""
        ground = self._known.get(root.bucket)
        return ground if ground and time.monotonic() < ground.until else None

    def look(self, root: Root, root_fd: int) -> Ground:
        """Find out. Blocks; raises OSError."""
        volume = os.fstat(root_fd).st_dev
        ground = Ground(volume, folder_for(root_fd, root.path, self._temp), time.monotonic() + FRESH_SECONDS)
        self._space.measure(volume, root_fd)
        # A plain file can stand in another's way, and a quota's count is in a file: those look every time.
        if root.tidies and root.quota is None:
            if len(self._known) >= _GROUNDS_MAX:
                self._known.clear()
            self._known[root.bucket] = ground
        return ground

    def measure(self, fd: int) -> int:
        """The volume that this is on, measured now. Blocks; raises OSError."""
        volume = os.fstat(fd).st_dev
        self._space.measure(volume, fd)
        return volume

    def hold(self, volume: int, root: Root, length: int | None, replaces: int) -> Hold:
        """Room for an upload. Raises `storage_full`."""
        return self._space.hold(volume, root, length, replaces)
