"""`uploads.Blocks` on a disk: an upload for each object's blocks, that comes with the first and goes with the last.

Rule 1: what was put there in time is in the upload before it is closed; what comes later is in a new one.
Rule 2: how many there may be is judged when one is put there, under the upload's lock; before its bytes are sent, as
far as can be known then.
"""

import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, TypeVar

from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.storage.draft import STEP_SECONDS, Draft
from valetstore.storage.ground import Grounds
from valetstore.storage.multipart import keeping, part, shelf, tally
from valetstore.storage.multipart.assembly import Assembly, Source, assembled
from valetstore.storage.multipart.block import BlockPlace, check_room
from valetstore.storage.multipart.ending import Ending
from valetstore.storage.multipart.part import Bench
from valetstore.storage.naming import Target, size_standing
from valetstore.storage.place import ObjectPlace, Workshop
from valetstore.storage.pool import Pool
from valetstore.storage.promise import MD5, Metadata, ObjectInfo, OpenObject, Part, Upload
from valetstore.storage.roots import Root
from valetstore.storage.temp import TempFolder
from valetstore.storage.upload import DiskUpload
from valetstore.storage.uploads import BLOCKS_MAX, Chosen, Staged, Started

Found = TypeVar("Found")
_ALWAYS: Final = frozenset({MD5})
"""The entity tag of a block and of the whole; and what a scrub compares with."""


