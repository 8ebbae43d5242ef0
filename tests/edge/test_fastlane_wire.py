"""Bytes that are almost a request the lane knows: what comes back is what comes back without the lane.

Rule: each variant is sent on connections that are warm, in one piece, to twins; answers and ends must be the same.
"""

import contextlib
import random
import re
import select
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.lanes import VOLATILE, VOLATILE_IN_BODY, Laned, Twins, heard, laned, twins
from tests.edge.wire import Wire, chunk, head
from valetstore.edge.lane_memory import HEAD_BYTES_MAX

BODY: Final = b"the very object"
PLAIN: Final = head("GET", "/_valet/live")
"""What is sent last, so that an answer shows whether the connection is still in step."""
_OF_AN_UPLOAD: Final = re.compile(rb"(?m)^(ETag|Last-Modified): [^\r]*\r\n")
ANSWER_SECONDS: Final = 0.3
SETTLE_SECONDS: Final = 0.01


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """Twins with one object."""

    def prepare(made: Laned) -> None:
        made.put("/b/x", BODY)
        made.put("/b/y", b"y")

    with twins(tmp_path_factory.mktemp("twins"), prepare) as made:
        yield made


@pytest.fixture(scope="module")
def known(both: Twins) -> bytes:
    """A head that the lane knows by heart."""
    request = head("GET", both.fast.reading("/b/x"), "User-Agent: known/1", "Accept: */*")
    with both.fast.wire() as wire:
        both.fast.warm(wire, request, times=3)
    return request


def said_to(lane: Laned, first: bytes, pieces: Sequence[bytes], pause: float = 0.0) -> bytes:
    """All that comes back on a connection that is warm, until its end, but for what is new each time."""
    with lane.wire(seconds=20) as wire:
        assert heard(wire, first).status == 200
        time.sleep(0.004)  # so that it is at rest
        for piece in pieces:
            wire.pour(piece)
            time.sleep(pause)
        # To what is malformed the client's end comes before the answer, if it comes at once.
        select.select([wire.sock], [], [], ANSWER_SECONDS)
        time.sleep(SETTLE_SECONDS)
        with contextlib.suppress(OSError):
            wire.end_of_sending()
        return VOLATILE_IN_BODY.sub(rb"\1", _OF_AN_UPLOAD.sub(b"", VOLATILE.sub(b"", wire.rest(20))))


def alike(both: Twins, known: bytes, *pieces: bytes, pause: float = 0.0) -> bytes:
    """The same comes back from either; what."""
    quick, slow = (said_to(one, known, pieces, pause) for one in both)
    assert quick == slow, pieces
    return quick


def _line(request: bytes) -> tuple[bytes, bytes]:
    line, _, fields = request.partition(b"\r\n")
    return line, fields


def _with_field(request: bytes, field: bytes) -> bytes:
    return request[:-2] + field + b"\r\n\r\n"


FIELDS: Final = (
    b"Host: other.test", b"host:gate.test", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 1, 1", b"Content-Length:  0",
    b"Content-Length: 0\r\nTransfer-Encoding: chunked", b"Expect: 100-continue", b"Upgrade: websocket",
    b"Connection: upgrade\r\nUpgrade: h2c", b"Connection: close", b"X: a\r\n folded", b"X : y", b" X: y", b"X", b":y",
    b"X: \x00", b"X: \x0b", b"X: \xff", b"X\xff: y", b"X: y\rZ: z", b"Range: bytes=1-2", b"If-None-Match: *",
    b"Accept: text/html", b"X-Forwarded-For: 192.0.2.1", b"\tX: y", b"X: y\n", b"Trailer: X", b"TE: trailers",
)  # fmt: skip
BODIES: Final = (b"", b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"0\r\n\r\n")


@pytest.mark.parametrize("field", FIELDS)
def test_one_more_field_is_read_as_the_parser_reads_it(both: Twins, known: bytes, field: bytes) -> None:
    """With bodies that fit it and bodies that do not, each followed by another request."""
    for body in BODIES:
        alike(both, known, _with_field(known, field) + body + PLAIN)


