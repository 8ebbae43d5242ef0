"""Where audit lines go: a file, standard output, the journal.

Rule 1: a sink is used by one thread only, the audit's writer; nothing here is locked.
Rule 2: no call waits longer than `PATIENCE_SECONDS` for a reader. A sink that would have to wait raises
BlockingIOError, one that fails another OSError; the lines that were not written are still in the deque.
Rule 3: whole lines only. What was left of a torn one is ended by a newline before the next.
"""

import errno
import os
import select
import socket
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

PATIENCE_SECONDS: Final = 0.1
"""How long one call may wait for a full pipe or socket."""

PIPE_BYTES: Final = 4096
"""PIPE_BUF on Linux: a pipe takes this much in one piece, unmixed with other writers' lines."""

FILE_BYTES: Final = 64 * 1024
"""How much goes to a file in one write."""

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")


class Sink(Protocol):
    """A place for lines. Every method may raise OSError."""

    def open(self) -> None:
        """Make ready; again after a failure, or to follow a file that was rotated away."""

    def write(self, lines: deque[bytes]) -> None:
        """Write lines (each ends in a newline) and remove them from the left as they are written."""

    def close(self) -> None:
        """Let go; harmless twice."""


class StreamSink:
    """Lines to a descriptor that is already open: standard output."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._torn = False
        self._chunk_bytes = PIPE_BYTES

    def open(self) -> None:
        """Nothing to open; a closed descriptor is noticed now and not at the first line."""
        os.fstat(self._fd)

    def write(self, lines: deque[bytes]) -> None:
        """As `Sink.write`."""
        while lines:
            chunk = b"".join(_first(lines, self._chunk_bytes))
            self._wait()
            self._torn = self._ends_torn()
            prefix = b"\n" if self._torn else b""
            written = os.write(self._fd, prefix + chunk) - len(prefix)
            while lines and written >= len(lines[0]):
                written -= len(lines.popleft())
            # A short write (a disk that is filling up) tore the line that is now the first: it is
            # written again, whole, after a newline.
            self._torn = written > 0 or (self._torn and written < 0)

    def close(self) -> None:
        """Standard output belongs to the process: it stays open."""

    def _wait(self) -> None:
        """Until there is room. The descriptor stays blocking: that flag is shared with other processes."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        # Room for PIPE_BUF bytes is what a pipe promises then; POLLERR goes on to write, which says why.
        if not poll.poll(PATIENCE_SECONDS * 1000):
            raise BlockingIOError("the reader of the audit lines does not read")

    def _ends_torn(self) -> bool:
        return self._torn


class FileSink(StreamSink):
    """Lines appended to a file, mode 0600. Several processes may append to the same one."""

    def __init__(self, path: Path) -> None:
        super().__init__(-1)
        self.path = path
        self._regular = False
        self._fresh = True

    def open(self) -> None:
        """Open, or open anew; the file that was open stays so where that fails. The parent must exist."""
        # O_NONBLOCK is for a FIFO without a reader: it fails here instead of stopping the start.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        self.close()
        self._fd = fd
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self._chunk_bytes = FILE_BYTES if self._regular else PIPE_BYTES
        self._torn = False
        self._fresh = True

    def write(self, lines: deque[bytes]) -> None:
        """As `Sink.write`."""
        if self._fd < 0:
            raise OSError(errno.EBADF, "the file is not open")
        try:
            super().write(lines)
        except OSError:
            self._fresh = True
            raise

    def close(self) -> None:
        """As `Sink.close`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ends_torn(self) -> bool:
        """After an open and after a failure the file itself is asked: another process may have torn it."""
        if self._fresh and self._regular:
            self._torn = _lacks_newline(self.path)
        self._fresh = False
        return self._torn


class JournalSink:
    """One datagram a line to the journal, in its native protocol: MESSAGE and VALETSTORE_* fields."""

    def __init__(self, path: Path = JOURNAL_SOCKET) -> None:
        self.path = path
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Make the socket; that nobody listens is noticed now and not at the first line."""
        self.close()
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            sender.setblocking(False)
            sender.connect(str(self.path))
        except OSError:
            sender.close()
            raise
        self._socket = sender

    def write(self, lines: deque[bytes]) -> None:
        """As `Sink.write`."""
        while lines:
            self._send(journal_entry(lines[0]))
            lines.popleft()

    def close(self) -> None:
        """As `Sink.close`."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def _send(self, entry: bytes) -> None:
        if self._socket is None:
            raise ConnectionError("the journal's socket is not open")
        try:
            self._socket.send(entry)
        except BlockingIOError:
            poll = select.poll()
            poll.register(self._socket, select.POLLOUT)
            poll.poll(PATIENCE_SECONDS * 1000)
            self._socket.send(entry)


def journal_entry(line: bytes) -> bytes:
    """An audit line as an entry of the journal's native protocol."""
    event = msgspec.json.decode(line, type=dict[str, object])
    # A warning for what the operator must look after, a notice for a refusal, else information.
    priority = {"system": "4", "decision": "5" if event.get("decision") == "refused" else "6"}
    fields = [
        ("MESSAGE", line.decode("utf-8").rstrip("\n")),
        ("PRIORITY", priority.get(str(event.get("event")), "6")),
        ("SYSLOG_IDENTIFIER", "valetstore"),
    ]
    for name, value in event.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8")
        fields.append((f"VALETSTORE_{name.upper()}", text))
    return b"".join(_journal_field(name, value.encode("utf-8")) for name, value in fields)


def _journal_field(name: str, value: bytes) -> bytes:
    """`NAME=value`, or with a length before it where the value itself has a newline."""
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def _first(lines: deque[bytes], size: int) -> Iterator[bytes]:
    """As many whole lines from the left as fit into `size` bytes with a newline before; at least one."""
    left = size - 1
    for number, line in enumerate(lines):
        left -= len(line)
        if number and left < 0:
            return
        yield line


def _lacks_newline(path: Path) -> bool:
    """Whether a file has content that does not end in a newline."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            return size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
    except OSError:
        return False
