"""Hand: one worker's process as the owner sees it: what it says, what it is told, whether it lives."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Final, Protocol

from valetstore.metrics import Snapshot
from valetstore.owner import messages as m
from valetstore.owner.channel import Channel
from valetstore.owner.session import Session

STUCK_SECONDS: Final = 5.0
"""How long a worker may say nothing once it has begun to."""


class Overseer(Protocol):
    """Who has all hands (`Workers` is one)."""

    def session(self, channel: Channel[m.FromWorker]) -> Session:
        """A new worker's part in what is single."""

    def block(self, address: str, until: float) -> None:
        """Too many verifications failed from there: all workers refuse it until then (0: not so)."""

    def doubt(self, buckets: Iterable[str]) -> None:
        """A worker has found these suspect: all must know, and those that start later."""

    def heard(self) -> None:
        """Something changed that somebody may wait for."""


class Hand:
    """One worker's process. `heard_at` is a monotonic time; it may be silent for `patience` seconds, more at first."""

    def __init__(self, row: int, crew: Overseer, start_seconds: float) -> None:
        self.row = row
        self.channel: Channel[m.FromWorker] = Channel(m.FromWorker, self._heard, self._silent)
        self.session = crew.session(self.channel)
        self.process: asyncio.subprocess.Process | None = None
        self.started_at = time.monotonic()
        self.heard_at = self.started_at
        self.patience = start_seconds
        self.spoke = False
        self.serving = False
        self.served = False
        self.drains_since: float | None = None
        self.figures = Snapshot()
        self.fresh = asyncio.Event()
        self.silent = asyncio.Event()
        self.done = 0
        self.backlog: list[bytes] | None = []  # what is to be said once it has heard all revocations
        self._crew = crew

    def tell(self, text: bytes) -> None:
        """Say something, after all that was said before."""
        if self.backlog is None:
            self.channel.send_encoded(text)
        else:
            self.backlog.append(text)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    def _heard(self, message: m.FromWorker) -> None:
        self.heard_at = time.monotonic()
        if not self.spoke:
            self.spoke, self.patience = True, STUCK_SECONDS
        match message:
            case m.Asked():
                self.session.asked(message)
            case m.Left():
                self.session.left(message)
            case m.Failed():
                self._crew.block(message.address, self.session.failed(message))
            case m.Done():
                self.done = max(self.done, message.number)
                self._crew.heard()
            case m.Alive():
                self._alive(message)

    def _alive(self, message: m.Alive) -> None:
        if message.figures is not None:
            self.figures = message.figures
            self.fresh.set()
        self._crew.doubt(message.suspect)
        if message.serving != self.serving:
            self.serving = message.serving
            self.served = self.served or self.serving
            self.drains_since = None if self.serving else time.monotonic()
            self._crew.heard()

    def _silent(self) -> None:
        """It has closed its end, and all it said is heard."""
        self.silent.set()
        self.fresh.set()  # nobody waits for its figures any more
