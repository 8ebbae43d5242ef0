"""What the fast lane remembers is found by nothing else, and the oldest of it goes first."""

import re
from collections import OrderedDict
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from tests.minting import ring
from valetstore.edge.bounded import Bounded
from valetstore.edge.lane_memory import LaneMemory, page_of
from valetstore.gateway import Gateway
from valetstore.grants.native import Native
from valetstore.replay.memory import MemoryReplaySet

_KEYED: Final = re.compile(rb"(GET|HEAD) (/[a-z0-9./%]*)\?valet=([A-Za-z0-9_.-]+) HTTP/1\.1\r\n(.*)", re.DOTALL)
"""A head whose query is a native key, as the lane learns it."""

_FIELDS: Final = st.sampled_from((b"Host: a\r\n\r\n", b"Referer: /x?valet=k HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n"))
_PIECES: Final = st.lists(
    st.sampled_from((b"GET /", b"?valet=", b" HTTP/1.1\r\n", b"\n", b"\r\n", b"a", b"k", b"&", b"%", b" ", b"?", b"=")),
    max_size=12,
).map(b"".join)


@given(
    path=st.sampled_from((b"/b/x", b"/b/%2F")), fields=_FIELDS, key=st.sampled_from((b"k", b"a.b-c_9")), other=_PIECES
)
@example(path=b"/b/x", fields=b"Host: a\r\n\r\n", key=b"k", other=b"GET /b/x?valet=a&k=k HTTP/1.1\r\nHost: a\r\n\r\n")
@example(path=b"/b/x", fields=b"\r\n", key=b"k", other=b"GET /b/x?valet=\n HTTP/1.1\r\n\r\n")
@example(path=b"/b/x", fields=b"\r\n", key=b"k", other=b"GET /b/x?valet= HTTP/1.1\r\n\r\n")
@example(path=b"/b/x", fields=b"\r\n", key=b"k", other=b"GET /b/x?valet=k  HTTP/1.1\r\n\r\n")
def test_a_head_that_is_found_differs_in_its_key_alone(path: bytes, fields: bytes, key: bytes, other: bytes) -> None:
    """Whatever comes: what has a remembered page's text is the same request with some key."""
    head = b"GET " + path + b"?valet=" + key + b" HTTP/1.1\r\n" + fields
    page = page_of(head)
    assert page is not None
    assert page.key == key.decode()
    assert page.target == path + b"?valet=" + key
    found = page_of(other)
    if found is not None and found.text == page.text:
        parsed = _KEYED.fullmatch(other)
        assert parsed is not None
        assert parsed.groups() == (b"GET", path, found.key.encode(), fields)


_DATES: Final = (b"20261123T184500Z", b"20250101T000000Z", b"2026")
_SIGNATURES: Final = (b"0" * 64, b"0a" * 32, b"A" * 64, b"0" * 63)
_SIGNED_PIECES: Final = st.lists(
    st.sampled_from((
        b"GET /b/x?", b"X-Amz-Algorithm=A", b"&X-Amz-Date=", b"&X-Goog-Date=", b"&X-Amz-Signature=", b"&x=y", b"\n",
        b"&", b" HTTP/1.1\r\n", b"Host: a\r\n\r\n", b"\r\n", b"Referer: /y?X-Amz-Algorithm=A", *_DATES, *_SIGNATURES,
    )),
    max_size=14,
).map(b"".join)  # fmt: skip
_SIGNED: Final = re.compile(
    rb"GET /b/x\?X-Amz-Algorithm=A&X-Amz-Date=[0-9]{8}T[0-9]{6}Z&X-Amz-Signature=[0-9a-f]{64,1024} HTTP/1\.1\r\n(.*)",
    re.DOTALL,
)


def _signed_head(date: bytes, signature: bytes, fields: bytes) -> bytes:
    query = b"X-Amz-Algorithm=A&X-Amz-Date=" + date + b"&X-Amz-Signature=" + signature
    return b"GET /b/x?" + query + b" HTTP/1.1\r\n" + fields


@given(
    fields=st.sampled_from((b"Host: a\r\n\r\n", b"Referer: /y?X-Amz-Date=2&X-Amz-Signature=0\r\nHost: a\r\n\r\n")),
    other=_SIGNED_PIECES | st.builds(_signed_head, st.sampled_from(_DATES), st.sampled_from(_SIGNATURES), _FIELDS),
)
@example(fields=b"Host: a\r\n\r\n", other=_signed_head(b"\n", b"\n", b"Host: a\r\n\r\n"))
@example(fields=b"Host: a\r\n\r\n", other=_signed_head(_DATES[0], b"0" * 64 + b"&x=y", b"Host: a\r\n\r\n"))
def test_a_signed_head_that_is_found_differs_in_date_and_signature_alone(fields: bytes, other: bytes) -> None:
    """As for a key: what has the text of a page that is remembered is the same request, signed at some moment."""
    head = _signed_head(_DATES[0], _SIGNATURES[0], fields)
    page = page_of(head)
    assert page is not None
    assert b"GET " + page.target + b" HTTP/1.1\r\n" + fields == head
    found = page_of(other)
    if found is not None and found.text == page.text:
        parsed = _SIGNED.fullmatch(other)
        assert parsed is not None
        assert parsed[1] == fields
        assert not found.key


def test_a_head_is_new_until_it_is_marked() -> None:
    """To ask whether it is marks nothing: a key is remembered from its second time on."""
    gate = Gateway((Native(0),), ring(), MemoryReplaySet(1, 0))
    memory = LaneMemory(gate, 2**20)
    one, other = b"GET /b/x?valet=k", b"GET /b/x?valet=l"
    assert memory.is_new(one)
    assert memory.is_new(one)
    assert not memory.is_worth(one)
    assert not memory.is_new(one)
    assert memory.is_worth(one)
    assert memory.is_new(other)


@given(st.lists(st.tuples(st.binary(max_size=3), st.booleans()), max_size=60))
def test_the_longest_remembered_goes_first(steps: list[tuple[bytes, bool]]) -> None:
    """As a plain model does it: by weight, and what is remembered again is the newest."""
    memory: Bounded[int] = Bounded(100, 10, 2)
    model: OrderedDict[bytes, int] = OrderedDict()
    for number, (text, is_put) in enumerate(steps):
        model.pop(text, None)
        if is_put:
            memory.put(text, number)
            model[text] = number
        else:
            memory.forget(text)
        while sum(10 + 2 * len(each) for each in model) > 100:
            model.popitem(last=False)
        assert len(memory) == len(model)
        assert all(memory.get(each) == value for each, value in model.items())
