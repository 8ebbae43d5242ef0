"""Faults of the system under a running gateway: system calls that fail, or take very long, by strace."""

import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.edge.wire import wait_until
from tests.gate import Gate


@contextlib.contextmanager
def faults(gate: Gate, inject: str, processes: Sequence[int] | None = None, path: Path | None = None) -> Iterator[None]:
    """While inside, strace's `inject` expression holds in the gateway: `inject=fsync:error=EIO`.

    In all its processes or in these, for all files or for this one.
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
        yield
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(10)


def _attached(log: Path) -> int:
    """To how many processes; each has said so once, however many threads it has."""
    return len(re.findall(r"strace: Process \d+ attached", log.read_text("utf-8", "replace")))


_BLOCKER: Final = """
import ctypes, os, sys
pid, ptrace = int(sys.argv[1]), ctypes.CDLL(None).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if ptrace(0x4206, pid, None, None) or ptrace(0x4207, pid, None, None):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    sys.exit("not allowed")
status = os.waitpid(pid, 0x40000000)[1]  # __WALL
print("held", flush=True)
while os.WIFSTOPPED(status):  # until it is dead: its parent hears of that only then
    status = os.waitpid(pid, 0x40000000)[1]
"""


@contextlib.contextmanager
def blocked(processes: Sequence[int]) -> Iterator[None]:
    """While inside, the first thread of each comes to nothing: a blocked loop. Its other threads run, it can be killed.

    SIGSTOP stops all threads; strace would not let go of what was killed.
    """
    with contextlib.ExitStack() as stack:
        for process in processes:
            command = [sys.executable, "-c", _BLOCKER, str(process)]
            holder = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
            stack.callback(holder.kill)
            assert holder.stdout
            if holder.stdout.readline() != b"held\n":
                pytest.skip("needs a system that allows ptrace")
        yield


def is_held(process: int) -> bool:
    """Whether a thread of it is stopped at a call that strace delays, and not just in passing."""
    before = _stopped(process)
    time.sleep(0.1)
    return bool(before & _stopped(process))


def _stopped(process: int) -> set[str]:
    found = set()
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (thread / "stat").read_text().rpartition(")")[2].split()[0] == "t":
                found.add(thread.name)
    return found
