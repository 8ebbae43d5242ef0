"""How many bytes a bucket with a quota holds: one small file a bucket, shared by all workers.

Rule 1: the file is a count, not a truth. It is measured anew at every start, and where it is missing.
Rule 2: parts of unfinished uploads count as objects do, until their files are gone: of a large upload some while after
it is over.
Rule 3: it is changed under its own flock, together with the check against the quota, before an object gets
its name; so the published bytes never exceed a quota, whatever the workers do at the same time.
"""

import fcntl
import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from valetstore.errors import Denied
from valetstore.storage.multipart.shelf import Shelf
from valetstore.storage.roots import Root, Roots
from valetstore.storage.walk import bytes_held

_COUNT: Final = struct.Struct("<q")
_FREE: Final = nullcontext()
_SLOW_SECONDS: Final = 2.0
_log: Final = logging.getLogger("valetstore.storage")


class Quota:
    """The counts, as files in one folder; where none is known, the bucket's objects are summed up."""

    def __init__(self, folder: str, roots: Roots, shelf: Shelf) -> None:
        self._folder = folder
        self._roots = roots
        self._shelf = shelf

    def used(self, root: Root) -> int:
        """The bytes of the bucket's objects and parts. Raises OSError."""
        with self._locked(root) as fd:
            return self._read(fd, root)

    def remeasure(self, root: Root) -> int:
        """Walk the bucket and keep what that finds. For the start, while nobody stores. Raises OSError."""
        with self._locked(root) as fd:
            return self._count(fd, root)

    def charged(self, root: Root, delta: int, allowance: int = 0) -> AbstractContextManager[None]:
        """Add to the count for what happens inside; taken back where that fails. Raises `storage_full`.

        `allowance` bytes may go beyond the quota: the parts that they come from are counted, and go next.
        """
        return _FREE if root.quota is None else self._charged(root, root.quota, delta, allowance)

    @contextmanager
    def _charged(self, root: Root, quota: int, delta: int, allowance: int) -> Iterator[None]:
        self._add(root, delta, quota + allowance if delta > 0 else None)
        try:
            yield
        except BaseException:
            self._add(root, -delta, None)
            raise

    def _add(self, root: Root, delta: int, limit: int | None) -> None:
        with self._locked(root) as fd:
            used = self._read(fd, root) + delta
            if limit is not None and used > limit:
                raise full(root)
            os.pwrite(fd, _COUNT.pack(max(0, used)), 0)

    def _read(self, fd: int, root: Root) -> int:
        raw = os.pread(fd, _COUNT.size, 0)
        if len(raw) == _COUNT.size:
            used: int = _COUNT.unpack(raw)[0]
            return used
        return self._count(fd, root)

    def _count(self, fd: int, root: Root) -> int:
        started = time.monotonic()
        used = self._measure(root)
        os.pwrite(fd, _COUNT.pack(used), 0)  # over the old count, which takes no room on a full volume
        seconds = time.monotonic() - started
        if seconds > _SLOW_SECONDS:
            _log.warning("bucket %s: measured %d bytes for its quota in %.1f s", root.bucket, used, seconds)
        return used

    def _measure(self, root: Root) -> int:
        root_fd = self._roots.open(root)
        try:
            return bytes_held(root, root_fd) + self._shelf.bytes_held(root)
        finally:
            os.close(root_fd)

    @contextmanager
    def _locked(self, root: Root) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{self._folder}/{root.bucket}", flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)


def full(root: Root) -> Denied:
    """The refusal of an upload that does not fit the bucket's quota."""
    return Denied("storage_full", "The bucket's quota is used up.", bucket=root.bucket, quota=root.quota)
