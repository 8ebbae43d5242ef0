"""What a run of versus prints: the rates of each kind of work, the ratios, and the goals with what came of them."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from bench.results import Cell, Goal, Lane
from bench.table import Spread, Table, size_text
from bench.versus.matrix import MIB
from bench.versus.ratios import Ratio

RATE_COLUMNS: Final = (
    "what",
    "connections",
    "who",
    "rate (min..max)",
    "p50 ms",
    "p99 ms",
    "server CPU each",
    "load by",
)
RATIO_COLUMNS: Final = ("what", "connections", "ours", "against", "ratio (min..max)", "by CPU time", "goal")
GOAL_COLUMNS: Final = ("what", "goal: measured (min..max)", "met")


def rates(cells: Sequence[Cell]) -> Table:
    """Every lane of every cell."""
    table = Table("Side by side", RATE_COLUMNS)
    for cell in cells:
        for lane in cell.lanes:
            table.add(_what(cell), str(cell.connections), lane.name, *_figures(cell, lane), cell.load)
    return table


def ratios(found: Sequence[Ratio]) -> Table:
    """Ours to another's."""
    table = Table("Ratios: above 1 ours is faster", RATIO_COLUMNS)
    for ratio in found:
        goal = ratio.goal
        table.add(
            _what(ratio.cell),
            str(ratio.cell.connections),
            ratio.ours.key,
            ratio.other.name,
            spread_text(ratio.rate),
            "-" if ratio.by_cpu is None else spread_text(ratio.by_cpu),
            "-" if goal is None else f"{goal.bound:g}: {'met' if goal.met else 'not met'}",
        )
    return table


def goals(found: Sequence[Goal]) -> Table:
    """What the project set itself, beside what was measured."""
    table = Table("Goals", GOAL_COLUMNS)
    for goal in found:
        met = "yes" if goal.met else "no"
        if goal.dream is not None:
            met += f" (dream {goal.dream:g}: {'yes' if goal.measured.middle >= goal.dream else 'no'})"
        table.add(goal.what, str(goal), met)
        if goal.how:
            table.notes.append(f"- {goal.what}{f' against {goal.against}' if goal.against else ''}: {goal.how}.")
    return table


def spread_text(spread: Spread) -> str:
    """`0.62 (0.58..0.66)`."""
    return f"{spread.middle:.2f} ({spread.least:.2f}..{spread.most:.2f})"


def _figures(cell: Cell, lane: Lane) -> tuple[str, str, str, str]:
    rate = Spread.of([one.rate(cell.size) for one in lane.rounds])
    cpu, bodies = sum(one.cpu_seconds for one in lane.rounds), sum(one.moved for one in lane.rounds) / cell.size
    p50, p99 = (median(getattr(one, name) for one in lane.rounds) for name in ("p50_ms", "p99_ms"))
    return (
        _rate_text(cell.size, rate),
        f"{p50:.2f}" if p50 else "-",  # none was finished within a round
        f"{p99:.2f}" if p99 else "-",
        _time_text(cpu / bodies) if bodies else "-",
    )


def _what(cell: Cell) -> str:
    return f"{cell.method} {size_text(cell.size)}"


def _rate_text(size: int, rate: Spread) -> str:
    if size < MIB:
        return f"{rate.middle:,.0f}/s ({rate.least:,.0f}..{rate.most:,.0f})"
    middle, least, most = (value * size / MIB for value in (rate.middle, rate.least, rate.most))
    return f"{middle:,.0f} MiB/s ({least:,.0f}..{most:,.0f})"


def _time_text(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f} µs" if seconds < 0.001 else f"{seconds * 1e3:,.1f} ms"
