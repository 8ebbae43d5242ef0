"""Buckets as folders: list, create, delete; for the command line, while no server needs to run, and for stores.

Rule 1: every function blocks, and is durable when it returns. Those for the command line raise Denied for what a
store would refuse, the others OSError too.
Rule 2: a bucket that goes takes along what is kept about it, and the unfinished uploads into it.
"""

import errno
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from valetstore.config import Bucket
from valetstore.errors import Denied
from valetstore.storage.bucket_settings import BucketSettings
from valetstore.storage.durable import Durable, sync_folder
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.locks import Locks
from valetstore.storage.multipart import keeping
from valetstore.storage.multipart.part import Bench
from valetstore.storage.multipart.shelf import BEING_REMOVED, UPLOADS, Shelf
from valetstore.storage.quota import Quota
from valetstore.storage.roots import Root, Roots
from valetstore.storage.state import State
from valetstore.storage.temp import TempFolder
from valetstore.storage.trouble import translated
from valetstore.storage.walk import walk


def list_buckets(data: Path, buckets: Mapping[str, Bucket]) -> list[str]:
    """The names of all buckets that exist, sorted."""
    with translated("write"):
        return [root.bucket for root in _roots(data, buckets).existing()]


def create_bucket(data: Path, buckets: Mapping[str, Bucket], bucket: str) -> bool:
    """Make a bucket's folder; False where it is there. Raises `storage_unavailable` without its parent."""
    roots = _roots(data, buckets)
    root = roots.of(bucket)
    with translated("write"):
        return make_bucket(roots, root, _settings(data))


def delete_bucket(data: Path, buckets: Mapping[str, Bucket], bucket: str) -> bool:
    """Remove an empty bucket's folder; False where there is none. Raises `conflict` while it is not empty."""
    roots = _roots(data, buckets)
    root = roots.of(bucket)
    with translated("write"):
        return remove_bucket(roots, root, _settings(data), _bench(data, roots))


def make_bucket(roots: Roots, root: Root, settings: BucketSettings) -> bool:
    """Make a bucket's folder; False where it is there. Raises OSError."""
    if os.path.isdir(root.path):
        return False
    settings.forget(root.bucket)  # of one that was removed by hand
    roots.make(root)
    return True


def remove_bucket(roots: Roots, root: Root, settings: BucketSettings, bench: Bench) -> bool:
    """Remove an empty bucket; False where there is none. Its unfinished uploads are given up.

    Raises `conflict` while it is not empty, `operation_not_allowed` where it is read-only, OSError.
    """
    if root.read_only:
        raise Denied("operation_not_allowed", "This bucket is read-only.")
    try:
        root_fd = roots.open(root)
    except FileNotFoundError:
        return False
    try:
        if any(walk(root, root_fd)):
            raise Denied("conflict", "The bucket is not empty.")
        _give_up_uploads(bench, root)
        _remove_own_folder(root, root_fd)
    finally:
        os.close(root_fd)
    if root.tidies:
        _remove_empty_folders(root.path)
    _remove(root)
    settings.forget(root.bucket)
    return True


def _give_up_uploads(bench: Bench, root: Root) -> None:
    for parent in bench.shelf.parents(root):
        for upload_id, ending in bench.shelf.folders(parent, root.bucket):
            # One that is being made is closed as well: who makes it gets it whole, or finds it gone.
            folder = upload_id + ending
            closed = folder if ending == BEING_REMOVED else keeping.close(bench, root, parent, folder)
            if closed:
                _clear(bench, root, parent, closed)
        with suppress(OSError):  # one that begins just now
            os.rmdir(f"{parent}/{UPLOADS}/{root.bucket}")
            if parent != bench.shelf.state:  # which all buckets share
                os.rmdir(f"{parent}/{UPLOADS}")


def _clear(bench: Bench, root: Root, parent: str, closed: str) -> None:
    try:
        keeping.clear(bench, root, parent, closed, math.inf)
    except OSError as error:
        # Who was making it has put its record there just now: what is left of it is collected.
        if error.errno != errno.ENOTEMPTY:
            raise


def _remove_empty_folders(path: str) -> None:
    """Folders that a crash has left between the last object's delete and theirs. rmdir takes nothing that is full."""
    for folder, _, _ in os.walk(path, topdown=False):
        if folder != path:
            with suppress(OSError):
                os.rmdir(folder)


def _remove_own_folder(root: Root, root_fd: int) -> None:
    """Only the folder that is ours; rmdir refuses while an upload still has a file in it."""
    temp = TempFolder(f"{root.path}/{TEMP_FOLDER}")
    temp.sweep()
    try:
        os.rmdir(TEMP_FOLDER, dir_fd=root_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Denied("conflict", "The bucket is not empty.", error=error.strerror) from error


def _remove(root: Root) -> None:
    try:
        os.rmdir(root.path)
    except OSError as error:  # folders without objects, foreign files, an object since a moment ago
        raise Denied("conflict", "The bucket's folder is not empty.", error=error.strerror) from error
    sync_folder(os.path.dirname(root.path))


def _settings(data: Path) -> BucketSettings:
    return BucketSettings(str(State(data).buckets))


def _bench(data: Path, roots: Roots) -> Bench:
    state = State(data)
    shelf = Shelf(str(state.folder))
    return Bench(shelf, Locks(str(state.locks)), Quota(str(state.quota), roots, shelf), Durable())


def _roots(data: Path, buckets: Mapping[str, Bucket]) -> Roots:
    return Roots(data, buckets, create=True)