class DiskBlocks:
    """Blocks of one store. `temp` is the folder for temp files that buckets share."""

    def __init__(
        self, bench: Bench, workshop: Workshop, grounds: Grounds, pool: Pool, temp: TempFolder, ending: Ending
    ) -> None:
        self._bench = bench
        self._shelf = bench.shelf
        self._workshop = workshop
        self._grounds = grounds
        self._pool = pool
        self._temp = temp
        self._ending = ending

    # --- those that wait ---------------------------------------------------------------------------

    async def begin(
        self, admission: Admission, label: str, length: int | None, digests: frozenset[str], size_max: int | None = None
    ) -> Upload:
        """As `Store.begin`, for a block. Raises `too_large`, `part_invalid`."""
        if not 1 <= len(label.encode()) <= shelf.LABEL_BYTES_MAX:
            raise Denied("part_invalid", f"A block's name has 1 to {shelf.LABEL_BYTES_MAX} bytes.")
        root, name = self._of(admission)
        draft = partial(self._draft, root, name, label, length, digests | _ALWAYS, size_max)
        return DiskUpload(self._pool, await self._pool.obtain("write", Draft.drop, draft))

    def _draft(
        self, root: Root, name: str, label: str, length: int | None, digests: frozenset[str], size_max: int | None
    ) -> Draft:
        entry = shelf.part_entry(0, label)
        root_fd = self._workshop.roots.open_to_write(root)
        try:
            size_standing(Target.of(root, root_fd, name))
            ground = self._grounds.look(root, root_fd)
        finally:
            os.close(root_fd)
        parent, volume, standing = self._shelf.state, ground.volume, 0
        if ground.temp is not self._temp:
            parent = ground.temp.path
        try:
            parent, started = self._find(root, name)
            with self._shelf.going_on(parent, root.bucket, started.id) as upload:
                volume = self._grounds.measure(upload)
                standing = shelf.size_of(upload, entry)
                check_room(tally.read(upload), upload, entry, label, length or 0, size_max)
        except Denied as denied:
            if denied.code != "upload_not_found":
                raise
        temp = self._temp if parent == self._shelf.state else TempFolder(parent)
        hold = self._grounds.hold(volume, root, length, standing)
        place = BlockPlace(self._bench, self._workshop, root, name, parent, label, size_max)
        return Draft(self._workshop, place, temp, hold, digests)

    async def staged(self, admission: Admission, labels: Collection[str] | None = None) -> list[Part]:
        """Those that wait, in order of their labels."""
        root, name = self._of(admission)
        entries = await self._pool.run("read", self._entries, root, name, labels)
        found: list[Part] = []
        while entries:
            looked = await self._pool.run("read", self._look, root, name, entries)
            found += [one for one in looked if one is not None]
            entries = entries[len(looked) :]
        return found

    def _entries(self, root: Root, name: str, labels: Collection[str] | None) -> list[bytes]:
        if labels is not None:
            fit = (label for label in labels if 1 <= len(label.encode()) <= shelf.LABEL_BYTES_MAX)
            return sorted({shelf.part_entry(0, label) for label in fit})
        return self._inside(root, name, shelf.entries) or []

    def _look(self, root: Root, name: str, entries: Sequence[bytes]) -> list[Part | None]:
        """The first of these, as many as can be looked at in a moment."""

        def look(upload: int) -> list[Part | None]:
            until, looked = time.monotonic() + STEP_SECONDS, list[Part | None]()
            for entry in entries:
                looked.append(part.look(upload, entry))
                if time.monotonic() >= until:
                    break
            return looked

        found = self._inside(root, name, look)
        return [None] * len(entries) if found is None else found

    async def waiting(self, admission: Admission, but: Collection[str] = ()) -> Staged:
        """How many wait, those with these labels left out."""
        root, name = self._of(admission)
        return await self._pool.run("read", self._waiting, root, name, but)

    def _waiting(self, root: Root, name: str, but: Collection[str]) -> Staged:
        def count(upload: int) -> Staged:
            found = tally.read(upload)
            out = [entry for label in set(but) if (entry := shelf.part_entry(0, label)) and _is_there(upload, entry)]
            size = sum(shelf.size_of(upload, entry) for entry in out)
            return found._replace(blocks=found.blocks - len(out), size=found.size - size)

        return self._inside(root, name, count) or Staged(0, 0, 0)

    async def discard(self, admission: Admission) -> None:
        """None wait any more."""
        root, name = self._of(admission)
        await self._ending.end(root, partial(self._find, root, name))

    # --- the whole ---------------------------------------------------------------------------------

    async def assemble(
        self, admission: Admission, chosen: Sequence[Chosen], present: OpenObject | None, metadata: Metadata
    ) -> tuple[Upload, ObjectInfo]:
        """The whole of these, durable and under no name."""
        if len(chosen) > BLOCKS_MAX:
            raise Denied("part_invalid", f"An object has at most {BLOCKS_MAX} blocks.", count_max=BLOCKS_MAX)
        keeping.check_room(metadata)
        root, name = self._of(admission)
        return await assembled(self._pool, partial(self._assembly, root, name, chosen, present), metadata)

    def _assembly(self, root: Root, name: str, chosen: Sequence[Chosen], present: OpenObject | None) -> Assembly:
        waited = {one.part.label: one.part.size for one in chosen if one.at is None}
        opened: Callable[[], AbstractContextManager[int]] = _no_folder
        root_fd = self._workshop.roots.open_to_write(root)
        try:
            standing = size_standing(Target.of(root, root_fd, name))
            ground = self._grounds.look(root, root_fd)
        finally:
            os.close(root_fd)
        if waited:
            parent, started = self._find(root, name)
            opened = partial(self._shelf.going_on, parent, root.bucket, started.id)
            with opened() as upload:
                os.utime(upload)  # it is in use
        length, freed = sum(one.part.size for one in chosen), sum(waited.values())
        # A quota counts what waited already, and that goes when the whole is there.
        hold = self._grounds.hold(ground.volume, root, length, standing + freed)
        place = ObjectPlace(self._workshop, root, name, gives_back=min(length, freed))
        draft = Draft(self._workshop, place, ground.temp, hold, frozenset() if chosen else _ALWAYS)
        try:
            return Assembly(chosen, opened, draft, self._source(present))
        except BaseException:
            draft.drop()
            raise

    @staticmethod
    def _source(present: OpenObject | None) -> Source | None:
        if present is None:
            return None
        fd = present.fileno()
        if fd is None:
            raise Denied("internal_error", reason="an object without a descriptor")
        return Source(fd, present.info)

    # --- where they are ----------------------------------------------------------------------------

    def _find(self, root: Root, name: str) -> tuple[str, Started]:
        """Where they are, and the record. Raises `upload_not_found`."""
        try:
            os.close(self._workshop.roots.open(root))
        except FileNotFoundError:
            raise Denied("upload_not_found", bucket=root.bucket) from None
        upload_id = shelf.blocks_id(name)
        parent = self._shelf.parent_of(root, upload_id)
        with self._shelf.going_on(parent, root.bucket, upload_id) as upload:
            started = shelf.started(upload)
        if started is None or not started.of_blocks or (started.bucket, started.name) != (root.bucket, name):
            raise Denied("upload_not_found", bucket=root.bucket)
        return parent, started

    def _inside(self, root: Root, name: str, look: Callable[[int], Found]) -> Found | None:
        """What is found in the folder; None where none wait."""
        try:
            parent, started = self._find(root, name)
            with self._shelf.going_on(parent, root.bucket, started.id) as upload:
                return look(upload)
        except Denied as denied:
            if denied.code != "upload_not_found":
                raise
            return None

    def _of(self, admission: Admission) -> tuple[Root, str]:
        bucket, name = admission.key
        root = self._workshop.roots.of(bucket)
        root.layout.to_path(name)
        return root, name


def _no_folder() -> AbstractContextManager[int]:
    """Where no block of a list waits, nothing is looked for."""
    return nullcontext(-1)


def _is_there(upload: int, entry: bytes) -> bool:
    try:
        os.stat(entry, dir_fd=upload, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
