"""An object opened for reading: a descriptor holds one state, whatever happens to the name afterwards."""

import os
from typing import Final

from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file, open_file_cached
from valetstore.storage.pool import Pool
from valetstore.storage.promise import ObjectInfo, Part
from valetstore.storage.roots import Root
from valetstore.storage.spill import Spills, table_of

_LARGE_BYTES: Final = 64 * 2**20
"""From here on a close that frees a deleted file's blocks takes long enough to be a thread's work."""


def look(root: Root, root_fd: int, name: str, path: str) -> tuple[int, ObjectInfo]:
    """Open an object by its path below the root; its state, read from the same descriptor. Raises OSError."""
    return _described(*open_file(root_fd, path), name)


def look_cached(root_fd: int, name: str, path: str) -> tuple[int, ObjectInfo] | None:
    """The same for the event loop: None where a disk would be waited for."""
    opened = open_file_cached(root_fd, path)
    return None if opened is None else _described(*opened, name)


def _described(fd: int, state: os.stat_result, name: str) -> tuple[int, ObjectInfo]:
    try:
        return fd, metadata.read(fd, state, name)
    except BaseException:
        os.close(fd)
        raise


class DiskObject:
    """`promise.OpenObject` on a disk."""

    def __init__(self, pool: Pool, fd: int, info: ObjectInfo, spills: Spills) -> None:
        self._pool = pool
        self._fd = fd
        self._spills = spills
        self.info = info

    def fileno(self) -> int | None:
        """For sendfile; -1 once closed. Its file position is not used: give offsets."""
        return self._fd

    async def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes at `offset`, b"" at the end. Raises `storage_error`."""
        if self._fd < 0:
            raise Denied("internal_error", reason="read after close")
        return await self._pool.run("read", os.pread, self._fd, count, offset)

    async def part_table(self) -> tuple[Part, ...]:
        """The parts it was uploaded in; () where it came in one piece, or its table is lost.

        Raises `storage_unavailable` where it was replaced or deleted meanwhile, and its table with it.
        """
        if not self.info.parts:
            return ()
        if self._fd < 0:
            raise Denied("internal_error", reason="read after close")
        return await self._pool.run_on("read", self._fd, self._part_table)

    def _part_table(self, fd: int) -> tuple[Part, ...]:
        record = metadata.stored(fd)
        table = table_of(record, self._spills) if record else ()
        if not table and os.fstat(fd).st_nlink == 0:
            raise Denied("storage_unavailable", reason="replaced or deleted while it was read")
        return tuple(row.part() for row in table)

    def close(self) -> None:
        """Let go of it; harmless twice."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self.info.size < _LARGE_BYTES:
            os.close(fd)
        else:
            self._pool.later(lambda: os.close(fd))
