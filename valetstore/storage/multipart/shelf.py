"""Where unfinished uploads are: a folder each, with a record of the upload and one file for each part.

    <parent>/uploads/<bucket>/<id>/record    the upload, as msgpack
    <parent>/uploads/<bucket>/<id>/00001     part 1, its size, tag and digests in the attribute
    <parent>/uploads/<bucket>/<id>/b4d41     the block that is called MA
    <parent>/uploads/<bucket>/<id>/tally     what is there, so that each block need not count the others

The parent is `<data>/state`, or the bucket's own folder for temp files where objects cannot be linked from there.

Rule 1: a folder with an id for its name is an upload that is open, with a durable record. One that is being made or
removed has a name with an ending, which nobody looks up. Of an object's blocks the id follows from its name.
Rule 2: nothing here is reached over a symbolic link.
"""

import base64
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from valetstore.errors import Denied
from valetstore.storage.beneath import FILE, FOLDER, open_folder
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.roots import Root
from valetstore.storage.uploads import Started

UPLOADS: Final = "uploads"
RECORD: Final = "record"
TALLY: Final = "tally"
LABEL_BYTES_MAX: Final = 120
BEING_MADE: Final = ".new"
BEING_REMOVED: Final = ".ended"
_ID_BYTES: Final = 24
_ID: Final = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
_ID_FOLDER: Final = re.compile(rf"({_ID.pattern})(\{BEING_MADE}|\{BEING_REMOVED})?", re.ASCII)
_PART: Final = re.compile(rb"[0-9]{5}|b(?:[0-9a-f]{2}){1,%d}" % LABEL_BYTES_MAX)
_BLOCK: Final = b"b"
_decode: Final = msgspec.msgpack.Decoder(Started).decode


def new_id() -> str:
    """192 bits that nobody guesses, in characters that no URL escapes."""
    return secrets.token_urlsafe(_ID_BYTES)


def is_id(text: str) -> bool:
    """Whether it can be an upload's."""
    return _ID.fullmatch(text) is not None


def blocks_id(name: str) -> str:
    """The id of the one upload that an object's blocks are in."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()[:_ID_BYTES]).decode()


def part_entry(number: int, label: str = "") -> bytes:
    """A part's file name: by its label where it has one."""
    return _BLOCK + label.encode().hex().encode() if label else b"%05d" % number


def identity_of(entry: bytes) -> tuple[int, str]:
    """The number and the label of a part, by its file name."""
    if entry.startswith(_BLOCK):
        return 0, bytes.fromhex(entry[1:].decode()).decode("utf-8", "replace")
    return int(entry), ""


class Shelf:
    """All uploads below the data directory's state folder and in the buckets' own folders. Raises OSError."""

    def __init__(self, state: str) -> None:
        self.state = state

    def parents(self, root: Root) -> tuple[str, str]:
        """Where a bucket's uploads can be: `state`, and the bucket's own folder."""
        return self.state, f"{root.path}/{TEMP_FOLDER}"

    @contextmanager
    def of_bucket(self, parent: str, bucket: str) -> Iterator[int]:
        """A descriptor of the folder of a bucket's uploads. Raises FileNotFoundError where it has had none."""
        fd = _open(parent, f"{UPLOADS}/{bucket}")
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def upload(self, parent: str, bucket: str, folder: str) -> Iterator[int]:
        """A descriptor of an upload's folder, by its name. Raises FileNotFoundError where it is not open."""
        fd = self.open_upload(parent, bucket, folder)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def going_on(self, parent: str, bucket: str, upload_id: str) -> Iterator[int]:
        """The same, of one that was found a moment ago. Raises `upload_not_found` where it has ended since."""
        try:
            fd = self.open_upload(parent, bucket, upload_id)
        except FileNotFoundError:
            raise Denied("upload_not_found", bucket=bucket) from None
        try:
            yield fd
        finally:
            os.close(fd)

    def open_upload(self, parent: str, bucket: str, folder: str) -> int:
        """The same as `upload`, for the caller to close."""
        return _open(parent, f"{UPLOADS}/{bucket}/{folder}")

    def parent_of(self, root: Root, upload_id: str) -> str:
        """Where this upload is. Raises `upload_not_found`."""
        for parent in self.parents(root) if is_id(upload_id) else ():
            with suppress(FileNotFoundError), self.upload(parent, root.bucket, upload_id):
                return parent
        raise Denied("upload_not_found", bucket=root.bucket)

    def folders(self, parent: str, bucket: str) -> list[tuple[str, str]]:
        """(id, ending) of every folder of a bucket's uploads; the ending is "" for those that are open."""
        with suppress(FileNotFoundError), self.of_bucket(parent, bucket) as fd, os.scandir(fd) as inside:
            names = [entry.name for entry in inside if entry.is_dir(follow_symlinks=False)]
            found = [match for name in names if (match := _ID_FOLDER.fullmatch(name))]
            return [(match[1], match[2] or "") for match in found]
        return []

    def buckets(self, parent: str) -> list[str]:
        """The buckets that have a folder here."""
        try:
            fd = _open(parent, UPLOADS)
        except FileNotFoundError:
            return []
        try:
            with os.scandir(fd) as found:
                return sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
        finally:
            os.close(fd)

    def bytes_held(self, root: Root) -> int:
        """The sizes of all parts of a bucket together."""
        total = 0
        for parent in self.parents(root):
            for upload_id, ending in self.folders(parent, root.bucket):
                with suppress(FileNotFoundError), self.upload(parent, root.bucket, upload_id + ending) as fd:
                    total += sum(size_of(fd, entry) for entry in entries(fd))
        return total


def _open(parent: str, path: str) -> int:
    at = os.open(parent, FOLDER)
    try:
        return open_folder(at, path)
    finally:
        os.close(at)


def started(upload: int) -> Started | None:
    """The record in an upload's folder; None where there is none that can be read."""
    try:
        fd = os.open(RECORD, FILE, dir_fd=upload)
    except FileNotFoundError:
        return None
    try:
        with open(fd, "rb", closefd=False) as file:
            return _decode(file.read())
    except msgspec.DecodeError:
        return None
    finally:
        os.close(fd)


def entries(upload: int) -> list[bytes]:
    """The file names of the parts in an upload's folder, in order of their numbers or their labels' bytes."""
    with os.scandir(upload) as found:
        files = [os.fsencode(entry.name) for entry in found if entry.is_file(follow_symlinks=False)]
    return sorted(name for name in files if _PART.fullmatch(name))


def size_of(upload: int, entry: bytes) -> int:
    """A part's size; 0 where there is none."""
    try:
        state = os.stat(entry, dir_fd=upload, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return state.st_size if stat.S_ISREG(state.st_mode) else 0
