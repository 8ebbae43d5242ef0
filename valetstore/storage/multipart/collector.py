"""What nobody comes back for: uploads that were left lying, what a crash left of others, part tables without object.

Rule 1: of all processes on one data directory one collects, as long as it lives: the one that has the lock.
Rule 2: what cannot be looked at now stays; nothing goes because a disk is away.
Rule 3: it runs in a thread of its own, and ends soon after `stop`.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file
from valetstore.storage.multipart import keeping, shelf
from valetstore.storage.multipart.part import Bench
from valetstore.storage.roots import Root, Roots
from valetstore.storage.spill import Spills

_log: Final = logging.getLogger("valetstore.storage")
_BEING_MADE_SECONDS_MAX: Final = 3600
_SPILL_SECONDS_MIN: Final = 86_400
"""So long an object may take from its part table to its name."""
_STEP_SECONDS: Final = 1.0
_PAUSE_SECONDS_MAX: Final = 3600


class Collected(msgspec.Struct):
    """What one pass has removed."""

    uploads: int = 0
    remains: int = 0
    spills: int = 0

    def __str__(self) -> str:
        return (
            f"collected {self.uploads} abandoned uploads, the remains of {self.remains} others, "
            f"{self.spills} part tables without an object"
        )


class Collector:
    """One store's. `seconds_max` is how long an upload may be left alone. Blocks."""

    def __init__(self, lock: str, bench: Bench, roots: Roots, spills: Spills, seconds_max: int) -> None:
        self._lock = lock
        self._bench = bench
        self._roots = roots
        self._spills = spills
        self._seconds_max = seconds_max
        self._lock_fd = -1
        self._stopped = threading.Event()

    @property
    def pause_seconds(self) -> int:
        """How long to wait between two passes: no upload lies for twice its time, nor an hour longer."""
        return min(_PAUSE_SECONDS_MAX, self._seconds_max)

    def run(self) -> Collected | None:
        """One pass; None where another process collects. What goes wrong is logged."""
        if not self._is_ours():
            return None
        collected = Collected()
        for collect in (self._collect_uploads, self._collect_spills):
            try:
                collect(collected)
            except (OSError, Denied) as error:
                _log.warning("abandoned uploads could not be collected: %s", error)
        if collected != Collected():
            _log.info("%s", collected)
        return collected

    def stop(self) -> None:
        """End the pass that runs, and let another process collect."""
        self._stopped.set()
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)

    def _is_ours(self) -> bool:
        if self._stopped.is_set():
            return False
        if self._lock_fd >= 0:
            return True
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with suppress(OSError):  # EROFS: there is nothing that it could remove either
            fd = os.open(self._lock, flags, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._lock_fd = fd
            return True
        return False

    # --- uploads -----------------------------------------------------------------------------------

    def _collect_uploads(self, collected: Collected) -> None:
        for parent, root in self._places():
            for upload_id, ending in self._bench.shelf.folders(parent, root.bucket):
                if self._stopped.is_set():
                    return
                try:
                    self._judge(parent, root, upload_id, ending, collected)
                except (OSError, Denied) as error:
                    _log.warning("bucket %s: an abandoned upload could not be removed: %s", root.bucket, error)

    def _places(self) -> Iterator[tuple[str, Root]]:
        of_all = self._bench.shelf.state
        for bucket in self._bench.shelf.buckets(of_all):
            with suppress(Denied):  # no bucket has such a name
                yield of_all, self._roots.of(bucket)
        for root in self._roots.existing():
            _, own = self._bench.shelf.parents(root)
            if os.path.isdir(f"{own}/{shelf.UPLOADS}"):
                yield own, root

    def _judge(self, parent: str, root: Root, upload_id: str, ending: str, collected: Collected) -> None:
        age = self._age(parent, root.bucket, upload_id + ending)
        if not ending and age > self._seconds_max:
            closed = keeping.close(self._bench, root, parent, upload_id)
            if closed:
                self._clear(parent, root, closed)
                collected.uploads += 1
        elif ending == shelf.BEING_REMOVED or (ending and age > _BEING_MADE_SECONDS_MAX):
            self._clear(parent, root, upload_id + ending)
            collected.remains += 1

    def _age(self, parent: str, bucket: str, folder: str) -> float:
        """Seconds since the last part came or began, or the upload itself."""
        with suppress(FileNotFoundError), self._bench.shelf.upload(parent, bucket, folder) as upload:
            return time.time() - os.fstat(upload).st_mtime
        return 0

    def _clear(self, parent: str, root: Root, folder: str) -> None:
        while not self._stopped.is_set():
            if keeping.clear(self._bench, root, parent, folder, time.monotonic() + _STEP_SECONDS):
                return

    # --- part tables -------------------------------------------------------------------------------

    def _collect_spills(self, collected: Collected) -> None:
        for spill in self._spills.older_than(time.time() - _SPILL_SECONDS_MIN):
            if self._stopped.is_set():
                return
            if not self._is_named(spill):
                self._spills.remove(spill)
                collected.spills += 1

    def _is_named(self, spill: str) -> bool:
        """Whether its object names it, or that cannot be known now."""
        try:
            owner = self._spills.owner(spill)
            return owner is not None and self._spill_of(*owner) == spill
        except FileNotFoundError:
            return False
        except (OSError, Denied):
            return True

    def _spill_of(self, bucket: str, name: str) -> str:
        root = self._roots.of(bucket)
        root_fd = self._roots.open(root)
        try:
            fd, _ = open_file(root_fd, root.layout.to_path(name))
        finally:
            os.close(root_fd)
        try:
            record = metadata.stored(fd)
            return record.spill if record else ""
        finally:
            os.close(fd)
