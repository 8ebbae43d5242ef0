"""Scrub: read everything again and compare with the digests kept at upload. For the command line; blocks.

What was uploaded in parts is compared part by part.

Rule 1: only what claims to be unchanged is judged. A file edited in place, or one that came without
metadata, has nothing to be compared with: it is counted.
Rule 2: a bad object is set aside, not deleted, and only while it is still the file that was read: under the
key's lock, so an upload that has just replaced it is not taken for it.
Rule 3: read-only buckets are read, never changed.
"""

import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from valetstore.config import Bucket
from valetstore.storage import checksums, metadata
from valetstore.storage.beneath import open_file, open_folder
from valetstore.storage.durable import sync_folder
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.locks import Locks
from valetstore.storage.metadata import Record
from valetstore.storage.multipart.shelf import Shelf
from valetstore.storage.quota import Quota
from valetstore.storage.roots import FOLDER_MODE, Root, Roots
from valetstore.storage.spill import Spills, table_of
from valetstore.storage.state import State
from valetstore.storage.trouble import translated
from valetstore.storage.walk import walk

_CHUNK_BYTES: Final = 2**20


class Bad(msgspec.Struct, frozen=True):
    """One object that is not what was stored; `set_aside` is where it is now, None if it was left."""

    bucket: str
    name: str
    reason: str
    set_aside: str | None


class Report(msgspec.Struct):
    """What a scrub has seen so far: objects by verdict, and bytes read."""

    sound: int = 0
    edited: int = 0
    foreign: int = 0
    bytes_read: int = 0
    bad: list[Bad] = []


