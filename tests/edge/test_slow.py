"""Clients that dawdle: let go of at the pace the settings ask for, and no sooner."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.edge.conftest import inspect
from tests.edge.doors import Door, mint, opened, target
from tests.edge.wire import chunk, head, wait_until
from tests.gate import Answer

GRACE = 1
RATE = 20_000


@pytest.fixture(scope="module", params=["http", "tls"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway without patience."""
    limits = {
        "header-seconds": 1,
        "keep-alive-seconds": 4,
        "rate-grace-seconds": GRACE,
        "upload-bytes-per-second-min": RATE,
        "download-bytes-per-second-min": RATE,
    }
    config = {"limits": limits}
    with opened(request.param, tmp_path_factory.mktemp("slow"), config, args=("--metrics", "127.0.0.1:0")) as made:
        yield made
        wait_until(lambda: not connections(made), 15)
        inspect(made.gate)


def connections(door: Door) -> list[str]:
    """Sockets of the gateway that are not listening, as the kernel sees them."""
    port = f":{door.address[1]:04X}"
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return [row[3] for row in rows if row[1].endswith(port) and row[3] in {"01", "08", "04"}]


def took(wait: Callable[[], object]) -> float:
    """Seconds."""
    started = time.monotonic()
    wait()
    return time.monotonic() - started


def test_a_head_that_does_not_come_is_told_408(door: Door) -> None:
    """After silence, half a head, or an empty line."""
    wires = [door.wire() for _ in range(3)]
    for wire, sent in zip(wires, (b"", b"GET / HTTP/1.1\r\nHo", b"\r\n"), strict=True):
        wire.send(sent)
    for wire in wires:
        with wire:
            answer = wire.answer()
            assert (answer.status, answer.code) == (408, "request_timeout")
            assert wire.is_ended()


def test_a_head_byte_by_byte_has_the_same_deadline(door: Door) -> None:
    """Each byte does not start it anew."""
    with door.wire() as wire:
        started = time.monotonic()
        wire.sock.settimeout(0.2)
        while time.monotonic() - started < 5:
            wire.pour(b"GET / HTTP/1.1\r\nX: " if time.monotonic() - started < 0.1 else b"x")
            try:
                assert wire.answer().status == 408
                break
            except TimeoutError:
                continue
        assert time.monotonic() - started < 4


def test_a_second_head_has_a_deadline_too(door: Door) -> None:
    """After an answered request."""
    with door.wire() as wire:
        wire.send(head("GET", "/_valet/live"))
        assert wire.answer().status == 200
        wire.send(b"GET / HT")
        assert wire.answer().status == 408


@pytest.mark.parametrize("framing", ["none", "length", "chunked"])
@pytest.mark.parametrize("packets", ["one", "two", "during"])
def test_a_head_that_begins_behind_a_request_has_the_same_deadline(door: Door, framing: str, packets: str) -> None:
    """In the packet the request ends in, or while it is answered: it is told, and not taken for an idle connection."""
    path = f"/s/behind-{framing}-{packets}"
    begun = b"GET / HTTP/1.1\r\nHo"
    if framing == "none":
        request, body, status = head("GET", "/_valet/live"), b"", 200
    elif framing == "length":
        request, body, status = upload(door, path, "Content-Length: 20"), b"b" * 20, 201
    else:
        request, body, status = upload(door, path, "Transfer-Encoding: chunked"), chunk(b"body") + chunk(b""), 201
    with door.wire() as wire:
        if packets == "one":
            wire.send(request + body + begun)
        elif packets == "two":
            sent = request + body
            wire.send(sent[:-3])
            time.sleep(0.2)
            wire.send(sent[-3:] + begun)
        else:
            wire.send(request + body)
            wire.send(begun)
        assert wire.answer().status == status
        started = time.monotonic()
        check_408(wire.answer())
        assert time.monotonic() - started < 3.5
        assert wire.is_ended()


@pytest.mark.parametrize("framing", ["none", "length", "chunked"])
@pytest.mark.parametrize("split", [1, 3, 4, 30, 10**6])
def test_a_request_with_nothing_behind_it_leaves_an_idle_connection(door: Door, framing: str, split: int) -> None:
    """However its end is cut up: it is kept for longer than a head may take."""
    path = f"/s/alone-{framing}-{split}"
    if framing == "none":
        sent, statuses = head("GET", "/_valet/live"), {200}
    elif framing == "length":
        sent, statuses = upload(door, path, "Content-Length: 10") + b"0123456789", {200, 201}
    else:
        sent, statuses = upload(door, path, "Transfer-Encoding: chunked") + chunk(b"body") + chunk(b""), {200, 201}
    with door.wire() as wire:
        for _ in range(2):  # the second right behind the first
            wire.send(sent[:-split])
            time.sleep(0.05)
            wire.send(sent[-split:])
        assert {wire.answer().status, wire.answer().status} <= statuses
        assert not wire.is_ended(2.5)
        wire.sock.settimeout(5)
        wire.send(head("GET", "/_valet/live"))
        assert wire.answer().status == 200


def test_many_requests_in_one_piece_leave_an_idle_connection(door: Door) -> None:
    """More than the parser queues at once, with bodies and without."""
    put = upload(door, "/s/many", "Content-Length: 10") + b"0123456789"
    for request in (put, head("GET", "/_valet/live"), put + head("GET", "/_valet/live")):
        with door.wire() as wire:
            wire.send(request * 50)
            for _ in range(50 * request.count(b"HTTP/1.1")):
                assert wire.answer().status in {200, 201}
            assert not wire.is_ended(2.5)


