"""The way of a large body by sendfile: fair to others, careful with disks, honest about what is not there."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from tests.edge.doors import Door, mint, target
from tests.edge.wire import Ended, head, wait_until
from tests.gate import Gate
from valetstore.edge import pump
from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.edge.pump import TURN_BYTES, UNSENT_BYTES_MAX, UNSENT_BYTES_QUICK, Pump
from valetstore.edge.stream import COPY_BYTES, ObjectBody
from valetstore.storage.pagecache import read_cached, seems_cached
from valetstore.storage.promise import OpenObject

SIZE = 24 * 2**20 + 12_345
TRIES = 50


class Opened:
    """An object of a file, which counts what was read of it by `read`."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.reads: list[tuple[int, int]] = []

    def fileno(self) -> int:
        """For sendfile."""
        return self._fd

    async def read(self, start: int, count: int) -> bytes:
        """As a thread would."""
        self.reads.append((start, count))
        return os.pread(self._fd, count, start)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


class Line:
    """A TCP connection whose other end is read by a thread: the transport and the protocol of an exchange."""

    ssl_context = None

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.far = socket.create_connection(listener.getsockname())
            self.near, _ = listener.accept()
        self.near.setblocking(False)
        self.transport = self
        self.received = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while data := self.far.recv(2**20):
            self.received += data

    def get_extra_info(self, _name: str) -> socket.socket:
        """The socket."""
        return self.near

    async def flushed(self, *_: float) -> None:
        """Nothing was written before."""

    def taken(self) -> int:
        """Not of interest here."""
        return 0

    def close(self) -> None:
        """End it; all that was sent has been received."""
        self.near.close()
        self._reader.join()
        self.far.close()


