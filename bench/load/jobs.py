"""Jobs: the load of the benches, from a process of its own on its own core.

`Load` starts that process and hands it jobs one at a time. Each answer's status is checked and its body counted to the
last byte; anything else than what the job expects ends the bench.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator
from itertools import cycle
from typing import Final, Self

import msgspec

from bench.load.engine import GRACE_SECONDS, LoadEngine
from bench.load.plan import BLOCK_BYTES, Body, Origin, Plan, Source
from bench.machine import LOAD_CORES

CONTENT_TYPE: Final = "application/octet-stream"


class Job(msgspec.Struct, frozen=True):
    """What to ask for: each of `targets` in turn, over and over unless `once`, on so many connections.

    For `seconds`, and for at least `requests` requests. What still runs at the end is cut, and the bytes
    that have arrived count; or, where it must be `whole`, it is finished, and the time that takes counts.
    """

    host: str
    port: int
    method: str
    targets: list[str]
    statuses: list[int]
    seconds: float
    connections: int = 1
    body_bytes: int = 0
    requests: int = 0
    once: bool = False
    whole: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What came of it. `seconds` is the time that `requests` and `moved` bytes (of bodies) took."""

    seconds: float
    requests: int
    moved: int
    p50_ms: float
    p99_ms: float
    error: str = ""


class LoadFailed(Exception):  # noqa: N818 - reads as what happened
    """An answer was not what the job expects: figures about it would mean nothing."""


class Load:
    """The process that makes the load, on `cores`. Use it as a context manager."""

    name = "bench.load"

    def __init__(self, cores: Collection[int] = LOAD_CORES) -> None:
        self._cores = cores

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def run(self, job: Job) -> Outcome:
        """Do a job, wait for its end. Raises LoadFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.flush()
        outcome = msgspec.json.decode(self._process.stdout.readline(), type=Outcome)
        if outcome.error:
            raise LoadFailed(outcome.error)
        return outcome


def do(job: Job) -> Outcome:
    """One job, in this process."""
    body = Body(memoryview(os.urandom(min(job.body_bytes, BLOCK_BYTES))), job.body_bytes) if job.body_bytes else None
    source = Source(Origin(socket.AF_INET, (job.host, job.port), None, job.host), _heads(job))
    plan = Plan(
        job.method,
        [source],
        job.connections,
        job.seconds,
        body,
        hoped=frozenset(job.statuses).__contains__,
        at_least=job.requests,
        whole=job.whole,
        strict=True,
        timeout_seconds=GRACE_SECONDS,
    )
    engine = LoadEngine(plan)
    engine.run()
    tally, times = engine.tally, engine.tally.latencies
    error = f"{job.method} was answered {tally.first_refusal!r}" if tally.first_refusal else engine.error
    p50, p99 = times.percentile_ms(50), times.percentile_ms(99)
    moved = tally.sent if job.body_bytes else tally.moved
    return Outcome(engine.seconds, tally.answered, moved, p50, p99, error)


def _heads(job: Job) -> Iterator[bytes]:
    lines = [f"Host: {job.host}:{job.port}"]
    if job.method == "PUT":
        lines += [f"Content-Length: {job.body_bytes}", f"Content-Type: {CONTENT_TYPE}"]
    rest = "\r\n".join(lines)
    heads = [f"{job.method} {target} HTTP/1.1\r\n{rest}\r\n\r\n".encode() for target in job.targets]
    return iter(heads) if job.once else cycle(heads)
