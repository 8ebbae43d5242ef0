"""The two files of a log: the log itself, and its mark. What may fail raises OSError and changes no count.

A log file keeps its last durable bytes in memory, for Rule 3 of `log.py`.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from valetstore.journal.format import ID_BYTES, Mark, first_group, group, seed_of, unpack_mark

BLOCK_BYTES: Final = 4096
FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
MODE: Final = 0o600

_ZEROS: Final = bytes(1 << 16)


class JournalDamaged(Exception):  # noqa: N818 - reads as what happened
    """The log is not what was acknowledged, or cannot be read: one sentence with the file and what is wrong."""


class LogFile:
    """A log file that is written: its id, its last group and length, and its last durable bytes for Rule 3 of `log.py`.

    `length` and `sequence` count what was written, and for a file that is not being made, also synced.
    """

    def __init__(
        self, fd: int, identity: tuple[int, int], log_id: bytes, sequence: int, length: int, tail: bytes
    ) -> None:
        self.fd = fd
        self.identity = identity
        self.log_id = log_id
        self.sequence = sequence
        self.length = length
        self.unsynced_bytes = 0
        self._zeros_until = 0
        self._seed = seed_of(log_id)
        self._tail = tail

    @classmethod
    def create(cls, path: Path, now: float) -> "LogFile":
        """A new file with its first group; nothing of it is durable yet. Raises OSError."""
        with suppress(FileNotFoundError):
            path.unlink()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FLAGS, MODE)
        try:
            log_id = os.urandom(ID_BYTES)
            first = first_group(log_id, now)
            write_at(fd, first, 0)
            status = os.fstat(fd)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        return cls(fd, (status.st_dev, status.st_ino), log_id, 0, len(first), first)

    @property
    def trusted(self) -> bool:
        """Whether it is open and nothing has failed on it."""
        return self.fd >= 0

    def distrust(self) -> None:
        """After a failure."""
        self.close()

    def commit(self, framed: Iterable[bytes], now: float) -> None:
        """Write a group and sync it. Raises OSError, and nothing is counted then."""
        data = group(self._seed, self.sequence + 1, now, framed)
        if self.length + len(data) > self._zeros_until:
            self._write_with_zeros(data)
        else:
            write_at(self.fd, data, self.length)
        os.fdatasync(self.fd)
        self._count(data)

    def _write_with_zeros(self, data: bytes) -> None:
        """Where the next groups will lie too: to write over what is there costs the file system no commit of its own.

        On a volume that has no room for them a group is written as ever.
        """
        try:
            write_at(self.fd, data + _ZEROS, self.length)
        except OSError:
            write_at(self.fd, data, self.length)
        else:
            self._zeros_until = self.length + len(data) + len(_ZEROS)

    def put(self, framed: Iterable[bytes], now: float) -> None:
        """Write a group of a file that is being made; `sync` makes it durable. Raises OSError."""
        data = group(self._seed, self.sequence + 1, now, framed)
        write_at(self.fd, data, self.length)
        self._count(data)
        self.unsynced_bytes += len(data)

    def sync(self) -> None:
        """All that was put is durable, and the file's size. Raises OSError."""
        os.fsync(self.fd)
        self.unsynced_bytes = 0

    def reopen(self, path: Path, owed: Sequence[bytes], now: float) -> None:
        """Open it anew, and make it exactly what is counted, durably; with one more group of what is `owed`.

        Raises OSError. Those records lie where they are written already, so a crash meanwhile loses none.
        """
        more = group(self._seed, self.sequence + 1, now, owed) if owed else b""
        fd = os.open(path, os.O_WRONLY | FLAGS)
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != self.identity:
                raise OSError(errno.ESTALE, "another file has taken the log's place")
            write_at(fd, self._tail + more, self.length - len(self._tail))
            os.ftruncate(fd, self.length + len(more))
            os.fsync(fd)
        except OSError:
            os.close(fd)
            raise
        self.fd = fd
        self._zeros_until = 0
        if more:
            self._count(more)

    def finish(self) -> None:
        """Close it, without the zeros at its end. Harmless twice."""
        if self.fd >= 0:
            with suppress(OSError):  # then they stay, as after a crash
                os.ftruncate(self.fd, self.length)
        self.close()

    def close(self) -> None:
        """Harmless twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            with suppress(OSError):  # what had to be durable was synced
                os.close(fd)

    def _count(self, data: bytes) -> None:
        self.sequence += 1
        self.length += len(data)
        # The last group, and the block it begins in: a failed write may spoil no more than what it shares with them.
        self._tail = (self._tail + data)[-max(len(data), BLOCK_BYTES) :]


class MarkFile:
    """The mark beside a log. That it cannot be written is no failure of an append: the next open is less sharp."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def read(self) -> Mark | None:
        """None where it is missing, one that names no log where it is torn. Raises JournalDamaged if unreadable."""
        try:
            fd = os.open(self.path, os.O_RDONLY | FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalDamaged(f"{self.path}: cannot be read: {error.strerror}") from error
        try:
            return unpack_mark(os.read(fd, BLOCK_BYTES)) or Mark({})
        except OSError as error:
            raise JournalDamaged(f"{self.path}: cannot be read: {error.strerror}") from error
        finally:
            os.close(fd)

    def write(self, acknowledged: dict[bytes, int], *, sync: bool = False) -> bool:
        """Replace it in one write; whether that went well."""
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | FLAGS)
            write_at(self._fd, Mark(acknowledged).pack(), 0)
            if sync:
                os.fdatasync(self._fd)
        except OSError:
            self.close()
            return False
        return True

    def create(self, acknowledged: dict[bytes, int]) -> None:
        """Make it, durably. Raises OSError."""
        self.close()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | FLAGS, MODE)
        write_at(self._fd, Mark(acknowledged).pack(), 0)
        os.fsync(self._fd)
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Harmless twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                os.close(fd)


def write_at(fd: int, data: bytes, at: int) -> None:
    """All of it, or OSError: a short write is continued until it fails for a reason."""
    written = os.pwrite(fd, data, at)
    while written < len(data):
        more = os.pwrite(fd, data[written:], at + written)
        if not more:
            raise OSError(errno.EIO, "nothing more could be written")
        written += more


def sync_folder(folder: Path) -> None:
    """Its entries outlast a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
