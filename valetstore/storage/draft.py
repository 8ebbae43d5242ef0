"""The half of an upload that blocks: hash, write, seal, publish, drop. Each call runs in a worker thread.

The story of a put: a temp file, its bytes, the attribute, fsync, the name, fsync of the folder. A crash at
any point before the name leaves nothing that anyone sees; after it, the whole object.

Rule 1: one call at a time, kept by a lock: a task that is cancelled leaves its thread running, and `drop`
must not close (and the system not hand out again) a descriptor that is still written to.
Rule 2: after a failure every further step is refused: what failed once is not whole.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage import checksums, metadata
from valetstore.storage.copying import copy_bytes
from valetstore.storage.metadata import Row
from valetstore.storage.place import Place, Workshop
from valetstore.storage.promise import Metadata, ObjectInfo, ReadInto
from valetstore.storage.space import Hold
from valetstore.storage.temp import Bytes, TempFile, TempFolder
from valetstore.storage.writeback import begin_writeback

Put = TypeVar("Put")

STEP_SECONDS: Final = 0.2
"""How long one step of a copy keeps a thread, or the time of one piece where that is more."""
_PIECE_BYTES: Final = 8 * 2**20
"""How much is copied before the clock is looked at."""
_UNSYNCED_BYTES_MAX: Final = 256 * 2**20
"""A copy is as fast as memory: synced only at its end, that one sync would take minutes."""
_CHUNK_BYTES: Final = 2**20
_WRITEBACK_BYTES: Final = 8 * 2**20
"""The disk begins with so much while the next bytes come: the sync at the end has little left to wait for."""
_BUFFER_BYTES: Final = 2**20
"""What is read, hashed and written at once, at multiples of itself: it fits a core's cache. Each thread keeps one."""

_own: Final = threading.local()


def _buffer() -> memoryview:
    """This thread's own."""
    view: memoryview | None = getattr(_own, "view", None)
    if view is None:
        view = _own.view = memoryview(bytearray(_BUFFER_BYTES))
    return view


