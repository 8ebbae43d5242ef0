"""Ratios: ours to another's, round by round within a cell, and the goals among them.

Rule: above 1 ours is faster. Beside the ratio of rates stands that by the servers' processor time, which says the same
where a core is full and says more where others use the machine too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.results import Cell, Goal, Lane
from bench.table import Spread, size_text
from bench.versus.doors import Door
from bench.versus.matrix import AIMS, PAIRS, Aim, Pair


@dataclass(frozen=True)
class Ratio:
    """One pair in one cell."""

    cell: Cell
    ours: Lane
    other: Lane
    rate: Spread
    by_cpu: Spread | None
    """None where a round was too short for the kernel's clock ticks."""
    aim: Aim | None

    @property
    def goal(self) -> Goal | None:
        """What was to be reached, and was or was not."""
        if self.aim is None:
            return None
        what = f"{self.cell.method} {size_text(self.cell.size)}, {self.ours.key}"
        against = self.other.name if self.ours.contender != self.other.contender else f"our {self.other.key}"
        how = f"connections: {self.cell.connections}, load: {self.cell.load}"
        if self.by_cpu is not None:
            how += f"; by CPU time {self.by_cpu}"
        return Goal(what, against, "", self.aim.bound, self.rate, how, dream=self.aim.dream)


def ratios_of(cell: Cell, doors: dict[str, Door]) -> list[Ratio]:
    """All pairs of the matrix of which this cell has both."""
    lanes = {name: _lane(cell, door) for name, door in doors.items()}
    return [
        _ratio(cell, pair, ours, other)
        for pair in PAIRS
        if (ours := lanes.get(pair.ours)) is not None and (other := lanes.get(pair.other)) is not None
    ]


def goals_of(ratios: Iterable[Ratio]) -> list[Goal]:
    """Those that have a bound."""
    return [goal for ratio in ratios if (goal := ratio.goal) is not None]


def _lane(cell: Cell, door: Door) -> Lane | None:
    return next((lane for lane in cell.lanes if (lane.contender, lane.key) == (door.contender, door.key)), None)


def _ratio(cell: Cell, pair: Pair, ours: Lane, other: Lane) -> Ratio:
    turns = list(zip(ours.rounds, other.rounds, strict=True))
    rate = Spread.of([one.rate(cell.size) / two.rate(cell.size) for one, two in turns])
    by_cpu = None
    if all(one.cpu_seconds and two.cpu_seconds and one.moved and two.moved for one, two in turns):
        by_cpu = Spread.of([one.moved / one.cpu_seconds / (two.moved / two.cpu_seconds) for one, two in turns])
    return Ratio(cell, ours, other, rate, by_cpu, AIMS.get((cell.name, cell.connections, pair)))
