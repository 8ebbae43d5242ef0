"""Wire: what is written to a connection, and how the client takes it.

Rule 1: what is written is in order: into the socket at once only where nothing that was written before still waits.
Rule 2: a client that takes too little is not waited for without end, whether its connection is closing or not.
"""

import asyncio
import os
from typing import Any, Final

from valetstore.edge.in_turn import InTurn
from valetstore.edge.progress import reset, taken
from valetstore.errors import Denied

_JOINED_BYTES_MAX: Final = 16 * 1024
"""Up to here a copy costs less than a second buffer."""


class Wire(InTurn):
    """A connection's way out."""

    __slots__ = ("_socket", "_taken", "_taken_at", "_wire")

    def __init__(self, manager: Any, **settings: Any) -> None:
        super().__init__(manager, **settings)
        # aiohttp forgets its transport before it is closed; somebody must see that it comes to an end.
        self._wire: asyncio.Transport | None = None
        self._socket = -1  # its descriptor, where it may be written to directly
        self._taken = 0
        self._taken_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._wire = self.transport
        if self.ssl_context is None and (own := transport.get_extra_info("socket")) is not None:
            self._socket = own.fileno()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self._wire = None

    @property
    def has_unsent(self) -> bool:
        """Whether something that was written is still in this process."""
        return self.transport is None or self.transport.get_write_buffer_size() > 0

    def write(self, data: bytes, more: bytes = b"") -> None:
        """Send this next, and `more` behind it: into the socket at once, where nothing else waits for it.

        Raises ConnectionResetError where the client is gone.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        if self._socket < 0 or transport.get_write_buffer_size():
            transport.write(data + more)
            return
        if len(more) <= _JOINED_BYTES_MAX:
            data, more = data + more, b""
        try:
            sent = os.writev(self._socket, (data, more)) if more else os.write(self._socket, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ConnectionResetError(error.strerror) from error
        if sent < len(data) + len(more):
            transport.write((data + more)[sent:])

    def taken(self) -> int:
        """A count that grows as the client takes bytes; only the difference of two has a meaning."""
        return 0 if self._wire is None else taken(self._wire)

    def is_stuck(self, now: float, seconds: float) -> bool:
        """Whether it is closing, and the client takes nothing of what is still to be sent."""
        if self._wire is None or not self._wire.is_closing():
            return False
        taken = self.taken()
        if taken != self._taken or not self._taken_at:
            self._taken, self._taken_at = taken, now
        return now - self._taken_at > seconds

    async def drained(self, seconds: float = 30, bytes_per_second: int = 0) -> None:
        """Wait until the client has taken enough of what was written.

        Raises `request_timeout` where it takes less than `bytes_per_second`, or nothing, for `seconds`.
        """
        if not self.writing_paused:
            return
        # A task of its own: to cancel aiohttp's wait would spoil the next one.
        resumed = asyncio.ensure_future(self._drain_helper())
        try:
            while not resumed.done():
                taken = self.taken()
                await asyncio.wait((resumed,), timeout=seconds)
                if not resumed.done():
                    self.check_pace(taken, seconds, bytes_per_second)
            resumed.result()
        finally:
            resumed.cancel()

    def check_pace(self, taken_before: int, seconds: float, bytes_per_second: int) -> None:
        """After `seconds` of waiting: raise `request_timeout` unless the client took enough meanwhile."""
        if self.taken() - taken_before < max(1, bytes_per_second * seconds):
            raise Denied("request_timeout", reason="the client took too few bytes")

    async def flushed(self, seconds: float, bytes_per_second: int) -> None:
        """Wait until nothing written is left in this process; raises as `drained` does."""
        transport = self.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.set_write_buffer_limits(high=0)
            try:
                await self.drained(seconds, bytes_per_second)
            finally:
                transport.set_write_buffer_limits()

    def cut(self) -> None:
        """End at once: what is still to be sent is not."""
        if self._wire is not None:
            reset(self._wire)
