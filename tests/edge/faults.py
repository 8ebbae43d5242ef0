"""Faults of the system under a running gateway: system calls that fail, or take very long, by strace."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.edge.wire import wait_until
from tests.gate import Gate


@contextlib.contextmanager
def faults(gate: Gate, inject: str, processes: Sequence[int] | None = None, path: Path | None = None) -> Iterator[Path]:
    """While inside, strace's `inject` expression holds in the gateway: `inject=fsync:error=EIO`.

    In all its processes or in these, for all files or for this one. What is given is strace's log: it notes the calls.
    """
    if shutil.which("strace") is None:
        pytest.skip("needs strace (Debian package strace)")
    assert gate.process
    calls = inject.removeprefix("inject=").partition(":")[0]
    pids = [gate.process.pid, *gate.workers()] if processes is None else processes
    which = [*(f"--attach={pid}" for pid in pids), *([] if path is None else [f"--trace-path={path}"])]
    log = gate.folder / "strace.log"
    with open(log, "wb") as out:
        tracer = subprocess.Popen(
            ["strace", "-f", *which, "-e", f"trace={calls}", "-e", inject], stdout=out, stderr=out
        )
    try:
        wait_until(lambda: _attached(log) >= len(pids) or tracer.poll() is not None)
        if tracer.poll() is not None:
            pytest.skip(f"needs a system that allows ptrace: {log.read_text()}")
        yield log
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(10)


def _attached(log: Path) -> int:
    """To how many processes; each has said so once, however many threads it has."""
    return len(re.findall(r"strace: Process \d+ attached", log.read_text("utf-8", "replace")))
