"""Buckets as folders, for the command line: list, create, delete. Blocks; no server needs to run.

Every function raises Denied for what a store would refuse, and is durable when it returns.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from valetstore.config import Bucket
from valetstore.errors import Denied
from valetstore.storage.durable import sync_folder
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.listing import walk
from valetstore.storage.roots import Root, Roots
from valetstore.storage.temp import TempFolder
from valetstore.storage.trouble import translated


def list_buckets(data: Path, buckets: Mapping[str, Bucket]) -> list[str]:
    """The names of all buckets that exist, sorted."""
    with translated("write"):
        return [root.bucket for root in _roots(data, buckets).existing()]


def create_bucket(data: Path, buckets: Mapping[str, Bucket], bucket: str) -> bool:
    """Make a bucket's folder; False where it is there. Raises `storage_unavailable` without its parent."""
    roots = _roots(data, buckets)
    root = roots.of(bucket)
    with translated("write"):
        if os.path.isdir(root.path):
            return False
        roots.make(root)
    return True


def delete_bucket(data: Path, buckets: Mapping[str, Bucket], bucket: str) -> bool:
    """Remove an empty bucket's folder; False where there is none. Raises `conflict` while it is not empty."""
    roots = _roots(data, buckets)
    root = roots.of(bucket)
    if root.read_only:
        raise Denied("operation_not_allowed", "This bucket is read-only.")
    with translated("write"):
        try:
            root_fd = roots.open(root)
        except FileNotFoundError:
            return False
        try:
            if any(walk(root, root_fd)):
                raise Denied("conflict", "The bucket is not empty.")
            _remove_own_folder(root, root_fd)
        finally:
            os.close(root_fd)
        _remove(root)
    return True


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


def _roots(data: Path, buckets: Mapping[str, Bucket]) -> Roots:
    return Roots(data, buckets, create=True)
