"""A body on its way in: from the connection to an upload, counted, bounded and paced.

Rule 1: what a dialect wraps a body in (`BodyProof`) is taken off here; `finish` has been called before the upload is
asked to keep anything.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Protocol

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from valetstore.config import Limits
from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.edge.replies import CONTINUE
from valetstore.edge.straight import Pulling, Straight, straight_way
from valetstore.errors import Denied
from valetstore.grants.grant import BodyProof
from valetstore.inbound import Inbound
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease


class Source(Protocol):
    """The bytes of an object as they arrive, whatever they are wrapped in.

    `length` is how many were announced, None where they were not; `trailers` are known at the end.
    """

    length: int | None
    trailers: Mapping[str, str]

    async def read(self) -> list[bytes] | None:
        """The next pieces, which may be none; None at the end. Raises as the wrapping does (`BodyProof`)."""


class Sink(Protocol):
    """Where the bytes go: an upload, or memory where they are few."""

    async def write(self, data: bytes) -> None:
        """Take the next bytes; returns when there is room for more."""


class BodySource:
    """A request's body, or what its framing holds."""

    def __init__(self, exchange: Exchange, length: int | None, proof: BodyProof | None = None) -> None:
        self._exchange = exchange
        self._proof = proof
        self.length = length
        self.trailers: Mapping[str, str] = {}

    @property
    def is_plain(self) -> bool:
        """Whether the body is the object's bytes and nothing else."""
        return self._proof is None

    async def read(self) -> list[bytes] | None:
        """See `Source`."""
        return self._taken_off(await self._exchange.body.readany())

    def read_at_once(self) -> list[bytes] | None:
        """The same of a body that is here already: all of it, and then None."""
        return self._taken_off(self._exchange.body.read_nowait())

    def _taken_off(self, data: bytes) -> list[bytes] | None:
        if not data:
            if self._proof is not None:
                self.trailers = self._proof.finish()
            return None
        return [data] if self._proof is None else self._proof.feed(data)


async def receive(
    exchange: Exchange, source: Source, rules: BodyRules, sink: Sink, lease: Lease, limits: Limits
) -> int:
    """Read all of `source` into `sink`, and say how many bytes that were; `exchange.bytes_in` grows by them.

    Raises `too_large` at the first byte beyond the maximum, `body_incomplete`, `request_timeout`,
    `request_malformed`, and ConnectionError where the client went away.
    """
    receiving = _Receiving(exchange, source, rules, sink, lease)
    with reading(exchange):
        if exchange.body_is_whole:
            await receiving.what_has_arrived()
        else:
            await receiving.paced(Pace(limits.upload_bytes_per_second_min, limits.rate_grace_seconds, time.monotonic()))
    if source.length is not None and receiving.received != source.length:
        raise Denied("body_incomplete")
    return receiving.received


class _Receiving:
    """One body on its way. `received` counts its bytes."""

    def __init__(self, exchange: Exchange, source: Source, rules: BodyRules, sink: Sink, lease: Lease) -> None:
        self.received = 0
        self._exchange = exchange
        self._source = source
        self._rules = rules
        self._sink = sink
        self._lease = lease

    async def what_has_arrived(self) -> None:
        """All of a body that is here already: no client is waited for, so no clock is asked."""
        source = self._source
        at_once = source.read_at_once if isinstance(source, BodySource) else None
        while (pieces := at_once() if at_once else await source.read()) is not None:
            self._count(sum(map(len, pieces)))
            await self._write(pieces)

    async def paced(self, pace: Pace) -> None:
        """A body that a client is still sending, at least at this pace."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(pace.grace_seconds) as deadline:
            while (pieces := await self._source.read()) is not None:
                deadline.reschedule(None)  # from here the store works, not the client
                arrived = time.monotonic()
                count = sum(map(len, pieces))
                self._count(count)
                straight = self._straight()
                with straight or contextlib.nullcontext():
                    await self._write(pieces)
                    _keep_pace(pace, arrived, count)
                    if straight is not None:
                        await self._pull(straight, pace, deadline)
                deadline.reschedule(loop.time() + pace.grace_seconds)

    async def _pull(self, straight: Straight, pace: Pace, deadline: asyncio.Timeout) -> None:
        loop, sink = asyncio.get_running_loop(), self._sink
        assert isinstance(sink, Pulling)
        while straight.left:
            deadline.reschedule(loop.time() + pace.grace_seconds)
            await straight.arrived()
            deadline.reschedule(None)
            arrived = time.monotonic()
            count = await self._lease.during(straight.pull(sink))
            self._count(count)
            await self._lease.keep()
            _keep_pace(pace, arrived, count)

    def _straight(self) -> Straight | None:
        """The shorter way for the rest of the body, where there is one."""
        source = self._source
        if not (isinstance(source, BodySource) and source.is_plain and isinstance(self._sink, Pulling)):
            return None
        return straight_way(self._exchange, source.length, self.received)

    def _count(self, count: int) -> None:
        self._exchange.bytes_in += count
        self.received += count
        self._rules.check_so_far(self.received)

    async def _write(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            await self._lease.during(self._sink.write(piece))
        await self._lease.keep()


def _keep_pace(pace: Pace, arrived: float, count: int) -> None:
    """These bytes came at that time, and until now the store has worked."""
    now = time.monotonic()
    pace.paused(now - arrived)
    pace.moved(count, now)


class reading:  # noqa: N801 - reads as the function it could be
    """While a body is read: what may go wrong, in our words; see `receive`."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TimeoutError):
            raise Denied("request_timeout", "The body stopped arriving.") from None
        if isinstance(error, RuntimeError) and self._exchange.protocol.transport is None:
            raise ConnectionResetError(str(error)) from None  # aiohttp's word for a connection that was lost before
        if isinstance(error, RequestPayloadError | HttpProcessingError):
            raise Denied("request_malformed", "Its body is not well-formed.", reason=type(error).__name__) from None


def is_continue(expected: str) -> bool:
    """Whether this value of Expect is the one expectation that HTTP defines."""
    return expected.strip().lower() == "100-continue"


def ask_for_body(exchange: Exchange, inbound: Inbound) -> None:
    """Answer `Expect: 100-continue`, only now: a refusal has come before (RFC 9110 section 10.1.1)."""
    expected = inbound.header("expect")
    if expected is None or exchange.message.version == (1, 0):
        return
    if not is_continue(expected):
        raise Denied("parameter_invalid", "Expect may only be 100-continue.")
    if not exchange.body.total_bytes and not exchange.body_is_whole:
        exchange.transport.write(CONTINUE)
