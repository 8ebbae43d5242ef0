"""Pump: from a file to a socket by sendfile, one bounded piece each time the loop comes by.

Rule 1: a turn sends TURN_BYTES at most and ends: one fast client must not keep the loop from the others.
Rule 2: one registration and one timer serve the whole way. A future, a timeout and a task step for each wait would
cost more than the bytes do.
Rule 3: the loop does not wait for a disk where that can be seen: a stretch whose ends are not in the page cache is
read by a thread before it is sent.
"""

import asyncio
import contextlib
import os
import socket
import time
from typing import Final, Self

from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.errors import Denied
from valetstore.storage.pagecache import seems_cached
from valetstore.storage.promise import OpenObject

TURN_BYTES: Final = 2 * 1024 * 1024
"""The most that one turn sends: about a millisecond. What is not larger goes into most sockets at once."""

UNSENT_BYTES_MAX: Final = 256 * 1024
"""What may wait in the kernel before it is on the wire: a slow client holds this, not the megabytes of a socket's
buffer. Several of the largest segments, or the cork below would wait for bytes that are never asked for."""

UNSENT_BYTES_QUICK: Final = 2 * 1024 * 1024
"""The same for a client that took the last piece within QUICK_SECONDS: it would find the kernel empty too often."""

QUICK_SECONDS: Final = 0.01

LOOKS: Final = 8
"""A client that takes nothing is looked at so often within its grace: the kernel is asked, which no turn pays for."""

FRESH_SECONDS: Final = 5.0
"""How long what a thread has read is taken to be in memory still."""


