"""One connection, many requests: kept alive, pipelined, half-closed, old, upgraded, given up."""

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.edge.doors import Door, mint, target
from tests.edge.wire import Ended, Wire, chunk, head
from tests.gate import Gate


@pytest.fixture(scope="module")
def small(gate: Gate) -> str:
    """The target of a small object, with a key."""
    assert gate.ask("PUT", gate.sign("PUT", "/c/small"), b"small!").status == 201
    return target("/c/small", mint(gate, ops=["read"], path="/c/small"))


def put_target(gate: Gate, path: str) -> str:
    """A target to write to, with a key."""
    return target(path, mint(gate, ops=["write"], path=path))


def test_a_connection_serves_one_request_after_another(door: Door, small: str) -> None:
    """Refusals that read no body keep it alive too."""
    with door.wire() as wire:
        for wanted, expected in ((small, 200), ("/c/small", 401), ("/c/x?q=%zz", 400), (small, 200)):
            wire.send(head("GET", wanted))
            answer = wire.answer()
            assert answer.status == expected
            assert "connection" not in answer.headers


def test_many_pipelined_gets_are_all_answered_in_order(door: Door, small: str) -> None:
    """Also more than a parser queues at once, sent before the first answer is read."""
    with door.wire() as wire:
        wire.send(b"".join(head("GET", small, f"Range: bytes={i % 6}-{i % 6}") for i in range(300)))
        for i in range(300):
            assert wire.answer().body == b"small!"[i % 6 : i % 6 + 1]


def test_pipelined_byte_by_byte(door: Door, small: str) -> None:
    """The parser sees every split."""
    with door.wire() as wire:
        for byte in head("GET", small) + head("HEAD", small) + head("GET", small):
            wire.send(bytes([byte]))
        assert [wire.answer().body, wire.answer("HEAD").body, wire.answer().body] == [b"small!", b"", b"small!"]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_followed_by_many_pipelined_gets(door: Door, framing: str) -> None:
    """What follows a body is not counted as its framing."""
    path = f"/c/piped-{framing}"
    gets = 400
    get = head("GET", target(path, mint(door.gate, ops=["read"], path=path)), f"X-Padding: {'p' * 200}")
    assert len(get) * gets > 128 * 1024
    if framing == "length":
        put = head("PUT", put_target(door.gate, path), "Content-Length: 4") + b"body"
    else:
        put = head("PUT", put_target(door.gate, path), "Transfer-Encoding: chunked") + chunk(b"body") + chunk(b"")
    with door.wire() as wire:
        wire.send(put + get * gets)
        assert wire.answer().status == 201
        for _ in range(gets):
            assert wire.answer().body == b"body"


def test_a_chunked_upload_right_behind_a_long_one(door: Door) -> None:
    """The body before it is not counted as its framing."""
    long = b"l" * 300_000
    with door.wire() as wire:
        first = head("PUT", put_target(door.gate, "/c/long"), f"Content-Length: {len(long)}")
        second = head("PUT", put_target(door.gate, "/c/behind"), "Transfer-Encoding: chunked")
        wire.send(first + long[:1000])
        time.sleep(0.2)
        wire.send(long[1000:] + second + chunk(b"x") + chunk(b""))
        assert [wire.answer().status, wire.answer().status] == [201, 201]


def test_pipelined_uploads(door: Door) -> None:
    """Each body goes to its own object."""
    paths = [f"/c/row{i}" for i in range(20)]
    with door.wire() as wire:
        for i, path in enumerate(paths):
            wire.send(head("PUT", put_target(door.gate, path), f"Content-Length: {i}") + b"x" * i)
        assert [wire.answer().status for _ in paths] == [201] * 20
        for i, path in enumerate(paths):
            wire.send(head("HEAD", target(path, mint(door.gate, ops=["read"], path=path))))
            assert wire.answer("HEAD").headers["content-length"] == str(i)


def test_a_large_download_behind_small_ones(door: Door, small: str) -> None:
    """Buffered and sendfile'd answers of one connection keep their order."""
    data = bytes(range(256)) * 8192
    assert door.ask("PUT", put_target(door.gate, "/c/large"), data).status == 201
    large = target("/c/large", mint(door.gate, ops=["read"], path="/c/large"))
    with door.wire() as wire:
        wire.send((head("GET", small) + head("GET", large)) * 5)
        time.sleep(0.5)  # nobody reads yet: buffers are full
        for _ in range(5):
            assert wire.answer().body == b"small!"
            assert wire.answer().body == data


