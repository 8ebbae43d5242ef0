"""Beginning and ending an upload: its folder comes whole and durable, and is gone for everybody at once."""

import os
import time
from contextlib import suppress
from typing import Final

import msgspec

from valetstore.storage import checksums, metadata
from valetstore.storage.durable import Durable
from valetstore.storage.multipart import shelf
from valetstore.storage.multipart.part import Bench
from valetstore.storage.promise import SHA256, Checksum, Metadata, ObjectInfo
from valetstore.storage.roots import Root
from valetstore.storage.uploads import PARTS_MAX, Started

_encode: Final = msgspec.msgpack.Encoder().encode


_TAG_MAX: Final = f'"{"0" * 32}-{PARTS_MAX}"'
_CHECKSUM_MAX: Final = Checksum(SHA256, f"{'0' * 44}-{PARTS_MAX}", PARTS_MAX)


def check_room(described: Metadata) -> None:
    """Raise `metadata_too_large` now, not when all parts are there: a whole has no more beside this."""
    described = msgspec.structs.replace(described, checksum=_CHECKSUM_MAX, upload=shelf.new_id())
    digests = {name: bytes(8) for name in checksums.CRCS}
    metadata.encode(ObjectInfo(2**63 - 1, _TAG_MAX, 2**63 - 1, described, digests, PARTS_MAX), spill="0" * 32)


def keep(bench: Bench, root: Root, parent: str, started: Started) -> None:
    """Make an upload's folder with its record, durably. Raises OSError, `storage_error`."""
    uploads = f"{parent}/{shelf.UPLOADS}"
    for path in (uploads, f"{uploads}/{root.bucket}"):  # not the parent: its disk may be away
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
    with bench.shelf.of_bucket(parent, root.bucket) as bucket:
        _make(bench.durable, bucket, started)
    sync_names(bench, root, parent)


def sync_names(bench: Bench, root: Root, parent: str) -> None:
    """The names of a bucket's uploads, and of the folders above: somebody else may have made them a moment ago."""
    uploads = f"{parent}/{shelf.UPLOADS}"
    with bench.shelf.of_bucket(parent, root.bucket) as bucket:
        bench.durable.sync(bucket, root.bucket)
    for above in (uploads, parent, os.path.dirname(parent)):
        _sync(bench.durable, above, root.bucket)


def _make(durable: Durable, bucket: int, started: Started) -> None:
    unnamed = (
        shelf.new_id() + shelf.BEING_MADE
    )  # not its own: blocks' ids are not random, and a crash may have left one
    os.mkdir(unnamed, 0o700, dir_fd=bucket)
    try:
        folder = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=bucket)
        try:
            _record(durable, folder, started)
            durable.sync(folder, started.bucket)
        finally:
            os.close(folder)
        os.rename(unnamed, started.id, src_dir_fd=bucket, dst_dir_fd=bucket)
    except BaseException:
        # Who asks again and again on a full disk would fill it with these; what cannot go now is collected.
        with suppress(OSError):
            _unmake(bucket, unnamed)
        raise


def _record(durable: Durable, folder: int, started: Started) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(shelf.RECORD, flags, 0o600, dir_fd=folder)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(_encode(started))
        durable.sync(fd, started.bucket)
    finally:
        os.close(fd)


def _unmake(bucket: int, unnamed: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(f"{unnamed}/{shelf.RECORD}", dir_fd=bucket)
    os.rmdir(unnamed, dir_fd=bucket)


def _sync(durable: Durable, path: str, bucket: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        durable.sync(fd, bucket)
    finally:
        os.close(fd)


def close(bench: Bench, root: Root, parent: str, upload_id: str) -> str:
    """From here on there is no such upload, durably; "" where there was none. `clear` removes the folder it names."""
    closed = shelf.new_id() + shelf.BEING_REMOVED  # blocks of one object may be closed again before they are cleared
    with suppress(FileNotFoundError), bench.shelf.of_bucket(parent, root.bucket) as bucket:
        # A part that is just being put there is in it before, or finds no upload.
        with bench.locks.of(root.bucket, upload_id):
            os.rename(upload_id, closed, src_dir_fd=bucket, dst_dir_fd=bucket)
        bench.durable.sync_name(bucket, root.bucket)
        return closed
    return ""


def clear(bench: Bench, root: Root, parent: str, folder: str, until: float) -> bool:
    """Remove a closed upload's folder (by its name), until the clock says so (`time.monotonic`); True once it is gone.

    Harmless where others do the same. The bytes go from the bucket's quota with each call.
    """
    removed = 0
    try:
        with suppress(FileNotFoundError), bench.shelf.upload(parent, root.bucket, folder) as upload:
            for entry in shelf.entries(upload):
                size = shelf.size_of(upload, entry)
                with suppress(FileNotFoundError):
                    os.unlink(entry, dir_fd=upload)
                    removed += size
                if time.monotonic() >= until:
                    return False
            for other in (shelf.TALLY, shelf.RECORD):
                with suppress(FileNotFoundError):
                    os.unlink(other, dir_fd=upload)
        with suppress(FileNotFoundError), bench.shelf.of_bucket(parent, root.bucket) as bucket:
            os.rmdir(folder, dir_fd=bucket)
    finally:
        with bench.quota.charged(root, -removed):
            pass
    return True
