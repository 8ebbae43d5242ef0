"""One part: how it comes into its upload, and what is known of it there."""

import os
from typing import Final

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file
from valetstore.storage.durable import Durable
from valetstore.storage.locks import Locks
from valetstore.storage.multipart.shelf import Shelf, identity_of, size_of
from valetstore.storage.promise import MD5, Metadata, Part
from valetstore.storage.quota import Quota
from valetstore.storage.roots import Root
from valetstore.storage.temp import TempFile
from valetstore.storage.trouble import deciding

KEPT: Final = Metadata(md5_etag=True)


class Bench:
    """What every step of an upload in parts needs."""

    def __init__(self, shelf: Shelf, locks: Locks, quota: Quota, durable: Durable) -> None:
        self.shelf = shelf
        self.locks = locks
        self.quota = quota
        self.durable = durable


class PartPlace:
    """The place of one part in its upload, by its file name.

    The last one that is put there stays; with `create_only`, the first.
    """

    def __init__(self, bench: Bench, root: Root, name: str, parent: str, upload_id: str, entry: bytes) -> None:
        self._bench = bench
        self._root = root
        self._parent = parent
        self._upload_id = upload_id
        self._entry = entry
        self.bucket = root.bucket
        self.name = name

    def described(self, metadata: Metadata) -> Metadata:
        """Its entity tag is its MD5; nothing else is said of a part."""
        return KEPT

    def publish(self, temp: TempFile, size: int, conditions: Conditions, *, create_only: bool) -> bool:
        """Put it there; True where nothing was replaced. Raises `upload_not_found` where that is over, `exists`."""
        bench = self._bench
        # The lock keeps `close` from taking the folder, and another of the same number from being counted twice.
        with bench.locks.of(self.bucket, self._upload_id):
            try:
                upload = bench.shelf.open_upload(self._parent, self.bucket, self._upload_id)
            except FileNotFoundError:
                raise Denied("upload_not_found", bucket=self.bucket) from None
            try:
                created = put(bench, self._root, upload, self._entry, temp, size, create_only=create_only)
            except BaseException:
                os.close(upload)
                raise
        try:
            bench.durable.sync_name(upload, self.bucket)
        finally:
            os.close(upload)
        return created


def put(
    bench: Bench, root: Root, upload: int, entry: bytes, temp: TempFile, size: int, *, create_only: bool = False
) -> bool:
    """A sealed file into an upload's folder, whose lock the caller holds; True where nothing was replaced.

    Raises `exists`, `storage_full`, OSError.
    """
    standing = size_of(upload, entry)
    with bench.quota.charged(root, size - standing), deciding():
        try:
            temp.link(upload, entry)
        except FileExistsError:
            if create_only:
                raise Denied("exists") from None
            temp.replace(upload, entry)
            return False
    return True


def look(upload: int, entry: bytes) -> Part | None:
    """A part by its file name; None where there is none that is whole."""
    found = opened(upload, entry)
    if found is None:
        return None
    fd, part = found
    os.close(fd)
    return part


def opened(upload: int, entry: bytes) -> tuple[int, Part] | None:
    """The same, and its open file."""
    try:
        fd, state = open_file(upload, entry.decode())
    except FileNotFoundError:
        return None
    try:
        record = metadata.stored(fd)
        if record is not None and record.belongs_to(state) and MD5 in record.digests:
            number, label = identity_of(entry)
            return fd, Part(number, record.size, record.etag, record.mtime_ns, record.digests, label)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
