"""The load: keep-alive connections that ask again as soon as they are answered, from a process of its own.

`Load` starts that process, on its own core, and hands it jobs one at a time. Each answer's status is
checked and its body counted to the last byte; anything else than what the job expects ends the bench.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Final, Self, cast

import msgspec
import uvloop

from bench.machine import LOAD_CORE, pin

BUFFER_BYTES: Final = 2**20
CHUNK_BYTES: Final = 256 * 1024
CONTENT_TYPE: Final = "application/octet-stream"
GRACE_SECONDS: Final = 300
"""How long the last uploads of a job may still take."""


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


class Client(asyncio.BufferedProtocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._head = b""
        self._missing = 0
        self._to_send = 0
        self._may_write = True
        self._busy = False
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Before the end this is a failure."""
        self._transport = None
        if self._busy:
            self._run.failed(f"a connection was lost: {exc or 'closed by the server'}")

    def cut(self) -> None:
        """The time is up."""
        self._busy = False
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        """The server takes no more for now."""
        self._may_write = False

    def resume_writing(self) -> None:
        """It does again."""
        self._may_write = True
        self._send_body()

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer for all answers: their bytes are counted, not kept."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of an answer."""
        if self._missing:
            self._body(nbytes)
            return
        self._head += self._view[:nbytes]
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            head, body = self._head[:end], len(self._head) - end - 4
            self._head = b""
            self._answered(head, body)

    def _ask(self) -> None:
        head = self._run.next_request()
        self._busy = head is not None
        if head is None or self._transport is None:
            self._run.idle(self)
            return
        self._began = time.perf_counter()
        self._to_send = self._run.job.body_bytes
        first = self._run.chunk[: min(self._to_send, CHUNK_BYTES)]
        self._to_send -= len(first)
        self._transport.write(head + first if len(first) <= 65536 else head)
        if len(first) > 65536:
            self._transport.write(first)
        self._send_body()

    def _send_body(self) -> None:
        while self._to_send and self._may_write and self._transport is not None:
            part = self._run.chunk[: min(self._to_send, CHUNK_BYTES)]
            self._to_send -= len(part)
            self._transport.write(part)

    def _answered(self, head: bytes, body: int) -> None:
        status = int(head[9:12])
        if status not in self._run.job.statuses:
            self._run.failed(f"{self._run.job.method} was answered {head[:400].decode('latin-1')!r}")
            return
        self._missing = _content_length(head)
        self._body(body)

    def _body(self, count: int) -> None:
        self._missing -= count
        self._run.moved += count
        if self._missing < 0:
            self._run.failed("an answer is longer than its Content-Length")
        elif not self._missing:
            self._run.done(time.perf_counter() - self._began)
            self._ask()


class Run:
    """One job being done."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.chunk = os.urandom(CHUNK_BYTES)
        self.moved = 0
        self._heads = self._requests()
        self._latencies: list[float] = []
        self._started = time.perf_counter()
        self._last = self._started
        self._idle = 0
        self._error = ""
        self._is_over = asyncio.Event()

    async def run(self) -> Outcome:
        """Do it."""
        loop = asyncio.get_running_loop()
        clients: list[Client] = []
        for _ in range(self.job.connections):
            _, client = await loop.create_connection(lambda: Client(self), self.job.host, self.job.port)
            clients.append(client)
        left = self._started + self.job.seconds - time.perf_counter()
        try:
            async with asyncio.timeout(GRACE_SECONDS if self.job.whole else left):
                await self._is_over.wait()
        except TimeoutError:
            if self.job.whole:
                self.failed(f"the last requests did not end within {GRACE_SECONDS} s")
        end = self._last if self.job.whole else time.perf_counter()
        for client in clients:
            client.cut()
        return self._outcome(end - self._started)

    def next_request(self) -> bytes | None:
        """The next head to send; None when it is time to end."""
        time_is_up = time.perf_counter() - self._started >= self.job.seconds
        if self._error or (time_is_up and len(self._latencies) >= self.job.requests):
            return None
        return next(self._heads, None)

    def done(self, seconds: float) -> None:
        """One request is answered whole."""
        self._latencies.append(seconds)
        self._last = time.perf_counter()

    def idle(self, _client: Client) -> None:
        """A connection has nothing left to do."""
        self._idle += 1
        if self._idle == self.job.connections:
            self._is_over.set()

    def failed(self, why: str) -> None:
        """The job has failed."""
        self._error = self._error or why
        self._is_over.set()

    def _requests(self) -> Iterator[bytes]:
        job = self.job
        lines = [f"Host: {job.host}:{job.port}"]
        if job.method == "PUT":
            lines += [f"Content-Length: {job.body_bytes}", f"Content-Type: {CONTENT_TYPE}"]
        rest = "\r\n".join(lines)
        heads = [f"{job.method} {target} HTTP/1.1\r\n{rest}\r\n\r\n".encode() for target in job.targets]
        return iter(heads) if job.once else cycle(heads)

    def _outcome(self, seconds: float) -> Outcome:
        spans = sorted(self._latencies) or [0.0]
        p50, p99 = (spans[int(len(spans) * share)] * 1000 for share in (0.5, 0.99))
        moved = self.moved if not self.job.body_bytes else self.job.body_bytes * len(self._latencies)
        return Outcome(seconds, len(self._latencies), moved, p50, p99, self._error)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class Load:
    """The process that makes the load. Use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: pin(LOAD_CORE),
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


def main() -> None:
    """Jobs in, one a line; outcomes out."""
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        outcome = uvloop.run(Run(job).run())
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
