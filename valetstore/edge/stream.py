"""Bodies on their way out: from an object to the socket, without passing through Python where possible.

Rule 1: one transfer holds a bounded amount of memory, however slow its client is.
Rule 2: the head has gone out with a length, so a fault on the way cuts the connection: a client must
never take a part for the whole.
Rule 3: the event loop does not wait for a disk where that can be seen: a stretch whose ends are not in the
page cache is read by a thread before it is sent.
"""

import asyncio
import os
import socket
import time
from typing import Final, Protocol

from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.errors import Denied
from valetstore.storage.promise import OpenObject

COPY_BYTES: Final = 256 * 1024
"""One read where bytes are copied (TLS, small bodies, stores without descriptors)."""

SENDFILE_BYTES: Final = 1024 * 1024
"""One sendfile call: far more than a socket takes at once, so the socket decides."""


class Body(Protocol):
    """A body with a known length that sends itself, its head first."""

    def __len__(self) -> int:
        """Bytes."""

    async def send(self, exchange: Exchange, head: bytes) -> None:
        """Send head and body; counts `exchange.bytes_out` and notes `exchange.head_sent_at`.

        Raises ConnectionError where the client is gone.
        """

    def close(self) -> None:
        """Let go of what it is read from; called once it is sent or given up."""


class ObjectBody:
    """`count` bytes of an object from `start`; `pace` is how slowly the client may take them."""

    def __init__(self, opened: OpenObject, start: int, count: int, pace: Pace) -> None:
        self._opened = opened
        self._start = start
        self._count = count
        self._pace = pace

    def __len__(self) -> int:
        return self._count

    async def send(self, exchange: Exchange, head: bytes) -> None:
        """By one write where it is small, by sendfile over plain TCP, else by copying."""
        try:
            if self._count <= COPY_BYTES:
                data = await self._read(self._start, self._count)
                exchange.write_head(head + data)
                exchange.bytes_out += len(data)
                await self._taken(exchange)
            elif (descriptor := self._opened.fileno()) is not None and (out := _second_descriptor(exchange)):
                with out:
                    await self._sendfile(exchange, head, descriptor, out)
            else:
                await self._copy(exchange, head)
        except ConnectionError:
            raise
        except OSError as error:
            raise Denied("storage_error", errno=error.errno, error=error.strerror) from error

    def close(self) -> None:
        """Let go of the object."""
        self._opened.close()

    async def _read(self, start: int, count: int) -> bytes:
        data = await self._opened.read(start, count)
        while len(data) < count:
            more = await self._opened.read(start + len(data), count - len(data))
            if not more:
                raise Denied("storage_error", reason="the object became shorter while it was read")
            data += more
        return data

    async def _copy(self, exchange: Exchange, head: bytes) -> None:
        at, end = self._start, self._start + self._count
        while at < end:
            data = await self._read(at, min(COPY_BYTES, end - at))
            if exchange.head_sent_at is None:
                exchange.write_head(head)
            exchange.transport.write(data)
            await self._taken(exchange)
            at += len(data)
            exchange.bytes_out += len(data)
            self._pace.moved(len(data), time.monotonic())

    async def _taken(self, exchange: Exchange) -> None:
        await exchange.protocol.drained(self._pace.grace_seconds, self._pace.bytes_per_second)

    async def _sendfile(self, exchange: Exchange, head: bytes, descriptor: int, out: socket.socket) -> None:
        await exchange.protocol.flushed(self._pace.grace_seconds, self._pace.bytes_per_second)
        await self._send_head(exchange, head, out)
        at, end = self._start, self._start + self._count
        while at < end:
            count = min(SENDFILE_BYTES, end - at)
            await self._warm(descriptor, at, count)
            try:
                sent = os.sendfile(out.fileno(), descriptor, at, count)
            except BlockingIOError:
                await self._writable(exchange, out)
                continue
            if not sent:
                raise Denied("storage_error", reason="the object became shorter while it was sent")
            if exchange.head_sent_at is None:
                exchange.head_sent_at = time.monotonic()  # the kernel has held the head back for these bytes
            at += sent
            exchange.bytes_out += sent
            self._pace.moved(sent, time.monotonic())
            if sent < count:
                await self._writable(exchange, out)
            else:
                await asyncio.sleep(0)  # a fast client must not keep the loop from the others

    async def _send_head(self, exchange: Exchange, head: bytes, out: socket.socket) -> None:
        while head:
            try:
                head = head[out.send(head, socket.MSG_MORE) :]
            except BlockingIOError:
                await self._writable(exchange, out)

    async def _writable(self, exchange: Exchange, out: socket.socket) -> None:
        loop, pace = asyncio.get_running_loop(), self._pace
        ready = loop.create_future()
        loop.add_writer(out.fileno(), _wake, ready)
        try:
            while not ready.done():
                taken = exchange.protocol.taken()
                try:
                    async with asyncio.timeout(pace.grace_seconds):
                        await asyncio.shield(ready)
                except TimeoutError:
                    exchange.protocol.check_pace(taken, pace.grace_seconds, pace.bytes_per_second)
        finally:
            loop.remove_writer(out.fileno())

    async def _warm(self, descriptor: int, start: int, count: int) -> None:
        """Have a thread read what is not in the page cache, so that sendfile does not wait for a disk."""
        probe = bytearray(1)
        try:
            for at in (start, start + count - 1):
                os.preadv(descriptor, [probe], at, os.RWF_NOWAIT)
        except BlockingIOError:
            await self._opened.read(start, count)
        except OSError:
            return  # this file system cannot tell; sendfile reports any fault


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _second_descriptor(exchange: Exchange) -> socket.socket | None:
    """One of the same connection: uvloop has no sendfile, and lets nobody else watch its own.

    None over TLS, which sendfile would bypass, and where there are no descriptors left.
    """
    transport = exchange.transport
    own = transport.get_extra_info("socket")
    if own is None or transport.get_extra_info("sslcontext") is not None:
        return None
    try:
        out = socket.socket(fileno=os.dup(own.fileno()))
    except OSError:
        return None
    out.setblocking(False)
    return out
