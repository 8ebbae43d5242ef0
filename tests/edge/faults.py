"""Faults of the system under a running gateway: system calls that fail, by strace."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.wire import wait_until
from tests.gate import Gate


@contextlib.contextmanager
def faults(gate: Gate, inject: str) -> Iterator[None]:
    """While inside, strace's `inject` expression holds in the gateway: `inject=fsync:error=EIO`."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace (Debian package strace)")
    assert gate.process
    calls = inject.removeprefix("inject=").partition(":")[0]
    processes = [part for pid in (gate.process.pid, *gate.workers()) for part in ("-p", str(pid))]
    log = gate.folder / "strace.log"
    with open(log, "wb") as out:
        tracer = subprocess.Popen(
            ["strace", "-f", *processes, "-e", f"trace={calls}", "-e", inject], stdout=out, stderr=out
        )
    try:
        wait_until(lambda: _attached(log) >= len(processes) // 2 or tracer.poll() is not None)
        if tracer.poll() is not None:
            pytest.skip(f"needs a system that allows ptrace: {log.read_text()}")
        yield
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(10)


def _attached(log: Path) -> int:
    """To how many processes; each has said so once, however many threads it has."""
    return len(re.findall(r"strace: Process \d+ attached", log.read_text("utf-8", "replace")))
