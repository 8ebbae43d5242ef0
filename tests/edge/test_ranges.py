"""Ranges and conditions (RFC 9110 sections 13 and 14), as rules and over the wire."""

import contextlib
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.doors import Door, mint, target
from tests.edge.wire import head
from tests.gate import Answer, Gate
from valetstore.edge.ranges import requested_span
from valetstore.errors import Denied

NUMBERS = st.integers(0, 30) | st.sampled_from([2**31, 2**63, 10**18])


@given(first=NUMBERS, last=NUMBERS | st.none(), size=st.integers(0, 20))
def test_a_span_is_what_slicing_says(first: int, last: int | None, size: int) -> None:
    """`bytes=a-b` is [a : b + 1]; nothing of the object is 416, b before a is no range."""
    data = bytes(range(size))
    header = f"bytes={first}-{'' if last is None else last}"
    if last is not None and last < first:
        assert requested_span(header, size) is None
    elif first >= size:
        with pytest.raises(Denied, match="range_not_satisfiable"):
            requested_span(header, size)
    else:
        span = requested_span(header, size)
        assert span
        assert data[span.start : span.start + span.length] == data[first : None if last is None else last + 1]
        assert span.content_range == f"bytes {span.start}-{span.start + span.length - 1}/{size}"


@given(count=NUMBERS, size=st.integers(0, 20))
def test_a_suffix_is_the_end(count: int, size: int) -> None:
    """More than there is means all of it; nothing is not satisfiable (RFC 9110 section 14.1.2)."""
    if count == 0:
        with pytest.raises(Denied, match="range_not_satisfiable"):
            requested_span("bytes=-0", size)
    elif size == 0:
        assert requested_span(f"bytes=-{count}", size) is None
    else:
        span = requested_span(f"bytes=-{count}", size)
        assert span
        assert (span.start, span.length) == (max(0, size - count), min(count, size))


@given(st.text(alphabet="bytes=0123-, \t²x", max_size=20), st.integers(0, 10))
def test_no_header_is_a_fault(header: str, size: int) -> None:
    """Whatever is sent: a span within the object, the whole, or 416."""
    with contextlib.suppress(Denied):
        span = requested_span(header, size)
        assert span is None or (0 <= span.start < span.start + span.length <= size == span.size)


BODY = b"0123456789"


@pytest.fixture(scope="module")
def ten(gate: Gate) -> tuple[str, Answer]:
    """The target of ten bytes, and the answer to their HEAD."""
    headers = {"Content-Type": "text/plain", "Cache-Control": "max-age=7", "Expires": "Thu, 01 Jan 2099 00:00:00 GMT"}
    assert gate.ask("PUT", gate.sign("PUT", "/r/ten"), BODY, headers).status == 201
    url = target("/r/ten", mint(gate, ops=["read"], path="/r/ten"))
    time.sleep(1.1)  # a date is no strong validator before its second is over
    return url, gate.ask("HEAD", url)


WHOLE = (200, BODY, None)
RANGES = {
    "bytes=0-0": (206, b"0", "bytes 0-0/10"),
    "bytes=3-5": (206, b"345", "bytes 3-5/10"),
    "bytes=9-": (206, b"9", "bytes 9-9/10"),
    "bytes=0-": (206, BODY, "bytes 0-9/10"),
    "bytes=5-99": (206, b"56789", "bytes 5-9/10"),
    "bytes=-3": (206, b"789", "bytes 7-9/10"),
    "bytes=-99": (206, BODY, "bytes 0-9/10"),
    "BYTES=1-1": (206, b"1", "bytes 1-1/10"),
    "bytes= 1-1 ": (206, b"1", "bytes 1-1/10"),
    "bytes=10-": (416, None, "bytes */10"),
    "bytes=10-20": (416, None, "bytes */10"),
    "bytes=-0": (416, None, "bytes */10"),
    "bytes=5-3": WHOLE,
    "bytes=0-1,3-4": WHOLE,
    "bytes=0-1,": WHOLE,
    "bytes=a-b": WHOLE,
    "bytes=+1-2": WHOLE,
    "bytes=-": WHOLE,
    "bytes=": WHOLE,
    "bytes": WHOLE,
    "bytes 0-1": WHOLE,
    "items=0-1": WHOLE,
    "bytes=0-1_0": WHOLE,
    "bytes=\xb2-5": WHOLE,
    "bytes=0-99999999999999999999": WHOLE,
    "": WHOLE,
}


