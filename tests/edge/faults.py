"""Faults of the system under a running gateway: system calls that fail, by strace."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator

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
    log = gate.folder / "strace.log"
    with open(log, "wb") as out:
        tracer = subprocess.Popen(
            ["strace", "-f", "-p", str(gate.process.pid), "-e", f"trace={calls}", "-e", inject], stdout=out, stderr=out
        )
    try:
        wait_until(lambda: "attached" in log.read_text("utf-8", "replace") or tracer.poll() is not None)
        if tracer.poll() is not None:
            pytest.skip(f"needs a system that allows ptrace: {log.read_text()}")
        yield
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(10)