def test_an_idle_connection_is_closed_without_a_word(door: Door) -> None:
    """No request was begun, so there is nothing to say."""
    with door.wire() as wire:
        wire.send(head("GET", "/_valet/live"))
        assert wire.answer().status == 200
        assert wire.is_ended(8)


def upload(door: Door, path: str, *lines: str) -> bytes:
    """A head for an upload of half a megabyte."""
    return head("PUT", target(path, mint(door.gate, ops=["write"], path=path)), *lines)


@pytest.mark.parametrize("framing", ["Content-Length: 500000", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_told_408(door: Door, framing: str) -> None:
    """Within the grace, with nothing kept."""
    with door.wire() as wire:
        wire.send(upload(door, "/s/stops", framing) + chunk(b"x" * 1000))
        assert took(lambda: check_408(wire.answer())) < 4 * GRACE
    assert door.ask("GET", door.gate.sign("GET", "/s/stops")).status == 404


def check_408(answer: Answer) -> None:
    """The body was too slow."""
    assert (answer.status, answer.code) == (408, "request_timeout")


def test_a_body_that_trickles_is_told_408(door: Door) -> None:
    """A byte now and then does not keep a connection."""
    with door.wire(0.2) as wire:
        wire.send(upload(door, "/s/trickles", "Content-Length: 500000"))
        started = time.monotonic()
        while time.monotonic() - started < 8 * GRACE:
            wire.pour(b"x" * 100)
            try:
                check_408(wire.answer())
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it may trickle on")
    assert door.ask("GET", door.gate.sign("GET", "/s/trickles")).status == 404


def test_a_body_just_fast_enough_arrives(door: Door) -> None:
    """However long it takes."""
    with door.wire() as wire:
        wire.send(upload(door, "/s/steady", "Content-Length: 100000"))
        for _ in range(20):
            wire.send(b"x" * 5000)
            time.sleep(0.12)
        assert wire.answer().status == 201


@pytest.fixture(scope="module")
def objects(door: Door) -> dict[int, str]:
    """Targets of objects by size: within one write, and by sendfile (or slices over TLS)."""
    made = {}
    for size in (250_000, 30_000_000):
        assert door.ask("PUT", door.gate.sign("PUT", f"/s/o{size}"), b"o" * size).status == 201
        made[size] = target(f"/s/o{size}", mint(door.gate, ops=["read"], path=f"/s/o{size}"))
    return made


@pytest.mark.parametrize("size", [250_000, 30_000_000])
def test_a_reader_that_stops_is_cut(door: Door, objects: dict[int, str], size: int) -> None:
    """Its socket is gone from the kernel, not only forgotten."""
    with door.wire() as wire:
        if size < 10**6:  # more than the kernel takes for a client that reads nothing
            wire.sock.settimeout(0.5)
            request = head("GET", objects[size])
            wire.pour(request * 60)
        else:
            wire.send(head("GET", objects[size]))
        wait_until(lambda: not connections(door), 12)


def test_a_reader_that_trickles_is_cut(door: Door, objects: dict[int, str]) -> None:
    """One that takes some bytes now and then, yet far fewer than it must."""
    with door.wire() as wire:
        wire.send(head("GET", objects[30_000_000]))
        started, taken = time.monotonic(), 0
        while connections(door) and time.monotonic() - started < 15:
            try:
                taken += len(wire.sock.recv(500))
            except OSError:
                break
            time.sleep(0.1)
        assert time.monotonic() - started < 12
        assert taken < 30_000_000


def test_a_steady_reader_gets_everything(door: Door, objects: dict[int, str]) -> None:
    """Slower than the network, faster than it must be, for longer than the grace."""
    with door.wire(receive_bytes=100_000) as wire:
        wire.send(head("GET", objects[30_000_000]))
        count, end = 0, time.monotonic() + 3 * GRACE
        while time.monotonic() < end:
            count += len(wire.sock.recv(16_384))
            time.sleep(0.02)
        assert count < 27_000_000
        while data := wire.sock.recv(2**20):
            count += len(data)
            if count > 27_000_000:
                break
        assert count > 27_000_000


def test_a_reader_that_stalls_and_goes_on_gets_everything(door: Door, objects: dict[int, str]) -> None:
    """Each stall is shorter than the grace; together they are longer."""
    with door.wire(receive_bytes=100_000) as wire:
        wire.send(head("GET", objects[30_000_000]))
        count = 0
        for _ in range(5):
            time.sleep(0.4 * GRACE)
            count += sum(len(wire.sock.recv(65_536)) for _ in range(20))
        while count < 30_000_000:
            data = wire.sock.recv(2**20)
            assert data, f"cut after {count} bytes"
            count += len(data)


def test_a_client_that_never_takes_the_last_bytes_is_let_go(door: Door, objects: dict[int, str]) -> None:
    """A connection that is to be closed, with an answer in its buffer that nobody reads."""
    with door.wire() as wire:
        wire.send(head("GET", objects[250_000]) * 40 + head("GET", objects[250_000], "Connection: close"))
        wait_until(lambda: not connections(door), 15)
