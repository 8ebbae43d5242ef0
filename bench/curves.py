"""Curves: what a request, a list, a use, a connection costs as the work around it grows, and whether it stays flat.

    python -m bench.curves                        all of them, about half an hour, 14 GiB of disk
    python -m bench.curves idle lag --quick       some of them, small, for a look
    python -m bench.curves idle --json FILE       keep the figures; other curves in the file stay

Where a promise is about the daemon, it is asked over HTTP as `valetstore serve` starts it; else the table alone is
measured. Each curve's file says how. Exits 1 where a part failed or was interrupted; what was measured is kept.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import (
    curves_connections,
    curves_lag,
    curves_large,
    curves_objects,
    curves_single_use,
    curves_tables,
    machine,
    results,
)
from bench.curve import Curve
from bench.load import LoadFailed
from bench.options import Bench, parser
from bench.results import Results

PARTS: Final[dict[str, Sequence[Callable[[Bench], Curve | list[Curve]]]]] = {
    "objects": (curves_objects.run,),
    "single-use": (curves_single_use.run, curves_single_use.alone),
    "revocations": (curves_tables.revoked,),
    "signing-keys": (curves_tables.signing_keys,),
    "idle": (curves_connections.idle,),
    "slow": (curves_connections.slow,),
    "large": (curves_large.run,),
    "lag": (curves_lag.run,),
}
NAMES: Final = (
    *("objects", "lists", "single-use", "claims", "revocations", "signing-keys"),
    *("idle", "slow", "large", "lag"),
)
"""Of all curves, in the order of the report."""


def main() -> None:
    """Read the command line, measure, print, keep."""
    options = _parser().parse_args()
    bench = Bench(options.quick, options.folder)
    machine.raise_descriptor_limit()
    machine.pin(machine.LOAD_CORE)
    facts, disturbance = machine.facts(options.folder), machine.Disturbance()
    found, failures = _measured(bench, options.parts or list(PARTS))
    facts["taken by others meanwhile"] = (
        f"{disturbance.share():.0%} of all processor time, the kernel's threads included"
    )
    print("\n".join(f"- {name}: {fact}" for name, fact in facts.items()))
    print("".join(f"\n{curve.text()}\n" for curve in found))
    if options.json:
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        new = Results(facts, bench.quick, made_at, curves=[curve.result() for curve in found], left_out=failures)
        results.write(options.json, joined(_before(options.json), new))
    if failures:
        sys.exit("\n".join(failures))


def joined(before: Results | None, new: Results) -> Results:
    """The new figures, and of those before the curves that were not measured again, in the order of NAMES."""
    curves = {curve.name: curve for curve in (*(before.curves if before else ()), *new.curves)}
    ordered = sorted(curves.values(), key=lambda curve: _place(curve.name))
    quick = new.quick or (before is not None and before.quick and len(new.curves) < len(curves))
    return Results(new.machine, quick, new.made_at, curves=ordered, left_out=new.left_out)


def _place(name: str) -> int:
    return NAMES.index(name) if name in NAMES else len(NAMES)


def _measured(bench: Bench, parts: Sequence[str]) -> tuple[list[Curve], list[str]]:
    """All curves of these parts, and a sentence for each part that failed: the others are measured all the same."""
    found: list[Curve] = []
    failures: list[str] = []
    for part in parts:
        bench.say(f"curves: {part}")
        try:
            for measure in PARTS[part]:
                made = measure(bench)
                found += made if isinstance(made, list) else [made]
        except (LoadFailed, RuntimeError, OSError) as error:
            failures.append(f"The part {part} of the curves was not measured: {error}")
            bench.say(failures[-1])
        except KeyboardInterrupt:
            failures.append(f"The run was ended while it measured {part}.")
            break
    return found, failures


def _before(path: Path) -> Results | None:
    try:
        return results.read(path)
    except (FileNotFoundError, results.NotResults):
        return None


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument(
        "parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"some of {', '.join(PARTS)}; all by default"
    )
    return made


if __name__ == "__main__":
    main()
