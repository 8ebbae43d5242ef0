"""Curve: what something costs as the work around it grows, what is promised of that, and whether it held.

Rule 1: a figure is a spread over rounds in which all sizes took turns, wherever they can stand side by side.
Rule 2: a promise is judged by medians: flat compares the dearest size with the first, a limit is for every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench import results
from bench.results import Point, Promise
from bench.table import Spread, Table

FLAT_MAX: Final = 1.25
"""What still counts as flat: a quarter more than at the smallest size."""

FLAT: Final = "flat"
UNDER: Final = "under"


@dataclass
class Curve(Table):
    """A table of sizes, and the lines to draw through its figures: `unit` along the y axis, over `along`."""

    name: str = ""
    along: str = ""
    unit: str = ""
    lines: tuple[str, ...] = ()
    points: list[Point] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)

    @classmethod
    def of(
        cls, name: str, title: str, along: str, unit: str, lines: Sequence[str], others: Sequence[str] = ()
    ) -> "Curve":
        """One without figures. `name` is that of its chart's file; `others` are columns that are not drawn."""
        columns = (along, *(f"{line}, {unit} (min-max)" for line in lines), *others)
        return cls(title, columns, name=name, along=along, unit=unit, lines=tuple(lines))

    def measured(self, x: int, values: Sequence[Spread | None], *others: str) -> None:
        """A size: a figure for each line (None where it has none of this size), and a cell for each other column."""
        for line, value in zip(self.lines, values, strict=True):
            if value is not None:
                self.points.append(Point(line, x, value))
        self.rows.append((f"{x:,}", *("-" if value is None else spread_text(value) for value in values), *others))

    def expect_flat(self, line: str, limit: float = FLAT_MAX) -> None:
        """Promise that a line does not rise, and say whether it does."""
        middles = self._middles(line)
        self._judge(line, FLAT, max(middles) / middles[0], limit)

    def expect_under(self, line: str, limit: float) -> None:
        """Promise that no size takes more than this."""
        self._judge(line, UNDER, max(self._middles(line)), limit)

    def text(self) -> str:
        """As a table, with what is promised below it."""
        return curve_text(self.result())

    def result(self) -> results.Curve:
        """What is kept of it, and drawn."""
        columns, rows = list(self.columns), [list(row) for row in self.rows]
        return results.Curve(
            self.name, self.title, self.along, self.unit, self.points, self.promises, self.notes, columns, rows
        )

    def _judge(self, line: str, promise: str, figure: float, limit: float) -> None:
        self.promises.append(Promise(line, promise, figure, limit, figure <= limit))

    def _middles(self, line: str) -> list[float]:
        """The medians of one line, the smallest size first. Raises ValueError where there is no such line."""
        found = sorted((point.x, point.value.middle) for point in self.points if point.line == line)
        if not found:
            raise ValueError(f"{self.name}: nothing was measured of {line!r}; there is {', '.join(self.lines)}")
        return [middle for _, middle in found]


def curve_text(curve: results.Curve) -> str:
    """A measured curve as a person reads it: the table, and what is promised with what came of that."""
    table = Table(curve.title, tuple(curve.columns), [tuple(row) for row in curve.rows], list(curve.notes))
    return "\n".join([table.text(), *(f"- {promise_text(promise, curve.unit)}" for promise in curve.promises)])


def promise_text(promise: Promise, unit: str) -> str:
    """`GET: flat, at most 1.07 times the first (promised: 1.25). Held.`"""
    held = "Held." if promise.held else "**Not held.**"
    if promise.promise == FLAT:
        return (
            f"{promise.line}: flat, at most {promise.figure:.2f} times the first (promised: {promise.limit:g}). {held}"
        )
    return f"{promise.line}: at most {figure_text(promise.figure)} {unit} (promised: {promise.limit:g}). {held}"


def figure_text(value: float) -> str:
    """About three digits that count, and none behind the point from 100 on: `0.012`, `4.56`, `78.9`, `1,234`."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.0995 or not value else f"{value:.3f}"


def spread_text(spread: Spread) -> str:
    """`142 (139-151)`; one figure alone where there was one round."""
    if spread.least == spread.most:
        return figure_text(spread.middle)
    return f"{figure_text(spread.middle)} ({figure_text(spread.least)}-{figure_text(spread.most)})"
