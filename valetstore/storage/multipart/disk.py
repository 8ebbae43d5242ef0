"""`uploads.Uploads` on a disk: what waits for the threads, and which steps they do."""

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.objectkey import split_path
from valetstore.storage import checksums
from valetstore.storage.draft import Draft
from valetstore.storage.ground import Grounds
from valetstore.storage.multipart import keeping, part, shelf
from valetstore.storage.multipart.assembly import Assembly, assembled, check_order
from valetstore.storage.multipart.blocks import DiskBlocks
from valetstore.storage.multipart.ending import Ending
from valetstore.storage.multipart.pages import page_of
from valetstore.storage.multipart.part import Bench, PartPlace
from valetstore.storage.naming import Target, size_standing
from valetstore.storage.place import ObjectPlace, Workshop
from valetstore.storage.pool import Pool
from valetstore.storage.promise import MD5, Metadata, ObjectInfo, OpenObject, Part, Stretch, Upload
from valetstore.storage.roots import Root
from valetstore.storage.temp import TempFolder
from valetstore.storage.upload import DiskUpload, carried, fill
from valetstore.storage.uploads import PARTS_MAX, Blocks, Chosen, Started, UploadsPage

_ALWAYS: Final = frozenset({MD5})
"""The entity tag of a part and of the whole; and what a scrub compares with."""


