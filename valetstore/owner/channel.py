"""Channel: messages between two processes of one gateway, over a pair of connected sockets.

Rule 1: messages arrive whole and in the order they were sent. What is sent in one turn of the event loop leaves
in one system call, so a batch of claims costs what one does.
Rule 2: nothing here waits and nothing is dropped: the other end is either there or the channel is closed, and
then whoever holds it is told once.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

_LENGTH: Final = struct.Struct("<I")

AHEAD_BYTES: Final = 1 << 20
"""How much may be on its way before `taken` waits."""

Received = TypeVar("Received")


class Channel(asyncio.Protocol, Generic[Received]):
    """One end. `kind` is what arrives (a msgspec type); `receive` is called with each, `closed` once at the end."""

    def __init__(self, kind: Any, receive: Callable[[Received], None], closed: Callable[[], None]) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._receive = receive
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._part = bytearray()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=AHEAD_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone, or this one was closed."""
        self._transport = None
        self._waiting.clear()
        self._has_room.set()
        self._closed()

    def data_received(self, data: bytes) -> None:
        """Hand on every message that is whole."""
        part = self._part
        part += data
        start, size = 0, len(part)
        while size - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(part, start)[0]
            if end > size:
                break
            self._receive(self._decode(bytes(part[start + _LENGTH.size : end])))
            start = end
        del part[:start]

    def send(self, message: msgspec.Struct) -> None:
        """Send at the end of this turn of the loop; harmless where the channel is closed."""
        self.send_encoded(self._encode(message))

    def send_encoded(self, text: bytes) -> None:
        """The same with what `encode` made: for a message to many."""
        if self._transport is None:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting += (_LENGTH.pack(len(text)), text)

    async def taken(self) -> None:
        """Wait until the other end has taken most of what was sent: for who has much to say."""
        await asyncio.sleep(0)
        await self._has_room.wait()

    def pause_writing(self) -> None:
        """The other end is behind."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """It is not any more."""
        self._has_room.set()

    def close(self) -> None:
        """Send what waits, then end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and self._waiting:
            self._transport.write(b"".join(self._waiting))
        self._waiting.clear()


def encode(message: msgspec.Struct) -> bytes:
    """A message as `Channel.send_encoded` takes it."""
    return msgspec.msgpack.encode(message)