class Scrub:
    """One pass over all buckets. `bytes_per_second` limits reading (None: as fast as it goes)."""

    def __init__(
        self,
        data: Path,
        buckets: Mapping[str, Bucket],
        *,
        bytes_per_second: int | None = None,
        set_aside: bool = True,
        progress: Callable[[Report], None] = lambda report: None,
    ) -> None:
        state = State(data)
        self._quarantine = state.quarantine
        self._roots = Roots(data, buckets, create=False)
        self._locks = Locks(str(state.locks))
        self._quota = Quota(str(state.quota), self._roots, Shelf(str(state.folder)))
        self._spills = Spills(str(state.spill))
        self._rate = bytes_per_second
        self._set_aside = set_aside
        self._progress = progress
        self._started = 0.0
        self.report = Report()

    def run(self) -> Report:
        """Every object once; `progress` is called after each. Raises Denied where a bucket cannot be read."""
        self._started = time.monotonic()
        with translated("read"):
            for root in self._roots.existing():
                root_fd = self._roots.open(root)
                try:
                    for name, path in walk(root, root_fd):
                        self._object(root, root_fd, name, path)
                        self._progress(self.report)
                finally:
                    os.close(root_fd)
        return self.report

    def _object(self, root: Root, root_fd: int, name: str, path: str) -> None:
        try:
            fd, state = open_file(root_fd, path)
        except FileNotFoundError:
            return  # deleted meanwhile
        except OSError as error:
            self._bad(root, root_fd, name, path, None, f"cannot be opened: {error.strerror}")
            return
        try:
            reason = self._judge(fd, state)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        finally:
            os.close(fd)
        if reason:
            self._bad(root, root_fd, name, path, state, reason)

    def _judge(self, fd: int, state: os.stat_result) -> str | None:
        """Why the object is bad; None where it is sound or cannot be judged. Counts."""
        record = metadata.stored(fd)
        pieces = _pieces(record, self._spills) if record else []
        if record is None or not pieces:
            self.report.foreign += 1
            return None
        if record.mtime_ns != state.st_mtime_ns:
            self.report.edited += 1
            return None
        if record.size != state.st_size:
            return f"has {state.st_size} bytes, {record.size} were stored"
        reason = self._compare(fd, pieces)
        if reason and os.fstat(fd).st_mtime_ns != state.st_mtime_ns:  # edited while it was read
            self.report.edited += 1
            return None
        self.report.sound += not reason
        return reason

    def _compare(self, fd: int, pieces: "list[_Piece]") -> str | None:
        offset = 0
        for piece in pieces:
            if self._digest(fd, offset, piece) != piece.digest:
                return f"{piece.whose} {piece.algorithm} is not the one that was stored"
            offset += piece.size
        return None

    def _digest(self, fd: int, offset: int, piece: "_Piece") -> bytes:
        digest = checksums.new(piece.algorithm)
        end = offset + piece.size
        while chunk := os.pread(fd, min(_CHUNK_BYTES, end - offset), offset):
            digest.update(chunk)
            offset += len(chunk)
            self.report.bytes_read += len(chunk)
            self._pause()
        return digest.digest()

    def _pause(self) -> None:
        if self._rate:
            ahead = self.report.bytes_read / self._rate - (time.monotonic() - self._started)
            if ahead > 0:
                time.sleep(ahead)

    # --- setting aside -----------------------------------------------------------------------------

    def _bad(self, root: Root, root_fd: int, name: str, path: str, state: os.stat_result | None, reason: str) -> None:
        moved = None
        if self._set_aside and state is not None and not root.read_only:
            with self._locks.of(root.bucket, name):
                moved = self._move(root, root_fd, path, state)
        self.report.bad.append(Bad(root.bucket, name, reason, moved))

    def _move(self, root: Root, root_fd: int, path: str, state: os.stat_result) -> str | None:
        parent, _, entry = path.rpartition("/")
        folder = open_folder(root_fd, parent)
        try:
            now = os.stat(entry.encode(), dir_fd=folder, follow_symlinks=False)
            if (now.st_dev, now.st_ino, now.st_mtime_ns) != (state.st_dev, state.st_ino, state.st_mtime_ns):
                return None
            moved = self._rename(root, folder, entry, path)
            os.fsync(folder)
        except FileNotFoundError:
            return None
        finally:
            os.close(folder)
        with self._quota.charged(root, -state.st_size):
            return moved

    def _rename(self, root: Root, folder: int, entry: str, path: str) -> str:
        try:
            return _rename_below(str(self._quarantine / root.bucket), folder, entry, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        # A root on a disk of its own: what cannot be read can be renamed there, but not copied from there.
        return _rename_below(f"{root.path}/{TEMP_FOLDER}/quarantine", folder, entry, path)


class _Piece(NamedTuple):
    """A stretch of an object that has a digest of its own."""

    size: int
    algorithm: str
    digest: bytes
    whose: str

    @classmethod
    def of(cls, size: int, digests: Mapping[str, bytes], whose: str) -> "_Piece | None":
        """To be compared by the best of these; None where there is none."""
        best = checksums.strongest(digests)
        return None if best is None else cls(size, best, digests[best], whose)


def _pieces(record: Record, spills: Spills) -> list[_Piece]:
    """What the object is made of, in order; [] where there is nothing to compare it with."""
    table = table_of(record, spills)
    if table and sum(row.size for row in table) == record.size:
        pieces = [_Piece.of(row.size, row.digests, f"part {row.number}'s") for row in table]
        known = [piece for piece in pieces if piece is not None]
        if len(known) == len(pieces):
            return known
    whole = _Piece.of(record.size, record.digests, "its")
    return [] if whole is None else [whole]


def _rename_below(quarantine: str, folder: int, entry: str, path: str) -> str:
    target = f"{quarantine}/{path}"
    count = 1
    while os.path.lexists(target):
        count += 1
        target = f"{quarantine}/{path}%{count}"  # no escape: not mistaken for another object's path
    new = Path(target).parent
    new.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    os.rename(entry.encode(), target.encode(), src_dir_fd=folder)
    for made in (new, *new.parents[: path.count("/") + 2]):
        sync_folder(str(made))
    return target
