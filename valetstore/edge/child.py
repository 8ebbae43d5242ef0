"""Child: a worker in a process of its own, at one end of a channel whose other end is `crew.py`.

Rule 1: it ends with its owner, at once: nobody else could tell it what was used and revoked.
Rule 2: it says that it is alive from the loop that serves, so a loop that is blocked is silent.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
from typing import Final

from valetstore import __version__
from valetstore.edge.orders import Standing
from valetstore.edge.tally import Board, SharedTally
from valetstore.edge.tls import Pair
from valetstore.edge.worker import Single, Worker
from valetstore.errors import ConfigInvalid
from valetstore.owner import messages as m
from valetstore.owner.channel import Channel
from valetstore.owner.remote import Asking, RemoteBudgets, RemoteReplaySet, RemoteRevocations

ALIVE_SECONDS: Final = 0.5
"""How often a worker says that its loop turns, with its figures every other time."""


class Child:
    """One worker and its channel to the owner."""

    def __init__(self) -> None:
        self._channel: Channel[m.FromOwner] = Channel(m.FromOwner, self._heard, self._orphaned)
        self._asking = Asking(self._channel.send)
        self._budgets = RemoteBudgets(self._asking)
        self._revocations = RemoteRevocations(self._asking)
        self._begin = m.Begin()
        self._orders: m.Orders | None = None
        self._ordered = asyncio.Event()
        self._worker: Worker | None = None
        self._suspect: tuple[str, ...] = ()
        self._serving = False
        self._over = False
        self._drain = asyncio.Event()

    async def run(self, ours: socket.socket) -> None:
        """Serve until told to end. `ours` is this end of the channel. Raises ConfigInvalid where it cannot begin."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._drain.set)
        await loop.create_unix_connection(lambda: self._channel, sock=ours)
        beating = asyncio.create_task(self._beat())
        try:
            await self._ordered.wait()
            await self._serve()
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            self._over = True
            self._channel.close()

    async def _serve(self) -> None:
        begin, orders = self._begin, self._orders
        assert orders
        if begin.version != __version__:
            raise ConfigInvalid(f"version {__version__} is installed and {begin.version} runs: restart the gateway")
        single = Single(RemoteReplaySet(self._asking), self._revocations, self._budgets)
        tally = SharedTally(Board(begin.rows, begin.board), begin.row, begin.secret)
        self._worker = worker = Worker(_standing(orders), single, begin.devices, tally)
        worker.doubt(self._suspect)
        await worker.start([socket.socket(fileno=number) for number in begin.sockets])
        self._serving = True
        self._apply(self._orders or orders)  # newer ones may have come meanwhile
        self._say_alive(with_figures=True)
        await self._drain.wait()
        self._serving = False
        self._say_alive(with_figures=False)
        await worker.drain()
        await worker.close()
        self._say_alive(with_figures=True)

    def _heard(self, message: m.FromOwner) -> None:
        match message:
            case m.Answered():
                self._asking.answered(message)
            case m.Changed():
                self._revocations.changed(message)
            case m.Blocked():
                self._budgets.blocked.add(message.address, message.until, time.time())
            case m.Suspect():
                self._suspect = message.buckets
                if self._worker is not None:
                    self._worker.doubt(message.buckets)
            case m.Show():
                self._say_alive(with_figures=True)
            case m.Orders():
                self._orders = message
                self._ordered.set()
                if self._serving:
                    self._apply(message)
            case m.Begin():
                self._begin = message
            case m.Drain():
                self._drain.set()

    def _apply(self, orders: m.Orders) -> None:
        if self._worker is not None:
            with contextlib.suppress(ConfigInvalid):  # judged before it was ordered
                self._worker.apply(_standing(orders), reopen=orders.reopen)
            self._channel.send(m.Done(orders.number))

    def _orphaned(self) -> None:
        """The owner is gone: what runs can no longer be judged, and must not be finished."""
        if not self._over:
            os._exit(1)

    async def _beat(self) -> None:
        count = 0
        while True:
            self._say_alive(with_figures=count % 2 == 0)
            count += 1
            await asyncio.sleep(ALIVE_SECONDS)

    def _say_alive(self, *, with_figures: bool) -> None:
        worker = self._worker
        figures = worker.metrics.snapshot() if worker and with_figures else None
        self._channel.send(m.Alive(self._serving, figures, worker.suspect if worker else ()))


def _standing(orders: m.Orders) -> Standing:
    return Standing(orders.config, orders.ring, orders.ring_trouble, Pair(*orders.tls) if orders.tls else None)
