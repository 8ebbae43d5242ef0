"""Single use: what a fresh one-time key costs, as the keys that are remembered grow to a million.

Over HTTP each size is a daemon that starts with a log of as many used keys, which stay live; all run at once, and take
turns. Alone each size is a `LoggedReplaySet`, all of them in one process, asked as claims.py does, and what counts is
the processor time of the process with the threads that write the logs. The bench's own claims add to what is
remembered: some thousands, which is why the first size is not smaller.
"""

import os
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from bench import claims
from bench.curve import Curve
from bench.gateway import SETTINGS, Gateway
from bench.ground import ground
from bench.load import Job, Load
from bench.options import Bench
from bench.population import OBJECT_BYTES, QUICK_SIZES, SIZES
from bench.sizes import Size, in_turns, once
from bench.table import Spread
from valetstore.grants.grant import Use
from valetstore.journal import replace
from valetstore.replay.logged import LOG_NAME, LoggedReplaySet
from valetstore.replay.table import ReplayTable

CLAIMS: Final = 1_500
QUICK_CLAIMS: Final = 300
CONNECTIONS: Final = 32
LIFE_SECONDS: Final = 86_400
ALONE_SECONDS: Final = 0.03
"""So short that a small set stays small."""
_LINE: Final = "one claim, log thread included"


def run(bench: Bench) -> Curve:
    """GETs by the live entries at the start."""
    count = QUICK_CLAIMS if bench.quick else CLAIMS
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        load = stack.enter_context(Load())
        sizes: list[Size] = []
        for entries in QUICK_SIZES if bench.quick else SIZES:
            bench.say(f"single use: a daemon with {entries:,} live entries")
            gateway = _remembering(folder / str(entries), entries)
            stack.enter_context(gateway)
            load.run(once(gateway, "PUT", [gateway.target("PUT", "/bench/x")], [201], OBJECT_BYTES))
            sizes.append(Size(entries, gateway, partial(_job, gateway, count)))
        bench.say("single use: GET in turns")
        in_turns(load, sizes, bench.rounds)
        return _curve(sizes)


def alone(bench: Bench) -> Curve:
    """A durable claim in one process, of 32 callers at once."""
    curve = Curve.of(
        "claims",
        f"A durable claim of a fresh one-time key, {CONNECTIONS} at once, by the keys that are remembered",
        "live entries",
        "µs of CPU",
        (_LINE,),
        ("claims",),
    )
    sizes = QUICK_SIZES if bench.quick else SIZES
    with ground(bench.folder) as folder:
        rounds = uvloop.run(_claimed(bench, folder, sizes))
    for entries, figures in rounds.items():
        cpu, rates = zip(*figures, strict=True)
        curve.measured(entries, [Spread.of(list(cpu))], f"{Spread.of(list(rates)).middle:,.0f} /s")
    curve.expect_flat(_LINE)
    return curve


async def _claimed(bench: Bench, folder: Path, sizes: tuple[int, ...]) -> dict[int, list[tuple[float, float]]]:
    """Microseconds of processor time a claim and claims a second, by round, for each size."""
    sets: dict[int, LoggedReplaySet] = {}
    for entries in sizes:
        bench.say(f"claims: a log of {entries:,} entries")
        sets[entries] = _opened(folder / str(entries), entries)
    found: dict[int, list[tuple[float, float]]] = {entries: [] for entries in sizes}
    for number in range(bench.rounds + 1):
        for entries, replay in sets.items():
            cpu, began = time.process_time(), time.perf_counter()
            count = len(await claims.asked(replay, CONNECTIONS, ALONE_SECONDS))
            if number:  # the first does not count
                spent, took = time.process_time() - cpu, time.perf_counter() - began
                found[entries].append((spent / count * 1e6, count / took))
    for replay in sets.values():
        await replay.close()
    return found


def _opened(folder: Path, entries: int) -> LoggedReplaySet:
    """An open set that remembers so many keys. Raises RuntimeError where it did not take them."""
    folder.mkdir()
    _keep_log(folder, entries, claims.NOW)
    replay = LoggedReplaySet(folder, 2 * max(SIZES), 60)
    replay.open(expected=True)
    if replay.entries() != entries:
        raise RuntimeError(f"a log of {entries:,} entries was not loaded: {replay.trouble}")
    return replay


def _keep_log(folder: Path, entries: int, now: float) -> None:
    """The log of a set in which so many keys were used once, each to be remembered for a day."""
    table = ReplayTable(entries)
    for number in range(entries):
        keep_until = now + LIFE_SECONDS + number % LIFE_SECONDS
        table.claim(Use(os.urandom(16), 1, 0, "192.0.2.1", keep_until, now), now)
    replace(folder / LOG_NAME, (record for chunk in table.records() for record in chunk), now)


def _curve(sizes: list[Size]) -> Curve:
    curve = Curve.of(
        "single-use",
        "GET of 1 KiB with a fresh one-time key, durably claimed, by the keys that are remembered",
        "live entries",
        "µs of CPU",
        ("GET",),
        ("GET", "p99 ms", "the daemon"),
    )
    for size in sizes:
        curve.measured(size.x, [size.cpu], size.rate_text, size.p99_text, f"{size.memory / 2**20:.0f} MiB")
    curve.expect_flat("GET")
    return curve


def _remembering(folder: Path, entries: int) -> Gateway:
    """A daemon, not started, that will remember so many keys."""
    gateway = Gateway(folder)
    settings = f"{SETTINGS}\n[replay]\nreplay-entries-max = {2 * max(SIZES)}\n"
    (folder / "valetstore.toml").write_text(settings)
    with gateway:  # makes the data folder; another start follows
        pass
    _keep_log(gateway.data / "state", entries, time.time())
    return gateway


def _job(gateway: Gateway, count: int, _number: int) -> Job:
    targets = [gateway.one_time_target("GET", "/bench/x") for _ in range(count)]
    return once(gateway, "GET", targets, [200], connections=CONNECTIONS)
