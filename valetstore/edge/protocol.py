"""The connection: aiohttp's own protocol, with the limits and deadlines it lacks.

What is aiohttp's: parsing, keep-alive, chunked bodies, pipelining. What is added here: a deadline for a
request's head and a bound on its size, a bound on the framing around a chunked body, limits on connections,
half-close, an end that lets running transfers finish, and errors that are one bounded line in the log and
problem+json to the client.

Rule 1: a connection ends in one of three ways: `leave` (the client has a moment to read the last answer),
`drain` (the gateway stops: after the next answer), `cut` (at once, so that a part is not taken for the
whole).
Rule 2: after the first malformed byte nothing on the connection is read any more, only dropped.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from typing import Any, Final, Protocol

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from valetstore.edge.exchange import Exchange
from valetstore.edge.framing import PIECE_BYTES, Framing
from valetstore.edge.last_words import last_words
from valetstore.edge.parsing import new_parser
from valetstore.edge.seam import Seam
from valetstore.edge.tail import Tail
from valetstore.edge.wire import Wire
from valetstore.errors import Denied
from valetstore.grants.networks import plain_address
from valetstore.inbound import Address

log = logging.getLogger(__name__)

HEAD_BYTES_MAX: Final = 64 * 1024
"""A request line and all its headers. The parser bounds each line, not their sum."""

LINGER_SECONDS: Final = 2.0
"""How long a client that still sends gets to read the last answer. Closing at once would reset the connection
under it, and the answer would be lost (RFC 9112 section 9.6)."""

_NO_TIME: Final = -1.0


class Book(Protocol):
    """Who keeps count of the connections of a process."""

    def enter(self, connection: "GatewayProtocol") -> Denied | None:
        """Write a connection in; what it is to be refused with, None where it may stay."""

    def may_linger(self, connection: "GatewayProtocol") -> bool:
        """Whether a connection that was not let in may stay for a moment."""

    def leave(self, connection: "GatewayProtocol") -> None:
        """Strike a connection out; harmless for one that was never in."""

    def refused(self, denied: Denied, request_id: str, address: Address | None) -> None:
        """A refusal of what never became a request."""


class Lane(Protocol):
    """A shorter way for requests that are simple enough (`fastlane.FastLane` is one)."""

    def take(self, connection: "GatewayProtocol", data: bytes) -> bool:
        """Answer `data` if it is one whole request of a kind that is known; else False, and nothing was done."""

    def learn(self, data: bytes, exchange: Exchange) -> None:
        """A request that came whole in `data` was answered in the general way, or in this one."""


class Desk(Protocol):
    """Where connections find the present lane: a reload brings another."""

    @property
    def lane(self) -> Lane | None:
        """None where all requests go the general way."""


class GatewayProtocol(Wire):
    """One connection of the gateway."""

    __slots__ = (
        "_address",
        "_answering",
        "_book",
        "_bytes_before",
        "_bytes_in",
        "_desk",
        "_framing",
        "_gone",
        "_has_ended",
        "_head",
        "_held",
        "_is_deaf",
        "_is_draining",
        "_may_ask",
        "_seam",
        "_tail",
        "_turned_away",
        "connected_from",
        "head_since",
        "is_belated",
        "origin",
    )

    def __init__(self, manager: Any, book: Book, desk: Desk, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._book = book
        self._desk = desk
        self._address: Address | None = None
        self.origin = ("", False)
        self._seam = Seam()
        self._may_ask = True  # unless the last answer was said to be the last
        self._head = b""  # the request that is being answered, where it came in one piece
        self._held: list[bytes] | None = None  # what came while the lane has not finished
        self._bytes_in = 0
        self._bytes_before = 0
        self._answering: Exchange | None = None
        self._framing = Framing()
        self._tail = Tail()
        self._has_ended = False  # the client will send nothing more
        self._is_deaf = False  # what it sends is dropped
        self._is_draining = False
        self.is_belated = False  # what it is told now had come before the loop's present turn
        self._gone: asyncio.Future[None] | None = None
        self._turned_away: Denied | None = None
        self.head_since = _NO_TIME
        self.connected_from = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection; one too many is told so and closed."""
        super().connection_made(transport)
        # A Unix socket's peer is "", a path, or the bytes of an abstract name.
        name = self.peername
        self._address = plain_address(name[0]) if isinstance(name, tuple) else None
        self.origin = (str(self._address or ""), self.ssl_context is not None)
        self.head_since = self._loop.time()
        refusal = self._book.enter(self)
        if refusal is not None:
            self.head_since = _NO_TIME
            self._is_deaf = True
            self._turned_away = refusal
            if self._book.may_linger(self):
                self._loop.call_later(LINGER_SECONDS, self._turn_away)
            else:
                self._turn_away(0)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._book.leave(self)
        self._nobody_is_left()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's closes in any case, and so returns nothing
        """The client has said all it wanted; what it asked for is still answered."""
        self._has_ended = True
        self._nobody_is_left()
        self._fail_body(ConnectionResetError("the client ended its body early"))
        # TLS has no half-close here: its transport closes whatever is returned.
        return self.ssl_context is None and not self._is_deaf and not self._is_idle

    def _turn_away(self, linger_seconds: float = LINGER_SECONDS) -> None:
        """Say why this connection may not stay, once. To answer before anything is asked would be taken for a fault."""
        refusal, self._turned_away = self._turned_away, None
        if refusal is not None:
            self._say_and_leave(refusal, linger_seconds)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and keep the books that it does not; what the lane takes goes by both."""
        if self._held is not None:
            self._held.append(data)
            self._pause_transport_reading()
            return
        lane = self._desk.lane
        if lane is not None and self._is_at_rest and lane.take(self, data):
            return
        self._turn_away()
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        # A body that is framed by its length needs no look at each piece.
        if len(data) <= PIECE_BYTES or (self._answering is not None and not self._framing.is_counted):
            self._receive(data)
            return
        for start in range(0, len(data), PIECE_BYTES):
            self._receive(data[start : start + PIECE_BYTES])

    def _receive(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if data and self.head_since == _NO_TIME and self._answering is None:
            self.head_since = self._loop.time()
            self._bytes_before = self._bytes_in
        self._bytes_in += len(data)
        queued = len(self._messages)
        super().data_received(data)
        newest = self._messages[-1] if len(self._messages) > queued else None
        count = len(self._messages) - queued
        self._seam.fed(data, count, newest and newest[0])
        if count == 1 and self._seam.is_between and not queued and self._answering is None:
            self._head = data
        self._tail.fed(data, newest, parser_is_behind=self._reading_paused or self._buffer_paused)
        self._bound_framing(len(data), newest is not None)
        if self._messages:
            self.head_since = _NO_TIME
            if isinstance(self._messages[-1][0], _ErrInfo):
                self._is_deaf = True
                # aiohttp queues the error behind the request it broke, whose body would be waited for.
                self._fail_body(RequestPayloadError("not well-formed"))
        elif self.head_since != _NO_TIME and self._bytes_in - self._bytes_before > HEAD_BYTES_MAX:
            self._refuse_head(Denied("headers_too_large"))

    def resume_reading(self, resume_parser: bool = True) -> None:
        """A body was read, and there is room for more of it. The parser is asked for what it kept where it was paused:
        aiohttp asks it each time, and a small body takes the whole way of new bytes for none.
        """
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def take_over(self) -> socket.socket | None:
        """A second descriptor, to read the rest of the present body from; `hand_back` must follow.

        None where a byte of it may be elsewhere: over TLS, with a parser that is behind, at the client's end.
        """
        is_behind = self._reading_paused or self._buffer_paused or self._upgraded
        if self._socket < 0 or is_behind or self._has_ended or self.transport is None:
            return None
        try:
            sock = socket.socket(fileno=os.dup(self._socket))
        except OSError:  # no descriptors are left
            return None
        self._pause_reading_for_buffer()
        return sock

    def hand_back(self, count: int) -> None:
        """Go on behind the last `count` bytes of the body, which came by that descriptor; 0 where it broke off.

        Where it broke off, the connection ends with the answer.
        """
        if self.transport is None or self._answering is None:
            return
        if count:
            # The parser still counts the body; a new one begins where it ends.
            self._parser = new_parser(self, self._loop)
            self._bytes_in += count
            self._answering.body.feed_eof()
            self._seam.passed(count)
            self._tail.fed(b"", None, parser_is_behind=False)
        self._resume_reading_for_buffer()

    def begin(self, exchange: Exchange) -> None:
        """A request is taken up."""
        self._answering = exchange
        self._may_ask = False

    def end(self) -> None:
        """The request is answered; the next one's head may come."""
        exchange, self._answering = self._answering, None
        self._may_ask = exchange is None or exchange.keep_alive
        if self._head:
            head, self._head = self._head, b""
            went_well = exchange is not None and (exchange.shown is not None or exchange.stored is not None)
            if exchange is not None and went_well and (lane := self._desk.lane) is not None:
                lane.learn(head, exchange)
        self._bytes_before = self._bytes_in
        if self._tail.has_begun and not self._messages and not self.is_closing:
            self.head_since = self._loop.time()  # it came behind the request that is answered now

    @property
    def address(self) -> Address | None:
        """The other end's address; None for a Unix socket."""
        return self._address

    @property
    def is_closing(self) -> bool:
        """Whether the connection ends with the present answer: the gateway stops, or the client sends no more."""
        return self.is_over or self._is_draining

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked, whatever the present answer's head has said."""
        return self._close or self._force_close or (self._has_ended and not self._messages)

    @property
    def _is_idle(self) -> bool:
        """Whether nothing is asked or answered."""
        is_answering = self._answering is not None or self._request_in_progress
        return not is_answering and not self._messages and self._held is None

    @property
    def _is_at_rest(self) -> bool:
        """Whether the next byte is the first of a request, and aiohttp waits for it.

        Or will in a moment: it takes a turn of the loop from an answer to waiting, and a quick client asks before that.
        """
        waiter = self._waiter
        return (
            self._seam.is_between
            and (self._may_ask if waiter is None else not waiter.done())
            and self._answering is None
            and not self._messages
            and not (self._has_ended or self._is_deaf or self._is_draining or self._close or self._force_close)
        )

    # --- for the lane ------------------------------------------------------------------------------

    def hold(self) -> None:
        """What comes from now on waits until the lane has answered: `go_on` or `give_back`. Harmless twice."""
        if self._held is None:
            self._held = []
        # A whole request is here: its head is not late.
        self.head_since = _NO_TIME

    def _process_keepalive(self) -> None:
        """It has been idle for too long, aiohttp thinks: not while the lane answers. `go_on` counts anew."""
        if self._held is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = None

    def go_on(self, *, keep_alive: bool = True) -> None:
        """The lane has answered what it took."""
        held, self._held = self._held, None
        if self.transport is None:
            return
        if not keep_alive or self.is_over:
            self.close()
            self.transport.close()
            return
        self.head_since = _NO_TIME
        self.count_idle()
        if held:
            self._resume_transport_reading()
            self.is_belated = True
            try:
                for data in held:
                    self.data_received(data)
            finally:
                self.is_belated = False

    def give_back(self, data: bytes) -> None:
        """The lane has not answered `data`, which now goes the general way, and what came after it."""
        held, self._held = self._held, None
        if held:
            self._resume_transport_reading()
        for piece in (data, *(held or ())):
            self._feed(piece)

    def head_is_late(self, now: float, seconds: float) -> bool:
        """Whether a head was begun (or a connection opened) and not completed in time."""
        return self.head_since != _NO_TIME and now - self.head_since > seconds

    def refuse_late_head(self) -> None:
        """Say so and close."""
        self._refuse_head(Denied("request_timeout"))

    def drain(self) -> None:
        """The gateway stops: the next answer is the last one."""
        self._is_draining = True

    def end_if_idle(self) -> None:
        """End now where nothing is asked for."""
        head_has_begun = self.head_since != _NO_TIME and self._bytes_in > self._bytes_before
        if self._is_idle and not head_has_begun and self._wire is not None:
            if self._wire.is_closing() and not self._wire.get_write_buffer_size():
                # All was said, TLS's goodbye too: the client's own would be waited for half a minute.
                self._wire.abort()
            else:
                self._wire.close()

    async def linger(self, seconds: float) -> None:
        """Nothing more will be said: drop what the client sends until it ends, too, or `seconds` are over."""
        self._is_deaf = True
        if self.transport is None or self._has_ended:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._gone = self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone

    def take_up(self, message: RawRequestMessage, body: StreamReader) -> Exchange:
        """See InTurn."""
        return Exchange(message, body, self)

    async def tell_malformed(self, error: _ErrInfo) -> None:
        """Answer, let the client read it, and write one bounded line for the operator.

        The client's bytes are not echoed, and there is no traceback: this is the client's fault, not ours.
        """
        kind = type(error.exc).__name__
        too_large = kind in {"LineTooLong", "TooManyHeaders"} or "Too many headers" in error.message
        denied = Denied("headers_too_large" if too_large else "request_malformed")
        log.info("%s: %s from %s", denied.code, kind, self.address or "a Unix socket")
        refusal = self._refusal(denied)
        if self.transport is not None:
            self.transport.write(refusal)
            await self.linger(LINGER_SECONDS)

    def _bound_framing(self, count: int, is_new: bool) -> None:
        """After `count` bytes were parsed: hold the newest chunked body to its bound."""
        if is_new:
            self._framing.begin(*self._messages[-1])
            if count > PIECE_BYTES:
                count = 0  # most of it was another's body, which is parsed as a whole
        body = self._framing.overrun(count, parser_is_behind=self._reading_paused)
        if body is not None:
            self._is_deaf = True
            body.set_exception(Denied("request_malformed", "Its chunks are too small or their headers too long."))

    def _fail_body(self, error: Exception) -> None:
        """Whoever reads (or will read) the one body that is still arriving learns that it does not."""
        bodies = [body for _, body in self._messages]
        if self._answering is not None:
            bodies.append(self._answering.body)
        for body in bodies:
            if not body.is_eof() and body.exception() is None:
                set_exception: Any = body.set_exception
                set_exception(error)

    def _nobody_is_left(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _refuse_head(self, denied: Denied) -> None:
        self.head_since = _NO_TIME
        self._say_and_leave(denied, LINGER_SECONDS)

    def _refusal(self, denied: Denied) -> bytes:
        """A whole response to what never became a request; told to the book."""
        request_id = secrets.token_hex(8)
        self._book.refused(denied, request_id, self.address)
        return last_words(denied, request_id)

    def _say_and_leave(self, denied: Denied, linger_seconds: float) -> None:
        """The last answer, to what never became a request."""
        transport = self.transport
        if transport is None:
            return
        self._is_deaf = True
        transport.write(self._refusal(denied))
        self.close()
        if not linger_seconds or self._has_ended:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._loop.call_later(linger_seconds, transport.close)
