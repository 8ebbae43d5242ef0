"""Server: the handler on its sockets, with aiohttp's server between them; and its graceful end."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from valetstore.config import Config
from valetstore.edge.acceptor import Acceptor
from valetstore.edge.book import ConnectionBook
from valetstore.edge.exchange import Answered, Exchange
from valetstore.edge.handler import Handler
from valetstore.edge.protocol import GatewayProtocol, Lane
from valetstore.edge.tls import Tls
from valetstore.errors import ConfigInvalid

log = logging.getLogger(__name__)

LINE_BYTES_MAX: Final = 16_384
"""One request line or header field: a key may take 8 KiB, and some share their line with a long name."""
HEADERS_MAX: Final = 128
IDLE_SECONDS: Final = 1.0
"""How long a connection without a request is kept once the gateway stops: its next request may be on its way."""

CANCEL_SECONDS: Final = 2.0
CUT_SECONDS: Final = 0.1
"""Never 0, which aiohttp takes for "as long as it lasts"."""


class Server:
    """Accepts connections from `start` until `stop`. `handler` and `limits` may be replaced at any time."""

    def __init__(self, config: Config, handler: Handler, book: ConnectionBook, tls: Tls | None) -> None:
        if HttpRequestParser is HttpRequestParserPy:
            # The Python parser reads some malformed requests differently.
            raise ConfigInvalid("aiohttp runs without its C parser; install a wheel of it for this platform")
        self.limits = config.limits
        self._book = book
        self._tls = tls
        self.handler = handler
        call: Any = self._handle
        self._manager = web.Server(call)
        self._acceptors: list[Acceptor] = []
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def lane(self) -> Lane | None:
        """See `protocol.Desk`. Looked up each time, as the handler is."""
        return self.handler.lane

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept on these listening sockets."""
        loop = asyncio.get_running_loop()
        self._sweeping = loop.create_task(self._book.sweep())
        for sock in sockets:
            tls = self._tls.context if self._tls is not None and sock.family != socket.AF_UNIX else None
            acceptor = Acceptor(sock, self._protocol, self._book, tls, self.limits.header_seconds)
            acceptor.start()
            self._acceptors.append(acceptor)

    async def stop(self, drain_seconds: float) -> None:
        """Stop accepting, let transfers finish for `drain_seconds`, cut the rest.

        A client may be asking on a connection that is idle here: it gets its answer, and with it the word that the
        connection ends. Those that ask for nothing for `IDLE_SECONDS` are closed.
        """
        for acceptor in self._acceptors:
            acceptor.close()
        # Not aiohttp's own `pre_shutdown`: it stops reading, also the bodies of running uploads.
        self._book.drain()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._is_busy(loop.time() - began) and loop.time() < began + drain_seconds:
            await asyncio.sleep(0.02)
            if loop.time() > began + IDLE_SECONDS:
                self._book.end_idle()
        if len(self._book):
            log.warning("%d connections did not end in %s s and are cut", len(self._book), drain_seconds)
        await self._manager.shutdown(timeout=CANCEL_SECONDS if len(self._book) else CUT_SECONDS)
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping

    def _is_busy(self, seconds: float) -> bool:
        """Whether there are connections, or what has just been accepted may still become one."""
        connecting = any(acceptor.connecting for acceptor in self._acceptors)
        return len(self._book) > 0 or (connecting and seconds < IDLE_SECONDS)

    def _handle(self, exchange: Exchange) -> Coroutine[None, None, Answered]:
        # Looked up each time: a reload swaps the handler, and connections stay.
        return self.handler(exchange)

    def _protocol(self) -> GatewayProtocol:
        return GatewayProtocol(
            self._manager,
            self._book,
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self.limits.keep_alive_seconds,
            access_log=None,  # aiohttp's would print the query, that is, keys
            logger=log,
            auto_decompress=False,  # an upload is kept as it was sent
            lingering_time=0,  # done by Exchange.linger, which swallows what a vanished client leaves
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )
