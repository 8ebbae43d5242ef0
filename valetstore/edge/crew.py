"""Workers: several processes that serve, started, watched, replaced and ended by the one that owns.

Rule 1: the listening sockets are shared: a worker that dies takes only its own connections with it, and what
waits in the queue is accepted by the others.
Rule 2: a worker that says nothing for 5 seconds is killed, whatever it does; one that ends is replaced.
Rule 3: a worker that lives has heard every revocation that was acknowledged, and one that starts hears all of them
before it accepts.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Final

from valetstore import __version__
from valetstore.edge.daemon import WorkerFailed
from valetstore.edge.hand import Hand
from valetstore.edge.orders import Standing
from valetstore.edge.tally import Board
from valetstore.metrics import Metrics, Snapshot, lasting, merge
from valetstore.owner import messages as m
from valetstore.owner.channel import Channel, encode
from valetstore.owner.owner import Owner
from valetstore.owner.session import Session
from valetstore.policy.revocation import Revocation

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.25

START_SECONDS: Final = 60.0
REPLACEMENT_SECONDS: Final = 6.0
"""How long a worker may take until it says anything: at the gateway's start, when the machine may be booting, and
later, when others wait for it. Twice as long after each that was too slow."""

PATIENCE_SECONDS: Final = 1.0
"""How long the metrics wait for a worker's figures before they take its last ones, and its end for its last words."""

PAUSE_SECONDS_MAX: Final = 5.0
"""The longest pause before another worker takes the place of one that ended as soon as it began."""
_SOON_SECONDS: Final = 10.0
_EARLY_MAX: Final = 3
"""Workers that may be killed before they serve, while the gateway starts."""

CUT_SECONDS: Final = 5.0
"""How much longer than the drain a worker may take to end."""

_CHUNK: Final = 1_000
"""Revocations told in one message: a million must not hold up the loop."""


