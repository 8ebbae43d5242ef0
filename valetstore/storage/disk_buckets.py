"""`promise.Buckets` for a DiskStore: the same steps as the command line's (`buckets.py`), in the store's threads."""

import os
from contextlib import suppress

from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.objectkey import check_bucket, split_path
from valetstore.storage.born import born_ns
from valetstore.storage.bucket_settings import BucketSettings
from valetstore.storage.buckets import make_bucket, remove_bucket
from valetstore.storage.multipart.part import Bench
from valetstore.storage.pool import Pool
from valetstore.storage.promise import BucketInfo
from valetstore.storage.roots import Root, Roots
from valetstore.storage.trouble import translated


class DiskBuckets:
    """Buckets of one store, and what is kept about them."""

    def __init__(self, roots: Roots, settings: BucketSettings, bench: Bench, pool: Pool) -> None:
        self._roots = roots
        self._settings = settings
        self._pool = pool
        self._bench = bench

    async def all(self, admission: Admission) -> list[BucketInfo]:
        """All there are, by name."""
        return await self._pool.run("read", self._all)

    async def one(self, admission: Admission) -> BucketInfo:
        """That one. Raises `bucket_not_found`."""
        return await self._pool.run("read", self._one, self._root(admission))

    async def create(self, admission: Admission) -> bool:
        """Make it, durably; False where it is there. Raises `storage_unavailable` where its disk is not."""
        return await self._pool.run("write", self._create, self._root(admission))

    async def delete(self, admission: Admission) -> None:
        """Remove it while it is empty. Raises `bucket_not_found`, `conflict`, `operation_not_allowed`."""
        await self._pool.run("write", self._delete, self._root(admission))

    async def setting(self, admission: Admission, name: str) -> bytes | None:
        """What `keep` kept under that name. Raises `bucket_not_found`."""
        return await self._pool.run("read", self._setting, self._root(admission), name)

    async def keep(self, admission: Admission, name: str, value: bytes | None) -> None:
        """Keep it, durably, for all workers; None forgets it. Raises `bucket_not_found`."""
        await self._pool.run("write", self._keep, self._root(admission), name, value)

    def setting_now(self, bucket: str, name: str) -> bytes | None:
        """The same here and now. Raises `object_key_invalid` where this is no bucket's name, `storage_error`."""
        check_bucket(bucket)
        with translated("read"):
            return self._settings.now(bucket, name)

    def _root(self, admission: Admission) -> Root:
        return self._roots.of(split_path(admission.intent.path)[0])

    def _all(self) -> list[BucketInfo]:
        found = []
        for root in self._roots.existing():
            with suppress(FileNotFoundError):  # deleted meanwhile
                found.append(BucketInfo(root.bucket, born_ns(root.path)))
        return found

    def _one(self, root: Root) -> BucketInfo:
        try:
            os.close(self._roots.open(root))
            return BucketInfo(root.bucket, born_ns(root.path))
        except (FileNotFoundError, NotADirectoryError):
            raise Denied("bucket_not_found", bucket=root.bucket) from None

    def _create(self, root: Root) -> bool:
        try:
            os.close(self._roots.open(root))
        except FileNotFoundError:
            if not (root.is_configured or self._roots.creates):
                raise Denied("operation_not_allowed", "The operator's settings let nobody make buckets.") from None
            return make_bucket(self._roots, root, self._settings)
        return False

    def _delete(self, root: Root) -> None:
        if root.is_configured:
            raise Denied("operation_not_allowed", "The operator's settings name this bucket's folder: it stays.")
        if not remove_bucket(self._roots, root, self._settings, self._bench):
            raise Denied("bucket_not_found", bucket=root.bucket)

    def _setting(self, root: Root, name: str) -> bytes | None:
        self._one(root)
        return self._settings.read(root.bucket, name)

    def _keep(self, root: Root, name: str, value: bytes | None) -> None:
        self._one(root)
        self._settings.keep(root.bucket, name, value)
