"""What is kept about a bucket beside its objects: small files, `<state>/buckets/<bucket>/<name>`.

Rule 1: a reader sees the old value or the new one, whole; a new one is durable before `keep` returns.
Rule 2: `now` is for the event loop: one stat where nothing is kept, or what is kept has not changed.
Rule 3: a bucket that goes takes them along: one of the same name begins without.
"""

import os
import re
import secrets
from contextlib import suppress
from typing import Final, NamedTuple

from valetstore.storage.beneath import FILE
from valetstore.storage.durable import sync_folder
from valetstore.storage.roots import FOLDER_MODE

_FILE_MODE: Final = 0o600
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_REMEMBERED_MAX: Final = 1024

_Stamp = tuple[int, int, int]


class _Remembered(NamedTuple):
    stamp: _Stamp
    value: bytes


class BucketSettings:
    """The settings of all buckets, in one folder. Names of buckets are checked by whoever calls (`check_bucket`)."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._remembered: dict[tuple[str, str], _Remembered] = {}

    def read(self, bucket: str, name: str) -> bytes | None:
        """What is kept, None where nothing is. Raises OSError."""
        try:
            fd = os.open(self._path(bucket, name), FILE)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            return file.read()

    def now(self, bucket: str, name: str) -> bytes | None:
        """The same, remembered while a stat says that it is the same file. Raises OSError."""
        try:
            state = os.stat(self._path(bucket, name), follow_symlinks=False)
        except FileNotFoundError:
            self._remembered.pop((bucket, name), None)
            return None
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        known = self._remembered.get((bucket, name))
        if known is not None and known.stamp == stamp:
            return known.value
        value = self.read(bucket, name)
        if value is not None:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            # Read after the stat: where it was replaced in between, the next stat says so.
            self._remembered[bucket, name] = _Remembered(stamp, value)
        return value

    def keep(self, bucket: str, name: str, value: bytes | None) -> None:
        """Keep it, durably; None forgets it. Raises OSError."""
        path = self._path(bucket, name)
        folder = os.path.dirname(path)
        if value is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
                sync_folder(folder)
            return
        self._make(folder)
        beside = f"{folder}/.{name}.{secrets.token_hex(4)}"
        try:
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            with open(fd, "wb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            os.rename(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        sync_folder(folder)

    def forget(self, bucket: str) -> None:
        """Keep nothing about that bucket any more, durably. Raises OSError."""
        folder = f"{self._folder}/{bucket}"
        with suppress(FileNotFoundError):
            for entry in os.listdir(folder):
                os.unlink(f"{folder}/{entry}")
            os.rmdir(folder)
            sync_folder(self._folder)

    def _make(self, folder: str) -> None:
        for path in (self._folder, folder):
            with suppress(FileExistsError):
                os.mkdir(path, FOLDER_MODE)
            # Also where somebody else has made it a moment ago, and was killed before it could sync.
            sync_folder(os.path.dirname(path))

    def _path(self, bucket: str, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a setting")
        return f"{self._folder}/{bucket}/{name}"
