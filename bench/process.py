"""Process: a server under test, started on its own core, watched through /proc, and ended."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from bench.machine import SERVER_CORE, pin

START_SECONDS: Final = 20
STOP_SECONDS: Final = 30
SAMPLE_SECONDS: Final = 0.01
READY: Final = re.compile(r"ready on (http://([0-9.]+):([0-9]+))")


class Daemon:
    """`command` run in `folder`, its output in a log there; a subclass says how it is seen that it accepts."""

    def __init__(self, name: str, folder: Path, command: list[str]) -> None:
        self.name = name
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.base = ""
        self.host = ""
        self.port = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything it printed."""
        return (self.folder / f"{self.name}.log").read_text("utf-8", "replace")

    def reasons(self) -> str:
        """Why it refused what it refused, where it tells."""
        return ""

    def accepts(self) -> bool:
        """Whether it takes requests by now; sets `base`, `host` and `port` where they are not known before."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        with open(self.folder / f"{self.name}.log", "wb") as out:
            self._process = subprocess.Popen(
                self._command,
                stdout=out,
                stderr=out,
                preexec_fn=lambda: pin(SERVER_CORE),
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
                cwd=self.folder,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if self.accepts():
                return self
            time.sleep(0.02)
        self.__exit__()
        raise RuntimeError(f"{self.name} did not start: {self.log[-2000:]}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def cpu_seconds(self) -> float:
        """Processor time it has taken so far, of all its threads, user and system."""
        return cpu_seconds(self.pid)

    def memory(self, what: str = "VmRSS") -> int:
        """Resident memory in bytes: now (VmRSS), or at its highest so far (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{what}:\s+([0-9]+) kB", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    @contextmanager
    def memory_watched(self) -> Iterator["Watch"]:
        """While it is watched: how high its memory goes."""
        # "5" sets the kernel's own high-water mark back, so that it is of this stretch alone (proc(5)).
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        watch = Watch(self)
        watch.start()
        try:
            yield watch
        finally:
            watch.end()


class Process(Daemon):
    """`python -m MODULE ARGUMENTS`; it says `ready on http://HOST:PORT` once it accepts."""

    def __init__(self, name: str, folder: Path, *command: str) -> None:
        super().__init__(name, folder, [sys.executable, "-m", *command])

    def accepts(self) -> bool:
        """It has said where."""
        found = READY.search(self.log)
        if found:
            self.base, self.host, self.port = found[1], found[2], int(found[3])
        return found is not None


def cpu_seconds(pid: int) -> float:
    """Processor time a process has taken so far, of all its threads, user and system, in nanoseconds' steps.

    /proc/PID/stat has it in hundredths of a second. The clock's number is that of clock_getcpuclockid(3), which Python
    has for threads only. Raises OSError where there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


class Watch(threading.Thread):
    """Samples a process's resident memory; `peak` is the higher of samples and the kernel's own mark."""

    def __init__(self, process: Daemon) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._over = threading.Event()
        self.before = process.memory()
        self.peak = self.before
        self.after = self.before

    def run(self) -> None:
        """Until `end`."""
        while not self._over.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self._process.memory())

    def end(self) -> None:
        """Stop sampling; read the kernel's mark."""
        self._over.set()
        self.join()
        self.after = self._process.memory()
        self.peak = max(self.peak, self._process.memory("VmHWM"))

    @property
    def growth(self) -> int:
        """Bytes between the start and the peak."""
        return self.peak - self.before
