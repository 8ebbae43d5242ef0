"""The generator's reading of answers: each body is counted exactly, whatever way it comes, or the request failed."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.chunks import Chunks
from bench.load.engine import LoadEngine
from bench.load.heads import CHUNKED, UNTIL_CLOSE, BadAnswer, read_head
from bench.load.jobs import Job, do
from bench.load.plan import Body, Origin, Plan, Source
from bench.load.tally import Latencies, Tally

HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(answer: bytes, *, pieces: int, closes: bool = False) -> Iterator[Origin]:
    """A server that gives this answer to every request, in so many sends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with suppress(ConnectionError), connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while connection.recv(65536):
                    step = max(1, len(answer) // pieces)
                    for at in range(0, len(answer), step):
                        connection.sendall(answer[at : at + step])
                    if closes:
                        return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        host, port = listener.getsockname()
        yield Origin(socket.AF_INET, (host, port), None, host)
        listener.shutdown(socket.SHUT_RDWR)


def tally_of(origin: Origin, requests: int = 5, method: str = "GET", timeout_seconds: float = 5) -> Tally:
    """What came of so many requests on two connections."""
    head = f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    plan = Plan(method, [Source(origin, repeat(head, requests))], 2, None, timeout_seconds=timeout_seconds)
    engine = LoadEngine(plan)
    engine.run()
    return engine.tally


@pytest.mark.parametrize("pieces", [1, 2, 10_000])
@pytest.mark.parametrize(
    ("answer", "closes", "moved"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello", False, 5),
        (HEAD + b"content-length:5\r\nConnection: close\r\n\r\nhello", True, 5),
        (HEAD + b"Content-Length: 0\r\n\r\n", False, 0),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n", False, 5),
        (HEAD + b"\r\nhello", True, 5),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", True, 5),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello", False, 5),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, 0),
    ],
)
def test_every_form_of_body_is_counted(answer: bytes, closes: bool, moved: int, pieces: int) -> None:
    with answering(answer, pieces=pieces, closes=closes) as origin:
        tally = tally_of(origin)
    assert (tally.answered, tally.failed, tally.moved) == (5, 0, 5 * moved)


@pytest.mark.parametrize(
    ("answer", "closes", "error"),
    [
        (HEAD + b"Content-Length: 4\r\n\r\nhello", False, "the answer is longer than its Content-Length"),
        (HEAD + b"Content-Length: 6\r\n\r\nhello", True, "the connection was closed before the answer was whole"),
        (HEAD + b"Content-Length: x\r\n\r\n", False, "the answer has a Content-Length that is no number"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", False, "the answer has a chunk without a size"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", False, "the answer is not HTTP/1"),
        (HEAD + b"Content-Length: 6\r\n\r\nhello", False, "nothing came for 0.3 s"),
        (b"HTTP/1.1 403 Forbidden\r\nX-Valet-Error: key_used\r\nContent-Length: 1\r\n\r\n-", False, "403 key_used"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", False, "302"),
    ],
)
def test_what_goes_wrong_is_counted_by_name(answer: bytes, closes: bool, error: str) -> None:
    with answering(answer, pieces=1, closes=closes) as origin:
        tally = tally_of(origin, requests=3, timeout_seconds=0.3)
    assert (tally.failed, dict(tally.errors)) == (3, {error: 3})


def test_a_job_ends_with_the_first_answer_that_it_does_not_expect() -> None:
    with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", pieces=1) as origin:
        outcome = do(Job(origin.address[0], origin.address[1], "GET", ["/"], [200], seconds=60))
    assert "403 Forbidden" in outcome.error


def test_a_whole_job_does_as_many_requests_as_it_must() -> None:
    with answering(HEAD + b"Content-Length: 1\r\n\r\nx", pieces=1) as origin:
        host, port = origin.address[:2]
        outcome = do(Job(host, port, "GET", ["/"], [200], seconds=0, connections=3, requests=20, whole=True))
        once = do(Job(host, port, "GET", ["/a", "/b"], [200], seconds=60, once=True))
    assert (outcome.error, once.error) == ("", "")
    assert 20 <= outcome.requests <= 22
    assert once.requests == 2


@given(bodies=st.lists(st.binary(min_size=1, max_size=40), max_size=6), seed=st.integers(0, 2**16))
def test_chunks_are_counted_however_they_are_split(bodies: list[bytes], seed: int) -> None:
    wire = b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"
    chunks, at, cut = Chunks(), 0, random.Random(seed)
    while at < len(wire):
        step = cut.randint(1, 7)
        is_over = chunks.feed(memoryview(wire)[at : at + step])
        at += step
        assert is_over == (at >= len(wire))
    assert chunks.moved == sum(map(len, bodies))
    with pytest.raises(BadAnswer):
        Chunks().feed(memoryview(wire + b"x"))


@given(st.binary(max_size=200))
def test_no_head_does_more_than_be_refused(noise: bytes) -> None:
    for head in (noise, HEAD + noise + b"\r\n"):
        try:
            found = read_head(head, "GET")
        except BadAnswer:
            continue
        assert found.length >= 0 or found.length in (CHUNKED, UNTIL_CLOSE)


@given(st.lists(st.floats(min_value=0, max_value=3, allow_nan=False), min_size=1, max_size=200), st.floats(0.1, 100))
def test_a_percentile_is_the_nearest_rank(seconds: list[float], percent: float) -> None:
    """To the microsecond up to 0.1 s, to the millisecond above."""
    times = Latencies()
    for each in seconds:
        times.add(each)
    rank = -(-len(seconds) * percent // 100)
    wanted = sorted(seconds)[int(rank) - 1] * 1000
    assert wanted - 1.001 <= times.percentile_ms(percent) <= wanted
    if wanted < 99:
        assert wanted - 0.0011 <= times.percentile_ms(percent)
    assert times.longest == max(seconds)


@given(size=st.integers(0, 300), block=st.binary(min_size=1, max_size=50))
def test_a_body_is_its_block_over_and_over(size: int, block: bytes) -> None:
    body, sent = Body(memoryview(block), size), bytearray()
    while part := body.part(len(sent)):
        sent += part
    assert sent == (block * (size // len(block) + 1))[:size]
