"""What one exchange leaves in the figures: when its first byte went out, and whether it came to something."""

import asyncio
import time
import urllib.request
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from tests.edge.doors import mint, target
from tests.edge.wire import Wire, head, wait_until
from tests.gate import Gate, free_port
from valetstore.config import Limits
from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.edge.receive import BodySource, receive
from valetstore.edge.replies import Reply
from valetstore.edge.stream import COPY_BYTES, ObjectBody
from valetstore.storage.promise import OpenObject

SLOW_SECONDS = 0.1


class SlowDisk:
    """An object whose every read takes a while."""

    def __init__(self, seconds: float = SLOW_SECONDS) -> None:
        self._seconds = seconds

    async def read(self, start: int, count: int) -> bytes:
        """As many zeros."""
        await asyncio.sleep(self._seconds)
        return bytes(count)

    def fileno(self) -> int | None:
        """It has none: it is copied."""

    def close(self) -> None:
        """Nothing to let go of."""


class Peer:
    """A connection that takes everything: the transport, the protocol and the message of an exchange."""

    method = "GET"
    version = (1, 1)
    should_close = upgrade = is_closing = is_over = False
    ssl_context = address = None
    total_bytes = 1

    def __init__(self) -> None:
        self.transport = self
        self.headers: dict[str, str] = {}
        self.written: list[bytes] = []
        self.pieces: list[bytes] = []

    def is_eof(self) -> bool:
        """Whether everything has arrived."""
        return not self.pieces

    def begin(self, _exchange: Exchange) -> None:
        """A request is taken up."""

    def write(self, data: bytes, more: bytes = b"") -> None:
        """Take it."""
        self.written.append(data + more)

    async def drained(self, *_: float) -> None:
        """Always."""

    async def readany(self) -> bytes:
        """The next piece of the body, after a moment."""
        await asyncio.sleep(0.01)
        return self.pieces.pop() if self.pieces else b""


def exchange_of(peer: Any) -> Exchange:
    """An exchange with nothing but this at its other end."""
    peer.is_closing = Closing()
    peer.is_over = False
    return Exchange(peer, peer, peer)


class Closing:
    """`is_closing` of a transport (called) and of a protocol (read): never."""

    def __bool__(self) -> bool:
        return False

    def __call__(self) -> bool:
        """Not."""
        return False


@pytest.mark.parametrize("size", [1, COPY_BYTES + 1])
def test_the_first_byte_has_not_gone_out_before_the_disk_was_read(size: int) -> None:
    """A slow disk must show in the time to first byte."""

    async def send() -> Exchange:
        exchange = exchange_of(Peer())
        body = ObjectBody(cast(OpenObject, SlowDisk()), 0, size, Pace(1, 60, time.monotonic()))
        await Reply(200, [], body).send(exchange, [])
        return exchange

    exchange = asyncio.run(send())
    assert exchange.head_sent_at is not None
    assert exchange.head_sent_at - exchange.started >= SLOW_SECONDS * 0.9
    assert exchange.bytes_out == size
    written = b"".join(cast(Peer, exchange.protocol).written)
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\n" + bytes(size))


def test_a_slow_disk_makes_no_slow_client() -> None:
    """Its reads take longer than the client's grace; the client takes what it gets at once."""

    async def send() -> Exchange:
        exchange = exchange_of(Peer())
        pace = Pace(5 * COPY_BYTES, 1, time.monotonic())
        await ObjectBody(cast(OpenObject, SlowDisk(0.6)), 0, COPY_BYTES * 2, pace).send(exchange, b"head")
        return exchange

    assert asyncio.run(send()).bytes_out == COPY_BYTES * 2


def test_a_described_body_is_not_sent() -> None:
    """The answer to a HEAD."""

    async def send() -> Peer:
        peer = Peer()
        peer.method = "HEAD"
        await Reply(200, [], described_bytes=10**12).send(exchange_of(peer), [])
        return peer

    (written,) = asyncio.run(send()).written
    assert b"Content-Length: 1000000000000\r\n" in written
    assert written.endswith(b"\r\n\r\n")


def test_a_slow_store_makes_no_slow_client() -> None:
    """Each piece takes the store longer than the grace; the client sends them as fast as they are taken."""

    class Anything:
        """The admission, the rules, the upload and the lease of a body that is welcome."""

        intent = length = None
        announced = False

        def __init__(self) -> None:
            self.intent = self
            self.inbound = self

        def header(self, _name: str) -> None:
            """None are sent."""

        async def during(self, work: Coroutine[Any, Any, None]) -> None:
            """Nothing is leased."""
            await work

        def check_so_far(self, _count: int) -> None:
            """It may."""

        async def write(self, _data: bytes) -> None:
            """Slowly."""
            await asyncio.sleep(1.1)

        async def keep(self) -> None:
            """At once."""

    async def run() -> Exchange:
        peer, anything = Peer(), cast(Any, Anything())
        peer.pieces = [b"x" * 1000] * 2
        exchange = exchange_of(peer)
        limits = Limits(upload_bytes_per_second_min=5000, rate_grace_seconds=1)
        await receive(exchange, BodySource(exchange, None), anything, anything, anything, limits)
        return exchange

    assert asyncio.run(run()).bytes_in == 2000


def test_an_upload_that_was_admitted_and_failed_is_counted(tmp_path: Path) -> None:
    """Beside its decision, which was ok: one that is not what it says, and one whose client goes away."""
    port = free_port()
    with Gate(tmp_path, args=("--metrics", f"127.0.0.1:{port}")) as gate:
        url = target("/t/x", mint(gate, ops=["write"], path="/t/x"))
        assert gate.ask("PUT", url, b"x", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}).code == "digest_mismatch"
        gate.raw(head("PUT", url, "Content-Length: 10") + b"12", seconds=0.3)

        def figures() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                page: bytes = answer.read()
            return page

        for code in ("digest_mismatch", "connection_lost"):
            row = f'valetstore_failures_total{{code="{code}",dialect="native",operation="write"}} 1.0'
            wait_until(lambda row=row: row.encode() in figures())
        assert b'valetstore_decisions_total{code="ok",dialect="native",operation="write"} 2.0' in figures()


@pytest.mark.parametrize("operation", ["write", "read"])
def test_a_transfer_that_the_end_of_the_gateway_cuts_is_told_as_lost(tmp_path: Path, operation: str) -> None:
    """Its line must not look like one that went well."""
    with Gate(tmp_path, "[listen]\ndrain-seconds = 1\n") as gate:
        assert gate.ask("PUT", gate.sign("PUT", "/t/x"), bytes(20_000_000)).status == 201
        url = target("/t/x", mint(gate, ops=[operation], path="/t/x"))
        with Wire(gate.address, receive_bytes=10_000) as wire:
            wire.send(head("GET", url) if operation == "read" else head("PUT", url, "Content-Length: 10") + b"1")
            wait_until(lambda: len(gate.audit()) == 3)
            assert gate.stop() == 0
        assert [line.get("code", "") for line in gate.audit() if line["event"] == "transfer"] == ["", "connection_lost"]


@pytest.mark.parametrize("seconds", [0, 5])
def test_no_seconds_of_hsts_are_no_header(tmp_path: Path, seconds: int) -> None:
    """`max-age=0` would make browsers forget what another server of the host has told them."""
    config = f"[listen]\nhsts-seconds = {seconds}\ntrusted-proxies = ['127.0.0.1']\n"
    with Gate(tmp_path, config) as gate:
        answer = gate.ask("GET", "/_valet/live", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"})
        assert answer.headers.get("strict-transport-security") == (f"max-age={seconds}" if seconds else None)