@pytest.fixture
def line() -> Iterator[Line]:
    """A connection."""
    made = Line()
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with bytes that show where they stand, on the disk."""
    path = tmp_path / "file"
    with open(path, "wb") as out:
        out.write(b"".join(number.to_bytes(5, "big") for number in range(SIZE // 5 + 1))[:SIZE])
        out.flush()
        os.fsync(out.fileno())
    return path


def is_missing(fd: int, at: int) -> bool:
    """Whether the kernel says that a byte is not in the page cache."""
    try:
        os.preadv(fd, [bytearray(1)], at, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def shows_cold(path: Path, shows: Callable[[], bool]) -> bool:
    """Whether something shows that a file is not in the page cache; skips where it cannot be put out of it.

    To ask for bytes that are not there has the kernel fetch them, and a quick disk may have brought them before the
    kernel looks again: then it is right to say that they are there. So it is tried a few times.
    """
    is_ever_cold = False
    for _ in range(TRIES):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            is_ever_cold = is_ever_cold or is_missing(fd, SIZE // 2)
        finally:
            os.close(fd)
        if shows():
            return True
    if not is_ever_cold:
        pytest.skip("needs a file system whose pages can be dropped and looked for (ext4, xfs, btrfs)")
    return False


def exchange_on(line: Line) -> Exchange:
    """What a pump needs of an exchange."""

    class Bare:
        protocol = transport = line
        head_sent_at: float | None = None
        bytes_out = 0

    return cast(Exchange, Bare())


async def pumped(line: Line, opened: Opened, start: int, count: int) -> tuple[Exchange, list[int]]:
    """Send a stretch; the exchange, and how many bytes were out each time the loop came by."""
    exchange, seen = exchange_on(line), [0]
    loop = asyncio.get_running_loop()

    def look() -> None:
        seen.append(exchange.bytes_out)
        if exchange.bytes_out < count:
            loop.call_soon(look)

    look()
    on_its_way = Pump.on(exchange, cast(OpenObject, opened), Pace(1, 60, time.monotonic()))
    assert on_its_way
    with on_its_way:
        await on_its_way.send(b"head", start, count)
    return exchange, seen


@pytest.mark.parametrize("start", [0, 777])
def test_every_byte_arrives_and_no_turn_is_longer_than_a_turn(line: Line, file: Path, start: int) -> None:
    """However fast the client is: the others are looked after between any two pieces."""
    opened, count = Opened(file), SIZE - 1000
    exchange, seen = asyncio.run(pumped(line, opened, start, count))
    opened.close()
    wait_until(lambda: len(line.received) == 4 + count)
    assert line.received == b"head" + file.read_bytes()[start : start + count]
    assert exchange.bytes_out == count
    assert exchange.head_sent_at is not None
    # A turn may come before and one after a look.
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 2 * TURN_BYTES


@pytest.mark.parametrize(("quick_seconds", "most"), [(0.0, UNSENT_BYTES_MAX), (60.0, UNSENT_BYTES_QUICK)])
def test_more_waits_in_the_kernel_for_a_client_that_takes_it_quickly(
    line: Line, file: Path, monkeypatch: pytest.MonkeyPatch, quick_seconds: float, most: int
) -> None:
    """Slow ones are many; and once a body is sent nothing is left of the bound."""
    monkeypatch.setattr(pump, "QUICK_SECONDS", quick_seconds)
    opened, seen = Opened(file), set[int]()

    def bound() -> int:
        return line.near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

    async def told() -> None:
        sending = asyncio.create_task(pumped(line, opened, 0, SIZE))
        while not sending.done():
            seen.add(bound())
            await asyncio.sleep(0)
        await sending

    asyncio.run(told())
    opened.close()
    assert max(seen) == most
    assert seen <= {0, UNSENT_BYTES_MAX, most}
    assert bound() == 0


def test_copies_leave_the_others_their_turn_too(file: Path) -> None:
    """Over TLS: nothing waits where the bytes are in memory and the client takes all of them."""

    class Taker:
        ssl_context = "TLS"
        head_sent_at: float | None = None
        bytes_out = 0
        written = b""

        def __init__(self) -> None:
            self.protocol = self.transport = self

        def write_head(self, head: bytes, data: bytes) -> None:
            self.head_sent_at = time.monotonic()
            self.written = head + data

        def write(self, data: bytes) -> None:
            self.written += data

        async def drained(self, *_: float) -> None:
            pass

    async def send() -> list[int]:
        seen, opened = [0], Opened(file)

        async def look() -> None:
            while taker.bytes_out < SIZE:
                seen.append(taker.bytes_out)
                await asyncio.sleep(0)

        looking = asyncio.ensure_future(look())
        body = ObjectBody(cast(OpenObject, opened), 0, SIZE, Pace(1, 60, time.monotonic()))
        await body.send(cast(Exchange, taker), b"head")
        await looking
        body.close()
        return seen

    taker = Taker()
    seen = asyncio.run(send())
    assert taker.written == b"head" + file.read_bytes()
    assert max(later - earlier for earlier, later in pairwise(seen)) <= 2 * COPY_BYTES


def test_what_is_not_in_the_page_cache_is_read_by_a_thread_first(line: Line, file: Path) -> None:
    """The event loop is not to wait for a disk; each byte is read once."""
    sent = b""

    def begins_with_a_thread() -> bool:
        nonlocal sent
        opened = Opened(file)
        asyncio.run(pumped(line, opened, 0, SIZE))
        opened.close()
        sent += b"head" + file.read_bytes()
        wait_until(lambda: len(line.received) == len(sent))
        assert line.received == sent
        ends = [start + count for start, count in opened.reads]
        assert all(start >= end for end, (start, _) in zip(ends, opened.reads[1:], strict=False))
        return opened.reads[:1] == [(0, TURN_BYTES)]

    assert shows_cold(file, begins_with_a_thread)


def test_the_page_cache_is_asked_and_not_waited_for(file: Path) -> None:
    """What is there is returned whole; what is not, or not all of it, is None."""
    with open(file, "rb") as source:
        whole = source.read()
        fd = source.fileno()
        assert read_cached(fd, 10, 100_000) == whole[10:100_010]
        assert read_cached(fd, SIZE - 10, 11) is None
        assert seems_cached(fd, 0, SIZE)

        def shows_that_its_end_is_missing() -> bool:
            os.pread(fd, 1, 6 * 2**20)
            return not seems_cached(fd, 6 * 2**20, 2 * 2**20)

        # Each at another place, which nobody has asked for.
        assert shows_cold(file, lambda: read_cached(fd, 0, 100) is None)
        assert shows_cold(file, lambda: not seems_cached(fd, 3 * 2**20, 1))
        assert shows_cold(file, shows_that_its_end_is_missing)
        assert shows_cold(file, lambda: not seems_cached(fd, SIZE - 3 * 2**20, 3 * 2**20))


def test_small_requests_are_answered_while_a_download_runs_that_never_ends(gate: Gate, door: Door) -> None:
    """Its client takes all it can get; the object is larger than it could ever be."""
    path = target("/p/huge", mint(gate, ops=["read"], path="/p/huge"))
    assert gate.ask("PUT", gate.sign("PUT", "/p/huge"), b"x").status == 201
    os.truncate(stored(gate, "p/huge"), 2**42)
    with door.wire() as huge, door.wire() as small:
        huge.send(head("GET", path))
        taken = 0

        def take() -> None:
            nonlocal taken
            while data := receive(huge.sock):
                taken += data

        reader = threading.Thread(target=take)
        reader.start()
        for _ in range(20):
            before = taken
            wait_until(lambda before=before: taken > before)
            small.send(head("GET", "/_valet/live"))
            assert small.answer().status == 200
        huge.sock.shutdown(socket.SHUT_RDWR)
        reader.join()
    assert gate.ask("DELETE", gate.sign("DELETE", "/p/huge")).status == 204


def receive(sock: Any) -> int:
    """How many bytes came; 0 at the end."""
    try:
        return len(sock.recv(2**20))
    except OSError:
        return 0


def stored(gate: Gate, name: str) -> Path:
    """Where an object's bytes are."""
    return gate.data / "objects" / name


def test_an_object_that_is_truncated_on_the_way_is_cut(gate: Gate, door: Door) -> None:
    """The client must not take what there was for the whole; the audit says why."""
    assert gate.ask("PUT", gate.sign("PUT", "/p/cut"), bytes(20_000_000)).status == 201
    path = target("/p/cut", mint(gate, ops=["read"], path="/p/cut"))
    with door.wire() as wire:
        wire.send(head("GET", path))
        assert wire.sock.recv(1000)
        os.truncate(stored(gate, "p/cut"), 15_000_000)
        with pytest.raises((Ended, ConnectionError)):
            wire.answer()
    wait_until(lambda: "storage_error" in [line.get("code") for line in gate.audit() if line["event"] == "transfer"])