class Pump:
    """`count` bytes of an object from `start`, on their way into the connection of an exchange.

    Use it as a context manager: it holds a second descriptor of the connection, since uvloop has no sendfile and lets
    nobody else watch its own.
    """

    __slots__ = (
        "_at",
        "_descriptor",
        "_done",
        "_end",
        "_exchange",
        "_given_at",
        "_head",
        "_idle_since",
        "_is_streaming",
        "_opened",
        "_out",
        "_pace",
        "_read_at",
        "_read_to",
        "_seen_at",
        "_taken",
        "_timer",
        "_unsent",
    )

    def __init__(self, exchange: Exchange, out: socket.socket, opened: OpenObject, descriptor: int, pace: Pace) -> None:
        self._exchange = exchange
        self._out = out
        self._opened = opened
        self._descriptor = descriptor
        self._pace = pace
        self._head = b""
        self._at = self._end = 0
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_streaming = False
        self._unsent = 0
        self._given_at = 0.0
        self._seen_at = -1  # when it was looked at last, how far it was; since when, and what the client had taken
        self._idle_since = 0.0
        self._taken = 0
        self._read_at = 0.0  # when a thread has last read, and up to where
        self._read_to = 0

    @classmethod
    def on(cls, exchange: Exchange, opened: OpenObject, pace: Pace) -> Self | None:
        """One for this connection and object.

        None over TLS, which sendfile would bypass, for a store without descriptors, and where there are none left.
        """
        descriptor = opened.fileno()
        if descriptor is None or exchange.protocol.ssl_context is not None:
            return None
        own = exchange.transport.get_extra_info("socket")
        try:
            # Family and type are told, or the kernel would be asked for them.
            out = socket.socket(own.family, own.type, 0, fileno=os.dup(own.fileno()))
        except OSError:
            return None
        out.setblocking(False)
        return cls(exchange, out, opened, descriptor, pace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream(False)
        self._out.close()

    async def send(self, head: bytes, start: int, count: int) -> None:
        """Head and bytes; counts `exchange.bytes_out`, notes `exchange.head_sent_at`.

        Raises `request_timeout` where the client is too slow, `storage_error` where the object ends early,
        ConnectionError and OSError as they come.
        """
        await self._exchange.protocol.flushed(self._pace.grace_seconds, self._pace.bytes_per_second)
        self._head, self._at, self._end = head, start, start + count
        self._stream(count > TURN_BYTES)
        await self._flow()
        while self._at < self._end:
            await self._read_ahead()
            await self._flow()

    async def _flow(self) -> None:
        """Turns until all is sent, or what comes next is not in the page cache."""
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        self._turn()  # what fits into the socket at once needs no watching
        if self._done.done():
            return await self._done
        loop.add_writer(self._out.fileno(), self._turn)
        self._timer = loop.call_later(self._pace.grace_seconds / LOOKS, self._look)
        try:
            await self._done
        finally:
            loop.remove_writer(self._out.fileno())
            self._timer.cancel()

    def _turn(self) -> None:
        """The socket takes bytes: give it the next piece."""
        try:
            if self._give():
                self._end_flow(None)
        except BlockingIOError:
            pass
        except Exception as error:
            self._end_flow(error)

    def _give(self) -> bool:
        """One piece; whether there is nothing (more) to give for now."""
        count = self._stretch()
        if not count:
            return True
        if self._is_streaming and self._given_at:
            is_quick = time.monotonic() - self._given_at < QUICK_SECONDS
            self._let_wait(UNSENT_BYTES_QUICK if is_quick else UNSENT_BYTES_MAX)
        while self._head:
            self._head = self._head[self._out.send(self._head, socket.MSG_MORE) :]
        sent = os.sendfile(self._out.fileno(), self._descriptor, self._at, count)
        if not sent:
            raise Denied("storage_error", reason="the object became shorter while it was sent")
        now, exchange = time.monotonic(), self._exchange
        if exchange.head_sent_at is None:
            exchange.head_sent_at = now  # the kernel has held the head back for these bytes
        self._given_at = now
        self._at += sent
        exchange.bytes_out += sent
        self._pace.gave(sent, now)
        return self._at == self._end

    def _stretch(self) -> int:
        """How many bytes may be sent from here without waiting for a disk, as far as can be seen; 0 for none."""
        count = min(TURN_BYTES, self._end - self._at)
        if self._at < self._read_to and time.monotonic() - self._read_at < FRESH_SECONDS:
            return min(count, self._read_to - self._at)
        return count if seems_cached(self._descriptor, self._at, count) else 0

    async def _read_ahead(self) -> None:
        """Have a thread read the next stretch, so that sendfile finds it in the page cache."""
        count = min(TURN_BYTES, self._end - self._at)
        began = time.monotonic()
        await self._opened.read(self._at, count)
        self._read_at, self._read_to = time.monotonic(), self._at + count
        self._pace.paused(self._read_at - began)

    def _look(self) -> None:
        """Now and then: whoever took too little for a grace, since it was given something last, is let go."""
        grace, now, protocol = self._pace.grace_seconds, time.monotonic(), self._exchange.protocol
        if self._at != self._seen_at:
            self._seen_at, self._idle_since, self._taken = self._at, now, protocol.taken()
        elif now - self._idle_since >= grace:
            try:
                protocol.check_pace(self._taken, grace, self._pace.bytes_per_second)
            except Denied as denied:
                self._end_flow(denied)
                return
            self._idle_since, self._taken = now, protocol.taken()
        self._timer = asyncio.get_running_loop().call_later(grace / LOOKS, self._look)

    def _end_flow(self, error: Exception | None) -> None:
        if self._done is None or self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    def _stream(self, on: bool) -> None:
        """While there is more to come: whole segments only, and few bytes waiting. What is left goes out at the end."""
        if on != self._is_streaming:
            self._is_streaming = on
            self._let_wait(UNSENT_BYTES_MAX if on else 0)
            with contextlib.suppress(OSError):  # a Unix socket
                self._out.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)

    def _let_wait(self, count: int) -> None:
        """So many bytes may wait in the kernel from now on; 0 for as many as it likes."""
        if count != self._unsent:
            self._unsent = count
            with contextlib.suppress(OSError):  # a Unix socket
                self._out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, count)
