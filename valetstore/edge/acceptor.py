"""Acceptor: takes connections from a listening socket, as many as may be.

Rule 1: a connection counts from the moment it is accepted: who opens thousands and never finishes a TLS
handshake is limited like anyone else.
Rule 2: without a free descriptor nothing is accepted for a moment. Those who wait in the queue are served
later; accepting and dropping them would lose them.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from valetstore.edge.protocol import GatewayProtocol
from valetstore.grants.networks import plain_address
from valetstore.inbound import Address

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Connections taken before the loop looks at others again: what one worker leaves, another takes meanwhile."""

PAUSE_SECONDS: Final = 0.25
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Porter(Protocol):
    """Who says whether one more may begin a handshake (`ConnectionBook` is one)."""

    def begin_handshake(self, address: Address | None) -> bool:
        """Count it, or say no."""

    def end_handshake(self, address: Address | None) -> None:
        """It became a connection, or nothing."""


class Acceptor:
    """One listening socket; `tls` and its handshake's seconds where it speaks TLS."""

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], GatewayProtocol],
        porter: Porter,
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
    ) -> None:
        self._sock = sock
        self._make = make
        self._porter = porter
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "ssl_handshake_timeout": handshake_seconds}
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_paused = False

    def start(self) -> None:
        """Accept from now on."""
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more; what was accepted becomes a connection, or ends with its handshake's timeout."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    @property
    def connecting(self) -> int:
        """How many were accepted and are no connections yet."""
        return len(self._connecting)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, address = self._sock.accept()
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(error)
                # Else none is waiting, or the one that was has gone.
                return
            self._take(connection, plain_address(address[0]) if isinstance(address, tuple) else None)

    def _take(self, connection: socket.socket, address: Address | None) -> None:
        if self._tls and not self._porter.begin_handshake(address):
            connection.close()  # there is no way to say why before the handshake
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection, address))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket, address: Address | None) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection, **self._tls)
        except (OSError, ssl.SSLError):  # the client is gone, speaks something else, or takes too long
            connection.close()
        finally:
            if self._tls:
                self._porter.end_handshake(address)

    def _pause(self, error: OSError) -> None:
        if not self._is_paused:
            log.warning("no more connections can be accepted: %s", error.strerror)
        self._is_paused = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock.fileno(), self._accept)
            self._is_paused = False
