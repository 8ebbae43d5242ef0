"""Part tables that do not fit an object's attribute: a file each, by a random id that the attribute names.

Rule 1: a spill is durable before its object gets the name, so that an object which is there has its table.
Rule 2: it says whose it is. One that its object does not name (any more) is nobody's, and goes after a day: the
object that it is for may be about to get its name.
"""

import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from valetstore.storage import metadata
from valetstore.storage.beneath import open_file
from valetstore.storage.durable import Durable
from valetstore.storage.metadata import Record, Row

_VERSION: Final = 1


class _Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing in the file, as msgpack: whose it is. `v` is the version of all that follows."""

    v: int = _VERSION
    bucket: str
    name: str


_encode: Final = msgspec.msgpack.Encoder().encode
_owner: Final = msgspec.msgpack.Decoder(_Owner).decode
_table: Final = msgspec.msgpack.Decoder(tuple[Row, ...]).decode
_LENGTH: Final = struct.Struct(">I")
"""How long the owner's record is: whoever looks only for it reads no table."""
_OWNER_BYTES_MAX: Final = 4096


class Spills:
    """The files, all in one folder. Blocks; raises OSError."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def write(self, durable: Durable, bucket: str, name: str, table: Sequence[Row]) -> str:
        """Keep a table, durably; its id. Raises `storage_error` too."""
        spill = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._path(spill), flags, 0o600)
        try:
            try:
                with open(fd, "wb", buffering=0, closefd=False) as file:
                    owner = _encode(_Owner(bucket=bucket, name=name))
                    left = memoryview(_LENGTH.pack(len(owner)) + owner + _encode(table))
                    while left:
                        left = left[file.write(left) :]
                durable.sync(fd, bucket)
            finally:
                os.close(fd)
            self._sync(durable, bucket)
        except BaseException:
            self.remove(spill)
            raise
        return spill

    def _sync(self, durable: Durable, bucket: str) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            durable.sync(folder, bucket)
        finally:
            os.close(folder)

    def owner(self, spill: str) -> tuple[str, str] | None:
        """The bucket and the name of the object that it is for; None where it cannot be read as a spill."""
        with open(self._path(spill), "rb") as file:
            owner = _head(file.read(_LENGTH.size + _OWNER_BYTES_MAX))
        return (owner[0].bucket, owner[0].name) if owner else None

    def read(self, spill: str) -> tuple[Row, ...]:
        """The table; () where there is none, or none that can be read."""
        try:
            with open(self._path(spill), "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return ()
        owner = _head(content)
        try:
            return _table(content[owner[1] :]) if owner else ()
        except msgspec.DecodeError:
            return ()

    def remove(self, spill: str) -> None:
        """Nobody names it any more. Never fails: what stays is collected."""
        if spill:
            with suppress(OSError):
                os.unlink(self._path(spill))

    def older_than(self, moment: float) -> Iterator[str]:
        """The ids of files from before this moment (seconds since the epoch)."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < moment:
                        yield entry.name

    def _path(self, spill: str) -> str:
        return f"{self._folder}/{spill}"


def _head(content: bytes) -> tuple[_Owner, int] | None:
    """The owner's record, and where the table begins."""
    if len(content) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(content)[0]
    try:
        owner = _owner(content[_LENGTH.size : end])
    except msgspec.DecodeError:
        return None
    return (owner, end) if owner.v == _VERSION else None


def table_of(record: Record, spills: Spills) -> tuple[Row, ...]:
    """The part table of an object's record, wherever it is; () where there is none or it is lost. Raises OSError."""
    if record.table or not record.spill:
        return record.table
    table = spills.read(record.spill)
    return table if len(table) == record.parts else ()


def spill_of(folder: int, entry: bytes) -> str:
    """What the record of the object of this name names; "" where there is none, or nothing can be read of it."""
    try:
        fd, _ = open_file(folder, os.fsdecode(entry))
    except OSError:
        return ""
    try:
        record = metadata.stored(fd)
    except OSError:
        return ""
    finally:
        os.close(fd)
    return record.spill if record else ""
