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
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Process:
    """`python -m MODULE ARGUMENTS` in `folder`; it says `ready on http://HOST:PORT` once it accepts."""

    def __init__(self, name: str, folder: Path, *command: str) -> None:
        self.name = name
        self.folder = folder
        self._command = [sys.executable, "-m", *command]
        self._process: subprocess.Popen[bytes] | None = None
        self.base = ""
        self.host = ""
        self.port = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        log = self.folder / f"{self.name}.log"
        with open(log, "wb") as out:
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
            if found := READY.search(log.read_text("utf-8", "replace")):
                self.base, self.host, self.port = found[1], found[2], int(found[3])
                return self
            time.sleep(0.02)
        self.__exit__()
        raise RuntimeError(f"{self.name} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")

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
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

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


class Watch(threading.Thread):
    """Samples a process's resident memory; `peak` is the higher of samples and the kernel's own mark."""

    def __init__(self, process: Process) -> None:
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
