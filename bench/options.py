"""What every bench is told: how long, where, and whom to tell about progress."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from bench import machine
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


def measure(options: argparse.Namespace, runs: Sequence[Callable[[Bench], Table]]) -> None:
    """Run them in turn, print each table, write the JSON."""
    machine.raise_descriptor_limit()
    machine.pin(machine.LOAD_CORE)
    bench = Bench(options.quick, options.folder)
    facts = machine.facts(options.folder)
    disturbance = machine.Disturbance()
    tables = [run(bench) for run in runs]
    facts["taken by others meanwhile"] = (
        f"{disturbance.share():.0%} of all processor time, the kernel's threads included"
    )
    print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))
    for table in tables:
        print(f"\n{table.text()}")
    if options.json:
        result = {"machine": facts, "quick": options.quick, "tables": [table.as_json() for table in tables]}
        options.json.write_text(json.dumps(result, indent=1, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} has no JSON form")
