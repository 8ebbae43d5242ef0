"""Duel: the gateway and the baseline at the same work, in turns, so that what disturbs one disturbs the other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bench.load import Job, Load, Outcome
from bench.process import Process
from bench.table import Spread, Table

COLUMNS: Final = (
    "what",
    "connections",
    "valetstore",
    "aiohttp",
    "ratio (min-max)",
    "p99 ms",
    "CPU a request",
    "CPU, aiohttp",
)
MEBI: Final = 2**20
WARM_SECONDS: Final = 0.2


@dataclass
class Side:
    """One of the two: its process, and the job of each round (made before the clock starts)."""

    process: Process
    job: Callable[[float], Job]
    outcomes: list[Outcome] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def go(self, load: Load, seconds: float) -> None:
        """One round."""
        job = self.job(seconds)
        before = self.process.cpu_seconds()
        outcome = load.run(job)
        self.cpu_seconds.append(self.process.cpu_seconds() - before)
        self.outcomes.append(outcome)

    def warm(self, load: Load) -> None:
        """A round that does not count."""
        load.run(self.job(WARM_SECONDS))


@dataclass(frozen=True)
class Case:
    """A row: so many bytes a body, on so many connections."""

    title: str
    size: int
    connections: int

    def rate(self, outcome: Outcome) -> float:
        """Bodies a second; parts of one count as that part."""
        return outcome.moved / self.size / outcome.seconds


def duel(load: Load, case: Case, ours: Side, other: Side, rounds: int, seconds: float) -> None:
    """All rounds of one case; who begins changes with every round."""
    for side in (ours, other):
        side.warm(load)
    for number in range(rounds):
        for side in (ours, other) if number % 2 == 0 else (other, ours):
            side.go(load, seconds)


def add_row(table: Table, case: Case, ours: Side, other: Side) -> None:
    """What came of a duel."""
    rates = [[case.rate(outcome) for outcome in side.outcomes] for side in (ours, other)]
    ratio = Spread.of([one / two for one, two in zip(*rates, strict=True)])
    speeds = [Spread.of(of_side) for of_side in rates]
    costs = [_cost(case, side) for side in (ours, other)]
    p99 = Spread.of([outcome.p99_ms for outcome in ours.outcomes])
    table.add(
        case.title,
        str(case.connections),
        *(_speed_text(case, speed) for speed in speeds),
        str(ratio),
        f"{p99.middle:.1f}" if p99.middle else "-",  # none was finished within a round
        *(_time_text(cost) for cost in costs),
        **_figures(case, speeds, ratio, costs),
        p50_ms=Spread.of([outcome.p50_ms for outcome in ours.outcomes]),
        p99_ms=p99,
    )


def _figures(case: Case, speeds: list[Spread], ratio: Spread, costs: list[float]) -> dict[str, Any]:
    return {
        "case": case,
        "requests_per_second": speeds[0],
        "baseline_requests_per_second": speeds[1],
        "ratio": ratio,
        "cpu_seconds_per_request": costs[0],
        "baseline_cpu_seconds_per_request": costs[1],
    }


def _cost(case: Case, side: Side) -> float:
    """Processor seconds a request, over all rounds: steadier than the rate where others use the machine too."""
    return sum(side.cpu_seconds) / sum(outcome.moved / case.size for outcome in side.outcomes)


def _speed_text(case: Case, speed: Spread) -> str:
    if case.size >= MEBI:
        return f"{speed.middle * case.size / MEBI:,.0f} MiB/s"
    return f"{speed.middle:,.0f} /s"


def _time_text(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.0f} ms"
