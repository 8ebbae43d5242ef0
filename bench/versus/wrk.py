"""wrk, where it is installed: the load of small downloads, of which it makes more a second than a Python program can.

Rule 1: it is asked for what the project's own generator would be asked for (a Job), and answers alike (an Outcome).
Rule 2: an answer that the job does not expect ends the bench, as there.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from bench.load import Job, LoadFailed, Outcome
from bench.machine import LOAD_CORES

PACKAGE: Final = "Debian's `wrk`"
_GRACE_SECONDS: Final = 30
_SCRIPT: Final = """
-- %(about)s
local requests, count = {}, 0
used = 0 -- global, for `done` to ask the thread for
function setup(thread) running = thread end
function init(args)
  for target in io.lines("%(targets)s") do
    count = count + 1
    requests[count] = wrk.format("GET", target)
  end
end
function request()
  used = used + 1
  return requests[(used - 1) %% count + 1]
end
function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\\n{"microseconds": %%d, "requests": %%d, "status": %%d, "lost": %%d, "used": %%d, ',
    summary.duration, summary.requests, errors.status, lost, running:get("used") or 0))
  io.write(string.format('"p50_us": %%d, "p99_us": %%d}\\n', latency:percentile(50), latency:percentile(99)))
end
"""


class KeysUsedUp(LoadFailed):
    """A round of keys that open once needs more of them; `used` is how many it took."""

    def __init__(self, used: int) -> None:
        super().__init__(f"{used:,} requests were more than there were keys")
        self.used = used


class _Summary(msgspec.Struct, frozen=True):
    microseconds: int
    requests: int
    status: int
    lost: int
    used: int
    p50_us: int
    p99_us: int


def find() -> str | None:
    """The program in PATH."""
    return shutil.which("wrk")


def version(binary: str) -> str:
    """`4.1.0`, as it says itself, with Debian's own part before it."""
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False)
    return said.stdout.removeprefix("wrk ").partition(" ")[0]


class Wrk:
    """Does jobs as `bench.load.Load` does, with one thread for each of `cores`."""

    name = "wrk"

    def __init__(self, binary: str, cores: Collection[int] = LOAD_CORES) -> None:
        self._binary = binary
        self._cores = cores

    def run(self, job: Job) -> Outcome:
        """A job of downloads. `moved` is 0: wrk counts heads in. Raises LoadFailed, KeysUsedUp where it is `once`."""
        with tempfile.TemporaryDirectory(prefix="valetstore-wrk-") as folder:
            targets, script = Path(folder) / "targets", Path(folder) / "script.lua"
            targets.write_text("\n".join(job.targets) + "\n")
            script.write_text(_SCRIPT % {"about": __doc__.splitlines()[0], "targets": targets})
            done = self._run(job, script)
        if done.returncode:
            raise LoadFailed(f"wrk ended with {done.returncode}: {done.stderr[-400:]}")
        return _outcome(job, msgspec.json.decode(done.stdout.splitlines()[-1], type=_Summary))

    def _run(self, job: Job, script: Path) -> subprocess.CompletedProcess[str]:
        # Keys that open once are in one list, which threads do not share.
        threads = 1 if job.once else min(len(self._cores), job.connections)
        seconds = max(1, round(job.seconds))
        command = [self._binary, f"--threads={threads}", f"--connections={job.connections}", f"--duration={seconds}s"]
        return subprocess.run(
            [*command, "--timeout=10s", f"--script={script}", f"http://{job.host}:{job.port}"],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
            timeout=seconds + _GRACE_SECONDS,
        )


def _outcome(job: Job, summary: _Summary) -> Outcome:
    if job.once and summary.used > len(job.targets):
        raise KeysUsedUp(summary.used)
    if summary.status or summary.lost:
        raise LoadFailed(f"wrk: {summary.status:,} answers were refusals, {summary.lost:,} requests were lost")
    if not summary.requests:
        raise LoadFailed("wrk: no request was answered")
    seconds = summary.microseconds / 1e6
    return Outcome(seconds, summary.requests, 0, summary.p50_us / 1e3, summary.p99_us / 1e3)