class Workers:
    """A crew of `count` processes. `lock` is the data directory's, which must be held as long as one of them lives."""

    def __init__(
        self, count: int, lock: int, owner: Owner, standing: Standing, devices: Mapping[str, int], metrics: Metrics
    ) -> None:
        self._count = count
        self._lock = lock
        self._owner = owner
        self._standing = standing
        self._devices = dict(devices)
        self._board = Board(count)
        self._secret = secrets.token_bytes(16)
        self._sockets: list[socket.socket] = []
        self._hands: dict[int, Hand] = {}
        self._minding: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._number = 0
        self._suspect: set[str] = set()
        self._past = Snapshot()
        self._replaced = 0
        self._ending = asyncio.Event()
        self._early = 0
        self._failed: int | None = None
        metrics.gauge("valetstore_workers", {}, lambda: sum(hand.serving for hand in self._hands.values()))
        metrics.gauge("valetstore_worker_replacements_total", {}, lambda: self._replaced)

    # --- what the daemon asks for ----------------------------------------------------------------------

    @property
    def is_well(self) -> bool:
        """See Crew."""
        return any(hand.serving for hand in self._hands.values())

    async def start(self, sockets: list[socket.socket]) -> None:
        """See Crew."""
        self._sockets = sockets
        for row in range(self._count):
            self._mind(row)
        self._watching = asyncio.create_task(self._watch())
        while sum(hand.serving for hand in self._hands.values()) < self._count:
            if self._failed is not None:
                raise WorkerFailed(self._failed)
            await self._something()

    async def apply(self, standing: Standing, *, reopen: bool) -> None:
        """See Crew."""
        self._standing = standing
        number = self._next()
        text = encode(self._orders(number, reopen=reopen))
        for hand in self._hands.values():
            if hand.backlog is None:  # who is still being told what to begin with is told these
                hand.channel.send_encoded(text)
        await self._all_heard(number)

    async def tell(self, added: list[Revocation], removed: list[str]) -> None:
        """See Crew."""
        number = self._next()
        trouble = self._owner.revocations.table.trouble
        self._tell_all(encode(m.Changed(number, tuple(added), tuple(removed), trouble)))
        await self._all_heard(number)

    async def figures(self) -> list[Snapshot]:
        """See Crew."""
        asked = [hand for hand in self._hands.values() if hand.serving]
        for hand in asked:
            hand.fresh.clear()
            hand.channel.send(m.Show())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                for hand in asked:
                    await hand.fresh.wait()
        return [self._past, *(hand.figures for hand in self._hands.values())]

    async def drain(self) -> None:
        """See Crew."""
        self._ending.set()
        self._tell_all(encode(m.Drain()))
        if self._minding:
            seconds = self._standing.config.listen.drain_seconds + CUT_SECONDS
            await asyncio.wait(self._minding, timeout=seconds)

    async def close(self) -> None:
        """See Crew."""
        self._ending.set()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for hand in list(self._hands.values()):
            hand.kill()
        await asyncio.gather(*self._minding, return_exceptions=True)

    # --- what a hand asks for --------------------------------------------------------------------------

    def session(self, channel: Channel[m.FromWorker]) -> Session:
        """A new worker's part in what is single."""
        owner = self._owner
        return Session(owner.replay, owner.revocations, owner.budgets, channel.send)

    def block(self, address: str, until: float) -> None:
        """Too many verifications failed from there: all workers refuse it until then (0: not so)."""
        if until:
            self._tell_all(encode(m.Blocked(address, until)))

    def doubt(self, buckets: Iterable[str]) -> None:
        """A worker has found these suspect: all must know, and those that start later."""
        if not self._suspect.issuperset(buckets):
            self._suspect.update(buckets)
            self._tell_all(encode(m.Suspect(tuple(self._suspect))))

    def heard(self) -> None:
        """Something changed that somebody may wait for."""
        self._changed.set()

    # --- a worker's life ---------------------------------------------------------------------------------

    def _mind(self, row: int) -> None:
        task = asyncio.create_task(self._keep(row))
        self._minding.add(task)
        task.add_done_callback(self._minding.discard)

    async def _keep(self, row: int) -> None:
        """See to it that there is a worker in that row, until the end."""
        pause, patience = 0.0, START_SECONDS
        while not self._ending.is_set():
            hand = Hand(row, self, patience)
            try:
                status = await self._live(hand)
            except OSError as error:
                log.error("a worker cannot be started: %s", error.strerror or error)
                status = 1
            except Exception:
                log.exception("a worker is lost")
                status = 1
            self._over(hand)
            if self._ending.is_set():
                return
            if not hand.served:
                # One that was killed says nothing about the next one; one that gave up, or several, do.
                self._early += 1
                if status >= 0 or self._early > _EARLY_MAX:
                    self._failed = status
                    self.heard()
            patience = REPLACEMENT_SECONDS if hand.spoke else min(2 * patience, START_SECONDS)
            self._replaced += 1
            log.warning("worker %d ended (%s) and is replaced", row, _ended(status))
            lived = time.monotonic() - hand.started_at
            pause = min(max(2 * pause, 0.1), PAUSE_SECONDS_MAX) if lived < _SOON_SECONDS else 0.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _live(self, hand: Hand) -> int:
        """One worker from its start to its end; its exit status (negative: the signal)."""
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = [theirs.fileno(), self._lock, self._board.descriptor, *(s.fileno() for s in self._sockets)]
            try:
                hand.process = await asyncio.create_subprocess_exec(
                    *_command(theirs.fileno()), pass_fds=inherited, env=os.environ | _same_modules()
                )
            except BaseException:
                ours.close()
                raise
        self._hands[hand.row] = hand
        if self._ending.is_set():  # while it was made: nobody will tell it
            hand.kill()
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: hand.channel, sock=ours)
            await self._brief(hand)
            status = await hand.process.wait()
            with contextlib.suppress(TimeoutError):  # what it said last is still on its way
                await asyncio.wait_for(hand.silent.wait(), PATIENCE_SECONDS)
            return status
        except BaseException:
            hand.kill()
            await hand.process.wait()
            raise

    async def _brief(self, hand: Hand) -> None:
        """Say what it must know before it may accept, then all that was said meanwhile."""
        sockets = tuple(sock.fileno() for sock in self._sockets)
        board = self._board.descriptor, self._count, hand.row, self._secret
        hand.channel.send(m.Begin(__version__, sockets, *board, self._devices))
        hand.channel.send(m.Suspect(tuple(self._suspect)))
        trouble = self._owner.revocations.table.trouble
        after = ""
        while chunk := self._owner.revocations.table.page(after, _CHUNK):
            hand.channel.send(m.Changed(0, tuple(chunk), (), trouble))
            after = chunk[-1].id
            await hand.channel.taken()
        hand.channel.send(m.Changed(0, trouble=trouble))
        backlog, hand.backlog = hand.backlog or [], None
        for text in backlog:
            hand.channel.send_encoded(text)
        hand.channel.send(self._orders(self._number, reopen=False))

    def _over(self, hand: Hand) -> None:
        """A worker is gone: what it had is nobody's."""
        if self._hands.get(hand.row) is hand:
            del self._hands[hand.row]
        self._board.clear(hand.row)
        self._past = merge([self._past, lasting(hand.figures)])
        hand.channel.close()
        ending = asyncio.create_task(hand.session.end())
        self._minding.add(ending)
        ending.add_done_callback(self._minding.discard)
        self.heard()

    async def _watch(self) -> None:
        """End workers that are silent, and those that do not come to an end."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            late, last = now - last - WATCH_SECONDS, now
            try:
                for hand in list(self._hands.values()):
                    self._judge(hand, now, late)
            except Exception:
                log.exception("the workers could not be looked after")

    def _judge(self, hand: Hand, now: float, late: float) -> None:
        if late > 1:  # what this loop itself has missed is not held against them
            hand.heard_at = max(hand.heard_at, now)
        longest = self._standing.config.listen.drain_seconds + CUT_SECONDS
        if now - hand.heard_at > hand.patience:
            log.error("worker %d says nothing for %d s and is killed", hand.row, hand.patience)
        elif hand.drains_since is not None and now - hand.drains_since > longest:
            log.error("worker %d does not come to an end and is killed", hand.row)
        else:
            return
        hand.heard_at, hand.drains_since = now, None
        hand.kill()

    # --- words and answers -------------------------------------------------------------------------------

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _orders(self, number: int, *, reopen: bool) -> m.Orders:
        config, ring, trouble, tls = self._standing
        return m.Orders(number, config, ring, trouble, tls, reopen)

    def _tell_all(self, text: bytes) -> None:
        for hand in self._hands.values():
            hand.tell(text)

    async def _all_heard(self, number: int) -> None:
        """Until every worker that lives has done what that number said; one that does not is replaced in a while.

        Who is still being told what to begin with hears it before it accepts.
        """
        while any(hand.backlog is None and hand.done < number for hand in self._hands.values()):
            await self._something()

    async def _something(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _command(channel: int) -> list[str]:
    return [sys.executable, "-P", "-m", "valetstore.cli.worker", str(channel)]


def _same_modules() -> dict[str, str]:
    """A worker imports from where this process did, and never from the folder it happens to be started in."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _ended(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
