"""Journal: one append-only log, shared by all who write at once: what was acknowledged is there after a power cut.

Rule 1: one thread writes. It takes all that waits, writes it as one group, syncs it, sets the mark, and only
then are the waiters answered, all in one call; the next group gathers meanwhile, and is written only after that sync.
Rule 2: the mark (`<name>.mark`: log id and highest acknowledged sequence) is written after each sync and is not
synced itself, so whatever it says is at most the truth. It tells a tail that nobody was promised, which is
dropped, from a promise that is missing, which is damage.
Rule 3: after a write or sync that failed, its descriptor is not believed any more: the kernel drops what it could
not write, and says so once. The file is opened anew, its last durable bytes are written again from memory, it is
cut back to them and synced. The pages of everything earlier were clean before the write that failed, so
nothing of them can be lost with it; this holds for ENOSPC, EIO and EROFS alike, and is tried at most once a second.
Rule 4: no guess. A log that is not what was acknowledged is JournalDamaged; its owner refuses, an operator repairs.
"""

import asyncio
import errno
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from valetstore.journal.files import BLOCK_BYTES, FLAGS, JournalDamaged, LogFile, sync_folder
from valetstore.journal.format import RECORD_BYTES_MAX, Found, frame, framed, salvage, scan, time_of_torn
from valetstore.journal.reading import has_tail, mark_of
from valetstore.journal.thread import LogThread

log = logging.getLogger(__name__)

Told = Callable[[OSError | None], None]
"""Who waits for a record: None where it is durable."""

RETRY_SECONDS: Final = 1.0
"""How long after a failed write the next one is refused without asking the disk."""

GROUP_BYTES_MAX: Final = 1 << 20
"""About as much goes into one group, however much waits: a sync must not take long."""

SYNC_BYTES: Final = 1 << 20
"""While the log is rewritten, appends wait behind syncs of about this much."""

_READ_BYTES: Final = 1 << 20


class Recovered(NamedTuple):
    """What `open` found beside the records: the highest time of any group (0.0: none), and "" or one sentence
    on what was dropped or missing without having been promised."""

    clock: float
    warning: str


