"""What every bench is told: how long, where, and whom to tell about progress."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.load import LoadFailed
from bench.table import Table


@dataclass(frozen=True)
class Bench:
    """`rounds` of `seconds` each; `folder` is where data lies for the while."""

    quick: bool
    folder: Path

    @property
    def rounds(self) -> int:
        """How often each side of a duel is measured."""
        return 2 if self.quick else 5

    @property
    def seconds(self) -> float:
        """How long a round lasts."""
        return 0.3 if self.quick else 1.5

    def say(self, what: str) -> None:
        """A line of progress."""
        print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def run_alone(run: Callable[[Bench], Table]) -> None:
    """`main` of a script that measures one thing."""
    options = parser(sys.modules[run.__module__].__doc__).parse_args()
    measure(options, [run])


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that all scripts share."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="short rounds: for a look, not for figures")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    made.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where data lies for the while; needs 8 GiB",
    )
    return made


def measure(options: argparse.Namespace, runs: Sequence[Callable[[Bench], Table]], *, whole: bool = False) -> None:
    """Run them in turn, print each table, write the JSON. Exits 1 where one failed; the others are kept.

    Tables that are in the file and were not measured now stay there, unless these are the `whole` bench.
    """
    machine.raise_descriptor_limit()
    machine.pin(machine.LOAD_CORE)
    bench = Bench(options.quick, options.folder)
    facts = machine.facts(options.folder)
    disturbance = machine.Disturbance()
    tables, left_out = _measured(bench, runs)
    facts["taken by others meanwhile"] = (
        f"{disturbance.share():.0%} of all processor time, the kernel's threads included"
    )
    print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))
    for table in tables:
        print(f"\n{table.text()}")
    if options.json:
        if whole:
            options.json.unlink(missing_ok=True)
        _keep(options.json, facts, options.quick, [table.as_json() for table in tables], left_out)
    if left_out:
        sys.exit("\n".join(left_out))


def _measured(bench: Bench, runs: Sequence[Callable[[Bench], Table]]) -> tuple[list[Table], list[str]]:
    """The tables, and a sentence for each part that failed: the others are measured all the same."""
    tables: list[Table] = []
    left_out: list[str] = []
    for run in runs:
        try:
            tables.append(run(bench))
        except (LoadFailed, RuntimeError, OSError, subprocess.CalledProcessError) as error:
            left_out.append(f"{run.__module__.rpartition('.')[2]}, {run.__name__}: was not measured: {error}")
            bench.say(left_out[-1])
    return tables, left_out


def _keep(path: Path, facts: dict[str, str], quick: bool, tables: list[dict[str, Any]], left_out: list[str]) -> None:
    """Write the figures to what is in the file already: a table of the same title is replaced."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        before = json.loads(path.read_bytes())
        measured = {table["title"]: table for table in tables}
        kept = [measured.pop(table["title"], table) for table in before["tables"]]
        quick = quick or (before["quick"] and len(kept) > len(tables) - len(measured))
        tables = [*kept, *measured.values()]
    result = {"machine": facts, "quick": quick, "left_out": left_out, "tables": tables}
    path.write_text(json.dumps(result, indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} has no JSON form")
