"""fsync, and what is known once it has failed.

Rule 1: a failed fsync is never repeated on the same descriptor. The kernel has dropped the pages and marked
them clean: a second call would answer success for bytes that are gone.
Rule 2: a failure is remembered until the process ends; readiness shows it and a person looks at the disk.
"""

import logging
import os
import threading
from collections.abc import Iterable
from errno import EIO

from valetstore.errors import Denied
from valetstore.storage.trouble import MAYBE

log = logging.getLogger(__name__)


class Durable:
    """Syncs descriptors; keeps the buckets whose volume has failed to."""

    def __init__(self) -> None:
        self._failed: set[str] = set()
        self._lock = threading.Lock()

    @property
    def suspect(self) -> tuple[str, ...]:
        """Buckets on volumes where a sync has failed since the start; empty when all is well."""
        with self._lock:
            return tuple(sorted(self._failed))

    def doubt(self, buckets: Iterable[str]) -> None:
        """Another process has seen syncs fail for these."""
        with self._lock:
            self._failed.update(buckets)

    def sync(self, fd: int, bucket: str) -> None:
        """Bytes, size and attributes (or a folder's entries) outlast a power cut. Raises `storage_error`."""
        try:
            # Not fdatasync: it may leave out the attribute that holds the object's metadata.
            os.fsync(fd)
        except OSError as error:
            raise self.failed(error.errno or EIO, bucket) from error

    def failed(self, number: int, bucket: str) -> Denied:
        """A sync has failed with this errno: it is remembered, and this is the refusal to raise."""
        with self._lock:
            self._failed.add(bucket)
        said = os.strerror(number)
        log.error("bucket %s: fsync failed: %s; check the volume and restart", bucket, said)
        return Denied("storage_error", errno=number, error=said, failed="fsync", bucket=bucket)

    def sync_name(self, fd: int, bucket: str) -> None:
        """The same for the folder of a name that was just given or taken: what fails here may have been done."""
        try:
            self.sync(fd, bucket)
        except Denied as denied:
            raise Denied(denied.code, MAYBE, **denied.evidence, unsure=True) from denied


def sync_folder(path: str) -> None:
    """The entries of a folder by its path, for preparations before anything is served. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
