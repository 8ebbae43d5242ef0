"""InTurn: a connection's requests, one after the other, and nobody else's waiting for all of them."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop
from aiohttp import web

from valetstore.edge.exchange import Answered, Exchange
from valetstore.edge.protocol import GatewayProtocol, Lane
from valetstore.edge.replies import problem
from valetstore.errors import Denied
from valetstore.inbound import Address

REQUEST: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Connections:
    """The book and the desk of a server without either."""

    lane: Lane | None = None

    def __init__(self) -> None:
        self.all: list[GatewayProtocol] = []

    def enter(self, connection: GatewayProtocol) -> Denied | None:
        """All may stay."""
        self.all.append(connection)
        return None

    def leave(self, connection: GatewayProtocol) -> None:
        """Nobody counts."""

    def may_linger(self, connection: GatewayProtocol) -> bool:
        """All may."""
        return True

    def refused(self, denied: Denied, request_id: str, address: Address | None) -> None:
        """Nobody hears."""


class Served:
    """A handler that refuses at once, without a wait; `count` answers so far."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, exchange: Exchange) -> Answered:
        """401."""
        self.count += 1
        await problem(Denied("key_missing")).send(exchange, [])
        exchange.protocol.end()
        return Answered(exchange.keep_alive and not exchange.protocol.is_over)


Client = Callable[[socket.socket, Connections, Served], Awaitable[None]]


def with_server(client: Client) -> None:
    """Run `client` with a connection to a server."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        connections, served = Connections(), Served()
        handle: Any = served
        manager = web.Server(handle)

        def protocol() -> GatewayProtocol:
            return GatewayProtocol(manager, connections, connections, loop=loop, access_log=None, lingering_time=0)

        server = await loop.create_server(protocol, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.setblocking(False)
            await client(sock, connections, served)
        server.close()
        await manager.shutdown(1)

    uvloop.run(run())


async def answers(sock: socket.socket, status: bytes, count: int) -> None:
    """Wait for so many."""
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(10):
        while data.count(b"HTTP/1.1 " + status) < count:
            data += (more := await loop.sock_recv(sock, 2**16))
            assert more, data


def test_many_requests_at_once_do_not_hold_up_the_loop() -> None:
    """Answers that wait for nothing are given one a turn."""

    async def client(sock: socket.socket, _: Connections, served: Served) -> None:
        most = 0

        async def watch() -> None:
            nonlocal most
            before = served.count
            while True:
                await asyncio.sleep(0)
                most, before = max(most, served.count - before), served.count

        watching = asyncio.create_task(watch())
        sending = asyncio.get_running_loop().sock_sendall(sock, REQUEST * 1_000)
        await asyncio.gather(sending, answers(sock, b"401", 1_000))
        watching.cancel()
        assert 1 <= most <= 2

    with_server(client)


def test_a_connection_that_is_lost_as_it_asks_ends_quietly(caplog: Any) -> None:
    """The request has woken its task, and before that runs nobody is left to be answered."""

    async def client(sock: socket.socket, connections: Connections, served: Served) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, REQUEST)
        await answers(sock, b"401", 1)
        (connection,) = connections.all
        connection.data_received(REQUEST)
        connection.connection_lost(None)
        await asyncio.sleep(0.05)
        assert served.count == 1

    with_server(client)
    assert not caplog.records


def test_the_last_word_on_what_is_malformed_may_be_read() -> None:
    """A gateway that stops closes what is idle; a client that is told why is not."""

    async def client(sock: socket.socket, connections: Connections, _: Served) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, b"no request\r\n\r\n")
        await answers(sock, b"400", 1)
        (connection,) = connections.all
        connection.end_if_idle()
        transport = connection.transport
        assert transport is not None
        assert not transport.is_closing()

    with_server(client)
