"""What a durable claim costs, in one process and through the owner: for `replay.py`.

Processor time is of the whole process, the log's thread included; `loop_us` of it is the event loop's. Keys are asked
for as the fast lane does, without a coroutine each; making the key and taking the time (about 1 µs) are counted too.
"""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.owner import messages as m
from valetstore.owner.channel import Channel
from valetstore.owner.remote import Asking, RemoteReplaySet
from valetstore.owner.revocations import RevocationStore
from valetstore.owner.session import Session
from valetstore.policy.budget import BudgetBook
from valetstore.replay.logged import LoggedReplaySet
from valetstore.replay.promise import ReplaySet

NOW: Final = 1_800_000_000.0
LIVES: Final = 36_000
"""Seconds over which the ends of keys are spread."""
ENTRIES_MAX: Final = 10_000_000

_RANDOM_BYTES: Final = 1 << 20
_IDENTITY_BYTES: Final = 16


class Cost(NamedTuple):
    """Claims a second; microseconds of processor time each, in all and the loop's; claims in a group; seconds each."""

    rate: float
    cpu_us: float
    loop_us: float
    group: float
    waits: list[float]


class Shared(NamedTuple):
    """Claims a second through the owner; microseconds of processor time each, on both sides."""

    rate: float
    worker_us: float
    owner_us: float


def uses() -> Iterator[Use]:
    """Keys that nobody has used, without end."""
    number = 0
    while True:
        random = os.urandom(_RANDOM_BYTES)
        for at in range(0, _RANDOM_BYTES, _IDENTITY_BYTES):
            number += 1
            identity = random[at : at + _IDENTITY_BYTES]
            yield Use(identity, 1, 0, "192.0.2.1", NOW + 3600 + number % LIVES, NOW)


async def claims(folder: Path, at_once: int, seconds: float) -> Cost:
    """Claims of fresh keys on a new log in `folder`, so many at once."""
    replay = LoggedReplaySet(folder, ENTRIES_MAX, 60)
    replay.open(expected=False)
    await replay.claim(next(uses()), NOW)
    file = replay._journal._file
    assert file is not None
    groups, began, cpu, loop = file.sequence, time.perf_counter(), time.process_time(), time.thread_time()
    waits = await asked(replay, at_once, seconds)
    count, groups = len(waits), file.sequence - groups
    took, cpu, loop = time.perf_counter() - began, time.process_time() - cpu, time.thread_time() - loop
    await replay.close()
    return Cost(count / took, cpu / count * 1e6, loop / count * 1e6, count / groups, waits)


async def asked(replay: ReplaySet, at_once: int, seconds: float) -> list[float]:
    """Claim so many at once, each told asking for the next, and how long each of them waited."""
    waits: list[float] = []
    over = asyncio.get_running_loop().create_future()
    end, left, keys, clock = time.perf_counter() + seconds, at_once, uses(), time.perf_counter

    def claim() -> None:
        began = clock()

        def told(denied: Denied | None) -> None:
            nonlocal left
            assert denied is None
            now = clock()
            waits.append(now - began)
            if now < end:
                claim()
                return
            left -= 1
            if not left:
                over.set_result(None)

        replay.claim_soon(next(keys), NOW, told)

    for _ in range(at_once):
        claim()
    await over
    return waits


def through_owner(folder: Path, at_once: int, seconds: float) -> Shared:
    """Claims of one worker, in a process of its own on whatever core is free; the owner is this process."""
    ours, theirs = socket.socketpair()
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    worker = get_context("spawn").Process(target=_worker, args=(theirs, sender, at_once, seconds))
    worker.start()
    theirs.close()
    sender.close()
    owner = uvloop.run(_own(ours, folder))
    count, rate, worker_s = receiver.recv()
    worker.join()
    return Shared(rate, worker_s / count * 1e6, owner / count * 1e6)


async def _own(sock: socket.socket, folder: Path) -> float:
    """Answer until the worker has gone: the seconds of processor time that took."""
    replay = LoggedReplaySet(folder, ENTRIES_MAX, 60)
    replay.open(expected=False)
    over = asyncio.get_running_loop().create_future()
    # Of a worker's questions it answers claims alone.
    channel: Channel[Any] = Channel(m.FromWorker, lambda asked: session.asked(asked), lambda: over.set_result(None))
    session = Session(replay, RevocationStore(folder), BudgetBook(), channel.send)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
    cpu = time.process_time()  # while it waits for the first it takes none
    await over
    cpu = time.process_time() - cpu
    await replay.close()
    return cpu


def _worker(sock: socket.socket, sender: Connection, at_once: int, seconds: float) -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    sender.send(uvloop.run(_ask(sock, at_once, seconds)))


async def _ask(sock: socket.socket, at_once: int, seconds: float) -> tuple[int, float, float]:
    """How many claims, how many a second, and the seconds of processor time they took."""
    channel: Channel[Any] = Channel(m.FromOwner, lambda answer: asking.answered(answer), lambda: None)
    asking = Asking(channel.send)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
    began, cpu = time.perf_counter(), time.process_time()
    count = len(await asked(RemoteReplaySet(asking), at_once, seconds))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    channel.close()
    return count, count / took, cpu
