"""The metrics' own listener: GET /metrics, on an address that clients do not reach."""

import asyncio
import socket

from aiohttp import web

from valetstore.metrics import CONTENT_TYPE, Metrics


class MetricsListener:
    """Serves one process's metrics until `stop`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._manager = web.Server(self._answer, access_log=None)

    async def start(self, sock: socket.socket) -> None:
        """Accept on a listening socket."""
        self._server = await asyncio.get_running_loop().create_server(self._manager, sock=sock)

    async def stop(self) -> None:
        """Stop at once."""
        if self._server is not None:
            self._server.close()
        await self._manager.shutdown(timeout=0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="Metrics are at /metrics.\n")
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})
