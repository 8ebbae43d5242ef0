"""The connection: aiohttp's own protocol, with the limits and deadlines it lacks.

What is aiohttp's: parsing, keep-alive, chunked bodies, pipelining. What is added here: a deadline for a
request's head, a bound on the framing around a chunked body, limits on connections, and errors that are
one bounded line in the log and problem+json to the client.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp.web_protocol import RequestHandler

from valetstore.edge.exchange import Answered, Exchange
from valetstore.edge.replies import Reply, problem
from valetstore.errors import Denied

if TYPE_CHECKING:
    from valetstore.edge.book import ConnectionBook

log = logging.getLogger(__name__)

FRAMING_BYTES_MAX: Final = 64 * 1024
"""Bytes of a head and of chunk headers beyond the body's own length: what no honest client needs.

A million one-byte chunks, or a 100 kB chunk extension, cost work and carry nothing."""

_NO_TIME: Final = -1.0


class GatewayProtocol(RequestHandler):
    """One connection of the gateway."""

    __slots__ = ("_answering", "_book", "_bytes_before", "_bytes_in", "connected_from", "head_since")

    def __init__(self, manager: Any, book: "ConnectionBook", **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._book = book
        self._bytes_in = 0
        self._bytes_before = 0
        self._answering: Exchange | None = None
        self.head_since = _NO_TIME
        self.connected_from: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection; one too many is told so and closed."""
        super().connection_made(transport)
        self.head_since = self._loop.time()
        refusal = self._book.enter(self)
        if refusal is not None:
            self._say_and_close(refusal)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._book.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and keep the books that it does not."""
        if data and self.head_since == _NO_TIME and self._answering is None:
            self.head_since = self._loop.time()
            self._bytes_before = self._bytes_in
        self._bytes_in += len(data)
        super().data_received(data)
        if self._messages:
            self.head_since = _NO_TIME
        if self._answering is not None and self._answering.message.chunked:
            self._bound_framing(self._answering)

    def begin(self, exchange: Exchange) -> None:
        """A handler has taken up this request."""
        self._answering = exchange
        if exchange.message.chunked:
            self._bound_framing(exchange)

    def end(self) -> None:
        """The request is answered; the next one's head may come."""
        self._answering = None
        self._bytes_before = self._bytes_in

    @property
    def is_closing(self) -> bool:
        """Whether the connection ends with the present answer: the gateway is stopping, or said so before."""
        return self._close or self._force_close

    def head_is_late(self, now: float, seconds: float) -> bool:
        """Whether a head was begun (or a connection opened) and not completed in time."""
        return self.head_since != _NO_TIME and now - self.head_since > seconds

    def refuse_late_head(self) -> None:
        """Say so and close."""
        self.head_since = _NO_TIME
        self._say_and_close(Denied("request_timeout"))

    async def drained(self, seconds: float | None = 30) -> None:
        """Wait until the client has taken enough of what was written; raises `request_timeout`."""
        if not self.writing_paused:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._drain_helper()
        except TimeoutError:
            self.force_close()
            raise Denied("request_timeout", reason="the client took no bytes") from None

    async def flushed(self, seconds: float) -> None:
        """Wait until nothing written is left in this process."""
        transport = self.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)
            try:
                await self.drained(seconds)
            finally:
                transport.set_write_buffer_limits()

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        """aiohttp could not parse the request: answer, with one bounded line for the operator.

        The client's bytes are not echoed, and there is no traceback: this is the client's fault, not ours.
        """
        kind = type(exc).__name__
        too_large = kind in {"LineTooLong", "TooManyHeaders"} or "Too many headers" in str(message)
        denied = Denied("headers_too_large" if too_large else "request_malformed")
        log.info("%s: %s from %s", denied.code, kind, self.connected_from or "a Unix socket")
        self._book.refused(denied)
        return _Unparsed(self, problem(denied))

    def _bound_framing(self, exchange: Exchange) -> None:
        body = exchange.body.total_bytes
        if self._bytes_in - self._bytes_before - body > FRAMING_BYTES_MAX + body:
            set_exception: Any = exchange.body.set_exception
            set_exception(Denied("request_malformed", "Its chunks are too small or their headers too long."))
            if self.transport is not None:
                self.transport.pause_reading()

    def _say_and_close(self, denied: Denied) -> None:
        if self.transport is None:
            return
        self.transport.write(plain_refusal(denied))
        self._book.refused(denied)
        self.close()
        self.transport.close()


class _Unparsed(Answered):
    """The answer to what was not HTTP: written when aiohttp comes to send it."""

    def __init__(self, protocol: GatewayProtocol, reply: Reply) -> None:
        super().__init__(keep_alive=False)
        self._protocol = protocol
        self._reply = reply

    async def prepare(self, _exchange: Exchange) -> None:
        """Write head and body at once."""
        transport = self._protocol.transport
        if transport is not None:
            transport.write(_as_bytes(self._reply))


def plain_refusal(denied: Denied) -> bytes:
    """A whole response for a connection that never became a request."""
    return _as_bytes(problem(denied))


def _as_bytes(reply: Reply) -> bytes:
    headers = [*reply.headers, ("Content-Length", str(reply.length)), ("Connection", "close")]
    head = f"HTTP/1.1 {reply.status} Refused\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    return head.encode("latin-1") + b"\r\n" + cast(bytes, reply.body)


ProtocolFactory = Callable[[], GatewayProtocol]
