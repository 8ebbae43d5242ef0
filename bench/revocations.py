"""Revocations: what looking a key up costs, from one entry to a million, how much memory an entry takes, and starting.

    python -m bench.revocations [--quick]

Each row is a process of its own, so that its resident memory is of nothing else. Keys that are not revoked are all
different, so that their part of the table is not at hand; the object's path has four folders. `start` is reading the
log into the table, the file in the page cache.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.options import Bench, run_alone
from bench.table import Table
from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.journal import replace
from valetstore.owner.revocations import FILE, RevocationStore
from valetstore.policy.revocation import Kind, Revocation, RevocationTable

LOOKUP_US_MAX: Final = 2.0
"""What the project promises for a million entries."""
ENTRIES: Final = (1, 1_000, 1_000_000)
KEYS: Final = 20_000
NOW: Final = 1_800_000_000.0
PATH: Final = "/photos/2024/holiday/italy/cat.jpg"
COLUMNS: Final = ("entries", "kind", "lookup µs", "refused µs", "bytes an entry", "start s", "longest expire ms")

KINDS: Final[dict[str, Callable[[int], str]]] = {
    "key": lambda number: number.to_bytes(16).hex(),
    "subject": lambda number: f"user-{number:07}",
    "prefix": lambda number: f"/photos/2024/user-{number:07}/",
    "one subject, each time later": lambda _number: "user-0000000",
}


def run(bench: Bench) -> Table:
    """Each kind, from one entry to a million."""
    table = Table(f"Revocations (promise: a lookup under {LOOKUP_US_MAX:.0f} µs with a million entries)", COLUMNS)
    for kind in KINDS:
        for entries in ENTRIES[:2] if bench.quick else ENTRIES:
            bench.say(f"revocations: {entries:,} of {kind}")
            found = _in_a_child(kind, entries)
            verdict = "" if found["lookup_us"] < LOOKUP_US_MAX else " (!)"
            table.add(
                f"{entries:,}",
                kind,
                f"{found['lookup_us']:.2f}{verdict}",
                f"{found['refused_us']:.2f}",
                f"{found['bytes_an_entry']:.0f}" if entries >= 1_000_000 else "-",
                f"{found['start_s']:.2f}",
                f"{found['expire_ms']:.2f}",
                entries=entries,
                kind=kind,
                **found,
            )
    return table


def _in_a_child(kind: str, entries: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.revocations", "child", kind, str(entries)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _child(kind: str, entries: int) -> dict[str, float]:
    """Microseconds a lookup; bytes an entry; seconds to start; milliseconds of the longest `expire`."""
    keys = [key_of(os.urandom(16), f"other-{number}") for number in range(KEYS)]
    value = KINDS[kind]
    named = range(0, entries, max(1, entries // KEYS))
    revoked = [(key_of(number.to_bytes(16), value(number)), f"{value(number)}cat.jpg") for number in named]
    before = _memory()
    table = RevocationTable(rows(kind, entries))
    grown = _memory() - before
    lookup = min(_time(table, [(key, PATH) for key in keys], refused=False) for _ in range(5))
    refused = min(_time(table, revoked, refused=True) for _ in range(5))
    expire = 0.0
    for _ in range(entries // 1_000 + 1):
        started = time.perf_counter()
        table.expire(NOW)
        expire = max(expire, time.perf_counter() - started)
    del table
    return {
        "lookup_us": lookup * 1e6,
        "refused_us": refused * 1e6,
        "bytes_an_entry": grown / entries,
        "start_s": _start(kind, entries),
        "expire_ms": expire * 1e3,
    }


def rows(kind: str, entries: int) -> Iterator[Revocation]:
    """So many revocations of a kind, one of KINDS."""
    named: Kind = "subject" if kind.startswith("one") else msgspec.convert(kind, Kind)
    expires_at = NOW + 86_400 if named == "key" else None
    for number in range(entries):
        before = NOW + number if kind.startswith("one") else None
        yield Revocation(f"{number + 1:011x}", named, KINDS[kind](number), before, expires_at, NOW, "leaked", "ops")


def key_of(identity: bytes, subject: str) -> Grant:
    """A key that may read, as it stands before the table."""
    return Grant(
        scheme="native",
        signing_key="default",
        identity=identity,
        operations=frozenset({"read"}),
        scopes=(),
        not_after=NOW + 60,
        issued_at=NOW - 60,
        subject=subject,
    )


def _time(table: RevocationTable, asked: Sequence[tuple[Grant, str]], *, refused: bool) -> float:
    """Seconds a lookup."""
    count = 0
    check = table.check
    started = time.perf_counter()
    for grant, path in asked:
        try:
            check(grant, path, NOW)
        except Denied:
            count += 1
    took = time.perf_counter() - started
    assert count == (len(asked) if refused else 0)
    return took / len(asked)


def _start(kind: str, entries: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        records = (msgspec.msgpack.encode(["+", row]) for row in rows(kind, entries))
        replace(Path(folder) / FILE, records, NOW)
        started = time.perf_counter()
        store = RevocationStore(Path(folder))
        store.open(True)
        took = time.perf_counter() - started
        assert len(store.table) == entries, store.trouble
    return took


def _memory() -> int:
    """Bytes resident, of this process."""
    found = re.search(r"^VmRSS:\s+([0-9]+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(_child(sys.argv[2], int(sys.argv[3]))))
    else:
        run_alone(run)
