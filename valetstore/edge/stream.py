"""Bodies on their way out: from an object to the socket, without passing through Python where possible.

Rule 1: one transfer holds a bounded amount of memory, however slow its client is.
Rule 2: the head has gone out with a length, so a fault on the way cuts the connection: a client must
never take a part for the whole.
Rule 3: the event loop does not wait for a disk where that can be seen: what is not in the page cache is read by a
thread.
"""

import asyncio
import time
from typing import Final, Protocol

from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.edge.pump import Pump
from valetstore.errors import Denied
from valetstore.storage.pagecache import read_cached
from valetstore.storage.promise import OpenObject

SMALL_BYTES: Final = 16 * 1024
"""Up to here one write of head and body is cheaper than sendfile."""

COPY_BYTES: Final = 256 * 1024
"""One read where bytes are copied (TLS, stores without descriptors)."""


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
        """By sendfile over plain TCP where it is not small, else by copying."""
        try:
            pump = Pump.on(exchange, self._opened, self._pace) if self._count > SMALL_BYTES else None
            if pump is None:
                await self._copy(exchange, head)
            else:
                with pump:
                    await pump.send(head, self._start, self._count)
        except ConnectionError:
            raise
        except OSError as error:
            raise Denied("storage_error", errno=error.errno, error=error.strerror) from error

    def close(self) -> None:
        """Let go of the object."""
        self._opened.close()

    async def _copy(self, exchange: Exchange, head: bytes) -> None:
        at, end = self._start, self._start + self._count
        while at < end:
            data = await self._read(at, min(COPY_BYTES, end - at))
            if exchange.head_sent_at is None:
                exchange.write_head(head, data)
            else:
                exchange.transport.write(data)
            at += len(data)
            exchange.bytes_out += len(data)
            await exchange.protocol.drained(self._pace.grace_seconds, self._pace.bytes_per_second)
            self._pace.moved(len(data), time.monotonic())
            if at < end:
                await asyncio.sleep(0)  # neither read nor write may have waited: the others have their turn

    async def _read(self, start: int, count: int) -> bytes:
        descriptor = self._opened.fileno()
        cached = None if descriptor is None else read_cached(descriptor, start, count)
        if cached is not None:
            return cached
        began = time.monotonic()
        data = await self._opened.read(start, count)
        while len(data) < count:
            more = await self._opened.read(start + len(data), count - len(data))
            if not more:
                raise Denied("storage_error", reason="the object became shorter while it was read")
            data += more
        self._pace.paused(time.monotonic() - began)
        return data
