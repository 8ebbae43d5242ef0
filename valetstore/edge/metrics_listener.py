"""The metrics' own listener: GET /metrics, on an address that clients do not reach."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from valetstore.metrics import CONTENT_TYPE, Metrics, Snapshot

IDLE_SECONDS: Final = 15
CUT_SECONDS: Final = 0.1


class MetricsListener:
    """Serves this process's metrics, joined with what `others` says, until `stop`."""

    def __init__(self, metrics: Metrics, others: Callable[[], Awaitable[list[Snapshot]]]) -> None:
        self._metrics = metrics
        self._others = others
        self._server: asyncio.Server | None = None
        self._manager = web.Server(self._answer)

    async def start(self, sock: socket.socket) -> None:
        """Accept on a listening socket."""
        self._server = await asyncio.get_running_loop().create_server(self._protocol, sock=sock)

    async def stop(self) -> None:
        """Stop at once."""
        if self._server is not None:
            self._server.close()
        # Never 0, which aiohttp takes for "as long as it lasts": a scraper keeps its connection.
        await self._manager.shutdown(timeout=CUT_SECONDS)

    def _protocol(self) -> "_QuietProtocol":
        # aiohttp's access log would print queries. Its keep-alive timeout also ends connections that never ask.
        settings: dict[str, Any] = {"access_log": None, "keepalive_timeout": IDLE_SECONDS}
        return _QuietProtocol(self._manager, loop=asyncio.get_running_loop(), **settings)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="Metrics are at /metrics.\n")
        return web.Response(body=self._metrics.exposition(await self._others()), headers={"Content-Type": CONTENT_TYPE})


class _QuietProtocol(RequestHandler):
    """aiohttp's, which would log a traceback for whatever is not HTTP, and send the bytes back."""

    __slots__ = ()

    def handle_error(
        self, request: Any, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A bare status."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        answer = web.Response(status=status, text="This is not a request.\n")
        answer.force_close()
        return answer
