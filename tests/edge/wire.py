"""One raw connection: bytes out as they are, answers in one by one.

Rule 1: nothing is added, repaired or retried; what a test sends is what the gateway gets.
Rule 2: an answer is read strictly: a head, then exactly the body it announces.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.gate import Answer


class Ended(Exception):  # noqa: N818 - reads as what happened
    """The other end closed the connection before an answer was whole; `args[0]` is what had come."""


class Wire:
    """A connection to `address` (host and port, or a Unix socket's path), over TLS where `cafile` is given.

    It comes from the address `source` where that is given.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        cafile: Path | None = None,
        seconds: float = 10,
        receive_bytes: int = 0,
        source: str = "",
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if not isinstance(address, str) and ":" in address[0]:
            family = socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(seconds)
        if receive_bytes:  # before the connection: it bounds the window that is offered
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if cafile is not None:
            self.sock = ssl.create_default_context(cafile=str(cafile)).wrap_socket(
                self.sock, server_hostname="127.0.0.1"
            )
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """All of it."""
        self.sock.sendall(data)

    def pour(self, data: bytes) -> None:
        """All of it, or as much as the other end lets in before it hangs up."""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(data)

    def end_of_sending(self) -> None:
        """Half-close: nothing more will be sent, answers are still read."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish: the other end gets a reset instead of an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def answer(self, method: str = "GET") -> Answer:
        """The next answer (a 100 counts as one); raises Ended, TimeoutError."""
        head = self.until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        version, status, _ = first.split(" ", 2)
        assert version in {"HTTP/1.1", "HTTP/1.0"}, first
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name, line
            headers[name.lower()] = value
        number = int(status)
        if method == "HEAD" or number < 200 or number in {204, 304}:
            return Answer(number, headers, b"")
        return Answer(number, headers, self.exactly(int(headers["content-length"])))

    def is_ended(self, seconds: float = 5) -> bool:
        """Whether the other end closes within `seconds`, with nothing more to say."""
        self.sock.settimeout(seconds)
        try:
            return not self._buffer and self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def rest(self, seconds: float = 5) -> bytes:
        """Everything until the end; raises TimeoutError after `seconds` of silence."""
        self.sock.settimeout(seconds)
        with contextlib.suppress(ConnectionError):
            while self._more():
                pass
        data, self._buffer = self._buffer, b""
        return data

    def until(self, mark: bytes) -> bytes:
        """Everything up to this; raises Ended, TimeoutError."""
        while mark not in self._buffer:
            if not self._more():
                raise Ended(self._buffer)
        at = self._buffer.index(mark) + len(mark)
        data, self._buffer = self._buffer[:at], self._buffer[at:]
        return data

    def exactly(self, count: int) -> bytes:
        """As many bytes; raises Ended, TimeoutError."""
        parts, have = [self._buffer], len(self._buffer)
        while have < count:
            data = self.sock.recv(min(2**20, count - have))
            if not data:
                raise Ended(b"".join(parts))
            parts.append(data)
            have += len(data)
        data = b"".join(parts)
        self._buffer = data[count:]
        return data[:count]

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)


def which_speaks(wires: Sequence[Wire], seconds: float = 10) -> Wire:
    """The first of these that has something to read."""
    found, _, _ = select.select([wire.sock for wire in wires], [], [], seconds)
    return next(wire for wire in wires if wire.sock in found)


def head(method: str, target: str, *lines: str, host: str | None = "gate.test", version: str = "1.1") -> bytes:
    """A request's head; `lines` are header lines. Characters become bytes one to one."""
    all_lines = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host is not None else []), *lines]
    return "\r\n".join([*all_lines, "", ""]).encode("latin-1")


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    """One chunk of a chunked body; of no data, the last."""
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def wait_until(what: "object", seconds: float = 5) -> None:
    """Until calling `what` gives something true; fails after `seconds`."""
    assert callable(what)
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)