LINES: Final = (
    b"get {t} HTTP/1.1", b"GET  {t} HTTP/1.1", b"GET\t{t} HTTP/1.1", b"GET {t}  HTTP/1.1", b" GET {t} HTTP/1.1",
    b"GET {t} HTTP/1.0", b"GET {t} HTTP/1.2", b"GET {t} HTTP/2.0", b"GET {t} http/1.1", b"GET {t} HTTP/1.1 ",
    b"GET {t}", b"GET http://gate.test{t} HTTP/1.1", b"GET //gate.test{t} HTTP/1.1", b"GET {t}# HTTP/1.1",
    b"GET {t}%00 HTTP/1.1", b"GET {t}\x00 HTTP/1.1", b"GET {t}\xe4 HTTP/1.1", b"GET {t}\x7f HTTP/1.1",
    b"HEAD {t} HTTP/1.1",
    b"POST {t} HTTP/1.1", b"PUT {t} HTTP/1.1", b"DELETE {t}&x HTTP/1.1", b"OPTIONS {t} HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"CONNECT {t} HTTP/1.1", b"PRI * HTTP/2.0", b"GET * HTTP/1.1", b"GETT {t} HTTP/1.1", b"GET {t}|^`{} HTTP/1.1",
    b'GET {t}"<>\\ HTTP/1.1', b"GET {t}[] HTTP/1.1", b"GET {t}& HTTP/1.1", b"GET /%62{t} HTTP/1.1",
    b"\r\nGET {t} HTTP/1.1",
    b"\r\n\r\nGET {t} HTTP/1.1", b"\nGET {t} HTTP/1.1", b"GET {t} HTTP/1.1\r\nGET {t} HTTP/1.1", b"\x16\x03\x01\x02",
    b"GET {t}\r HTTP/1.1", b"GET {t} HTTP/1.1\r", b"GET {t}&valet=x HTTP/1.1", b"GET {t}A HTTP/1.1",
)  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_another_line_over_known_fields_is_read_as_the_parser_reads_it(both: Twins, known: bytes, line: bytes) -> None:
    """Methods, versions, spaces, targets of every form: the fields being known makes no line a request."""
    first, fields = _line(known)
    target = first.split(b" ")[1]
    alike(both, known, line.replace(b"{t}", target) + b"\r\n" + fields + PLAIN)
    # And in a piece of its own, which is what the lane looks at.
    alike(both, known, line.replace(b"{t}", target) + b"\r\n" + fields, PLAIN, pause=0.02)


def test_ends_of_lines_count(both: Twins, known: bytes) -> None:
    """A line feed alone, in each place; a carriage return alone; one more, one less."""
    ends = [at for at in range(len(known)) if known.startswith(b"\r\n", at)]
    for at in ends:
        for other in (b"\n", b"\r", b"\r\r\n", b"\n\r\n", b"", b" \r\n"):
            alike(both, known, known[:at] + other + known[at + 2 :] + PLAIN)


def test_a_head_that_is_split_anywhere_is_one_request(both: Twins, known: bytes) -> None:
    """Two pieces at any place, on one connection; the lane sees neither half as a whole."""
    with both.fast.wire() as wire:
        for at in range(1, len(known)):
            wire.send(known[:at])
            time.sleep(0.0005)
            assert heard(wire, known[at:]).body == BODY, at
            if at % 7 == 0:
                assert heard(wire, known).body == BODY


def test_several_in_one_piece_are_answered_in_order(both: Twins, known: bytes) -> None:
    """The known one twice, with others before and behind, with a rest that comes later."""
    other = head("GET", both.fast.reading("/b/y"), "User-Agent: known/1", "Accept: */*")
    for pieces in (
        [known + known], [known + other + known], [other + known[:30], known[30:]],
        [known, known + other[:9], other[9:]],
        [known * 20], [known[:-1], b"\n" + known], [known + b"\r\n", other], [known + b"\n" + other],
        [known + b"\0", other],
    ):  # fmt: skip
        alike(both, known, *pieces, pause=0.02)


def test_what_follows_a_body_is_seen_where_it_begins(both: Twins, known: bytes) -> None:
    """A head inside a body is a body; one behind it is a request; however both are framed and cut."""
    writing = both.fast.reading("/b/put", ops=["write"])
    size = f"Content-Length: {len(known)}"
    for pieces in (
        [head("PUT", writing, size) + known, known],
        [head("PUT", writing, size), known, known],
        [head("PUT", writing, size), known[:10], known[10:], known],
        [head("PUT", writing, size), known + known],
        [head("PUT", writing, size) + known + known[:5], known[5:]],
        [head("PUT", writing, f"Content-Length: {len(known) + 1}"), known, b"x", known],
        [head("PUT", writing, "Transfer-Encoding: chunked"), chunk(known), chunk(b""), known],
        [head("PUT", writing, "Transfer-Encoding: chunked") + chunk(known) + chunk(b"") + known, known],
        [head("PUT", writing, "Content-Length: 0"), known],
        [head("PUT", writing), known],
        [head("PUT", writing, "Expect: 100-continue", size), known, known],
        [head("PUT", "/b/put?valet=x", size), known, known],
        [head("GET", writing, size), known, known],
        [head("POST", "/b/", "Content-Type: multipart/form-data; boundary=x", size), known, known],
        [head("PUT", writing, f"Content-Length: {2 * 2**20}"), known * (2 * 2**20 // len(known) + 1), known],
    ):
        answers = alike(both, known, *pieces, pause=0.03)
        assert answers.count(BODY) <= len(pieces) + 1


_BYTES: Final = st.one_of(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"#", b"?", b"%", b"/", b"\x7f", b"\xff", b"A", b"1"]
    ),
    st.binary(min_size=1, max_size=3),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1), new=_BYTES, how=st.sampled_from(["insert", "replace", "delete", "repeat"]))
def test_any_small_change_of_a_known_head_is_read_as_the_parser_reads_it(
    both: Twins, known: bytes, at: float, new: bytes, how: str
) -> None:
    """Bytes put in, taken out, changed, doubled anywhere."""
    place = int(at * (len(known) - 1))
    cut = {"insert": 0, "replace": len(new), "delete": len(new), "repeat": 0}[how]
    put = {"insert": new, "replace": new, "delete": b"", "repeat": known[place : place + 9]}[how]
    alike(both, known, known[:place] + put + known[place + cut :], PLAIN, pause=0.002)


# --- memory --------------------------------------------------------------------------------------------


def test_what_was_refused_is_not_remembered(tmp_path: Path) -> None:
    """A stranger's heads and keys take no room, however many: what was known before is still known."""
    with laned(tmp_path, {"speed": {"remembered-bytes-max": 64 * 16_384}}) as lane:
        lane.put("/b/x", BODY)
        mine = head("GET", lane.reading("/b/x"), "User-Agent: mine")
        with lane.wire() as wire, lane.wire() as stranger:
            lane.warm(wire, mine)
            for number in range(200):
                fields = (f"User-Agent: {number}", f"Cookie: a={number}")
                assert heard(stranger, head("GET", f"/b/x?valet=a.b.{number}", *fields)).status == 401
            before = lane.served()
            assert heard(wire, mine).body == BODY
            assert lane.served() == before + 1


def test_a_memory_that_is_full_forgets_and_answers_as_ever(tmp_path: Path) -> None:
    """More keys, heads and objects than there is room for; and none at all."""
    for room in (0, 4 * 16_384, 16 * 16_384):
        folder = tmp_path / str(room)
        folder.mkdir()
        with laned(folder, {"speed": {"remembered-bytes-max": room}}) as lane:
            names = [f"/b/{number}" for number in range(24)]
            for name in names:
                lane.put(name, name.encode() * 50)
            requests = {name: head("GET", lane.reading(name), f"User-Agent: {name}") for name in names}
            order = names * 6
            random.Random(room).shuffle(order)
            with lane.wire() as wire:
                for name in order:
                    assert heard(wire, requests[name]).body == name.encode() * 50


def test_of_more_heads_than_there_is_room_for_some_stay(tmp_path: Path) -> None:
    """Asked for one after the other, again and again, each would make the next one's place if each were remembered."""
    with laned(tmp_path, {"speed": {"remembered-bytes-max": 16 * 65_536}}) as lane:
        names = [f"/b/{number}" for number in range(16)]
        for name in names:
            lane.put(name, name.encode())
        requests = [head("GET", lane.reading(name)) for name in names]
        with lane.wire() as wire:
            for request in requests * 20:
                assert heard(wire, request).status == 200
        assert lane.served_by()["head"] >= 20


def test_a_client_that_takes_nothing_is_waited_for(tmp_path: Path) -> None:
    """Answers that nobody reads do not pile up in memory, however often they are asked for; and all come in the end."""
    with laned(tmp_path) as lane:
        lane.put("/b/most", b"m" * 65_536)
        request = head("GET", lane.reading("/b/most"))
        with Wire(lane.gate.address, receive_bytes=4_096, seconds=20) as wire:
            lane.warm(wire, request)
            assert lane.gate.process
            before = _memory(lane.gate.process.pid)
            count = 600
            for _ in range(count):
                wire.send(request)
                time.sleep(0.001)
            assert _memory(lane.gate.process.pid) - before < 8 * 2**20
            for _ in range(count):
                assert wire.answer().body == b"m" * 65_536


def _memory(process: int) -> int:
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * 4_096


def test_heads_longer_than_the_lanes_bound_are_answered_all_the_same(both: Twins) -> None:
    """One byte less, just as long, one more."""
    plain = head("GET", both.fast.reading("/b/x"), "User-Agent: ")
    for length in (HEAD_BYTES_MAX - 1, HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1):
        request = head("GET", both.fast.reading("/b/x"), "User-Agent: " + "u" * (length - len(plain)))
        assert alike(both, request, request, request, pause=0.01).count(BODY) == 2
