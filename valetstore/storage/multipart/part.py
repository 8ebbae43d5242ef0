"""One part: how it comes into its upload, and what is known of it there."""

import os

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file
from valetstore.storage.durable import Durable
from valetstore.storage.locks import Locks
from valetstore.storage.multipart.shelf import Shelf, part_entry, size_of
from valetstore.storage.promise import MD5, Metadata, Part
from valetstore.storage.quota import Quota
from valetstore.storage.roots import Root
from valetstore.storage.temp import TempFile
from valetstore.storage.trouble import deciding

_KEPT = Metadata(md5_etag=True)


class Bench:
    """What every step of an upload in parts needs."""

    def __init__(self, shelf: Shelf, locks: Locks, quota: Quota, durable: Durable) -> None:
        self.shelf = shelf
        self.locks = locks
        self.quota = quota
        self.durable = durable


class PartPlace:
    """The place of one part in its upload. The last one that is put there stays."""

    def __init__(self, bench: Bench, root: Root, name: str, parent: str, upload_id: str, number: int) -> None:
        self._bench = bench
        self._root = root
        self._parent = parent
        self._upload_id = upload_id
        self._entry = part_entry(number)
        self.bucket = root.bucket
        self.name = name

    def described(self, metadata: Metadata) -> Metadata:
        """Its entity tag is its MD5; nothing else is said of a part."""
        return _KEPT

    def publish(self, temp: TempFile, size: int, conditions: Conditions, *, create_only: bool) -> bool:
        """Put it there; True where there was none of its number. Raises `upload_not_found` where that is over."""
        bench = self._bench
        # The lock keeps `close` from taking the folder, and another of the same number from being counted twice.
        with bench.locks.of(self.bucket, self._upload_id):
            try:
                upload = bench.shelf.open_upload(self._parent, self.bucket, self._upload_id)
            except FileNotFoundError:
                raise Denied("upload_not_found", bucket=self.bucket) from None
            try:
                created = self._put(temp, size, upload)
            except BaseException:
                os.close(upload)
                raise
        try:
            bench.durable.sync_name(upload, self.bucket)
        finally:
            os.close(upload)
        return created

    def _put(self, temp: TempFile, size: int, upload: int) -> bool:
        standing = size_of(upload, self._entry)
        with self._bench.quota.charged(self._root, size - standing), deciding():
            try:
                temp.link(upload, self._entry)
            except FileExistsError:
                temp.replace(upload, self._entry)
                return False
        return True


def look(upload: int, number: int) -> Part | None:
    """A part by its number; None where there is none that is whole."""
    found = opened(upload, number)
    if found is None:
        return None
    fd, part = found
    os.close(fd)
    return part


def opened(upload: int, number: int) -> tuple[int, Part] | None:
    """The same, and its open file."""
    try:
        fd, state = open_file(upload, part_entry(number).decode())
    except FileNotFoundError:
        return None
    try:
        record = metadata.stored(fd)
        if record is not None and record.belongs_to(state) and MD5 in record.digests:
            return fd, Part(number, record.size, record.etag, record.mtime_ns, record.digests)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
