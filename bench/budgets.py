"""Budgets: what counting a request costs, and how much memory many callers take.

    python -m bench.budgets [--quick]

Each row is a process of its own, so that its resident memory is of nothing else: a `BudgetBook` in which as many
callers as the row says have all used something up, and 10,000 transfers run beside. The peak is the kernel's
high-water mark, from before the book was made: growing is in it.
"""

import json
import re
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from bench.options import Bench, run_alone
from bench.table import Table
from valetstore.config import Budgets
from valetstore.errors import Denied
from valetstore.grants.grant import Budget, Charge, Grant
from valetstore.policy.budget import BudgetBook, charges_of

MEMORY_BYTES_MAX: Final = 64 * 2**20
"""What the project promises for a million callers."""
CALLERS: Final = (1_000, 100_000, 1_000_000)
TRANSFERS: Final = 10_000
NOW: Final = 1_800_000_000.0
COLUMNS: Final = ("callers", "growth MiB", "peak MiB", "forgotten", "first µs", "again µs", "refused µs", "longest ms")


def run(bench: Bench) -> Table:
    """From few callers to a million."""
    table = Table(f"Budgets (promise: a million callers under {MEMORY_BYTES_MAX >> 20} MiB)", COLUMNS)
    for callers in CALLERS[:2] if bench.quick else CALLERS:
        bench.say(f"budgets: {callers:,} callers")
        found = _in_a_child(callers)
        verdict = "" if found["peak"] < MEMORY_BYTES_MAX else " (!)"
        table.add(
            f"{callers:,}",
            f"{found['growth'] / 2**20:.1f}",
            f"{found['peak'] / 2**20:.1f}{verdict}",
            f"{found['forgotten']:,}",
            *(f"{found[name]:.1f}" for name in ("first_us", "again_us", "refused_us", "longest_ms")),
            callers=callers,
            **found,
        )
    none, two = Budgets(), Budgets(address_requests_per_second=100, subject_requests_per_second=10)
    table.notes.append(
        f"Finding a request's charges: {_charges_us(none):.2f} µs where there are none, "
        f"{_charges_us(two):.2f} µs for an address and a subject."
    )
    return table


def _in_a_child(callers: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.budgets", "child", str(callers)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _child(callers: int) -> dict[str, float]:
    """Bytes of memory; microseconds a request: a caller's first, one more, one that is refused."""
    before = _memory("VmRSS")
    book = BudgetBook()
    one, transfer = Budget(rate=0.001, burst=2), Budget(transfers=1)
    for number in range(TRANSFERS):
        book.take([Charge(_name(callers + number), transfer)], NOW)
    longest = 0.0
    spans = []
    for refused in (0, 0, callers):
        total, denied = 0.0, 0
        for number in range(callers):
            charges = [Charge(_name(number), one)]
            started = time.perf_counter()
            try:
                book.take(charges, NOW)
            except Denied:
                denied += 1
            took = time.perf_counter() - started
            total += took
            longest = max(longest, took)
        assert denied == refused
        spans.append(total / callers * 1e6)
    return {
        "growth": _memory("VmRSS") - before,
        "peak": _memory("VmHWM") - before,
        "forgotten": book.rates.overwritten,
        **dict(zip(("first_us", "again_us", "refused_us"), spans, strict=True)),
        "longest_ms": longest * 1e3,
    }


def _name(number: int) -> bytes:
    return number.to_bytes(16)


def _memory(what: str) -> int:
    """Bytes, of this process."""
    found = re.search(rf"^{what}:\s+([0-9]+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _charges_us(settings: Budgets) -> float:
    grant = Grant(
        scheme="native",
        signing_key="default",
        identity=bytes(16),
        operations=frozenset({"read"}),
        scopes=(),
        not_after=NOW,
        subject="user-4711",
    )
    peer, count = ip_address("203.0.113.7"), 50_000
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(count):
            charges_of(grant, peer, settings)
        best = min(best, time.perf_counter() - started)
    return best / count * 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(_child(int(sys.argv[2]))))
    else:
        run_alone(run)