def test_half_close_after_requests_still_gets_every_answer(door: Door, small: str) -> None:
    """`printf ... | nc -N`: the client has said all it wanted, and waits (RFC 9112 section 9.6)."""
    with door.wire() as wire:
        wire.send(head("GET", small) * 3)
        wire.end_of_sending()
        assert [wire.answer().body for _ in range(3)] == [b"small!"] * 3
        assert wire.is_ended()


def test_half_close_after_a_large_request(door: Door) -> None:
    """The answer that takes long arrives whole too."""
    data = b"0123456789abcdef" * 2**18
    assert door.ask("PUT", put_target(door.gate, "/c/slow"), data).status == 201
    with door.wire() as wire:
        wire.send(head("GET", target("/c/slow", mint(door.gate, ops=["read"], path="/c/slow"))))
        wire.end_of_sending()
        time.sleep(0.3)
        assert wire.answer().body == data
        assert wire.is_ended()


def test_half_close_after_an_upload(door: Door) -> None:
    """The upload is whole, so it is kept and acknowledged."""
    with door.wire() as wire:
        wire.send(head("PUT", put_target(door.gate, "/c/half"), "Content-Length: 4") + b"half")
        wire.end_of_sending()
        assert wire.answer().status == 201
        assert wire.is_ended()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", head("PUT", "/x", "Content-Length: 10") + b"12"])
def test_half_close_in_the_middle_ends_the_connection(door: Door, sent: bytes) -> None:
    """Nothing more can come; nobody waits for it."""
    with door.wire() as wire:
        wire.send(sent)
        wire.end_of_sending()
        started = time.monotonic()
        wire.rest()
        assert time.monotonic() - started < 4


def test_a_half_closed_upload_leaves_nothing(door: Door) -> None:
    """An end of sending before the announced length is an end of the upload."""
    with door.wire() as wire:
        wire.send(head("PUT", put_target(door.gate, "/c/never"), "Content-Length: 10") + b"1234")
        time.sleep(0.2)
        wire.end_of_sending()
        wire.rest()
    assert door.ask("GET", door.gate.sign("GET", "/c/never")).status == 404


def test_http_1_0_closes_unless_asked_to_stay(door: Door, small: str) -> None:
    """Without a Host, which HTTP/1.0 does not need."""
    with door.wire() as wire:
        wire.send(head("GET", small, "Connection: keep-alive", host=None, version="1.0"))
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        wire.send(head("GET", small, host=None, version="1.0"))
        answer = wire.answer()
        assert (answer.body, answer.headers["connection"]) == (b"small!", "close")
        assert wire.is_ended()


def test_connection_close_is_obeyed(door: Door, small: str) -> None:
    """And said."""
    with door.wire() as wire:
        wire.send(head("GET", small, "Connection: close"))
        assert wire.answer().headers["connection"] == "close"
        assert wire.is_ended()


def test_http_1_0_upload(door: Door) -> None:
    """A 100-continue is never sent to it (RFC 9110 section 10.1.1)."""
    with door.wire() as wire:
        lines = ("Content-Length: 3", "Expect: 100-continue")
        wire.send(head("PUT", put_target(door.gate, "/c/old"), *lines, version="1.0"))
        wire.send(b"old")
        assert wire.answer().status == 201


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_an_upgrade_is_ignored(door: Door, small: str, protocol: str) -> None:
    """RFC 9110 section 7.8: a server may ignore it. What follows has to come on a new connection, and this is said."""
    path = f"/c/upgraded-{protocol.replace('/', '-')}"
    lines = ("Connection: Upgrade", f"Upgrade: {protocol}")
    with door.wire() as wire:
        wire.send(head("GET", small, *lines) + head("GET", small))
        answer = wire.answer()
        assert (answer.body, answer.headers["connection"]) == (b"small!", "close")
        assert wire.is_ended()
    with door.wire() as wire:
        wire.send(head("PUT", put_target(door.gate, path), "Content-Length: 4", *lines) + b"body" + head("GET", small))
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert wire.is_ended()


