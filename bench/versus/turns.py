"""Turns: one cell of the matrix measured, lane after lane, round after round.

Rule 1: what disturbs one lane disturbs all: each has its turn in each round, and another begins each time.
Rule 2: keys are signed before the clock starts; a lane whose keys must be fresh gets as many as it will need.
Rule 3: small downloads are asked for by wrk where it is installed, else by the project's own generator; within a cell
it is the same for all lanes.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from bench.load import Job, Load, LoadFailed, Outcome
from bench.results import Cell, Lane, Round
from bench.versus import wrk
from bench.versus.doors import Door
from bench.versus.matrix import KIB, MIB, Case

WARM_SECONDS: Final = 0.2
WRK_BYTES_MAX: Final = 64 * KIB
"""wrk reads by 8 KiB at a time: large bodies would be a measure of it."""
NEW_BYTES_MAX: Final = 64 * KIB
"""Uploads up to this size are new objects each time; larger ones replace each other, or a bench would fill the disk."""
REPLACED: Final = 64
FRESH_AT_FIRST: Final = 20_000
"""Fresh keys a second for the round that warms up; later rounds go by what was seen."""
FRESH_MARGIN: Final = 1.5
_numbers = count(1)


class Generator(Protocol):
    """Whoever makes the load: bench.load's, or wrk."""

    name: str

    def run(self, job: Job) -> Outcome:
        """Do a job. Raises LoadFailed."""


@dataclass
class Turn:
    """One lane while it is measured: its door, and what came of its rounds."""

    door: Door
    case: Case
    connections: int
    rounds: list[Round] = field(default_factory=list)
    failure: str = ""
    """Why it is not measured any more."""
    _per_second: float = FRESH_AT_FIRST

    def warm(self, load: Load) -> None:
        """A round that does not count, but tells how many fresh keys a second are needed."""
        outcome = load.run(self._job(WARM_SECONDS))
        self._per_second = max(1_000.0, outcome.requests / outcome.seconds)

    def go(self, load: Generator, seconds: float) -> None:
        """One round that counts."""
        for _ in range(3):
            job = self._job(seconds)
            before = self.door.server.cpu_seconds()
            try:
                outcome = load.run(job)
            except wrk.KeysUsedUp as error:
                self._per_second = error.used / seconds * FRESH_MARGIN
                continue
            self._keep(outcome, self.door.server.cpu_seconds() - before)
            return
        raise wrk.KeysUsedUp(int(self._per_second * seconds))

    def _keep(self, outcome: Outcome, cpu_seconds: float) -> None:
        moved = outcome.moved or outcome.requests * self.case.size  # wrk says how many were whole, no more
        p50, p99 = outcome.p50_ms, outcome.p99_ms
        self.rounds.append(Round(outcome.seconds, outcome.requests, moved, cpu_seconds, p50, p99))
        self._per_second = max(self._per_second, outcome.requests / outcome.seconds)

    def _job(self, seconds: float) -> Job:
        return self._download(seconds) if self.case.method == "GET" else self._upload(seconds)

    def _download(self, seconds: float) -> Job:
        door, path = self.door, f"/bench/{self.case.name}"
        if not door.fresh:
            return Job(
                door.server.host, door.port, "GET", [door.target("GET", path, 0)], [200], seconds, self.connections
            )
        # wrk counts in whole seconds.
        wanted = self.connections + int(self._per_second * FRESH_MARGIN * math.ceil(seconds))
        targets = [door.target("GET", path, number) for number in range(wanted)]
        return Job(door.server.host, door.port, "GET", targets, [200], seconds, self.connections, once=True)

    def _upload(self, seconds: float) -> Job:
        door, size = self.door, self.case.size
        is_new = size <= NEW_BYTES_MAX
        if is_new:
            names = [f"new-{next(_numbers)}" for _ in range(int(self._per_second * FRESH_MARGIN * seconds))]
        else:
            names = [f"{self.case.name}-{number}" for number in range(REPLACED if size <= MIB else 2)]
        return Job(
            door.server.host,
            door.port,
            "PUT",
            [door.target("PUT", f"/bench/{name}", 0) for name in names],
            [200, 201, 204],
            seconds,
            self.connections,
            body_bytes=size,
            requests=1,
            once=is_new,
            whole=True,
        )


def measure(
    load: Load, case: Case, connections: int, doors: list[Door], rounds: int, seconds: float
) -> tuple[Cell, list[str]]:
    """One cell: all rounds of all its lanes, and a sentence for each lane that failed."""
    turns = [Turn(door, case, connections) for door in doors]
    generator = generator_for(case, load)
    in_turns(turns, load, generator, rounds, seconds)
    lanes = [Lane(turn.door.contender, turn.door.key, turn.rounds) for turn in turns if not turn.failure]
    failures = [
        f"{turn.door.name} was not measured at {case.name} with {connections} connections: {turn.failure}."
        for turn in turns
        if turn.failure
    ]
    return Cell(case.name, case.method, case.size, connections, generator.name, lanes), failures


def in_turns(turns: Sequence[Turn], load: Load, generator: Generator, rounds: int, seconds: float) -> None:
    """Warm up by `load`, then all rounds; another lane begins each time. One that fails has no more turns."""
    for number in range(-1, rounds):
        first = number % len(turns)
        for turn in (*turns[first:], *turns[:first]):
            if turn.failure:
                continue
            if turn.case.method == "PUT":
                os.sync()  # what others wrote without a sync is not to be written while this one is timed
            try:
                turn.warm(load) if number < 0 else turn.go(generator, seconds)
            except LoadFailed as error:
                reasons = turn.door.server.reasons()
                turn.failure = f"{error} ({reasons})" if reasons else str(error)


def generator_for(case: Case, load: Load) -> Generator:
    """wrk where it is the better one and installed."""
    binary = wrk.find() if case.method == "GET" and case.size <= WRK_BYTES_MAX else None
    return wrk.Wrk(binary) if binary else load
