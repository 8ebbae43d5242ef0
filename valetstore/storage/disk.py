"""DiskStore: buckets as folders, objects as files, every promise of `promise.py` kept by the file system.

Rule 1: this file knows which room does what, and in which order; how it is done stands in the rooms.
Rule 2: everything that blocks runs in the store's own threads. `open_now` is the exception, for a caller
that knows what it does.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from valetstore.conditions import Conditions
from valetstore.config import Bucket, Storage
from valetstore.grants.grant import Admission
from valetstore.objectkey import split_path
from valetstore.storage import checksums
from valetstore.storage.bucket_settings import BucketSettings
from valetstore.storage.catalogue import Catalogue
from valetstore.storage.disk_buckets import DiskBuckets
from valetstore.storage.draft import Draft
from valetstore.storage.durable import Durable
from valetstore.storage.folders import Folders
from valetstore.storage.ground import Ground, Grounds
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.listing import list_page
from valetstore.storage.locks import Locks
from valetstore.storage.multipart.collector import Collector
from valetstore.storage.multipart.disk import DiskUploads
from valetstore.storage.multipart.part import Bench
from valetstore.storage.multipart.shelf import Shelf
from valetstore.storage.naming import Naming, Target, size_standing
from valetstore.storage.near import Near
from valetstore.storage.place import ObjectPlace, Workshop
from valetstore.storage.pool import Pool
from valetstore.storage.promise import Buckets, LastCheck, OpenObject, Page, Stretch, Upload
from valetstore.storage.quota import Quota
from valetstore.storage.reading import DiskObject, look, look_cached
from valetstore.storage.roots import Root, Roots
from valetstore.storage.small import Small, SmallObjects
from valetstore.storage.space import Space
from valetstore.storage.spill import Spills
from valetstore.storage.starting import going_on, using_folders, warn
from valetstore.storage.state import State, check_volume
from valetstore.storage.temp import TempFolder, folder_for
from valetstore.storage.together import Groups
from valetstore.storage.trouble import translated
from valetstore.storage.upload import DiskUpload, carried, fill
from valetstore.storage.uploads import Uploads


class DiskStore:
    """`promise.Store` below a data directory. Many processes may share it; one of them calls `prepare`.

    That one tells the others on which `devices` it found the folders, so that a process that starts while a disk
    is away does not take the empty mount point for the bucket.
    """

    def __init__(
        self,
        data: Path,
        buckets: Mapping[str, Bucket],
        storage: Storage,
        devices: Mapping[str, int] | None = None,
        remembered_bytes_max: int = 0,
    ) -> None:
        self._state = State(data)
        self._durable = Durable()
        self._roots = Roots(data, buckets, create=storage.create_buckets, devices=devices)
        self._near = Near()
        self._small = SmallObjects(self._roots, self._near, remembered_bytes_max)
        self._catalogue = Catalogue()
        self._spills = Spills(str(self._state.spill))
        shelf = Shelf(str(self._state.folder))
        self._quota = Quota(str(self._state.quota), self._roots, shelf)
        self._temp = TempFolder(str(self._state.temp))
        locks = Locks(str(self._state.locks))
        naming = Naming(Folders(self._durable), locks, self._quota, self._durable, self._spills)
        self._workshop = Workshop(self._roots, naming, self._durable, self._spills)
        self._pool = Pool(storage.storage_threads)
        self._groups = Groups(self._pool)
        self._grounds = Grounds(self._roots, Space(storage.free_bytes_min, self._quota), self._temp)
        bench = Bench(shelf, locks, self._quota, self._durable)
        self.uploads: Uploads = DiskUploads(bench, self._workshop, self._grounds, self._pool, self._temp)
        lock = str(self._state.locks / "collector")
        self.collector = Collector(lock, bench, self._roots, self._spills, storage.multipart_seconds_max)
        self.buckets: Buckets = DiskBuckets(self._roots, BucketSettings(str(self._state.buckets)), bench, self._pool)

    @property
    def devices(self) -> dict[str, int]:
        """The devices that folders were found on so far."""
        return self._roots.devices

    @property
    def suspect(self) -> tuple[str, ...]:
        """Buckets whose volume has failed to sync since the start; empty when all is well."""
        return self._durable.suspect

    def doubt(self, buckets: Iterable[str]) -> None:
        """Another process that serves the same folders has found these suspect."""
        self._durable.doubt(buckets)

    def why_not_ready(self) -> str:
        """What keeps the store from keeping its promises, as one sentence; "" when all is well."""
        if self.suspect:
            return f"a write failed on the volume of {', '.join(self.suspect)}: check it and restart"
        missing = self._roots.missing()
        return f"{', '.join(missing)}: the folder is gone, or the volume it was on" if missing else ""

    # --- before serving ----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make and check the data directory, check every root, measure quotas. Blocks.

        Call it once, before any process serves, under the daemon's lock. Raises ConfigInvalid.
        """
        self._roots.check_apart(self._state.data)
        self._state.prepare()
        warn(check_volume(str(self._state.objects), self._temp))
        with using_folders():
            for root in self._roots.existing():
                if not root.read_only:
                    with going_on(root.path):
                        self._prepare(root)
                if root.quota is not None:
                    with going_on(str(self._state.quota)):
                        self._quota.remeasure(root)

    def _prepare(self, root: Root) -> None:
        root_fd = self._roots.open(root)
        try:
            said = check_volume(root.path, folder_for(root_fd, root.path, self._temp))
            warn(said if root.is_configured else "")  # of the others' volume it was told once
        finally:
            os.close(root_fd)

    def probe(self) -> list[str]:
        """Check every root's volume and change nothing: a gateway may run, the data directory be a new one.

        Returns a sentence for each that cannot be written now. Blocks. Raises ConfigInvalid.
        """
        self._roots.check_apart(self._state.data)
        data = str(self._state.data)
        is_served = os.path.isdir(self._state.objects) and os.path.isdir(self._state.temp)
        found = [check_volume(data, self._temp if is_served else TempFolder(data))]
        if is_served:
            with using_folders():
                found += [self._probe(root) for root in self._roots.existing() if not root.read_only]
        return [said for said in found if said]

    @staticmethod
    def _probe(root: Root) -> str:
        own = f"{root.path}/{TEMP_FOLDER}"
        said = check_volume(root.path, TempFolder(own if os.path.isdir(own) else root.path))
        return said if root.is_configured else ""

    def sweep(self) -> int:
        """Remove what crashed uploads have left behind; the number of files. Blocks; uploads may run."""
        with translated("write"):
            own = [root for root in self._roots.existing() if not root.read_only]
            folders = [self._temp, *(TempFolder(f"{root.path}/{TEMP_FOLDER}") for root in own)]
            return sum(folder.sweep() for folder in folders)

    # --- reading -----------------------------------------------------------------------------------

    async def open(self, admission: Admission) -> OpenObject:
        """The object's present state, whole. Raises `not_found`."""
        opened = self._open_here(admission)
        if opened is not None:
            return opened
        return await self._pool.obtain("read", DiskObject.close, self.open_now, admission)

    def open_now(self, admission: Admission) -> DiskObject:
        """The same, here and now: about ten short system calls, which wait where the disk makes them wait."""
        bucket, name = admission.key
        root = self._roots.of(bucket)
        path = root.layout.to_path(name)
        with translated("read"):
            root_fd = self._roots.open(root)
            try:
                self._near.look(root, root_fd)
                fd, info = look(root, root_fd, name, path)
            finally:
                os.close(root_fd)
        return DiskObject(self._pool, fd, info, self._spills)

    def _open_here(self, admission: Admission) -> DiskObject | None:
        """The same where the kernel has all that it takes in its memory; None where a thread must ask."""
        bucket, name = admission.key
        if self._pool.is_closed or self._near.device_of(bucket) is None:
            return None
        root = self._roots.of(bucket)
        path = root.layout.to_path(name)
        with translated("read"):
            root_fd = self._roots.open(root)
            try:
                found = look_cached(root_fd, name, path)
            finally:
                os.close(root_fd)
        return None if found is None else DiskObject(self._pool, *found, self._spills)

    def small(self, admission: Admission) -> Small | None:
        """The object's present state and its bytes, for the event loop's thread; None where `open` must be asked."""
        return self._small.get(admission.key)

    async def list(self, admission: Admission, prefix: str, after: str, limit: int, delimiter: str = "") -> Page:
        """Up to `limit` objects of its bucket, and groups of them, whose names begin so and follow `after`."""
        bucket = admission.intent.key.bucket if admission.intent.key else split_path(admission.intent.path)[0]
        return await self._pool.run("read", self._list, self._roots.of(bucket), prefix, after, limit, delimiter)

    def _list(self, root: Root, prefix: str, after: str, limit: int, delimiter: str) -> Page:
        root_fd = self._roots.open(root)
        try:
            return list_page(root, root_fd, prefix, after, limit, delimiter, self._catalogue)
        finally:
            os.close(root_fd)

    # --- writing -----------------------------------------------------------------------------------

    async def begin(self, admission: Admission, length: int | None, digests: frozenset[str]) -> Upload:
        """Prepare to take `length` bytes (None: not known), computing these digests (`promise.DIGESTS`)."""
        return await self._begin(admission, length, checksums.kept(digests))

    async def copy(
        self, admission: Admission, source: OpenObject, stretch: Stretch | None, digests: frozenset[str]
    ) -> Upload:
        """An upload whose bytes are those of `source`, or of a stretch of it."""
        known = carried(source, stretch, digests)
        length = stretch.length if stretch else source.info.size
        upload = await self._begin(admission, length, frozenset() if known else checksums.kept(digests))
        return await fill(upload, source, stretch, known)

    def begin_at_once(self, admission: Admission, length: int | None, digests: frozenset[str]) -> DiskUpload | None:
        """`begin` without a wait; None where a disk has to be looked at first."""
        place = self._place(admission)
        ground = self._grounds.known(place.root)
        if ground is None:
            return None
        draft = self._draft(place, ground, length, checksums.kept(digests))
        return DiskUpload(self._pool, draft, place, self._groups)

    async def _begin(self, admission: Admission, length: int | None, digests: frozenset[str]) -> DiskUpload:
        place = self._place(admission)
        ground = self._grounds.known(place.root)
        if ground is not None:
            draft = self._draft(place, ground, length, digests)
        else:
            draft = await self._pool.obtain("write", Draft.drop, self._draft_on_new_ground, place, length, digests)
        return DiskUpload(self._pool, draft, place, self._groups)

    def _place(self, admission: Admission) -> ObjectPlace:
        bucket, name = admission.key
        root = self._roots.of(bucket)
        root.layout.to_path(name)  # raises where it is no file's name
        return ObjectPlace(self._workshop, root, name)

    def _draft_on_new_ground(self, place: ObjectPlace, length: int | None, digests: frozenset[str]) -> Draft:
        root = place.root
        root_fd = self._roots.open_to_write(root)
        try:
            standing = size_standing(Target.of(root, root_fd, place.name))
            ground = self._grounds.look(root, root_fd)
        finally:
            os.close(root_fd)
        return self._draft(place, ground, length, digests, standing)

    def _draft(
        self, place: ObjectPlace, ground: Ground, length: int | None, digests: frozenset[str], standing: int = 0
    ) -> Draft:
        hold = self._grounds.hold(ground.volume, place.root, length, standing)
        return Draft(self._workshop, place, ground.temp, hold, digests)

    async def delete(self, admission: Admission, conditions: Conditions, last: LastCheck | None = None) -> bool:
        """Remove the object, durably; False where there was none. Conditions are decided with it."""
        bucket, name = admission.key
        return await self._pool.run("write", self._delete, self._roots.of(bucket), name, conditions, last)

    def _delete(self, root: Root, name: str, conditions: Conditions, last: LastCheck | None) -> bool:
        if last is not None:
            last()
        root_fd = self._roots.open_to_write(root, create=False)
        try:
            return self._workshop.naming.remove(Target.of(root, root_fd, name), conditions)
        finally:
            os.close(root_fd)

    async def close(self) -> None:
        """Finish what was promised, let go of everything."""
        await self._pool.close()