class Journal:
    """The log `path`, its mark `<name>.mark`, and `<path>.new` while it is rewritten. One process at a time.

    Records are 1 to 65,535 bytes. They must be absolute (given twice they say the same, a later one wins):
    a rewrite and a salvaged tail may repeat them. After `open` it belongs to one event loop. `after` is called
    behind every group, when all who waited for it have been told.
    """

    def __init__(self, path: Path, after: Told | None = None) -> None:
        self.path = path
        self._new = path.with_name(path.name + ".new")
        self._mark = mark_of(path)
        self._file: LogFile | None = None
        self._rewriting = False
        self._copy: LogFile | None = None
        self._copy_failure: OSError | None = None
        self._owed: list[bytes] = []
        self._failure: OSError | None = None
        self._retry_at = 0.0
        self._thread: LogThread | None = None
        self._gathering = _Group()
        self._waiting: deque[_Group] = deque()
        self._writing: _Group | None = None
        self._starting = False
        self._after = after

    def open(self, each: Callable[[bytes], None], *, expected: bool) -> Recovered:
        """Read the log, record by record into `each`, and make it ready. Blocks: about a second for a million.

        It is created where it is missing, unless it is `expected`. Raises JournalDamaged; what `each` was
        given by then must be thrown away. A volume that cannot be written is no damage: `append` says so.
        """
        with suppress(OSError):  # what an earlier rewrite left; a later one replaces it
            self._new.unlink()
        mark = self._mark.read()
        try:
            fd = os.open(self.path, os.O_RDONLY | FLAGS)
        except FileNotFoundError:
            if expected or mark is not None:
                raise JournalDamaged(f"{self.path}: the log is missing") from None
            return self._begin(Recovered(0.0, ""))
        except OSError as error:
            raise JournalDamaged(f"{self.path}: cannot be read: {error.strerror}") from error
        found, file = self._read(fd, each)
        warning = "" if mark and mark.acknowledged else f"{self.path}: its mark is missing or torn and is made anew"
        clock = found.clock
        if has_tail(self.path, found, mark):
            self._owed = list(salvage(found.rest))
            for record in self._owed:
                each(record)
            clock = max(clock, time_of_torn(found.rest, file.log_id))
            dropped = f"{len(found.rest)} bytes at its end, which were not acknowledged or are cut short, are dropped"
            kept = f"{self.path}: {dropped}; whole records kept of them: {len(self._owed)}"
            warning = f"{warning}; {kept}" if warning else kept
        self._file = file
        return self._begin(Recovered(clock, warning))

    async def append(self, record: bytes, now: float) -> None:
        """Durable on return; concurrent calls share one sync. `now`: seconds since the epoch, kept as the clock.

        Raises OSError where it is not durable: it may or may not be there after the next start. A caller
        that is cancelled does not hurt the others, and its record is written all the same.
        """
        await asyncio.shield(self.submit(record, now))

    def submit(self, record: bytes, now: float) -> "asyncio.Future[None]":
        """As `append`, without waiting: the order of calls is the order in the log.

        Where a group fails, the futures of all that waits fail, the last one first.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        self.write(record, now, partial(_settle, future))
        return future

    def write(self, record: bytes, now: float, told: Told) -> None:
        """As `submit`, for a caller that needs no future: `told` is called once, never before this returns.

        With None where the record is durable (it may write again then), else with the error: all that fail together
        are told at once, the last one first, and must only take back what they had changed. It must not raise.
        """
        if self._thread is None:
            raise RuntimeError("the journal is not open")
        size = len(record)
        if not 0 < size <= RECORD_BYTES_MAX:
            raise ValueError(f"a record has 1 to {RECORD_BYTES_MAX} bytes, not {size}")
        group = self._gathering
        if group.size >= GROUP_BYTES_MAX:
            self._waiting.append(group)
            group = self._gathering = _Group()
        group.records.append(record)
        group.told.append(told)
        group.size += size
        if now > group.now:
            group.now = now
        if self._writing is None and not self._starting:
            # At the end of this turn of the loop: all that it brings is one group, and the thread could not run before.
            self._starting = True
            asyncio.get_running_loop().call_soon(self._write_next)

    @property
    def bytes_held(self) -> int:
        """How large the file is (what is durable of it)."""
        return self._file.length if self._file else 0

    @property
    def failure(self) -> OSError | None:
        """Why the last write failed; None once one works again."""
        return self._failure

    async def rewrite(self, records: Iterable[Iterable[bytes]], now: float) -> None:
        """Replace the log by `records` (chunks, each made on the event loop when it is its turn) without stopping.

        Appends meanwhile go to the old log, synced and acknowledged as ever, and behind the chunks into the
        new one. So a change must be in the state that `records` reads from, or be appended, in one step of
        the loop. `now` becomes the new log's clock: what was left out because it has expired is forgotten by it.
        Raises OSError; the old log stays in use then. It is given up when an append fails meanwhile, because what
        that append's owner takes back may be in a chunk already.
        """
        if self._thread is None or self._rewriting:
            raise RuntimeError("the journal is not open, or is being rewritten")
        self._rewriting = True
        thread = self._thread
        try:
            await thread.run(partial(self._begin_copy, now))
            for chunk in records:
                await thread.run(partial(self._add_to_copy, chunk, now))
            await thread.run(self._sync_copy)
            await thread.run(self._switch)
        except BaseException:
            # Behind whatever still runs; after a switch there is nothing to drop.
            thread.do(self._drop_copy, _nothing)
            raise
        finally:
            self._rewriting = False

    async def close(self) -> None:
        """Write what waits, and let go. Harmless twice. A rewrite must have ended."""
        if self._thread is None:
            return
        while self._starting or self._writing is not None:
            await self._thread.run(_nothing)
        thread, self._thread = self._thread, None
        await thread.run(self._let_go)
        thread.end()

    # The event loop's part

    def _write_next(self) -> None:
        """Hand the next group to the thread."""
        self._starting = False
        if self._waiting:
            group = self._waiting.popleft()
        else:
            group, self._gathering = self._gathering, _Group()
        self._writing = group
        assert self._thread is not None
        self._thread.do(partial(self._write, group.records, group.now), self._written)

    def _written(self, _: None, error: BaseException | None) -> None:
        """A group is durable, or is not: tell its waiters, and begin the next."""
        group, self._writing = self._writing, None
        assert group is not None
        self._starting = True
        if error is None:
            _tell(group.told, None)
        else:
            # Those behind it were made in the belief that it would be written: they fail with it.
            failed = [told for part in (group, *self._waiting, self._gathering) for told in part.told]
            self._waiting.clear()
            self._gathering = _Group()
            # What is taken back because it failed is taken back last one first.
            _tell(reversed(failed), _as_os_error(error))
        if self._after is not None:
            _tell([self._after], None if error is None else _as_os_error(error))
        if self._gathering.records:  # without one that gathers there is none waiting
            # One turn later: who was told may write again, and so does whoever else has asked by then. A group costs
            # much the same for few as for many.
            asyncio.get_running_loop().call_soon(self._write_next)
        else:
            self._starting = False

    # The thread's part

    def _write(self, records: Sequence[bytes], now: float) -> None:
        """One group: durable on return. Raises OSError."""
        try:
            file = self._writable(now)
            group = framed(records)
            file.commit(group, now)
        except Exception as error:
            self._fail(error)
            raise
        self._failure = None
        self._mark.write({file.log_id: file.sequence})
        if self._copy is not None and self._copy_failure is None:
            try:
                self._copy.put(group, now)
            except OSError as error:
                self._copy_failure = error

    def _fail(self, error: Exception) -> None:
        """Until a write works again nothing is acknowledged."""
        self._failure = _as_os_error(error)
        self._retry_at = time.monotonic() + RETRY_SECONDS
        # Ends a rewrite: see there.
        self._copy_failure = self._failure
        if self._file is not None:
            self._file.distrust()

    def _writable(self, now: float) -> "LogFile":
        """The log, ready to be written: created, or opened anew after a failure. Raises OSError."""
        if self._file is not None and self._file.trusted:
            return self._file
        if self._failure is not None and time.monotonic() < self._retry_at:
            raise _as_os_error(self._failure)
        if self._file is None:
            self._create(now)
        else:
            # What was whole in a torn tail goes with it: it must not be lost between two steps, nor overtaken.
            self._file.reopen(self.path, framed(self._owed), now)
            self._owed = []
            sync_folder(self.path.parent)
        assert self._file is not None
        acknowledged = {self._file.log_id: self._file.sequence}
        if not self._mark.write(acknowledged):
            with suppress(OSError):
                self._mark.create(acknowledged)
        return self._file

    def _begin(self, recovered: Recovered) -> Recovered:
        """Ready for appends. A volume that is full or read-only is found now and told later."""
        try:
            self._writable(recovered.clock)
        except OSError as error:
            self._fail(error)
            self._retry_at = 0.0
        self._thread = LogThread("journal")
        return recovered

    def _create(self, now: float) -> None:
        """A new log under the name, durable. Its mark comes later, and so never promises too much."""
        if os.path.lexists(self.path):  # a volume that was mounted meanwhile: what is in it was not read
            raise OSError(errno.EEXIST, "a log has appeared where there was none")
        file = LogFile.create(self._new, now)
        try:
            file.sync()
            os.rename(self._new, self.path)
        except OSError:
            file.close()
            raise
        self._file = file
        sync_folder(self.path.parent)

    def _read(self, fd: int, each: Callable[[bytes], None]) -> "tuple[Found, LogFile]":
        """Scan the file behind a descriptor (which is closed): what it holds, and what is whole of it."""
        try:
            with open(fd, "rb", buffering=_READ_BYTES) as stream:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise JournalDamaged(f"{self.path}: is not a plain file")
                found = scan(stream, each)
                tail_bytes = min(found.length, max(found.last_bytes, BLOCK_BYTES))
                tail = os.pread(fd, tail_bytes, found.length - tail_bytes)
        except OSError as error:
            raise JournalDamaged(f"{self.path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise JournalDamaged(f"{self.path}: {error}") from error
        if found.log_id is None:
            raise JournalDamaged(f"{self.path}: it does not begin as a log does: the first group {found.why}")
        identity = (status.st_dev, status.st_ino)
        return found, LogFile(-1, identity, found.log_id, found.sequence, found.length, tail)

    # Rewriting: the thread's part

    def _begin_copy(self, now: float) -> None:
        self._writable(now)
        self._copy_failure = None
        self._copy = LogFile.create(self._new, now)

    def _add_to_copy(self, records: Iterable[bytes], now: float) -> None:
        copy = self._whole_copy()
        if chunk := [frame(record) for record in records]:
            copy.put(chunk, now)
        if copy.unsynced_bytes >= SYNC_BYTES:
            copy.sync()

    def _sync_copy(self) -> None:
        """Most of it before the switch, which appends wait for."""
        self._whole_copy().sync()

    def _switch(self) -> None:
        """Put the new log in the old one's place. A crash at any step leaves one of both, with a mark that fits.

        The mark first names both, durably; so it fits before and after the rename. Only when the rename is
        durable does it name the new log alone: an old one that comes back then is found out.
        """
        copy, old = self._whole_copy(), self._file
        assert old is not None
        copy.sync()
        both = {old.log_id: old.sequence, copy.log_id: copy.sequence}
        if not self._mark.write(both, sync=True):
            self._mark.create(both)
        os.rename(self._new, self.path)
        self._file, self._copy = copy, None
        old.close()
        try:
            sync_folder(self.path.parent)
        except OSError as error:
            # Nobody knows which of both a power cut would leave: nothing is acknowledged until the folder
            # is durable, which `_writable` sees to.
            self._fail(error)
            raise
        self._mark.write({copy.log_id: copy.sequence})

    def _whole_copy(self) -> "LogFile":
        if self._copy is None or self._copy_failure is not None:
            raise self._copy_failure or OSError(errno.ECANCELED, "the rewrite was given up")
        return self._copy

    def _drop_copy(self) -> None:
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.close()
            with suppress(OSError):  # the next start removes it
                self._new.unlink()

    def _let_go(self) -> None:
        self._drop_copy()
        if self._file is not None:
            self._file.finish()
        self._mark.close()


def replace(path: Path, records: Iterable[bytes], now: float) -> None:
    """Put a new log of these records in the place of whatever lies there, durably. No journal may be open on it.

    A crash on the way leaves the old one, which the mark no longer fits (damaged, as it was), or the new one.
    Raises OSError.
    """
    journal = Journal(path)
    with suppress(FileNotFoundError):
        journal._new.unlink()
    file = LogFile.create(journal._new, now)
    try:
        framed_all = [frame(record) for record in records]
        for at in range(0, len(framed_all), 1000):
            file.put(framed_all[at : at + 1000], now)
        file.sync()
        with suppress(FileNotFoundError):
            journal._mark.path.unlink()
        journal._mark.create({file.log_id: file.sequence})
        os.rename(journal._new, path)
        sync_folder(path.parent)
    finally:
        file.close()
        journal._mark.close()


class _Group:
    """Records that are written together, who waits for each, and the latest of their times."""

    __slots__ = ("now", "records", "size", "told")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.told: list[Told] = []
        self.size = 0
        self.now = 0.0


def _tell(waiters: Iterable[Told], error: OSError | None) -> None:
    """All who wait: a fault of one must not keep the news from the others."""
    for told in waiters:
        try:
            told(error)
        except Exception:
            log.exception("a record was written or failed, and who waited for it could not be told")


def _settle(future: "asyncio.Future[None]", error: OSError | None) -> None:
    if future.done():  # cancelled
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(_as_os_error(error))


def _nothing(*_: object) -> None:
    """What has to be waited for is what was given to the thread before."""


def _as_os_error(error: BaseException) -> OSError:
    """The same again, for one more who is told; what is no OSError is a fault of this program, and fails as EIO."""
    if isinstance(error, OSError):
        return OSError(error.errno or errno.EIO, error.strerror or str(error))
    return OSError(errno.EIO, f"the journal's writer failed: {error!r}")


def _seen(future: "asyncio.Future[None]") -> None:
    """A waiter that was cancelled does not ask how it went; that is no error of the program."""
    if not future.cancelled():
        future.exception()
