"""The rest of a large body, read from its socket by the thread that writes it: not one copy on the event loop.

Rule 1: only where nothing is between the socket and the body: no TLS, framed by its length, nothing to be taken off it.
Rule 2: no byte behind the body is read, so that the connection goes on there as if the parser had seen all of it.
Rule 3: a thread is kept while bytes are there. Who sends slowly is waited for on the event loop.
"""

import asyncio
import select
import socket
import threading
from typing import Final, Protocol, Self, runtime_checkable

from valetstore.edge.exchange import Exchange
from valetstore.storage.promise import ReadInto

LEFT_BYTES_MIN: Final = 512 * 1024
"""For less than this the general way is as short."""
STEP_BYTES: Final = 8 * 2**20
"""So much is read in a thread before the event loop looks at the pace and the key's lease again."""

_BUSY_BYTES: Final = 256 * 1024
"""Who sent so much since the thread came is worth its waiting for `_PATIENCE_MS`, which a way to the loop takes too."""
_PATIENCE_MS: Final = 2
_GATHER_BYTES: Final = 64 * 1024
_GATHER_SECONDS: Final = 0.005
"""Who sends so little at a time is given a moment, so that a thread comes for more than a packet."""
_LOOK_SECONDS: Final = 0.5


@runtime_checkable
class Pulling(Protocol):
    """An upload that can fetch its bytes itself (`promise.Upload`)."""

    async def pull(self, read_into: ReadInto, count: int) -> int:
        """See `promise.Upload`."""


class Straight:
    """The last `left` bytes of a request's body. Use it as a context manager: the connection reads on after it."""

    def __init__(self, exchange: Exchange, sock: socket.socket, left: int) -> None:
        self.left = left
        self._exchange = exchange
        self._sock = sock
        self._count = left
        # Held while the socket is read: a wait that was cancelled must not close it under the thread.
        self._reading = threading.Lock()
        self._is_closed = False
        self._got = 0  # in this step
        self._is_dry = True
        self._lost: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._reading:
            self._is_closed = True
            self._sock.close()
        self._exchange.protocol.hand_back(0 if self.left else self._count)

    async def arrived(self) -> None:
        """Wait until there are bytes to read, or the client's end. Raises ConnectionError."""
        self._check()
        if not self._is_dry:
            return
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(self._sock.fileno(), _wake, ready)
        try:
            while not ready.done():
                await asyncio.wait((ready,), timeout=_LOOK_SECONDS)
                self._check()
        finally:
            loop.remove_reader(self._sock.fileno())
        if self._got < _GATHER_BYTES < self.left:
            await asyncio.sleep(_GATHER_SECONDS)

    async def pull(self, sink: Pulling) -> int:
        """What is there, up to `STEP_BYTES`, into `sink`; how many bytes. Raises as `pull`, and ConnectionError."""
        self._got = 0
        count = await sink.pull(self._read_into, min(self.left, STEP_BYTES))
        self.left -= count
        self._check()
        return count

    def _check(self) -> None:
        """Raise what ends the body early."""
        error = self._lost or self._exchange.body.exception()
        if error is not None:
            raise error
        _ = self._exchange.transport  # raises where it is gone

    def _read_into(self, view: memoryview) -> int:
        """In a thread: what is there now, 0 where nothing is."""
        with self._reading:
            while not self._is_closed:
                try:
                    count = self._sock.recv_into(view)
                except BlockingIOError:
                    if self._got >= _BUSY_BYTES and _comes(self._sock):
                        continue
                    self._is_dry = True
                    return 0
                except OSError as error:
                    self._lost = ConnectionResetError(error.strerror)
                    return 0
                if not count:
                    self._lost = ConnectionResetError("the client ended its body early")
                self._got += count
                self._is_dry = False
                return count
        return 0


def straight_way(exchange: Exchange, length: int | None, received: int) -> Straight | None:
    """A way for the rest of a body of which so many bytes were read; None where it is not worth it, or none.

    The connection reads nothing from then on.
    """
    if length is None or length - received < LEFT_BYTES_MIN or exchange.body.total_bytes != received:
        return None  # what the parser has is read from it first
    sock = exchange.protocol.take_over()
    return None if sock is None else Straight(exchange, sock, length - received)


def _comes(sock: socket.socket) -> bool:
    """Whether there is something to read, or will be in a moment."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(_PATIENCE_MS))


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
