"""Many parts become one file: copied one after the other, a moment at a time, each still the one that was named."""

import os
import time
from collections.abc import Sequence

from valetstore.errors import Denied
from valetstore.storage import checksums
from valetstore.storage.draft import STEP_SECONDS, Draft
from valetstore.storage.metadata import Row, row_of
from valetstore.storage.multipart import part as parts_of
from valetstore.storage.multipart.shelf import Shelf
from valetstore.storage.promise import Metadata, ObjectInfo, Part


def check_order(parts: Sequence[Part]) -> None:
    """Raise `part_invalid` unless there are parts and their numbers ascend."""
    numbers = [part.number for part in parts]
    if not numbers or numbers != sorted(set(numbers)):
        raise Denied("part_invalid", "There is none, or their numbers do not ascend.")


class Assembly:
    """One file of many parts. Blocks; raises Denied and OSError."""

    def __init__(self, shelf: Shelf, parent: str, bucket: str, upload_id: str, draft: Draft) -> None:
        self._shelf = shelf
        self._parent = parent
        self._bucket = bucket
        self._upload_id = upload_id
        self.draft = draft
        self._rows: list[Row] = []
        self._offset = 0  # within the part that follows those of `_rows`

    def advance(self, parts: Sequence[Part]) -> bool:
        """Copy on for a moment; whether that was the last of it."""
        until = time.monotonic() + STEP_SECONDS
        with self._shelf.going_on(self._parent, self._bucket, self._upload_id) as upload:
            while len(self._rows) < len(parts):
                self._copy(upload, parts[len(self._rows)], until)
                if time.monotonic() >= until:
                    break
        return len(self._rows) == len(parts)

    def _copy(self, upload: int, named: Part, until: float) -> None:
        found = parts_of.opened(upload, named.number)
        if found is None:
            raise _other(named)
        fd, part = found
        try:
            if (part.size, part.etag) != (named.size, named.etag):
                raise _other(named)
            left = part.size - self._offset
            copied = self.draft.copy(fd, self._offset, left, until)
        finally:
            os.close(fd)
        if not copied and left:
            raise Denied("storage_error", reason="a part ends early", part=named.number)
        self._offset += copied
        if copied == left:
            self._offset = 0
            self._rows.append(row_of(part))

    def seal(self, metadata: Metadata) -> ObjectInfo:
        """The whole is durable, with its part table. Its CRCs follow from the parts', and no byte is read again."""
        pieces = {name: [(row.digests.get(name), row.size) for row in self._rows] for name in checksums.CRCS}
        for name, found in pieces.items():
            known = [(digest, size) for digest, size in found if digest is not None]
            if len(known) == len(found):
                self.draft.know({name: checksums.combined(name, known)})
        return self.draft.seal([], metadata, self._rows)


def _other(named: Part) -> Denied:
    return Denied("part_invalid", f"Part {named.number} is not the one that was named.", part=named.number)
