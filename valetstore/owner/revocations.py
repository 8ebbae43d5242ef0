"""RevocationStore: revocations that outlast the process, in a log beside the table that keys are looked up in.

Rule 1: an entry is in force, and gone, once that is on the disk and every worker has been told; then the caller hears.
Rule 2: a log that cannot be read puts the store in trouble, and then every key is refused until it is repaired.
Rule 3: a log that cannot be written changes nothing: what is in force stays, what is asked for is refused.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from valetstore.audit import rfc3339
from valetstore.errors import ConfigInvalid, Denied
from valetstore.journal import Journal, JournalDamaged, read, replace, salvaged
from valetstore.keys.ring import KeyRing
from valetstore.policy.bounds import Bounds
from valetstore.policy.revocation import KEEP_SECONDS, RETRY_SECONDS, Revocation, RevocationTable

FILE: Final = "revocations.log"

DEAD_RECORDS_MIN: Final = 1_000
"""A log is written anew once it holds more dead records than living ones, and more than these."""

CHUNK_RECORDS: Final = 1_000
TIDY_SECONDS: Final = 1.0

Tell = Callable[[list[Revocation], list[str]], Awaitable[None]]
"""Told of entries that are in force now, and of ids that are not any longer; returns once every worker knows."""

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class _Added(msgspec.Struct, frozen=True, array_like=True, tag="+"):
    revocation: Revocation


class _Removed(msgspec.Struct, frozen=True, array_like=True, tag="-"):
    id: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Added | _Removed).decode


async def _tell_nobody(_added: list[Revocation], _removed: list[str]) -> None:
    return


class RevocationStore:
    """The revocations of one data directory, kept in `folder`. Used by one event loop; `open` comes first.

    Changes come one after the other; each costs a sync of the disk. `tell` is awaited after that and must not raise.
    `ring` is the key ring as it stands: it says when entries can be dropped. It is a `Revocations`.
    """

    def __init__(
        self,
        folder: Path,
        tell: Tell = _tell_nobody,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = RevocationTable()
        self.ring = KeyRing()
        self._steady = steady
        self._began = clock(), steady()
        self._dropped_at = 0.0
        self._rewrite_above = 0
        self._tell = tell
        self._clock = clock
        self._path = folder / FILE
        self._journal = Journal(self._path)
        self._lock = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()
        self._telling: dict[str, asyncio.Future[None]] = {}  # what is in force, and not yet in every worker
        self._keeper: asyncio.Task[None] | None = None
        self._records = 0

    @property
    def trouble(self) -> str:
        """Why nothing can be decided; "" where all is well."""
        return self.table.trouble

    def open(self, expected: bool) -> None:
        """Read the log; blocks. `expected`: there was one before, so a missing one is damage.

        Never raises for damage: `trouble` says what it is.
        """
        self._records = 0
        self.table.replace([])
        try:
            recovered = self._journal.open(self._take, expected=expected)
        except JournalDamaged as damaged:
            self._refuse(str(damaged))
        else:
            self.table.trouble = ""
            if recovered.warning:
                log.warning("%s", recovered.warning)

    async def add(self, wanted: Revocation) -> tuple[Revocation, bool]:
        """Put `wanted` in force; durable, and known to every worker, on return. The entry, and whether it is new.

        It is given an id and the time. Where an entry says the same already, and as long, that one is the answer.
        Raises `storage_unavailable` (nothing is in force then), `revocation_unavailable`. That it is well-formed has
        been checked (`check_wanted`).
        """
        return await self._whole(self._add(wanted))

    async def undo(self, entry_id: str) -> bool:
        """Take an entry back, as durably; whether there was one. Raises as `add` does."""
        return await self._whole(self._undo(entry_id))

    async def tidy(self) -> None:
        """Drop some of what has expired, and write the log anew where most of it is dead. Done by itself after `keep`.

        A log that cannot be written now stays as it is. What was dropped and is still in the log comes back with a
        restart, and is dropped again.
        """
        if self.trouble:
            return
        now = self._clock()
        async with self._lock:
            if now < self._dropped_at - KEEP_SECONDS:
                await self._bring_back(now)
            gone = self._drop(now)
            if self._records - len(self.table) > max(DEAD_RECORDS_MIN, len(self.table), self._rewrite_above):
                await self._rewrite(now)
        if gone:
            await self._tell([], gone)

    def _drop(self, now: float) -> list[str]:
        """Drop what has expired by a clock that has not jumped ahead since the start; nothing soon after that.

        What was dropped is in the log alone: a clock that is set back again must not bring those keys back.
        """
        wall, steady = self._began
        passed = self._steady() - steady
        if passed < KEEP_SECONDS:
            return []
        surely = min(now, wall + passed)
        gone = self.table.expire(surely, Bounds(self.ring))
        if gone:
            self._dropped_at = max(self._dropped_at, surely)
        return gone

    async def _bring_back(self, now: float) -> None:
        """What was dropped by a clock that was ahead is in the log still, unless that was written anew since."""
        log.warning("the clock went back behind what was dropped as expired: revocations are read again")
        self._dropped_at = now
        said = RevocationStore(self._path.parent)
        contents = await asyncio.to_thread(read, self._path, expected=True)
        for record in contents.records:
            said._take(record)
        back = [entry for entry in said.table if self.table.get(entry.id) is None]
        for entry in back:
            self.table.add(entry)
        await self._tell(back, [])

    def keep(self) -> None:
        """Tidy up every second from now on, until `close`; to be called in the event loop."""
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Finish what runs, and let go of the log."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
        if self._changes:
            await asyncio.wait(self._changes)
        await self._journal.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            try:
                await self._whole(self.tidy())
            except Exception:
                log.exception("revocations that have expired cannot be dropped now")

    async def _whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Finished even where the caller is cancelled: log, table and workers must not differ."""
        task = asyncio.ensure_future(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _add(self, wanted: Revocation) -> tuple[Revocation, bool]:
        async with self._lock:
            self._check()
            entry = self.table.same(wanted)
            is_new = entry is None
            if entry is None:
                now = self._clock()
                entry = msgspec.structs.replace(wanted, id=self.table.next_id(now), created_at=now)
                await self._append(_Added(entry), now)
                self.table.add(entry)
                # No other change can come between: workers hear of changes in the order of the log.
                self._telling[entry.id] = asyncio.ensure_future(self._tell([entry], []))
            telling = self._telling.get(entry.id)
        if telling is not None:
            try:
                await telling
            finally:
                self._telling.pop(entry.id, None)
        return entry, is_new

    async def _undo(self, entry_id: str) -> bool:
        async with self._lock:
            self._check()
            if self.table.get(entry_id) is None:
                return False
            await self._append(_Removed(entry_id), self._clock())
            self.table.remove(entry_id)
        await self._tell([], [entry_id])
        return True

    async def _append(self, record: _Added | _Removed, now: float) -> None:
        try:
            await self._journal.append(_encode(record), now)
        except OSError as error:
            log.error("%s: cannot be written: %s", self._path, error.strerror or error)
            raise Denied(
                "storage_unavailable", "Nothing was changed.", retry_after=RETRY_SECONDS, reason=str(error)
            ) from error
        self._records += 1

    async def _rewrite(self, now: float) -> None:
        # Changes wait for it. They are rare, and it is rarer: it takes two seconds for a million entries.
        try:
            await self._journal.rewrite(self._living(), now)
        except OSError as error:
            log.error("%s: cannot be written anew: %s; the old one stays", self._path, error.strerror or error)
            self._rewrite_above = 2 * (self._records - len(self.table))  # and it is tried again when it has grown
            return
        self._rewrite_above = 0
        self._records = len(self.table)

    def _living(self) -> Iterator[Iterable[bytes]]:
        entries = iter(self.table)
        while chunk := [_encode(_Added(entry)) for entry in islice(entries, CHUNK_RECORDS)]:
            yield chunk

    def _take(self, record: bytes) -> None:
        """One record of the log, as it was written. Raises ValueError."""
        self._records += 1
        try:
            change = _decode(record)
        except msgspec.MsgspecError as error:
            raise ValueError(f"holds a record that this version cannot read: {error}") from error
        if isinstance(change, _Added):
            self.table.add(change.revocation)
        else:
            self.table.remove(change.id)

    def _check(self) -> None:
        if self.trouble:
            raise Denied("revocation_unavailable", retry_after=RETRY_SECONDS, reason=self.trouble)

    def _refuse(self, why: str) -> None:
        log.error("revocations cannot be read, every key is refused until `valetstore repair`: %s", why)
        self.table.replace([])
        self.table.trouble = why


def repair(folder: Path, now: float) -> str:
    """Make a log that can be read of what is left of a damaged one; the sentence says what was found. Blocks.

    Nobody may have the log open: whoever calls holds the data lock. The damaged file is set aside beside it, under a
    name with the time. What could not be read is lost: those keys are valid again, and the sentence says so. Raises
    ConfigInvalid where the disk does not let it.
    """
    path = folder / FILE
    store = RevocationStore(folder)
    entries, unread = store.table, 0
    found = salvaged(path)
    for record in found:
        try:
            store._take(record)
        except ValueError:
            unread += 1
    aside = path.with_name(f"{FILE}.damaged-{rfc3339(now)[:19].replace(':', '').replace('-', '')}Z")
    try:
        with suppress(FileNotFoundError, FileExistsError):
            if path.is_file():
                # Under a second name first: a crash from here on leaves it in its place, and this is called again.
                os.link(path, aside, follow_symlinks=False)
            else:
                os.rename(path, aside)
        replace(path, (_encode(_Added(entry)) for entry in entries), now)
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be repaired: {error.strerror}: {error.filename or folder}") from error
    lost = f", {unread} records could not be understood" if unread else ""
    was = f"set aside as {aside.name}" if os.path.lexists(aside) else "missing"
    return (
        f"{path}: a new log was begun with {len(entries)} revocations that could be read{lost}, the old one was {was}; "
        "what else was revoked is valid again until it is revoked again, and what was undone there is in force again."
    )