@pytest.mark.parametrize("header", RANGES)
def test_a_range_over_the_wire(door: Door, ten: tuple[str, Answer], header: str) -> None:
    """Status, bytes and Content-Range; a HEAD takes no notice."""
    status, body, content_range = RANGES[header]
    with door.wire() as wire:
        wire.send(head("GET", ten[0], f"Range: {header}") + head("HEAD", ten[0], f"Range: {header}"))
        answer = wire.answer()
        assert (answer.status, answer.headers.get("content-range")) == (status, content_range)
        assert answer.code == "range_not_satisfiable" or answer.headers["accept-ranges"] == "bytes"
        if body is not None:
            assert answer.body == body
        headless = wire.answer("HEAD")
        assert (headless.status, headless.headers["content-length"]) == (200, "10")
        assert "content-range" not in headless.headers


def test_ranges_of_an_empty_object(gate: Gate) -> None:
    """There is no first byte; its last five are all of it."""
    assert gate.ask("PUT", gate.sign("PUT", "/r/empty"), b"").status == 201
    url = gate.sign("GET", "/r/empty")
    assert gate.ask("GET", url, headers={"Range": "bytes=0-"}).headers["content-range"] == "bytes */0"
    assert gate.ask("GET", url, headers={"Range": "bytes=-5"}).status == 200


def test_a_range_of_a_large_object(gate: Gate) -> None:
    """By sendfile, from the middle."""
    data = bytes(range(256)) * 20_000
    assert gate.ask("PUT", gate.sign("PUT", "/r/large"), data).status == 201
    for start, end in ((1, 3_000_000), (4_000_000, 5_119_999), (300_000, 600_000)):
        answer = gate.ask("GET", gate.sign("GET", "/r/large"), headers={"Range": f"bytes={start}-{end}"})
        assert answer.body == data[start : end + 1]


