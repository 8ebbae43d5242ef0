"""Many parts become one file: copied one after the other, a moment at a time, each still the one that was named."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec

from valetstore.errors import Denied
from valetstore.storage import checksums
from valetstore.storage.draft import STEP_SECONDS, Draft
from valetstore.storage.metadata import Row, row_of
from valetstore.storage.multipart import part as parts_of
from valetstore.storage.multipart.shelf import part_entry
from valetstore.storage.pool import Pool
from valetstore.storage.promise import Metadata, ObjectInfo, Part, Upload
from valetstore.storage.upload import DiskUpload
from valetstore.storage.uploads import Chosen


def check_order(parts: Sequence[Part]) -> None:
    """Raise `part_invalid` unless there are parts and their numbers ascend."""
    numbers = [part.number for part in parts]
    if not numbers or numbers != sorted(set(numbers)):
        raise Denied("part_invalid", "There is none, or their numbers do not ascend.")


class Source:
    """The present object, where some of the parts are its: a descriptor of our own, and the state it must keep."""

    def __init__(self, fd: int, info: ObjectInfo) -> None:
        self.fd = os.dup(fd)
        self._info = info

    def check_unchanged(self) -> None:
        """Raise `storage_unavailable` where somebody has edited its file meanwhile."""
        state = os.fstat(self.fd)
        if (state.st_size, state.st_mtime_ns) != (self._info.size, self._info.modified_ns):
            raise Denied("storage_unavailable", reason="the object was edited while it was copied")

    def close(self) -> None:
        """Harmless twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class Assembly:
    """One file of many parts. Blocks; raises Denied and OSError.

    `opened` gives a descriptor of the folder that the parts are in; `source` is the object that others are in.
    """

    def __init__(
        self,
        chosen: Sequence[Chosen],
        opened: Callable[[], AbstractContextManager[int]],
        draft: Draft,
        source: Source | None = None,
    ) -> None:
        self._chosen = chosen
        self._opened = opened
        self._source = source
        self.draft = draft
        self._rows: list[Row] = []
        self._offset = 0  # within the part that follows those of `_rows`

    def advance(self) -> bool:
        """Copy on for a moment; whether that was the last of it."""
        until = time.monotonic() + STEP_SECONDS
        with self._opened() as upload:
            while len(self._rows) < len(self._chosen):
                self._copy(upload, self._chosen[len(self._rows)], until)
                if time.monotonic() >= until:
                    break
        return len(self._rows) == len(self._chosen)

    def _copy(self, upload: int, chosen: Chosen, until: float) -> None:
        named = chosen.part
        if chosen.at is not None and self._source is not None:
            self._take(self._source.fd, chosen.at, named, until)
            return
        found = parts_of.opened(upload, part_entry(named.number, named.label))
        if found is None:
            raise _other(named)
        fd, part = found
        try:
            if (part.size, part.etag) != (named.size, named.etag):
                raise _other(named)
            self._take(fd, 0, part, until)
        finally:
            os.close(fd)

    def _take(self, fd: int, start: int, part: Part, until: float) -> None:
        left = part.size - self._offset
        copied = self.draft.copy(fd, start + self._offset, left, until)
        if not copied and left:
            raise Denied("storage_error", reason="a part ends early", part=part.number or part.label)
        self._offset += copied
        if copied == left:
            self._offset = 0
            number = len(self._rows) + 1 if part.label else part.number
            self._rows.append(row_of(msgspec.structs.replace(part, number=number)))

    def seal(self, metadata: Metadata) -> ObjectInfo:
        """The whole is durable, with its part table. Its CRCs follow from the parts', and no byte is read again."""
        if self._source is not None:
            self._source.check_unchanged()
        pieces = {name: [(row.digests.get(name), row.size) for row in self._rows] for name in checksums.CRCS}
        for name, found in pieces.items():
            known = [(digest, size) for digest, size in found if digest is not None]
            if known and len(known) == len(found):
                self.draft.know({name: checksums.combined(name, known)})
        return self.draft.seal([], metadata, self._rows)

    def drop(self) -> None:
        """Nobody waits for it."""
        self.close()
        self.draft.drop()

    def close(self) -> None:
        """The bytes are there, or never will be."""
        if self._source is not None:
            self._source.close()


async def assembled(pool: Pool, begin: Callable[[], Assembly], metadata: Metadata) -> tuple[Upload, ObjectInfo]:
    """The whole, durable and under no name: what `Uploads.assemble` promises."""
    assembly = await pool.obtain("write", Assembly.drop, begin)
    whole = DiskUpload(pool, assembly.draft)
    try:
        while not await pool.run("write", assembly.advance):
            pass
        return whole, await pool.run("write", assembly.seal, metadata)
    except BaseException:
        # First: it waits for the thread that may still be copying for a task that was cancelled.
        await whole.abort()
        raise
    finally:
        assembly.close()


def _other(named: Part) -> Denied:
    name = named.label or named.number
    return Denied("part_invalid", f"Part {name} is not the one that was named.", part=name)
