"""One gateway for one data directory: a lock that ends with the process that holds it, however it ends."""

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from valetstore.errors import ConfigInvalid

_PATIENCE_SECONDS: Final = 1.0
"""Who only asks for the holder has the lock for a moment, workers of a gateway that was killed while they end."""
_PAUSE_SECONDS: Final = 0.02


class DataHeld(Exception):  # noqa: N818 - reads as what happened
    """Another gateway serves this data directory: one sentence that says which process, and where."""


class Holder(msgspec.Struct):
    """Who serves a data directory: process id (0: not known), and the addresses it accepts on (URLs).

    `generation` is that of the key ring which all of it goes by, 0 before it has one.
    """

    pid: int
    addresses: list[str]
    generation: int = 0


class DataLock:
    """The lock `<data>/state/lock`. Raises DataHeld, ConfigInvalid."""

    def __init__(self, data: Path) -> None:
        self._path = data / "state" / "lock"
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _open(self._path)
        except OSError as error:
            raise ConfigInvalid(f"storage.data: {data}: cannot be written: {error.strerror}") from error
        try:
            _lock(self._file)
        except BlockingIOError:
            os.close(self._file)
            found = holder(data)
            who = f"process {found.pid} ({', '.join(found.addresses)})" if found and found.pid else "another process"
            raise DataHeld(f"storage.data: {data}: is served by {who}; one data directory has one gateway") from None
        self._said = Holder(os.getpid(), [])
        self.say([])

    @property
    def descriptor(self) -> int:
        """The lock as a descriptor: a process that inherits it holds it too, for as long as it lives."""
        return self._file

    def say(self, addresses: list[str]) -> None:
        """Write down who holds it, for whoever finds it held; where the volume is full or read-only, do not."""
        self._said.addresses = addresses
        self._write()

    def goes_by(self, generation: int) -> None:
        """Write down the key ring that all of the gateway goes by from now on: who changed it may be waiting."""
        self._said.generation = generation
        self._write()

    def _write(self) -> None:
        text = msgspec.json.encode(self._said)
        with suppress(OSError):  # it is held all the same, and reads go on
            # Never shorter in between: somebody may be reading.
            os.pwrite(self._file, text, 0)
            os.ftruncate(self._file, len(text))

    def close(self) -> None:
        """Let go; the file stays, the lock does not."""
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # enough for a lock


def _lock(file: int) -> None:
    """Lock it; BlockingIOError where another keeps it."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def holder(data: Path) -> Holder | None:
    """Who serves this data directory now; None where nobody does or it cannot be looked at."""
    path = data / "state" / "lock"
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _as_written(file.read())
    except OSError:
        return None
    return None


def _as_written(text: bytes) -> Holder:
    try:
        return msgspec.json.decode(text, type=Holder)
    except (msgspec.DecodeError, UnicodeDecodeError):  # it could not write, or is about to
        return Holder(0, [])
