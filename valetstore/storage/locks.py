"""Locks by key, between threads and processes: a fixed number of flock files, striped by the key's hash.

Rule 1: taken only in worker threads, and held only around "judge, then rename or unlink".
Rule 2: one lock at a time, so that no two holders can wait for each other.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from zlib import crc32

STRIPES: Final = 64
"""How many keys can be replaced at once; two that share a stripe only wait for each other."""


class Locks:
    """The stripes, as files in one folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @contextmanager
    def of(self, bucket: str, name: str) -> Iterator[None]:
        """Hold the key's stripe. Raises OSError; a holder that dies lets go of it."""
        stripe = crc32(f"{bucket}/{name}".encode()) % STRIPES
        # flock belongs to the open file: only an open of its own keeps two threads apart.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(f"{self._folder}/{stripe:02x}", flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
