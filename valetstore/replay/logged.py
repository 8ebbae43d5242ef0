"""LoggedReplaySet: single use that survives a crash and a power cut.

Rule 1: memory changes first, so the next caller is refused at once; the answer waits until the log holds the change.
A change that could not be logged is taken back, and its caller told that nothing was used.
Rule 2: a log that is damaged decides nothing: every call is refused until an operator has repaired it.
Rule 3: what a repair could not read counts as used: keys signed before it are refused.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from valetstore.encoding import http_date
from valetstore.grants.grant import Use
from valetstore.journal import Journal, JournalDamaged, replace, salvaged
from valetstore.journal.format import FRAME_BYTES
from valetstore.replay.promise import Reservation, Told
from valetstore.replay.records import RECORD_BYTES, trusted_record
from valetstore.replay.table import Change, ReplayTable, unavailable
from valetstore.replay.waiting import Waiting

log = logging.getLogger(__name__)

LOG_NAME: Final = "replay.log"

SLACK_BYTES: Final = 1 << 20
"""The log is rewritten when it is larger than this and twice what its entries need."""

FULL_ALARM: Final = 0.80
FULL_ALARM_ENDS: Final = 0.70


class LoggedReplaySet:
    """A ReplayTable whose changes are in `<folder>/replay.log` before they are told.

    Up to `entries_max` keys; `skew` is how many seconds the clock may go back before it is not believed. After
    `open` it belongs to one event loop; `close` lets go.
    """

    def __init__(self, folder: Path, entries_max: int, skew: float = 0) -> None:
        self._path = folder / LOG_NAME
        self._entries_max = entries_max
        self._skew = skew
        self._table = ReplayTable(entries_max, skew)
        self._journal = Journal(self._path, self._look_after)
        self._damage = f"{self._path}: the log is not open"
        # By identity, who waits beside the one who asked: for changes that a repetition must not be ahead of.
        self._undurable: dict[bytes, list[Told]] = {}
        self._rewriting: asyncio.Task[None] | None = None
        self._rewrite_above = 0
        self._alarmed = False
        self._failing = False

    def open(self, expected: bool) -> None:
        """Read the log; `expected`: there was one before, so a missing one is damage. Blocks: seconds for a million.

        Never raises: what is wrong is logged, and `trouble` from then on.
        """
        try:
            recovered = self._journal.open(self._table.restore, expected=expected)
        except JournalDamaged as damaged:
            self._damage = str(damaged)
        except ValueError as error:  # whole, but not written by this program
            self._damage = f"{self._path}: {error}"
        else:
            self._damage = ""
            self._table.settle(recovered.clock)
            if recovered.warning:
                log.warning("single use: %s", recovered.warning)
            if self._journal.failure is not None:
                self._tell_failure(self._journal.failure)
            return
        self._table = ReplayTable(self._entries_max, self._skew)
        log.error("single use cannot be decided until `valetstore repair`; such keys are refused: %s", self._damage)

    @property
    def trouble(self) -> str:
        """Why it cannot decide, or "". One that the log's volume makes ends with the first write that works."""
        if self._damage:
            return self._damage
        failure = self._journal.failure
        return f"{self._path}: {failure.strerror}" if failure is not None else ""

    def why_not(self, now: float) -> str:
        """As `trouble`, or that the clock is behind what the log has seen; "" where single use can be decided."""
        return self.trouble or self._table.why_not_believed(now)

    @property
    def bytes_held(self) -> int:
        """How large the log is."""
        return self._journal.bytes_held

    async def look(self, use: Use, now: float) -> None:
        """See ReplaySet. A first use that is not durable yet may be seen."""
        self._check_whole()
        self._table.look(use, now)

    async def claim(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        waiting = Waiting()
        if not self.claim_soon(use, now, waiting.told):
            await waiting.end()

    def claim_soon(self, use: Use, now: float, told: Told) -> bool:
        """See ReplaySet."""
        if self._damage:
            raise unavailable(self._damage)
        change = self._table.claim(use, now)
        if change is None:
            # A repetition within the window tells of the use that opened it.
            return self._is_durable(use, told)
        self._keep(use, change, now, told, repeatable=use.window > 0)
        return False

    async def reserve(self, use: Use, now: float) -> Reservation:
        """See ReplaySet. Where the log could not be written last, it is tried first: no upload runs for nothing."""
        self._check_whole()
        if self._journal.failure is not None:
            waiting = Waiting()
            self._journal.write(self._table.clock_record(), now, partial(_tell, waiting.told))
            await waiting.end()
        reservation = self._table.reserve(use, now)
        if reservation.free:
            await self._durable(use)
        return reservation

    async def renew(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        self._check_whole()
        self._table.renew(reservation, now)

    async def committing(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        self._check_whole()
        change = self._table.committing(reservation, now)
        if change is not None:
            await self._kept(reservation.use, change, now)
        else:
            await self._durable(reservation.use)

    async def commit(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet. After `committing` it cannot fail for the log: at worst a restart forgets its window."""
        self._check_whole()
        change = self._table.commit(reservation, now)
        if change is not None:
            await self._kept(reservation.use, change, now)

    async def release(self, reservation: Reservation) -> None:
        """See ReplaySet. Where it cannot be logged it holds until a restart, which leaves the key used."""
        change = self._table.release(reservation)
        if change is not None and not self._damage:
            await self._kept(reservation.use, change, self._table.clock)

    async def spend(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        self._check_whole()
        change = self._table.spend(use, now)
        if change is not None:
            await self._kept(use, change, now)
        else:
            await self._durable(use)

    def entries(self) -> int:
        """See ReplaySet."""
        return len(self._table)

    async def close(self) -> None:
        """Write what waits, and let go."""
        if (rewriting := self._rewriting) is not None:
            rewriting.cancel()
            with suppress(asyncio.CancelledError):
                await rewriting
        await self._journal.close()
        self._damage = self._damage or f"{self._path}: the log is closed"

    # Durability

    def _check_whole(self) -> None:
        if self._damage:
            raise unavailable(self._damage)

    def _keep(self, use: Use, change: Change, now: float, told: Told, *, repeatable: bool = True) -> None:
        """Log a change and tell how that went; where it failed the change is taken back first.

        `repeatable`: who says the same again must wait for it too.
        """
        waiting: list[Told] | None = None
        if repeatable:
            waiting = self._undurable[use.identity] = []
        written = partial(self._written, use.identity, waiting, change.undo, told)
        # The clock that is logged covers all that was forgotten, whatever moment this request is judged by.
        self._journal.write(change.record, max(now, self._table.clock), written)

    def _written(
        self,
        identity: bytes,
        waiting: list[Told] | None,
        undo: Callable[[], None] | None,
        told: Told,
        error: OSError | None,
    ) -> None:
        """Not left to the caller, who may have gone while it waited."""
        if waiting is not None and self._undurable.get(identity) is waiting:
            del self._undurable[identity]
        for other in waiting or ():
            _tell(other, error)
        if error is None:
            told(None)
        elif undo is None:
            _tell(told, None)
        else:
            undo()
            _tell(told, error)

    async def _kept(self, use: Use, change: Change, now: float) -> None:
        """Log a change. Raises `replay_unavailable` where that fails, with the change taken back."""
        waiting = Waiting()
        self._keep(use, change, now, waiting.told)
        await waiting.end()

    def _is_durable(self, use: Use, told: Told) -> bool:
        """Whether what was said of that key is durable; where it is not yet, `told` hears of it."""
        others = self._undurable.get(use.identity)
        if others is not None:
            others.append(told)
        return others is None

    async def _durable(self, use: Use) -> None:
        """Wait until what was said of that key is durable; raises `replay_unavailable` where that fails."""
        waiting = Waiting()
        if not self._is_durable(use, waiting.told):
            await waiting.end()

    # What has to be told and done now and then

    def _look_after(self, error: OSError | None) -> None:
        """After every group: alarms, and the log's size."""
        if error is not None:
            self._tell_failure(error)
            return
        if self._failing:
            self._failing = False
            log.warning("single use: %s can be written again", self._path)
        self._tell_how_full()
        needed = len(self._table) * (RECORD_BYTES + FRAME_BYTES)
        if self._journal.bytes_held > max(2 * needed + SLACK_BYTES, self._rewrite_above) and self._rewriting is None:
            self._rewriting = asyncio.get_running_loop().create_task(self._rewrite())

    def _tell_failure(self, error: OSError) -> None:
        """Once, until a write works again."""
        if not self._failing:
            self._failing = True
            log.error("single use: %s cannot be written, keys of limited use are refused: %s", self._path, error)

    def _tell_how_full(self) -> None:
        """Once, until there is room again."""
        share = len(self._table) / self._entries_max
        if share < FULL_ALARM_ENDS:
            self._alarmed = False
        elif share >= FULL_ALARM and not self._alarmed:
            self._alarmed = True
            held, room = len(self._table), self._entries_max
            log.warning("single use: %d of %d entries are in use; when full, unused keys are refused", held, room)

    async def _rewrite(self) -> None:
        """Compact the log; a failure is told, and tried again when it has grown."""
        before = self._journal.bytes_held
        try:
            await self._journal.rewrite(self._table.records(), self._table.clock)
        except OSError as error:
            log.warning("single use: %s could not be compacted: %s", self._path, error)
            self._rewrite_above = self._journal.bytes_held + SLACK_BYTES
        else:
            # Where open windows make entries larger than reckoned, it would be done again at every write.
            self._rewrite_above = self._journal.bytes_held * 5 // 4 + SLACK_BYTES
            log.info("single use: log compacted from %d to %d bytes", before, self._journal.bytes_held)
        finally:
            self._rewriting = None


def _tell(told: Told, error: OSError | None) -> None:
    """Soon: where a group failed, all of it is taken back before anybody acts on it."""
    denied = unavailable(f"the log cannot be written: {error.strerror}") if error is not None else None
    asyncio.get_running_loop().call_soon(told, denied)


def repair(folder: Path, now: float, skew: float = 0) -> str:
    """Make a damaged log usable again: one sentence on what was done. Call it while no gateway runs.

    What can be read is kept. What cannot is not known, so every key signed before `now` (and up to `skew`, the
    tolerance for signers whose clock is ahead) counts as used. The old log is set aside under its name with
    `.damaged-<UTC time>`. Raises OSError; it can be called again after a crash.
    """
    path = folder / LOG_NAME
    records = salvaged(path)
    table = ReplayTable(len(records) + 1, skew)
    for record in records:
        # What a record of the clock says is not taken over: a clock that was wrong may be why this is called.
        with suppress(ValueError):
            table.restore(record)
    aside = path.with_name(f"{LOG_NAME}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}")
    with suppress(FileNotFoundError):
        if path.is_file():
            os.link(path, aside, follow_symlinks=False)  # so that a crash from here on leaves it in its place
        else:
            os.rename(path, aside)
    kept = [record for chunk in table.entry_records() for record in chunk]
    replace(path, [trusted_record(now + skew), *kept], now)
    was = f"set aside as {aside.name}" if aside.exists() else "missing"
    return (
        f"{path}: a new log was begun with {len(table)} readable entries, the old one was {was}; "
        f"keys of limited use that were signed before {http_date(int(now + skew))} are refused."
    )