class DiskUploads:
    """Uploads in parts of one store. `temp` is the folder for temp files that buckets share."""

    def __init__(self, bench: Bench, workshop: Workshop, grounds: Grounds, pool: Pool, temp: TempFolder) -> None:
        self._bench = bench
        self._shelf = bench.shelf
        self._workshop = workshop
        self._grounds = grounds
        self._pool = pool
        self._temp = temp
        self._ending = Ending(pool, bench)
        self.blocks: Blocks = DiskBlocks(bench, workshop, grounds, pool, temp, self._ending)

    # --- the upload --------------------------------------------------------------------------------

    async def start(self, admission: Admission, described: Started) -> Started:
        """Begin one, durably. Raises as `Store.begin` does, and `metadata_too_large`."""
        root, name = self._of(admission)
        return await self._pool.run("write", self._start, root, name, described)

    def _start(self, root: Root, name: str, described: Started) -> Started:
        keeping.check_room(described.metadata)
        started = msgspec.structs.replace(
            described, id=shelf.new_id(), bucket=root.bucket, name=name, created_ns=time.time_ns()
        )
        root_fd = self._workshop.roots.open_to_write(root)
        try:
            size_standing(Target.of(root, root_fd, name))
            ground = self._grounds.look(root, root_fd)
            self._grounds.hold(ground.volume, root, 0, 0).release()
        finally:
            os.close(root_fd)
        parent = self._shelf.state if ground.temp is self._temp else ground.temp.path
        keeping.keep(self._bench, root, parent, started)
        return started

    async def find(self, admission: Admission, upload_id: str) -> Started:
        """One that is open. Raises `upload_not_found`."""
        root, name = self._of(admission)
        _, started = await self._pool.run("read", self._find, root, name, upload_id)
        return started

    def _find(self, root: Root, name: str, upload_id: str) -> tuple[str, Started]:
        """Where it is, and its record."""
        try:
            os.close(self._workshop.roots.open(root))
        except FileNotFoundError:
            raise Denied("upload_not_found", bucket=root.bucket) from None
        parent = self._shelf.parent_of(root, upload_id)
        try:
            with self._shelf.upload(parent, root.bucket, upload_id) as upload:
                started = shelf.started(upload)
        except FileNotFoundError:
            started = None
        if started is None or started.of_blocks or (started.bucket, started.name) != (root.bucket, name):
            raise Denied("upload_not_found", bucket=root.bucket)
        return parent, started

    async def end(self, admission: Admission, upload_id: str) -> None:
        """It is completed or given up: its parts go. Harmless twice."""
        root, name = self._of(admission)
        await self._ending.end(root, partial(self._find, root, name, upload_id))

    # --- its parts ---------------------------------------------------------------------------------

    async def begin_part(
        self, admission: Admission, upload_id: str, number: int, length: int | None, digests: frozenset[str]
    ) -> Upload:
        """As `Store.begin`, for a part. Raises `upload_not_found`, `part_invalid` for a number that none can have."""
        return await self._begin_part(admission, upload_id, number, length, digests | _ALWAYS)

    async def _begin_part(
        self, admission: Admission, upload_id: str, number: int, length: int | None, digests: frozenset[str]
    ) -> DiskUpload:
        root, name = self._of(admission)
        draft = partial(self._draft, root, name, upload_id, number, length, digests)
        return DiskUpload(self._pool, await self._pool.obtain("write", Draft.drop, draft))

    def _draft(
        self, root: Root, name: str, upload_id: str, number: int, length: int | None, digests: frozenset[str]
    ) -> Draft:
        if not 1 <= number <= PARTS_MAX:
            raise Denied("part_invalid", f"A part's number is 1 to {PARTS_MAX}.")
        os.close(self._workshop.roots.open_to_write(root, create=False))
        parent, _ = self._find(root, name, upload_id)
        with self._shelf.going_on(parent, root.bucket, upload_id) as upload:
            os.utime(upload)  # it is in use
            volume = self._grounds.measure(upload)
            standing = shelf.size_of(upload, shelf.part_entry(number))
        temp = self._temp if parent == self._shelf.state else TempFolder(parent)
        hold = self._grounds.hold(volume, root, length, standing)
        place = PartPlace(self._bench, root, name, parent, upload_id, shelf.part_entry(number))
        return Draft(self._workshop, place, temp, hold, digests)

    async def copy_part(
        self,
        admission: Admission,
        upload_id: str,
        number: int,
        source: OpenObject,
        stretch: Stretch | None,
        digests: frozenset[str],
    ) -> Upload:
        """As `Store.copy`, for a part."""
        length = stretch.length if stretch else source.info.size
        known = carried(source, stretch, digests | _ALWAYS)
        hashed = frozenset() if known else digests | _ALWAYS
        upload = await self._begin_part(admission, upload_id, number, length, hashed)
        return await fill(upload, source, stretch, known)

    async def parts(self, admission: Admission, upload_id: str, after: int, limit: int) -> tuple[list[Part], bool]:
        """Up to `limit` parts with numbers beyond `after`, in order, and whether there are more."""
        root, name = self._of(admission)
        return await self._pool.run("read", self._parts, root, name, upload_id, after, limit)

    def _parts(self, root: Root, name: str, upload_id: str, after: int, limit: int) -> tuple[list[Part], bool]:
        parent, _ = self._find(root, name, upload_id)
        with self._shelf.going_on(parent, root.bucket, upload_id) as upload:
            later = [entry for entry in shelf.entries(upload) if shelf.identity_of(entry)[0] > after]
            found = [part.look(upload, entry) for entry in later[:limit]]
        return [one for one in found if one is not None], len(later) > limit

    # --- the whole ---------------------------------------------------------------------------------

    async def assemble(
        self,
        admission: Admission,
        upload_id: str,
        parts: Sequence[Part],
        metadata: Metadata,
        digests: frozenset[str] = frozenset(),
    ) -> tuple[Upload, ObjectInfo]:
        """The whole of these parts, durable and under no name. Raises `part_invalid`, `upload_not_found`."""
        check_order(parts)
        root, name = self._of(admission)
        return await assembled(self._pool, partial(self._assembly, root, name, upload_id, parts, digests), metadata)

    def _assembly(
        self, root: Root, name: str, upload_id: str, parts: Sequence[Part], digests: frozenset[str]
    ) -> Assembly:
        length = sum(part.size for part in parts)
        parent, _ = self._find(root, name, upload_id)
        with self._shelf.going_on(parent, root.bucket, upload_id) as upload:
            os.utime(upload)
        root_fd = self._workshop.roots.open_to_write(root, create=False)
        try:
            standing = size_standing(Target.of(root, root_fd, name))
            ground = self._grounds.look(root, root_fd)
        finally:
            os.close(root_fd)
        # A quota counts the parts already, and they go when the whole is there.
        hold = self._grounds.hold(ground.volume, root, length, standing + length)
        place = ObjectPlace(self._workshop, root, name, gives_back=length)
        known = {name for name in checksums.CRCS if all(name in part.digests for part in parts)}
        draft = Draft(self._workshop, place, ground.temp, hold, digests - known)
        opened = partial(self._shelf.going_on, parent, root.bucket, upload_id)
        return Assembly([Chosen(part) for part in parts], opened, draft)

    # --- a bucket's --------------------------------------------------------------------------------

    async def page(
        self, admission: Admission, prefix: str, after: tuple[str, str], limit: int, delimiter: str = ""
    ) -> UploadsPage:
        """Up to `limit` of the bucket's uploads. Raises `not_found` where there is no such bucket."""
        root = self._workshop.roots.of(split_path(admission.intent.path)[0])
        return await self._pool.run("read", self._page, root, prefix, after, limit, delimiter)

    def _page(self, root: Root, prefix: str, after: tuple[str, str], limit: int, delimiter: str) -> UploadsPage:
        os.close(self._workshop.roots.open(root))
        found = []
        for parent in self._shelf.parents(root):
            for upload_id, ending in self._shelf.folders(parent, root.bucket):
                started = None if ending else self._started(parent, root.bucket, upload_id)
                if started is not None and not started.of_blocks:
                    found.append(started)
        return page_of(found, prefix, after, limit, delimiter)

    def _started(self, parent: str, bucket: str, upload_id: str) -> Started | None:
        try:
            with self._shelf.upload(parent, bucket, upload_id) as upload:
                return shelf.started(upload)
        except FileNotFoundError:
            return None

    def _of(self, admission: Admission) -> tuple[Root, str]:
        bucket, name = admission.key
        root = self._workshop.roots.of(bucket)
        root.layout.to_path(name)
        return root, name