def test_curl_that_hopes_for_http_2(door: Door, small: str, tmp_path: Path) -> None:
    """`curl --http2` asks for an upgrade with every request, uploads too."""
    (tmp_path / "up").write_bytes(b"up" * 50_000)
    url = door.base + put_target(door.gate, "/c/curl")
    upload = ["curl", "-sS", "--http2", "-T", str(tmp_path / "up"), "-w", "%{http_code}", url]
    done = subprocess.run(upload, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("201", "")
    done = subprocess.run(["curl", "-sS", "--http2", door.base + small], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("small!", "")


def test_a_client_that_vanishes_during_a_download_disturbs_nobody(door: Door, small: str) -> None:
    """Neither a traceback nor a stuck connection."""
    data = b"v" * 2**23
    assert door.ask("PUT", put_target(door.gate, "/c/vanish"), data).status == 201
    url = target("/c/vanish", mint(door.gate, ops=["read"], path="/c/vanish"))
    for _ in range(5):
        wire = door.wire()
        wire.send(head("GET", url))
        wire.sock.recv(1000)
        wire.reset()
    assert door.ask("GET", small).body == b"small!"


def test_a_refused_body_ends_the_connection_and_the_answer_is_read(door: Door) -> None:
    """What follows would be read as a request; and a reset would take the answer with it."""
    for size in (10, 4_000_000):
        with door.wire() as wire:
            wire.pour(head("PUT", "/c/unkeyed", f"Content-Length: {size}") + b"x" * size)
            answer = wire.answer()
            assert (answer.status, answer.code) == (401, "key_missing")


def test_the_rest_of_a_refused_body_is_never_a_request(door: Door) -> None:
    """Smuggled behind an unread body: it is dropped with the connection."""
    inner = head("GET", "/_valet/live")
    with door.wire() as wire:
        wire.send(head("PUT", "/c/unkeyed", f"Content-Length: {len(inner) + 5}"))
        assert wire.answer().status == 401
        wire.pour(inner)
        assert wire.is_ended()


def test_a_get_with_a_body_is_answered_and_the_connection_ends_or_goes_on(door: Door, small: str) -> None:
    """The body of a GET has no meaning; it is never taken for the next request."""
    with door.wire() as wire:
        wire.send(head("GET", small, "Content-Length: 4") + b"GET ")
        assert wire.answer().body == b"small!"
        wire.pour(head("GET", small))
        with contextlib.suppress(Ended, ConnectionError):
            assert wire.answer().body == b"small!"


def test_a_malformed_second_request_does_not_spoil_the_first(door: Door, small: str) -> None:
    """The first is answered, the second refused, the connection closed."""
    with door.wire() as wire:
        wire.send(head("GET", small))
        assert wire.answer().body == b"small!"
        wire.send(b"NOT HTTP AT ALL\r\n\r\n")
        assert wire.answer().code == "request_malformed"
        assert wire.is_ended()


def test_a_malformed_chunk_is_refused_at_once(door: Door) -> None:
    """The upload does not wait for a body that cannot come."""
    started = time.monotonic()
    with door.wire() as wire:
        wire.send(head("PUT", put_target(door.gate, "/c/chunk"), "Transfer-Encoding: chunked") + chunk(b"fine"))
        time.sleep(0.2)
        wire.send(b"zz\r\nnot a size")
        answer = wire.answer()
    assert (answer.status, answer.code) == (400, "request_malformed")
    assert time.monotonic() - started < 3
    assert door.ask("GET", door.gate.sign("GET", "/c/chunk")).status == 404


def test_an_address_in_a_unix_socket(tmp_path: Path) -> None:
    """A client may bind its own end to a path or to an abstract name; it is served all the same."""
    listen = tmp_path / "gate.sock"
    with Gate(tmp_path, args=("--listen", f"unix:{listen}")) as gate:
        assert gate.base == f"unix:{listen}"
        for own in (None, str(tmp_path / "own.sock"), "\0valetstore-test"):
            with socket.socket(socket.AF_UNIX) as sock:
                if own is not None:
                    sock.bind(own)
                sock.settimeout(5)
                sock.connect(str(listen))
                sock.sendall(head("GET", "/_valet/live", "Connection: close"))
                assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
        data = b"u" * 3_000_000
        with Wire(str(listen)) as wire:
            wire.send(head("PUT", put_target(gate, "/c/unix"), f"Content-Length: {len(data)}") + data)
            assert wire.answer().status == 201
            wire.send(head("GET", target("/c/unix", mint(gate, ops=["read"], path="/c/unix"))))
            assert wire.answer().body == data
        assert "Traceback" not in gate.log
    assert not listen.exists()
