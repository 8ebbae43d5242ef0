"""Report: the tables and charts of bench/README.md, written from the figures that were kept.

    python -m bench.report            write them (the last step of `make bench`)
    python -m bench.report --check    only say whether they are those of the figures; exits 1 where not

Rule 1: what stands between the marks `<!-- begin NAME -->` and `<!-- end NAME -->` comes from the files in
bench/figures/ alone, so the same figures give the same report. What stands outside is not touched.
Rule 2: what was not measured leaves a sentence, never an empty place.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import charts, results
from bench.curve import curve_text
from bench.results import Results
from bench.table import Table
from bench.versus import tables

HOME: Final = Path(__file__).parent
README: Final = HOME / "README.md"
FIGURES: Final = HOME / "figures"
CHARTS: Final = HOME / "charts"
VERSUS: Final = "versus.json"
CURVES: Final = "curves.json"
PARTS: Final = "parts.json"
_QUICK: Final = "These are quick figures, for a look: `make bench` measures them in full.\n"


class Sheet(msgspec.Struct, frozen=True):
    """A table as it was printed."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = []


class Parts(msgspec.Struct, frozen=True):
    """What `python -m bench --json` keeps: the machine and the tables of the single parts."""

    machine: dict[str, str]
    quick: bool
    tables: list[Sheet]
    left_out: list[str] = []


class Kept:
    """The figures in a folder. Each file may be missing. Raises NotResults for one that cannot be read, OSError."""

    def __init__(self, folder: Path) -> None:
        self.versus = _read(folder / VERSUS)
        self.curves = _read(folder / CURVES)
        self.parts = _read_parts(folder / PARTS)

    def all(self) -> Results:
        """What is drawn: the goals of the one and the curves of the other."""
        machine: dict[str, str] = {}
        goals = self.versus.goals if self.versus else []
        return Results(machine, False, "", goals=goals, curves=self.curves.curves if self.curves else [])


def main() -> None:
    """Read the command line; write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the report is not up to date")
    options = parser.parse_args()
    try:
        kept = Kept(FIGURES)
        text = README.read_text("utf-8")
        new, pictures = report(text, kept), charts.drawn(kept.all())
    except (results.NotResults, ReportInvalid, OSError) as error:
        sys.exit(f"bench.report: {error}")
    stale = [path for path, content in _files(new, pictures).items() if not _holds(path, content)]
    if not options.check:
        CHARTS.mkdir(exist_ok=True)
        for path in stale:
            path.write_text(_files(new, pictures)[path], "utf-8")
            print(f"written: {path.relative_to(HOME.parent)}")
    elif stale:
        sys.exit("not what the figures say; run python -m bench.report: " + ", ".join(path.name for path in stale))


class ReportInvalid(Exception):  # noqa: N818 - reads as what happened
    """The README's marks do not fit together."""


def report(text: str, kept: Kept) -> str:
    """The README with every block written anew. Raises ReportInvalid where a mark is unknown or has no partner."""
    for name in re.findall(r"<!-- begin (.*?) -->", text):
        if name not in BLOCKS:
            raise ReportInvalid(f"there is no block {name!r}: choose from {', '.join(BLOCKS)}")
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise ReportInvalid(f"the block {name!r} has no {end}")
        text = f"{before}{begin}\n{BLOCKS[name](kept).strip()}\n{end}{after}"
    return text


def _files(text: str, pictures: dict[str, str]) -> dict[Path, str]:
    return {README: text} | {CHARTS / f"{name}.svg": picture for name, picture in pictures.items()}


def _holds(path: Path, content: str) -> bool:
    return path.exists() and path.read_text("utf-8") == content


def _machine(kept: Kept) -> str:
    """Each fact once, or by run where the runs differ in it."""
    runs = {"side by side": kept.versus, "as work grows": kept.curves, "single parts": kept.parts}
    told: dict[str, dict[str, list[str]]] = {}
    for run, found in runs.items():
        for name, fact in found.machine.items() if found is not None else ():
            told.setdefault(name, {}).setdefault(fact, []).append(run)
    lines = []
    for name, facts in told.items():
        for fact, where in facts.items():
            lines.append(f"- {name}: {fact}\n" if len(facts) == 1 else f"- {name}, {' and '.join(where)}: {fact}\n")
    return "".join(lines) or "Nothing was measured yet.\n"


def _goals(kept: Kept) -> str:
    if kept.versus is None or not kept.versus.goals:
        return "Nothing was measured side by side yet: `python -m bench.versus`.\n"
    picture = f"![The ratios of the table]({CHARTS.name}/{charts.RATIOS}.svg)\n"
    body = _body(tables.goals(kept.versus.goals))
    return "\n".join([*_head(kept.versus), picture, body, *_list(kept.versus.left_out)])


def _rates(kept: Kept) -> str:
    if kept.versus is None or not kept.versus.cells:
        return "Nothing was measured side by side yet: `python -m bench.versus`.\n"
    return _body(tables.rates(kept.versus.cells))


def _curves(kept: Kept) -> str:
    if kept.curves is None or not kept.curves.curves:
        return "No curve was measured yet: `python -m bench.curves`.\n"
    parts = [*_head(kept.curves), *_list(kept.curves.left_out)]
    for curve in kept.curves.curves:
        heading, _, rest = curve_text(curve).partition("\n")
        parts.append(f"{heading}\n\n![{curve.title}]({CHARTS.name}/{curve.name}.svg)\n{rest.rstrip()}\n")
    return "\n".join(parts)


def _parts(kept: Kept) -> str:
    if kept.parts is None or not kept.parts.tables:
        return "No part was measured yet: `python -m bench`.\n"
    texts = [_table(sheet).text().rstrip() + "\n" for sheet in kept.parts.tables]
    return "\n".join([*[_QUICK] * kept.parts.quick, *_list(kept.parts.left_out), *texts])


BLOCKS: Final[dict[str, Callable[[Kept], str]]] = {
    "machine": _machine,
    "goals": _goals,
    "rates": _rates,
    "curves": _curves,
    "parts": _parts,
}


def _head(found: Results) -> list[str]:
    return [_QUICK] * found.quick


def _list(sentences: Sequence[str]) -> list[str]:
    """What was left out, as a list; nothing where nothing was."""
    return ["".join(f"- {sentence}\n" for sentence in sentences)] * bool(sentences)


def _body(table: Table) -> str:
    """Without its title: the README has headings of its own."""
    return table.text().partition("\n")[2].strip() + "\n"


def _table(sheet: Sheet) -> Table:
    return Table(sheet.title, tuple(sheet.columns), [tuple(row) for row in sheet.rows], list(sheet.notes))


def _read(path: Path) -> Results | None:
    return results.read(path) if path.exists() else None


def _read_parts(path: Path) -> Parts | None:
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Parts)
    except msgspec.MsgspecError as error:
        raise results.NotResults(f"{path} has no tables of a bench in it: {error}") from None


if __name__ == "__main__":
    main()