class Draft:
    """Bytes that have no name yet. Methods block; they raise Denied and OSError."""

    def __init__(self, workshop: Workshop, place: Place, temp: TempFolder, hold: Hold, digests: frozenset[str]) -> None:
        self._workshop = workshop
        self._place = place
        self._temp_folder = temp
        self._temp: TempFile | None = None
        self._hold = hold
        self._hashes = {digest: checksums.new(digest) for digest in sorted(digests)}
        self._known: dict[str, bytes] = {}
        self._told: dict[str, bytes] | None = None  # the digests, until more bytes come
        self._size = 0
        self._on_its_way = 0  # of it, to the disk
        self._unsynced = 0
        self._spill = ""
        self._busy = threading.Lock()
        self._is_over = False
        self._is_attached = False
        self._is_sealed = False

    @property
    def bucket(self) -> str:
        """Whose volume it is on."""
        return self._place.bucket

    def hash(self, chunks: Sequence[Bytes]) -> None:
        """Count these bytes in, without writing them."""
        self._told = None
        for chunk in chunks:
            for digest in self._hashes.values():
                digest.update(chunk)

    def know(self, digests: Mapping[str, bytes]) -> None:
        """These are the whole's: they follow from what is kept of its source, and its bytes need no reading."""
        self._told = None
        self._known.update(digests)

    def digests(self) -> dict[str, bytes]:
        """Of all bytes hashed so far, by algorithm."""
        if self._told is None:
            self._told = {**self._known, **{name: digest.digest() for name, digest in self._hashes.items()}}
        return self._told

    def take(self, chunks: Sequence[bytes]) -> None:
        """Hash and write the next bytes."""
        with self._step():
            self.hash(chunks)
            self._write(chunks)

    def pull(self, first: Sequence[bytes], read_into: ReadInto, count: int) -> int:
        """After `first`, hash and write up to `count` bytes from `read_into`, until it has none; how many."""
        with self._step():
            self.hash(first)
            self._write(first)
            done, got = 0, 1
            while got and done < count:
                # The kernel keeps in one piece what was written in one, and sends it by the piece.
                view, filled = _buffer()[: min(count - done, _BUFFER_BYTES - self._size % _BUFFER_BYTES)], 0
                while filled < len(view) and (got := read_into(view[filled:])):
                    filled += got
                self.hash([view[:filled]])
                self._write([view[:filled]])
                done += filled
            return done

    def copy(self, source: int, offset: int, count: int, until: float) -> int:
        """Append bytes of another file, up to `count`, until the clock says so (`time.monotonic`); how many.

        At least one piece, and fewer bytes than asked for before that only where the source ends.
        """
        with self._step():
            temp = self._opened()
            done = 0
            while done < count:
                piece = min(count - done, _PIECE_BYTES)
                self._hold.write(temp.fd, piece)
                copied = copy_bytes(source, offset + done, temp.fd, piece)
                self._hash_back(temp.fd, copied)
                self._size += copied
                done += copied
                self._sync_now_and_then(temp.fd, copied)
                if copied < piece or time.monotonic() >= until:
                    break
            return done

    def _hash_back(self, fd: int, count: int) -> None:
        """From what was written, not from what it was copied of: that one may be changing."""
        offset = self._size
        while self._hashes and offset < self._size + count:
            chunk = os.pread(fd, min(_CHUNK_BYTES, self._size + count - offset), offset)
            if not chunk:
                raise Denied("storage_error", reason="a copy cannot be read back")
            self.hash([chunk])
            offset += len(chunk)

    def _sync_now_and_then(self, fd: int, count: int) -> None:
        self._unsynced += count
        if self._unsynced >= _UNSYNCED_BYTES_MAX:
            self._workshop.durable.sync(fd, self._place.bucket)
            self._unsynced = 0

    def seal(self, rest: Sequence[bytes], described: Metadata, table: Sequence[Row] = ()) -> ObjectInfo:
        """Write the last bytes (hashed already), attach what is known of them, make both durable.

        `table` are the parts that they are made of.
        """
        info = self.attach(rest, described, table)
        self.sync()
        return info

    def attach(self, rest: Sequence[bytes], described: Metadata, table: Sequence[Row] = ()) -> ObjectInfo:
        """The first half of `seal`: all but the sync."""
        with self._step():
            if self._is_attached:
                raise Denied("internal_error", reason="sealed twice")
            temp = self._write(rest)
            state = os.fstat(temp.fd)
            if state.st_size != self._size:
                raise Denied("storage_error", size=state.st_size, written=self._size)
            kept = self._place.described(described)
            info = metadata.describe(self._size, state.st_mtime_ns, kept, self.digests(), table)
            metadata.attach(temp.fd, self._record(info, table))
            self._is_attached = True
            return info

    def begin_writeback(self) -> None:
        """Have the disk begin with what `sync` will wait for."""
        with self._step():
            begin_writeback(self._opened().fd)

    def sync(self) -> None:
        """The second half of `seal`."""
        with self._step():
            if not self._is_attached:
                raise Denied("internal_error", reason="synced before all was written")
            self._workshop.durable.sync(self._opened().fd, self._place.bucket)
            self._is_sealed = True

    def begin_sync(self) -> int:
        """`sync` by somebody else: the descriptor, with which nothing else is done until `end_sync`."""
        self._busy.acquire()
        try:
            self._check()
            if not self._is_attached:
                raise Denied("internal_error", reason="synced before all was written")
            return self._opened().fd
        except BaseException:
            self._busy.release()
            raise

    def end_sync(self, number: int) -> None:
        """What came of it: an errno, 0 where all is durable. Raises `storage_error`."""
        try:
            if number:
                self._let_go()
                raise self._workshop.durable.failed(number, self._place.bucket)
            self._is_sealed = True
        finally:
            self._busy.release()

    def _record(self, info: ObjectInfo, table: Sequence[Row]) -> bytes:
        if not table or metadata.fits(info, table):
            return metadata.encode(info, table)
        self._spill = self._workshop.spills.write(self._workshop.durable, self._place.bucket, self._place.name, table)
        return metadata.encode(info, spill=self._spill)

    def _write(self, chunks: Sequence[Bytes]) -> TempFile:
        temp = self._opened()
        count = sum(map(len, chunks))
        if count:
            self._hold.write(temp.fd, count)
            temp.write(chunks)
            self._size += count
            if self._size - self._on_its_way >= _WRITEBACK_BYTES:
                begin_writeback(temp.fd, self._on_its_way, self._size - self._on_its_way)
                self._on_its_way = self._size
        return temp

    def _opened(self) -> TempFile:
        if self._temp is None:
            self._temp = TempFile(self._temp_folder)
        return self._temp

    def publish(self, conditions: Conditions, create_only: bool) -> bool:
        """Put it in its place, whatever comes of it let go of the temp file; True where nothing was replaced."""
        return self.put(partial(self._place.publish, conditions=conditions, create_only=create_only))

    def put(self, put: Callable[[TempFile, int], Put]) -> Put:
        """What `put` makes of the sealed file and its size; whatever comes of it, let go of the file."""
        with self._step():
            if self._temp is None or not self._is_sealed:
                raise Denied("internal_error", reason="published before it was sealed")
            spill, self._spill = self._spill, ""  # from here on an object may name it
            try:
                result = put(self._temp, self._size)
            except Denied as denied:
                if "unsure" not in denied.evidence:
                    self._spill = spill
                raise
            self._let_go()
            return result

    def drop(self) -> None:
        """Leave nothing behind; harmless twice and after `publish`."""
        with self._busy:
            self._let_go()

    def _let_go(self) -> None:
        self._is_over = True
        self._hold.release()
        spill, self._spill = self._spill, ""
        self._workshop.spills.remove(spill)
        temp, self._temp = self._temp, None
        if temp is not None:
            temp.close()

    def _step(self) -> "_Step":
        return _Step(self._busy, self._check, self._let_go)

    def _check(self) -> None:
        if self._is_over:
            raise Denied("internal_error", reason="the upload is over")


class _Step:
    """One step: alone, not after the end, and the end where it fails. A generator would take three times as long."""

    __slots__ = ("_busy", "_check", "_let_go")

    def __init__(self, busy: threading.Lock, check: Callable[[], None], let_go: Callable[[], None]) -> None:
        self._busy = busy
        self._check = check
        self._let_go = let_go

    def __enter__(self) -> None:
        self._busy.acquire()
        try:
            self._check()
        except BaseException:
            self._busy.release()
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                self._let_go()
        finally:
            self._busy.release()
