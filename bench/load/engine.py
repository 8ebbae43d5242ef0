"""The engine: all connections of a run in one loop of one thread, as fast as Python goes.

Rule 1: the loop waits for sockets and for the clock, for nothing else; requests were made before it starts.
Rule 2: the end is orderly: no new request after it, those that run are cut and counted as cut, or waited for.
"""

import gc
from collections.abc import Callable
from select import epoll
from time import perf_counter
from typing import Final

from bench.load.connection import Connection
from bench.load.plan import Plan
from bench.load.tally import Tally

TICK_SECONDS: Final = 0.1
"""How often deadlines are looked at, and lost connections are made anew."""
GRACE_SECONDS: Final = 300
"""How long the last requests of a whole run may still take."""
PRECISE_SECONDS: Final = 0.002
"""The kernel's wait is good to a millisecond: below this, the loop watches the clock itself."""


class LoadEngine:
    """One run of a plan. `seconds` is how long it took."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self.seconds = 0.0
        self.error = ""
        """Why the run ended before its end."""
        self._epoll = epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._connections = [
            Connection(self, plan.sources[number % len(plan.sources)]) for number in range(plan.connections)
        ]
        self._lost: list[Connection] = []
        self._resting: dict[Connection, None] = {}  # until their next request is due, the longest first
        self._dry: set[int] = set()  # sources that have no more
        self._asked = 0
        self._is_stopped = False
        self._started = self._end = 0.0
        self._next_tick = 0.0

    def run(self, on_tick: Callable[["LoadEngine"], None] = lambda _: None) -> None:
        """Until its end; `on_tick` is called every TICK_SECONDS."""
        self._started = perf_counter()
        self._end = self._started + (float("inf") if self.plan.seconds is None else self.plan.seconds)
        gc.freeze()
        gc.disable()  # nothing here makes cycles, and a collection of a million URLs would be a pause in every latency
        try:
            for connection in self._connections:
                connection.open()
            self._loop(on_tick)
        finally:
            gc.enable()
            last = max((connection.answered_at for connection in self._connections), default=0.0)
            self.seconds = (last if self.plan.whole and last else perf_counter()) - self._started
            self.tally.cut = sum(connection.is_busy for connection in self._connections)
            for connection in self._connections:
                connection.close()
            self._epoll.close()

    def stop(self) -> None:
        """End it now; from a signal handler too."""
        self._is_stopped = True

    @property
    def elapsed(self) -> float:
        """Seconds since its start."""
        return perf_counter() - self._started

    def _loop(self, on_tick: Callable[["LoadEngine"], None]) -> None:
        poll, handlers, now = self._epoll.poll, self._handlers, self._started
        while not self._is_over(now):
            for descriptor, mask in poll(self._pause(now)):
                handler = handlers.get(descriptor)
                if handler is not None:
                    handler(mask)
            now = perf_counter()
            if self._resting:
                self._wake(now)
            if now >= self._next_tick:
                self._next_tick = now + TICK_SECONDS
                self._tick(now)
                on_tick(self)

    def _is_over(self, now: float) -> bool:
        if self._is_stopped:
            return True
        if self.plan.strict and self.tally.failed:
            self.error = next(iter(self.tally.errors))
            return True
        if now < self._end and len(self._dry) < len(self.plan.sources):
            return False
        if self.tally.answered < self.plan.at_least and len(self._dry) < len(self.plan.sources):
            return False
        if self.plan.whole and now > self._end + GRACE_SECONDS:
            self.error = f"the last requests did not end within {GRACE_SECONDS} s"
            return True
        is_whole = self.plan.whole or now < self._end
        return not (is_whole and any(connection.is_busy for connection in self._connections))

    def _pause(self, now: float) -> float:
        """How long the loop may wait for sockets."""
        if not self._resting:
            return TICK_SECONDS
        wait = min(TICK_SECONDS, self._due() - now)
        return wait - PRECISE_SECONDS if wait > PRECISE_SECONDS else 0

    def _tick(self, now: float) -> None:
        """Deadlines, and connections that are to be made anew."""
        for connection in self._connections:
            if connection.is_quiet(now, self.plan.timeout_seconds):
                connection.give_up(f"nothing came for {self.plan.timeout_seconds:g} s")
        lost, self._lost = self._lost, []
        for connection in lost:
            connection.open()

    # --- what connections ask for (connection.Engine) ---

    def watch(self, descriptor: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call `handler` when the descriptor is ready for what the mask says."""
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, mask)
        else:
            self._epoll.register(descriptor, mask)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """No more."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def next_request(self, connection: Connection, now: float) -> tuple[bytes, float] | None:
        """The next head and the time it counts from; None where the connection is to rest."""
        if now >= self._end and self.tally.answered >= self.plan.at_least:
            return None
        due = now
        if self.plan.rate is not None:
            due = self._due()
            if due > now:
                self._resting[connection] = None
                return None
        head = next(connection.source.heads, None)
        if head is None:
            self._dry.add(id(connection.source))
            return None
        self._asked += 1
        return head, due

    def broken(self, connection: Connection, why: str, *, asked: bool) -> None:
        """It was lost, or never made; `asked`: a request was lost with it. It is opened again with the next tick."""
        self._resting.pop(connection, None)
        if asked or not connection.was_made:
            self.tally.error(why)
        if self.tally.failed >= len(self._connections) and not any(one.was_made for one in self._connections):
            self.error = why
            self._is_stopped = True
        self._lost.append(connection)

    def _due(self) -> float:
        assert self.plan.rate is not None
        return self._started + self._asked / self.plan.rate

    def _wake(self, now: float) -> None:
        """Those that rest, as far as requests are due."""
        while self._resting and self._due() <= now:
            connection = next(iter(self._resting))
            del self._resting[connection]
            connection.ask(now)
