"""The data directory: its folders, its format, and whether the file systems below can keep the promises.

    <data>/objects/<bucket>/   objects of buckets without a root of their own
    <data>/state/format        the version of all this, as text
    <data>/state/tmp/          unfinished uploads
    <data>/state/locks/        one file for each stripe of keys
    <data>/state/quota/        bytes held, for each bucket with a quota
    <data>/state/quarantine/   what a scrub has set aside

Rule 1: nothing is served before `prepare` has returned; it is called once, by the holder of the data lock.
Rule 2: a newer format is refused, never guessed at.
"""

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

FORMAT: Final = 1


class State:
    """Paths below the data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.objects = data / "objects"
        self.folder = data / "state"
        self.temp = self.folder / "tmp"
        self.locks = self.folder / "locks"
        self.quota = self.folder / "quota"
        self.quarantine = self.folder / "quarantine"
        self.format = self.folder / "format"

    def prepare(self) -> None:
        """Make what is missing, durably; check the format. Raises ConfigInvalid."""
        try:
            self.data.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            for folder in (self.objects, self.folder, self.temp, self.locks, self.quota):
                folder.mkdir(FOLDER_MODE, exist_ok=True)
            self._check_format()
            for path in (self.folder, self.data, self.data.parent):
                sync_folder(str(path))
        except OSError as error:
            raise ConfigInvalid(f"storage.data: {self.data}: {error.strerror}: {error.filename}") from error

    def _check_format(self) -> None:
        try:
            text = self.format.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            self._write_format()
            return
        if not text.isdecimal():
            raise ConfigInvalid(f"{self.format}: {text[:20]!r}: must be a format version, a whole number")
        if int(text) > FORMAT:
            raise ConfigInvalid(
                f"storage.data: {self.data}: has format {text}, this valetstore reads format {FORMAT}; "
                "use the version that wrote it, or a newer one"
            )

    def _write_format(self) -> None:
        unnamed = self.format.with_name(f"format.{secrets.token_hex(8)}")
        with open(unnamed, "x", encoding="ascii") as file:
            file.write(f"{FORMAT}\n")
            file.flush()
            os.fsync(file.fileno())
        unnamed.rename(self.format)


def check_volume(path: str, temp: TempFolder) -> None:
    """Raise ConfigInvalid unless files for this root can carry their metadata. Leaves nothing behind."""
    try:
        file = TempFile(temp)
    except OSError as error:
        raise ConfigInvalid(f"{path}: no file can be made here: {error.strerror}") from error
    try:
        os.setxattr(file.fd, ATTRIBUTE, bytes(RECORD_BYTES_MAX))
    except OSError as error:
        raise ConfigInvalid(
            f"{path}: user extended attributes of {RECORD_BYTES_MAX} bytes are required and this file system "
            f"does not keep them: {error.strerror}"
        ) from error
    finally:
        with suppress(OSError):
            file.close()
