"""Seam: whenever it says that a connection stands between two requests, aiohttp's parser does."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from valetstore.edge.lane_check import why_not
from valetstore.edge.seam import Seam

HEAD: Final = b"GET /b/next?x=1 HTTP/1.1\r\nHost: gate.test\r\nUser-Agent: next\r\n\r\n"


class Connection:
    """aiohttp's parser, fed as `GatewayProtocol` feeds it, and the seam that is told of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        make: Any = HttpRequestParser
        self._parser = make(BaseProtocol(loop, None), loop, 2**16, auto_decompress=False, max_msg_queue_size=100)
        self.seam = Seam()

    def feed(self, data: bytes) -> list[str] | None:
        """The requests that these bytes complete, as text; None where they are not well-formed."""
        try:
            found, _, _ = self._parser.feed_data(data)
        except HttpProcessingError:
            self.seam.fed(data, 1, None)
            return None
        messages = [message for message, _ in found]
        self.seam.fed(data, len(messages), messages[-1] if messages else None)
        return [repr(message) for message in messages]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that never runs: the parser wants one."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


_HEADS: Final = st.builds(
    lambda method, version, fields, end: end.join([b"%b /b/x HTTP/%b" % (method, version), *fields, b"", b""]),
    st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS"]),
    st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]),
    st.lists(
        st.sampled_from(
            [
                b"Host: gate.test", b"Accept: */*", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: 64",
                b"Transfer-Encoding: chunked", b"Connection: upgrade\r\nUpgrade: websocket", b"Expect: 100-continue",
                b"Connection: close", b"X: \r\n folded", b"X: y\nZ: z", b"Content-Encoding: gzip",
            ]
        ),
        max_size=4,
    ),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
)  # fmt: skip
_PARTS: Final = st.one_of(
    _HEADS,
    _HEADS,
    st.sampled_from(
        [b"hello", b"hel", b"lo", b"5\r\nhello\r\n", b"0\r\n\r\n", b"\r\n", b"\n", b"\r", b"", b"x" * 64, HEAD[:7]]
    ),
    st.binary(max_size=8),
)


@settings(max_examples=400)
@given(parts=st.lists(_PARTS, min_size=1, max_size=6), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_between_two_requests_a_whole_head_makes_one_request(
    loop: asyncio.AbstractEventLoop, parts: Sequence[bytes], cuts: Sequence[int]
) -> None:
    """The very one that a parser makes that has seen nothing before; and after anything it is never wrong."""
    text = b"".join(parts)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    connection = Connection(loop)
    for start, end in pairwise(places):
        if connection.feed(text[start:end]) is None:
            assert not connection.seam.is_between
            return
    if connection.seam.is_between:
        fresh = Connection(loop)
        assert connection.feed(HEAD) == fresh.feed(HEAD)
        assert connection.seam.is_between


@settings(max_examples=200)
@given(parts=st.lists(_PARTS, min_size=1, max_size=6))
def test_each_piece_on_its_own_is_followed(loop: asyncio.AbstractEventLoop, parts: Sequence[bytes]) -> None:
    """Pieces as clients send them: a head, a body, a head."""
    connection = Connection(loop)
    for part in parts:
        if connection.feed(part) is None:
            assert not connection.seam.is_between
            return
    if connection.seam.is_between:
        assert connection.feed(HEAD) == Connection(loop).feed(HEAD)


PUT: Final = b"PUT /b/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [], [HEAD], [HEAD, HEAD, HEAD], [PUT + b"hello"], [PUT, b"hello"], [PUT + b"he", b"llo"],
        [PUT, b"he", b"", b"llo"],
        [HEAD, b"", HEAD], [b"", HEAD], [b"\r\n" + HEAD], [PUT, b"hello", HEAD, PUT, b"hello"],
    ],
)  # fmt: skip
def test_what_plain_clients_send_keeps_the_lane_open(loop: asyncio.AbstractEventLoop, pieces: Sequence[bytes]) -> None:
    """Heads one by one, and bodies that are framed by their length; also where aiohttp feeds nothing between them."""
    connection = Connection(loop)
    for piece in pieces:
        connection.feed(piece)
    assert connection.seam.is_between


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD + HEAD], [HEAD[:9], HEAD[9:]], [HEAD + b"\r\n"], [PUT + b"hello" + HEAD], [PUT, b"hello!"],
        [HEAD.replace(b"\r\n", b"\n")], [b"\r\n\r\n" + HEAD], [HEAD, b"\r\n"], [HEAD, b"G"],
        [b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
    ],
)  # fmt: skip
def test_after_anything_else_it_is_never_between_again(
    loop: asyncio.AbstractEventLoop, pieces: Sequence[bytes]
) -> None:
    """Whatever came last may have left something behind; a plain head does not bring it back."""
    connection = Connection(loop)
    for piece in pieces:
        connection.feed(piece)
    assert not connection.seam.is_between
    connection.feed(HEAD)
    assert not connection.seam.is_between


def test_a_body_that_comes_by_another_way_is_followed_too() -> None:
    """To its last byte, and no further."""
    for passed, between in (((3, 2), True), ((5,), True), ((4,), False), ((6,), False), ((3, 3), False)):
        loop = asyncio.new_event_loop()
        connection = Connection(loop)
        connection.feed(PUT)
        for count in passed:
            connection.seam.passed(count)
        assert connection.seam.is_between == between
        loop.close()


def test_the_aiohttp_that_is_installed_fits() -> None:
    """The lane is on in this very environment."""
    assert why_not() == ""
