"""One connection of the load: ask, read the answer to its last byte, ask again.

Rule 1: whatever goes wrong is told once, by a name that says what, and the connection is made anew.
Rule 2: the usual request is one send and one receive. What is rare (TLS, chunks, bodies in parts) may cost more.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from time import perf_counter
from typing import Final, Protocol

from bench.load.answers import BUFFER, AnswerReader, BadAnswer
from bench.load.failures import named
from bench.load.plan import JOINED_BYTES_MAX, Plan, Source
from bench.load.tally import Tally

_WAITING: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Engine(Protocol):
    """What a connection needs of the loop it runs in."""

    plan: Plan
    tally: Tally

    def watch(self, descriptor: int, mask: int, handler: Callable[[int], None]) -> None:
        """Call `handler` when the descriptor is ready for what the mask says."""

    def forget(self, descriptor: int) -> None:
        """No more."""

    def next_request(self, connection: "Connection", now: float) -> tuple[bytes, float] | None:
        """The next head and the time it counts from; None where the connection is to rest."""

    def broken(self, connection: "Connection", why: str, *, asked: bool) -> None:
        """It was lost, or never made; `asked`: a request was lost with it. It is to be opened again, or not."""


class Connection:
    """One of a run's connections to one origin."""

    def __init__(self, engine: Engine, source: Source) -> None:
        self._engine = engine
        self._tally = engine.tally
        self._hoped = engine.plan.hoped
        self.source = source
        self.is_busy = False
        self.was_made = False
        self.answered_at = 0.0
        self._heard = True  # something came or went since the engine last looked
        self._heard_at = 0.0
        self._is_opening = False
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._began = 0.0
        self._answer = AnswerReader(engine.plan.method, engine.tally)
        self._unsent = memoryview(b"")
        self._body_sent = 0
        self._body_size = engine.plan.body.size if engine.plan.body else 0

    # --- made and lost ---

    def open(self) -> None:
        """Connect; the first request follows by itself."""
        self._answer.reset()
        self._unsent, self._body_sent, self._is_opening = memoryview(b""), 0, True
        origin = self.source.origin
        try:
            made = socket.socket(origin.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._lost(named(error))
            return
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._descriptor = made, made.fileno()
        self._engine.watch(self._descriptor, EPOLLOUT, self._connected)
        failed = made.connect_ex(origin.address)
        if failed not in (0, errno.EINPROGRESS):
            self._lost(named(OSError(failed, os.strerror(failed))))

    def close(self) -> None:
        """For good, or before it is opened again."""
        if self._socket is not None:
            self._engine.forget(self._descriptor)
            self._socket.close()
            self._socket = None
        self.is_busy = False

    def is_quiet(self, now: float, seconds: float) -> bool:
        """Whether it waits for the server, and nothing has come or gone for so long."""
        if self._heard or self._socket is None or not (self.is_busy or self._is_opening):
            self._heard, self._heard_at = False, now
        return now - self._heard_at > seconds

    def give_up(self, why: str) -> None:
        """Lose it."""
        self._lost(why)

    def ask(self, now: float) -> None:
        """The next request, if there is one for now."""
        found = self._engine.next_request(self, now)
        if found is None:
            return
        head, self._began = found
        self.is_busy = self._heard = True
        body, self._body_sent = self._engine.plan.body, 0
        if body is not None and body.size <= JOINED_BYTES_MAX:
            head = head + body.part(0)
            self._body_sent = body.size
        try:
            sent = self._socket.send(head) if self._socket else 0
        except _WAITING:
            sent = 0
        except OSError as error:
            self._lost(named(error))
            return
        if sent < len(head) or self._body_sent < self._body_size:
            self._unsent = memoryview(head)[sent:]
            self._write()

    def _lost(self, why: str) -> None:
        asked = self.is_busy
        self.close()
        self._engine.broken(self, why, asked=asked)

    def _connected(self, _mask: int) -> None:
        assert self._socket is not None
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            self._lost(named(OSError(failed, os.strerror(failed))))
            return
        origin = self.source.origin
        if origin.tls is None:
            self._made()
            return
        self._socket = origin.tls.wrap_socket(self._socket, do_handshake_on_connect=False, server_hostname=origin.name)
        self._shake_hands(0)

    def _shake_hands(self, _mask: int) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._engine.watch(self._descriptor, EPOLLIN, self._shake_hands)
        except ssl.SSLWantWriteError:
            self._engine.watch(self._descriptor, EPOLLOUT, self._shake_hands)
        except OSError as error:
            self._lost(named(error))
        else:
            self._made()

    def _made(self) -> None:
        self.was_made, self._is_opening = True, False
        self._engine.watch(self._descriptor, EPOLLIN, self._handler())
        self.ask(perf_counter())

    # --- a request, its answer ---

    def _ready(self, mask: int) -> None:
        if mask & EPOLLOUT:
            self._write()
        if mask & ~EPOLLOUT:
            self._read()

    def _ready_tls(self, mask: int) -> None:
        """What TLS has read already, no event tells of: until it has no more."""
        if mask & EPOLLOUT:
            self._write()
        while self._read() and isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            pass

    def _write(self) -> None:
        """As much of a request as goes."""
        body = self._engine.plan.body
        try:
            while self._socket is not None:
                if not self._unsent:
                    if body is None or self._body_sent >= body.size:
                        self._engine.watch(self._descriptor, EPOLLIN, self._handler())
                        return
                    self._unsent = body.part(self._body_sent)
                    self._body_sent += len(self._unsent)
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
                self._heard = True
        except _WAITING:
            self._engine.watch(self._descriptor, EPOLLIN | EPOLLOUT, self._handler())
        except (BrokenPipeError, ConnectionResetError):
            # The server may have refused the upload while it was under way: its answer says why.
            self._read()
            if self._socket is not None and self.is_busy:
                self._lost("the connection was reset while a body was sent")
        except OSError as error:
            self._lost(named(error))

    def _handler(self) -> Callable[[int], None]:
        return self._ready if self.source.origin.tls is None else self._ready_tls

    def _read(self) -> bool:
        """Bytes of an answer; False where none are there."""
        if self._socket is None:
            return False
        try:
            count = self._socket.recv_into(BUFFER)
        except _WAITING:
            return False
        except OSError as error:
            self._lost(named(error))
            return False
        self._heard = True
        try:
            if not count:
                self._ended()
            elif not self.is_busy:
                raise BadAnswer("an answer came that nobody asked for")
            elif self._answer.feed(count):
                self._answered()
        except BadAnswer as error:
            self._lost(str(error))
        return count > 0

    def _ended(self) -> None:
        """The server closed."""
        if self.is_busy and self._answer.ends_with_the_connection:
            self._answered()
        elif self.is_busy:
            self._lost("the connection was closed before the answer was whole")
        else:
            self.close()
            self.open()

    def _answered(self) -> None:
        """The answer is whole."""
        now = perf_counter()
        is_sent = not self._unsent and self._body_sent >= self._body_size
        self.is_busy = False
        self.answered_at = now
        status = self._answer.status
        if self._hoped(status):
            self._tally.answer(status, now - self._began)
            if is_sent:
                self._tally.sent += self._body_size
        else:
            self._tally.refusal(status, self._answer.head, now - self._began)
        if self._answer.closes or not is_sent:
            self.close()
            self.open()
        else:
            self.ask(now)
