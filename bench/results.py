"""Results: what a run of the benches found, in one JSON file that charts are drawn from and later runs compared with.

Rule 1: figures are kept by round, so that whoever reads the file can compute another ratio than the one printed.
Rule 2: a goal carries its bound and what was measured; whether it is met follows from the two, and stands beside them.

The file is a `Results` in JSON: its `cells` are what was measured side by side (one cell is one kind of work at one
number of connections; each of its lanes one contender, whose rounds took turns with those of the others), `goals` the
promises with what came of them, `curves` what something costs as work grows. Times are seconds, sizes bytes, rates
requests a second, unless a name ends in another unit.
"""

from pathlib import Path
from typing import Final

import msgspec

from bench.table import Spread

SHAPE: Final = 1
"""Goes up when a field changes its meaning or goes away; a reader refuses a shape it does not know."""


class Round(msgspec.Struct, frozen=True):
    """One round of one lane: `requests` were answered whole and `moved` bytes of bodies went over in `seconds`."""

    seconds: float
    requests: int
    moved: int
    cpu_seconds: float
    """Of the server, all its processes and threads; 0 where it cannot be read."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0

    def rate(self, size: int) -> float:
        """Bodies of `size` a second; parts of one count as that part."""
        return self.moved / size / self.seconds if size else self.requests / self.seconds


class Lane(msgspec.Struct, frozen=True):
    """One contender at one kind of work, as `nginx` with `secure_link`."""

    contender: str
    key: str
    rounds: list[Round]
    workers: int = 1

    @property
    def name(self) -> str:
        """What a table calls it: `valetstore, native key`."""
        return f"{self.contender}, {self.key}"


class Cell(msgspec.Struct, frozen=True):
    """One kind of work: `name` as in `get-1k`, bodies of `size`, so many connections; lanes that took turns."""

    name: str
    method: str
    size: int
    connections: int
    load: str
    """Who made the load: `wrk`, or `bench.load`, the project's own."""
    lanes: list[Lane]


class Goal(msgspec.Struct, frozen=True):
    """A promise: `what` against `against` reaches `bound`: at least, or at most where `at_most`."""

    what: str
    against: str
    unit: str
    """Empty for a ratio."""
    bound: float
    measured: Spread
    how: str = ""
    """What has to be known to read the figure, as `by CPU time: both workers share the cores with the load`."""
    at_most: bool = False
    dream: float | None = None

    @property
    def met(self) -> bool:
        """Judged by the median."""
        return self.measured.middle <= self.bound if self.at_most else self.measured.middle >= self.bound

    def __str__(self) -> str:
        """`0.5 of nginx: 0.62 (0.58..0.66)`."""
        spread = self.measured
        middle, least, most = (f"{value:.3g}" for value in (spread.middle, spread.least, spread.most))
        bound = f"{'at most ' if self.at_most else ''}{self.bound:g}{f' {self.unit}' if self.unit else ''}"
        return f"{bound}{f' of {self.against}' if self.against else ''}: {middle} ({least}..{most})"


class Point(msgspec.Struct, frozen=True):
    """One figure of one line of a curve: at `x`."""

    line: str
    x: int
    value: Spread


class Promise(msgspec.Struct, frozen=True):
    """A promise about a line of a curve, the figure it is judged by, and whether it held."""

    line: str
    promise: str
    figure: float
    limit: float
    held: bool


class Curve(msgspec.Struct, frozen=True):
    """What something costs as the work around it grows; `name` is its chart's, `along` and `unit` name the axes."""

    name: str
    title: str
    along: str
    unit: str
    points: list[Point]
    promises: list[Promise] = []
    notes: list[str] = []
    columns: list[str] = []
    """With `rows` the table of it that a person reads, whose other columns are not drawn."""
    rows: list[list[str]] = []


class Results(msgspec.Struct, frozen=True):
    """One run, or several parts that were run one after another into the same file."""

    machine: dict[str, str]
    """What figures depend on, ready to be read (bench/machine.py)."""
    quick: bool
    made_at: str
    """RFC 3339, UTC."""
    cells: list[Cell] = []
    goals: list[Goal] = []
    curves: list[Curve] = []
    left_out: list[str] = []
    """Sentences: which contender or part was not measured, and what it would have needed."""
    shape: int = SHAPE


class NotResults(Exception):  # noqa: N818 - reads as what happened
    """A file that is no result of a bench, or one of another version."""


def read(path: Path) -> Results:
    """The results in a file. Raises NotResults that names the file and the field, OSError."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Results)
    except msgspec.MsgspecError as error:
        raise NotResults(f"{path} has no results of a bench in it: {error}") from None
    if found.shape != SHAPE:
        raise NotResults(f"{path} has results of shape {found.shape}, this version reads {SHAPE}: run the bench again")
    return found


def write(path: Path, results: Results) -> None:
    """Keep results in a file, replacing it whole. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    beside.replace(path)