PAST, FUTURE = "Sun, 06 Nov 1994 08:49:37 GMT", "Thu, 01 Jan 2099 00:00:00 GMT"
CONDITIONS = [
    ({"If-Match": "ETAG"}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"x", ETAG'}, 200),
    ({"If-Match": '"x"'}, 412),
    ({"If-Match": "W/ETAG"}, 412),
    ({"If-None-Match": "ETAG"}, 304),
    ({"If-None-Match": "W/ETAG"}, 304),
    ({"If-None-Match": '"x",ETAG'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-None-Match": "unquoted"}, 400),
    ({"If-Modified-Since": PAST}, 200),
    ({"If-Modified-Since": "DATE"}, 304),
    ({"If-Modified-Since": FUTURE}, 304),
    ({"If-Modified-Since": "yesterday"}, 200),
    ({"If-Modified-Since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 200),
    ({"If-Modified-Since": "Thu Jan  1 00:00:00 2099"}, 304),
    ({"If-Unmodified-Since": PAST}, 412),
    ({"If-Unmodified-Since": "DATE"}, 200),
    ({"If-Unmodified-Since": "nonsense"}, 200),
    # Section 13.2.2: what tags say counts before dates.
    ({"If-Match": "ETAG", "If-Unmodified-Since": PAST}, 200),
    ({"If-None-Match": '"x"', "If-Modified-Since": FUTURE}, 200),
    ({"If-None-Match": "ETAG", "If-Modified-Since": PAST}, 304),
    ({"If-Match": '"x"', "If-None-Match": "ETAG"}, 412),
    # Conditions come before ranges.
    ({"If-None-Match": "ETAG", "Range": "bytes=99-"}, 304),
    ({"If-Match": '"x"', "Range": "bytes=0-1"}, 412),
    ({"Range": "bytes=0-1", "If-Range": "ETAG"}, 206),
    ({"Range": "bytes=0-1", "If-Range": '"x"'}, 200),
    ({"Range": "bytes=0-1", "If-Range": "W/ETAG"}, 200),
    ({"Range": "bytes=0-1", "If-Range": "DATE"}, 206),
    ({"Range": "bytes=0-1", "If-Range": FUTURE}, 200),
    ({"Range": "bytes=0-1", "If-Range": PAST}, 200),
    ({"Range": "bytes=99-", "If-Range": '"x"'}, 200),
]


@pytest.mark.parametrize(("headers", "status"), CONDITIONS)
def test_conditions_of_a_read(gate: Gate, ten: tuple[str, Answer], headers: dict[str, str], status: int) -> None:
    """GET and HEAD alike (but for the range); ETAG and DATE stand for the object's own."""
    url, described = ten
    own = {"ETAG": described.headers["etag"], "DATE": described.headers["last-modified"]}
    sent = {name: value.replace("ETAG", own["ETAG"]).replace("DATE", own["DATE"]) for name, value in headers.items()}
    assert gate.ask("GET", url, headers=sent).status == status
    assert gate.ask("HEAD", url, headers=sent).status == (200 if status == 206 else status)


def test_a_304_carries_what_the_200_would(gate: Gate, ten: tuple[str, Answer]) -> None:
    """RFC 9110 section 15.4.5: validators and caching, the same as with the body; no length."""
    url, described = ten
    answer = gate.ask("GET", url, headers={"If-None-Match": described.headers["etag"]})
    assert (answer.status, answer.body) == (304, b"")
    for name in ("etag", "last-modified", "cache-control", "expires"):
        assert answer.headers[name] == described.headers[name]
    assert "content-length" not in answer.headers
    assert "date" in answer.headers


def test_a_304_follows_the_keys_own_caching(gate: Gate, ten: tuple[str, Answer]) -> None:
    """Signed overrides hold for it too."""
    token = mint(gate, ops=["read"], path="/r/ten", response={"cache-control": "no-store"})
    answer = gate.ask("GET", target("/r/ten", token), headers={"If-None-Match": "*"})
    assert (answer.status, answer.headers["cache-control"]) == (304, "no-store")


def test_conditions_of_a_write(gate: Gate) -> None:
    """PUT and DELETE answer 412, before the body where that can be known."""
    url, path = gate.sign("PUT", "/r/cond"), "/r/cond"
    assert gate.ask("PUT", url, b"1", {"If-Match": "*"}).code == "precondition_failed"
    first = gate.ask("PUT", url, b"1", {"If-None-Match": "*"})
    assert first.status == 201
    assert gate.ask("PUT", url, b"2", {"If-None-Match": "*"}).code == "precondition_failed"
    assert gate.ask("PUT", url, b"2", {"If-Match": '"x"'}).code == "precondition_failed"
    assert gate.ask("PUT", url, b"2", {"If-Unmodified-Since": PAST}).code == "precondition_failed"
    assert gate.ask("PUT", url, b"2", {"If-Modified-Since": FUTURE}).status == 200
    etag = gate.ask("PUT", url, b"3", {"If-Unmodified-Since": FUTURE}).headers["etag"]
    delete = gate.sign("DELETE", path)
    assert gate.ask("DELETE", delete, headers={"If-Match": first.headers["etag"]}).code == "precondition_failed"
    assert gate.ask("DELETE", delete, headers={"If-Match": etag}).status == 204
    assert gate.ask("DELETE", delete).code == "not_found"


def test_of_many_writers_with_one_etag_one_succeeds(gate: Gate, door: Door) -> None:
    """The condition is decided with the write, not when the request arrives."""
    path = "/r/race"
    etag = gate.ask("PUT", gate.sign("PUT", path), b"start").headers["etag"]
    url = target(path, mint(gate, ops=["write"], path=path))
    wires = [door.wire() for _ in range(8)]
    for wire in wires:
        wire.send(head("PUT", url, f"If-Match: {etag}", "Content-Length: 5") + b"next")
    time.sleep(0.2)  # all are past the early look
    for index, wire in enumerate(wires):
        wire.send(b"%d" % index)
    statuses = sorted(wire.answer().status for wire in wires)
    for wire in wires:
        wire.sock.close()
    assert statuses == [200] + [412] * 7


def test_of_many_deleters_one_succeeds(gate: Gate) -> None:
    """The others find nothing, or another state."""
    path = "/r/deleted"
    etag = gate.ask("PUT", gate.sign("PUT", path), b"x").headers["etag"]
    url, statuses = gate.sign("DELETE", path), []

    def delete() -> None:
        statuses.append(gate.ask("DELETE", url, headers={"If-Match": etag}).status)

    threads = [threading.Thread(target=delete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 404, 412}
