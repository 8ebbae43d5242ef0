"""Scaling: what one worker more is worth: GETs of 1 KiB with a native key, by as many workers as there are cores.

Rule: where there are cores to spare, workers have theirs and the load the others, and requests a second are compared.
Where there are none, workers and load share all cores. Then a rate says how the cores were shared out, so requests a
second of the servers' processor time are compared, times the workers: what they would serve with a core for each. The
goal says which it was.
"""

from contextlib import ExitStack
from typing import Final

from bench.ground import ground
from bench.load import Job, Load, LoadFailed
from bench.machine import CORES
from bench.options import Bench
from bench.results import Cell, Goal, Lane
from bench.table import Spread
from bench.versus import wrk
from bench.versus.doors import Door
from bench.versus.matrix import KIB, Case
from bench.versus.turns import Generator, Turn, in_turns
from bench.workers import Crew

PART: Final = "workers"
BOUND: Final = 1.8
WORKERS: Final = 2
CONNECTIONS: Final = 64
_CASE: Final = Case(PART, "GET", KIB, (CONNECTIONS,), ("native",))


def measure(bench: Bench) -> tuple[Cell, Goal]:
    """One worker, two, and one for each core, in turns. Raises LoadFailed."""
    counts = sorted({1, WORKERS, len(CORES)})
    spare = CORES[WORKERS:]
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        load_cores = spare or CORES
        load = stack.enter_context(Load(load_cores))
        turns = []
        for count in counts:
            cores = CORES[:count] if spare and count <= WORKERS else CORES
            crew = stack.enter_context(Crew(folder / f"crew-{count}", count, cores))
            turns.append(Turn(_door(crew, count), _CASE, CONNECTIONS))
            path = f"/bench/{PART}"
            put = Job(crew.host, crew.port, "PUT", [crew.target("PUT", path)], [201], 0, body_bytes=KIB, requests=1)
            load.run(put)
        binary = wrk.find()
        generator: Generator = wrk.Wrk(binary, load_cores) if binary else load
        in_turns(turns, load, generator, bench.rounds, bench.seconds)
    for turn in turns:
        if turn.failure:
            raise LoadFailed(turn.failure)
    lanes = [
        Lane(turn.door.contender, turn.door.key, turn.rounds, count) for turn, count in zip(turns, counts, strict=True)
    ]
    cell = Cell(PART, "GET", KIB, CONNECTIONS, generator.name, lanes)
    return cell, goal_of(cell, has_spare_cores=bool(spare))


def goal_of(cell: Cell, *, has_spare_cores: bool) -> Goal:
    """Two workers against one, and how that was judged."""
    one, two = (next(lane for lane in cell.lanes if lane.workers == count) for count in (1, WORKERS))
    pairs = list(zip(one.rounds, two.rounds, strict=True))
    if has_spare_cores:
        ratio = Spread.of([more.rate(cell.size) / less.rate(cell.size) for less, more in pairs])
        how = "requests a second; each worker on a core of its own, the load on others"
    else:
        costs = [(less.cpu_seconds / less.requests, more.cpu_seconds / more.requests) for less, more in pairs]
        ratio = Spread.of([WORKERS * less / more for less, more in costs])
        rates = Spread.of([more.rate(cell.size) / less.rate(cell.size) for less, more in pairs])
        how = (
            f"this machine has no core left for the load ({len(CORES)}): requests a CPU second of the servers, times "
            f"{WORKERS}; by requests a second, with the load on the same cores, {rates}"
        )
    return Goal(f"GET 1 KiB, {WORKERS} workers", "1 worker", "", BOUND, ratio, f"connections: {CONNECTIONS}; {how}")


def _door(crew: Crew, count: int) -> Door:
    key = "native key" if count == 1 else f"native key, {count} workers"
    return Door("valetstore", key, crew, lambda method, path, _: crew.target(method, path), crew.port)
