"""Single use: durable claims a second, and what a million used keys weigh, take to load and to compact.

    python -m bench.replay [--quick]

A claim is of a fresh key, and answered when its group is synced. Loop and writer thread share one core; `µs` is
processor time a claim, of both (see `claims.py`). The owner is measured with its one worker in another process. Weight,
start and compaction are each measured in a process of their own; the loop's longest hold is the most that a task which
wakes every millisecond was late while the log was compacted, beside 16 claims at once.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import uvloop

from bench.claims import LIVES, NOW, Cost, Shared, claims, through_owner
from bench.ground import ground
from bench.options import Bench, run_alone
from bench.table import Spread, Table
from valetstore.grants.grant import Use
from valetstore.journal import replace
from valetstore.replay.logged import LOG_NAME, LoggedReplaySet
from valetstore.replay.table import ReplayTable

Result = TypeVar("Result")

AT_ONCE: Final = (1, 32, 256)
COLUMNS: Final = (
    *("claims at once", "claims/s (min-max)", "µs (min-max)", "the loop's", "in a group", "median ms", "p99 ms"),
    *("worker µs", "its owner µs"),
)
_PAUSE: Final = 0.001


class Life(NamedTuple):
    """What a set of many entries takes, in seconds; `log_bytes` is its log once compacted."""

    start: float
    compaction: float
    hold_idle: float
    hold: float
    claim_most: float
    log_bytes: int


def run(bench: Bench) -> Table:
    """Claims by how many ask at once, then a set with a million entries."""
    table = Table("Single use: durable claims in one process", COLUMNS)
    for at_once in AT_ONCE:
        bench.say(f"replay: {at_once} claims at once")
        alone, shared = list[Cost](), list[Shared]()
        for _ in range(bench.rounds):
            with ground(bench.folder) as folder:
                alone.append(uvloop.run(claims(folder, at_once, bench.seconds)))
            with ground(bench.folder) as folder:
                shared.append(through_owner(folder, at_once, bench.seconds))
        _add(table, at_once, alone, shared)
    entries = 100_000 if bench.quick else 1_000_000
    bench.say(f"replay: {entries:,} entries")
    weight = _apart(bytes_each, entries)
    life = _apart(_life, str(bench.folder), entries)
    table.notes += [
        f"{entries:,} entries weigh {weight:.0f} bytes each, and {life.log_bytes / entries:.0f} in the log.",
        f"They are loaded in {life.start:.2f} s, and the log is compacted in {life.compaction:.1f} s beside claims; "
        f"the loop is held for {life.hold * 1e3:.1f} ms at most meanwhile ({life.hold_idle * 1e3:.1f} ms beside claims "
        f"alone), and a claim takes {life.claim_most * 1e3:.0f} ms at most.",
    ]
    table.data.append({"entries": entries, "bytes_each": weight, **life._asdict()})
    return table


def _add(table: Table, at_once: int, alone: list[Cost], shared: list[Shared]) -> None:
    """A row: in one process, then through the owner."""
    waits = sorted(wait for cost in alone for wait in cost.waits)
    p50, p99 = waits[len(waits) // 2] * 1e3, waits[len(waits) * 99 // 100] * 1e3
    rate, cpu = Spread.of([cost.rate for cost in alone]), Spread.of([cost.cpu_us for cost in alone])
    loop, group = Spread.of([cost.loop_us for cost in alone]), Spread.of([cost.group for cost in alone])
    worker, owner = Spread.of([cost.worker_us for cost in shared]), Spread.of([cost.owner_us for cost in shared])
    table.add(
        *(str(at_once), f"{rate.middle:,.0f} ({rate.least:,.0f}-{rate.most:,.0f})", str(cpu), f"{loop.middle:.2f}"),
        *(f"{group.middle:.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{worker.middle:.2f}", f"{owner.middle:.2f}"),
        at_once=at_once,
        rate=rate,
        cpu_us=cpu,
        loop_us=loop,
        group=group,
        p50=p50,
        p99=p99,
        worker_us=worker,
        owner_us=owner,
    )


def _use(identity: bytes, number: int = 0) -> Use:
    return Use(identity, 1, 0, "192.0.2.1", NOW + 3600 + number % LIVES, NOW)


def _apart(work: Callable[..., Result], *arguments: object) -> Result:
    """In a fresh process: its memory is its own, and it ends with it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def bytes_each(entries: int) -> float:
    """Bytes an entry takes in memory, by how the process grows: call it in a fresh one."""
    table = ReplayTable(entries)
    before = _resident()
    for number in range(entries):
        table.claim(_use(os.urandom(16), number), NOW)
    return (_resident() - before) / entries


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _life(parent: str, entries: int) -> Life:
    """Load a log of so many entries, and compact it while claims go on."""
    with ground(Path(parent)) as folder:
        path = folder / LOG_NAME
        table = ReplayTable(entries)
        for number in range(entries):
            table.claim(_use(os.urandom(16), number), NOW)
        replace(path, (record for chunk in table.records() for record in chunk), NOW)
        del table
        replay = LoggedReplaySet(folder, 2 * entries, 60)
        began = time.perf_counter()
        replay.open(expected=True)
        start = time.perf_counter() - began
        log_bytes = replay.bytes_held
        if replay.entries() != entries:
            raise RuntimeError(f"the log was not loaded: {replay.trouble}")
        return uvloop.run(_compacted(replay, start))._replace(log_bytes=log_bytes)


async def _compacted(replay: LoggedReplaySet, start: float) -> Life:
    hold_idle, _, _ = await _beside_claims(replay, asyncio.sleep(1))
    hold, claim_most, seconds = await _beside_claims(replay, replay._rewrite())
    await replay.close()
    return Life(start, seconds, hold_idle, hold, claim_most, 0)


async def _beside_claims(replay: LoggedReplaySet, work: Awaitable[None]) -> tuple[float, float, float]:
    """The loop's longest hold, the longest claim and the whole, in seconds."""
    holds, waits, working = [0.0], [0.0], True

    async def tick() -> None:
        while working:
            began = time.perf_counter()
            await asyncio.sleep(_PAUSE)
            holds.append(time.perf_counter() - began - _PAUSE)

    async def claim() -> None:
        while working:
            began = time.perf_counter()
            await replay.claim(_use(os.urandom(16)), NOW)
            waits.append(time.perf_counter() - began)

    tasks = [asyncio.create_task(tick()), *(asyncio.create_task(claim()) for _ in range(16))]
    began = time.perf_counter()
    await work
    seconds = time.perf_counter() - began
    working = False
    await asyncio.gather(*tasks)
    return max(holds), max(waits), seconds


if __name__ == "__main__":
    run_alone(run)
