"""Progress: whether the other end takes what was written, asked of the kernel where it knows.

What left this process may still wait in the kernel (megabytes), and what waits behind TLS is not seen from
here; so the client's own acknowledgements are asked for, where there are any.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final

_BYTES_ACKED: Final = struct.Struct("=120xQ")
"""Of Linux's `struct tcp_info`: the bytes that the other end's kernel has acknowledged."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def taken(wire: asyncio.Transport) -> int:
    """A count that grows as the client takes bytes; only the difference of two has a meaning."""
    sock = wire.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # a Unix socket, or one that was closed
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
            acknowledged: int = _BYTES_ACKED.unpack(info)[0]
            return acknowledged
    return -wire.get_write_buffer_size()


def reset(wire: asyncio.Transport) -> None:
    """End a connection at once: what is still to be sent is not, by the kernel neither."""
    sock = wire.get_extra_info("socket")  # None over TLS once what carries it is closed
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    wire.abort()
