"""The data directory: its folders, its format, and whether the file systems below can keep the promises.

    <data>/objects/<bucket>/   objects of buckets without a root of their own
    <data>/state/format        the version of all this, as text
    <data>/state/tmp/          unfinished uploads
    <data>/state/locks/        one file for each stripe of keys
    <data>/state/quota/        bytes held, for each bucket with a quota
    <data>/state/buckets/      what is kept about a bucket beside its objects
    <data>/state/uploads/      uploads in parts that are not finished (`multipart/shelf.py`)
    <data>/state/spill/        part tables that do not fit their object's attribute (`spill.py`)
    <data>/state/quarantine/   what a scrub has set aside
    <data>/state/*.log, *.mark what was used and what was revoked (`valetstore.owner`)

Rule 1: nothing is served before `prepare` has returned; it is called once, by the holder of the data lock.
Rule 2: a newer format is refused, never guessed at.
Rule 3: a volume that is full or read-only now is no reason not to start: reads go on, and each write is told why
it cannot be.
"""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from valetstore.errors import ConfigInvalid
from valetstore.storage.durable import sync_folder
from valetstore.storage.metadata import ATTRIBUTE, RECORD_BYTES_MAX
from valetstore.storage.roots import FOLDER_MODE
from valetstore.storage.temp import TempFile, TempFolder

FORMAT: Final = 3
"""1 knew no logs of used and revoked keys, 2 no compact attributes (`compact.py`), without which an object has another
entity tag. `prepare` raises it: whoever makes the logs does so before.

Uploads in parts and their objects did not raise it: a version that knows none of them serves such an object with its
tag, takes one without a SHA-256 for nothing to scrub, and leaves `uploads` and `spill` alone.
"""


class State:
    """Paths below the data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.objects = data / "objects"
        self.folder = data / "state"
        self.temp = self.folder / "tmp"
        self.locks = self.folder / "locks"
        self.quota = self.folder / "quota"
        self.buckets = self.folder / "buckets"
        self.uploads = self.folder / "uploads"
        self.spill = self.folder / "spill"
        self.quarantine = self.folder / "quarantine"
        self.format = self.folder / "format"

    def prepare(self) -> None:
        """Make what is missing, durably; check the format. Raises ConfigInvalid."""
        try:
            self.data.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            below = (self.temp, self.locks, self.quota, self.buckets, self.uploads, self.spill)
            for folder in (self.objects, self.folder, *below):
                folder.mkdir(FOLDER_MODE, exist_ok=True)
            self._check_format()
            for path in (self.folder, self.data, self.data.parent):
                _sync_where_writable(path)
        except OSError as error:
            raise ConfigInvalid(f"storage.data: {self.data}: {error.strerror}: {error.filename}") from error

    def known_format(self) -> int | None:
        """The format the data directory says it has; None where it says none. Raises ConfigInvalid, OSError."""
        try:
            text = self.format.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return None
        if not text.isdecimal():
            raise ConfigInvalid(f"{self.format}: {text[:20]!r}: must be a format version, a whole number")
        if int(text) > FORMAT:
            raise ConfigInvalid(
                f"storage.data: {self.data}: has format {text}, this valetstore reads format {FORMAT}; "
                "use the version that wrote it, or a newer one"
            )
        return int(text)

    def _check_format(self) -> None:
        if self.known_format() != FORMAT:
            self._write_format()

    def _write_format(self) -> None:
        unnamed = self.format.with_name(f"format.{secrets.token_hex(8)}")
        with open(unnamed, "x", encoding="ascii") as file:
            file.write(f"{FORMAT}\n")
            file.flush()
            os.fsync(file.fileno())
        unnamed.rename(self.format)


def _sync_where_writable(folder: Path) -> None:
    try:
        sync_folder(str(folder))
    except OSError as error:
        if error.errno != errno.EROFS:  # nothing was changed there
            raise


def check_volume(path: str, temp: TempFolder) -> str:
    """Raise ConfigInvalid where files for this root can never carry their metadata. Leaves nothing behind.

    Returns why nothing can be written there now, as one sentence; "" where all is well.
    """
    try:
        file = TempFile(temp)
    except OSError as error:
        if is_not_now(error):
            return not_now(path, error)
        raise ConfigInvalid(f"{path}: no file can be made here: {error.strerror}") from error
    try:
        os.setxattr(file.fd, ATTRIBUTE, bytes(RECORD_BYTES_MAX))
    except OSError as error:
        if is_not_now(error) and not (error.errno == errno.ENOSPC and _has_room(file.fd)):
            return not_now(path, error)
        raise ConfigInvalid(
            f"{path}: user extended attributes of {RECORD_BYTES_MAX} bytes are required and this file system "
            f"does not keep them: {error.strerror}"
        ) from error
    finally:
        with suppress(OSError):
            file.close()
    return ""


_NOT_NOW: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_ROOM_BYTES: Final = 2**16


def is_not_now(error: OSError) -> bool:
    """Whether it says that a volume is full or read-only, which may pass."""
    return error.errno in _NOT_NOW


def not_now(path: str, error: OSError) -> str:
    """The sentence about a root that can be read and not be written."""
    return f"{path}: cannot be written now, only read: {error.strerror}"


def _has_room(fd: int) -> bool:
    """Whether ENOSPC meant the attribute alone: ext4 answers so where its blocks are too small for it."""
    state = os.fstatvfs(fd)
    return state.f_bavail * state.f_frsize >= _ROOM_BYTES and state.f_favail > 0
