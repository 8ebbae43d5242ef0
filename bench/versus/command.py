"""Versus: valetstore beside nginx's secure_link, SeaweedFS and aiohttp's FileResponse, in one run, in turns.

    python -m bench.versus                          about a quarter of an hour
    python -m bench.versus --quick                  two minutes: for a look, not for figures
    python -m bench.versus --quick --only get-1k    a part of it

The server has one core to itself and the load another. wrk makes the load of small downloads where it is installed,
else the project's own generator (bench.load). Ratios are of rounds that stood side by side: median, least, most.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bench import machine, results
from bench.load import LoadFailed
from bench.options import Bench, parser
from bench.results import Cell, Goal, Results
from bench.versus import doors, matrix, scaling, tables, turns, verifying, wrk
from bench.versus.doors import Stage
from bench.versus.matrix import Case
from bench.versus.ratios import Ratio, goals_of, ratios_of

PARTS: Final = (*(case.name for case in matrix.CASES), scaling.PART, verifying.PART)


LARGE_SECONDS: Final = 1.0
"""A round of large bodies lasts at least so long, a quick one too."""


@dataclass
class Found:
    """What a run has found so far. `left_out` was not to be had; what has `failed` was."""

    cells: list[Cell] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


def main() -> None:
    """Read the command line, measure, print, keep."""
    options = _parser().parse_args()
    bench = Bench(options.quick, options.folder)
    machine.raise_descriptor_limit()
    machine.pin(machine.LOAD_CORE)
    disturbance, found, began = machine.Disturbance(), Found(), time.monotonic()
    try:
        _measure(bench, found, options.only or PARTS, options.without)
    except KeyboardInterrupt:
        found.failed.append("The run was ended before its end: this is what was measured until then.")
    except (LoadFailed, RuntimeError, OSError) as error:
        found.failed.append(f"The run ended before its end: {error}")
    facts = machine.facts(options.folder)
    share = disturbance.share()
    facts["taken by others meanwhile"] = f"{share:.0%} of all processor time, the kernel's threads included"
    facts["beside"] = ", ".join(found.versions) or "nothing"
    facts["took"] = f"{(time.monotonic() - began) / 60:.1f} minutes"
    _print(found, facts)
    if options.json:
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        left_out = found.left_out + found.failed
        results.write(options.json, Results(facts, bench.quick, made_at, found.cells, found.goals, left_out=left_out))
    if found.failed:
        sys.exit("\n".join(f"bench.versus: {sentence}" for sentence in found.failed))


def _measure(bench: Bench, found: Found, parts: Sequence[str], without: Sequence[str]) -> None:
    """All parts, into `found`; what was measured stays there where a later one fails."""
    cases = [case for case in matrix.CASES if case.name in parts]
    if cases:
        _measure_cases(bench, found, cases, without)
    if scaling.PART in parts:
        bench.say(scaling.PART)
        cell, goal = scaling.measure(bench)
        found.cells.append(cell)
        found.goals.append(goal)
    if verifying.PART in parts:
        bench.say(verifying.PART)
        found.goals += verifying.measure(bench)


def _measure_cases(bench: Bench, found: Found, cases: Sequence[Case], without: Sequence[str]) -> None:
    binary = wrk.find()
    if binary is None:
        found.left_out.append(f"wrk is not installed ({wrk.PACKAGE}): small downloads are asked for by bench.load.")
    else:
        found.versions.append(f"wrk {wrk.version(binary)}")
    bench.say("starting the contenders")
    with doors.open_stage(bench.folder, without) as stage:
        found.left_out += stage.left_out
        found.versions += stage.versions
        for case in cases:
            if case.method == "GET":
                stage.keep(case.name, case.size)
            for connections, names in _rows(bench, case):
                _measure_cell(bench, found, stage, case, connections, names)


def _measure_cell(bench: Bench, found: Found, stage: Stage, case: Case, connections: int, names: Sequence[str]) -> None:
    there = {name: stage.doors[name] for name in names if name in stage.doors}
    bench.say(f"{case.name}, connections: {connections}")
    seconds = max(bench.seconds, LARGE_SECONDS) if case.size > matrix.MIB else bench.seconds
    cell, failures = turns.measure(stage.load, case, connections, list(there.values()), bench.rounds, seconds)
    ratios = ratios_of(cell, there)
    found.cells.append(cell)
    found.ratios += ratios
    found.goals += goals_of(ratios)
    found.failed += failures


def _rows(bench: Bench, case: Case) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Connections, and the doors that are measured with them."""
    yield case.connections[0], case.doors if bench.quick else (*case.doors, *case.more)
    if not bench.quick:
        yield from ((connections, case.doors) for connections in case.connections[1:])


def _print(found: Found, facts: dict[str, str]) -> None:
    print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))
    print("".join(f"- {sentence}\n" for sentence in found.left_out), end="")
    for table in (tables.rates(found.cells), tables.ratios(found.ratios), tables.goals(found.goals)):
        if table.rows:
            print(f"\n{table.text()}")


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument(
        "--only",
        action="extend",
        type=_part,
        nargs="+",
        metavar="PART",
        help=f"measure these parts: {', '.join(PARTS)}",
    )
    made.add_argument(
        "--without",
        action="extend",
        nargs="+",
        choices=doors.NAMES[1:],
        default=[],
        metavar="NAME",
        help=f"leave a contender out: {', '.join(doors.NAMES[1:])}",
    )
    return made


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no part {text!r}: choose from {', '.join(PARTS)}")
    return text
