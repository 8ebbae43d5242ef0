"""Tables: results as a person reads them (text or Markdown), and as JSON for whoever draws curves."""

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass
class Table:
    """One result. `rows` hold text ready to be read; `data` the figures behind them, for JSON."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)

    def add(self, *cells: str, **figures: Any) -> None:
        """One row, and its figures."""
        self.rows.append(cells)
        self.data.append(figures)

    def text(self) -> str:
        """As Markdown whose columns also line up in a terminal."""
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        lines = [f"### {self.title}", "", _line(self.columns, widths), _rule(widths)]
        lines += [_line(row, widths) for row in self.rows]
        return "\n".join([*lines, "", *self.notes])

    def as_json(self) -> dict[str, Any]:
        """The figures, and the rows that a person reads."""
        return asdict(self)


@dataclass(frozen=True)
class Spread:
    """One figure over several rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Median, minimum and maximum."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """`2.14 (1.98-2.30)`."""
        return f"{self.middle:.2f} ({self.least:.2f}-{self.most:.2f})"


def size_text(count: float) -> str:
    """`1 KiB`, `256 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.0f} GiB"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "| " + " | ".join([first, *rest]) + " |"


def _rule(widths: list[int]) -> str:
    return "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
