"""HTTP that should not be: refused in a bounded way, never a 5xx, never told back, never logged at length."""

import re
import secrets
import time
from collections.abc import Iterator

import pytest

from tests.edge.conftest import inspect, written
from tests.edge.doors import Door, mint, target
from tests.edge.wire import chunk, head, wait_until
from tests.gate import Answer, Gate

MARK = "m4rk3r"
"""Stands in every odd request: it must not come back, nor reach a file."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """One gate for all of them; it must be unimpressed."""
    with Gate(tmp_path_factory.mktemp("hygiene")) as running:
        assert running.ask("PUT", running.sign("PUT", "/g/o"), b"object").status == 201
        yield running
        assert running.ask("GET", running.sign("GET", "/g/o")).body == b"object"
        inspect(running)
        assert " ERROR: " not in running.log
        assert max(map(len, running.log.splitlines())) < 400
        for path in written(running):
            if path.name == "stderr.log":
                assert MARK not in path.read_text("utf-8", "replace")


def key(gate: Gate, *ops: str) -> str:
    """A token for everything in the bucket."""
    return mint(gate, ops=list(ops or ("read", "write", "delete", "list")), prefix="/g/")


def first(door: Door, data: bytes) -> Answer:
    """The first answer to these bytes."""
    with door.wire() as wire:
        wire.pour(data)
        return wire.answer()


ODD_HEADS = {
    "absolute-form": f"GET http://other.test/g/o?{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "authority-form": f"GET {MARK}.test:80 HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "asterisk": f"GET * HTTP/1.1\r\nHost: gate.test\r\nX: {MARK}\r\n\r\n",
    "asterisk options": f"OPTIONS * HTTP/1.1\r\nHost: gate.test\r\nX: {MARK}\r\n\r\n",
    "fragment": f"GET /g/o#{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "fragment in the query": f"GET /g/o?a#{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "HTTP/0.9": f"GET /g/{MARK}\r\n\r\n",
    "HTTP/2.0": f"GET /g/{MARK} HTTP/2.0\r\nHost: gate.test\r\n\r\n",
    "HTTP/1.2": f"GET /g/{MARK} HTTP/1.2\r\nHost: gate.test\r\n\r\n",
    "HTTP/2 preface": f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{MARK}",
    "lower-case version": f"GET /g/{MARK} http/1.1\r\nHost: gate.test\r\n\r\n",
    "space in the target": f"GET /g/{MARK} x HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "tab in the target": f"GET /g/{MARK}\tx HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "gzip, chunked": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two Transfer-Encodings": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "chunked in 1.0": f"PUT /g/{MARK} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked with a tab": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked and a length": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    "Content-Length: 5\r\n\r\n0\r\n\r\n",
    "a length and chunked": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "one length twice": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
    "a signed length": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "a negative length": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx",
    "a hexadecimal length": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
    "an underscored length": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nx",
    "an empty length": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nx",
    "a length of 2^63": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: {2**63}\r\n\r\nx",
    "a length of 2^64": f"PUT /g/{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: {2**64}\r\n\r\nx",
    "TRACE": f"TRACE /g/{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "CONNECT": f"CONNECT {MARK}.test:443 HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "PROPFIND": f"PROPFIND /g/{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "PATCH": f"PATCH /g/{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "an unknown method": f"STEAL /g/{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "a lower-case method": f"get /g/{MARK} HTTP/1.1\r\nHost: gate.test\r\n\r\n",
    "no Host": f"GET /g/{MARK} HTTP/1.1\r\n\r\n",
    "an empty Host": f"GET /g/{MARK} HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "Host with a path": f"GET /g/{MARK} HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with userinfo": f"GET /g/{MARK} HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "Host with a space": f"GET /g/{MARK} HTTP/1.1\r\nHost: a b\r\n\r\n",
    "Host with a bad port": f"GET /g/{MARK} HTTP/1.1\r\nHost: a:port\r\n\r\n",
    "Host not ASCII": f"GET /g/{MARK} HTTP/1.1\r\nHost: \xe9\r\n\r\n",
    "an obsolete fold": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "a fold first": f"GET /g/{MARK} HTTP/1.1\r\n Host: a\r\n\r\n",
    "a space before the colon": f"GET /g/{MARK} HTTP/1.1\r\nHost : a\r\n\r\n",
    "a header without a colon": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
    "a header without a name": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "a bare CR": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "a NUL in a value": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "a NUL in a name": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
    "a NUL in the target": f"GET /g/{MARK}\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "not ASCII in a name": f"GET /g/{MARK} HTTP/1.1\r\nHost: a\r\n\xc3\xa9: b\r\n\r\n",
    "TLS on a plain port": f"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{MARK}\r\n\r\n",
    "noise": f"\xff\xfe\x00{MARK}\r\n\r\n",
    "another protocol": f"SSH-2.0-{MARK}\r\n",
}


@pytest.mark.parametrize("what", ODD_HEADS)
def test_what_two_parties_could_read_differently_is_refused(door: Door, what: str) -> None:
    """With 4xx, without an echo; and what follows on the connection is never answered as a request."""
    with door.wire() as wire:
        wire.pour(ODD_HEADS[what].encode("latin-1"))
        answer = wire.answer()
        assert 400 <= answer.status < 500, answer
        assert answer.code in {"request_malformed", "target_invalid", "method_not_allowed", "headers_too_large"}
        assert answer.json()["code"] == answer.code
        assert MARK.encode() not in answer.body
        assert MARK not in str(answer.headers)
        assert len(answer.body) < 400


@pytest.mark.parametrize("what", ["a bare LF", "a bare LF in the head"])
def test_bare_line_feeds(door: Door, what: str) -> None:
    """Refused, or read as the line end that RFC 9112 section 2.2 lets a recipient see: never smuggled past."""
    text = {
        "a bare LF": "GET /g/o HTTP/1.1\nHost: a\n\n",
        "a bare LF in the head": "GET /g/o HTTP/1.1\r\nHost: a\nX: GET /_valet/live\r\n\r\n",
    }[what]
    answer = first(door, text.encode())
    assert answer.code in {"request_malformed", "key_missing"}


HUGE = {
    "a target": head("GET", "/g/" + MARK + "x" * 100_000),
    "a header": head("GET", "/g/o", "X: " + MARK + "x" * 100_000),
    "a header name": head("GET", "/g/o", "X" * 100_000 + f": {MARK}"),
    "many headers": head("GET", "/g/o", *[f"X{i}: {MARK}" for i in range(5_000)]),
    "large headers": head("GET", "/g/o", *[f"X{i}: {'x' * 15_000}" for i in range(100)]),
    "a method": b"G" * 100_000 + b" / HTTP/1.1\r\n\r\n",
    "empty lines": b"\r\n" * 200_000 + head("GET", "/g/o"),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_huge_head_is_refused_in_a_bounded_way(door: Door, what: str) -> None:
    """431 (or 400), however it is huge; the client reads the answer though it is still sending."""
    answer = first(door, HUGE[what])
    assert (answer.status, answer.code) in {(431, "headers_too_large"), (400, "request_malformed")}
    if what in {"a target", "a header", "many headers", "large headers"}:
        assert answer.status == 431
    assert MARK.encode() not in answer.body


TARGETS = {
    "/g/%zz": {"target_invalid"},
    "/g/%": {"target_invalid"},
    "/g/%2": {"target_invalid"},
    "/g/o?x=%zz": {"target_invalid"},
    "/g/%ff": {"object_key_invalid"},
    "/g/%c0%af": {"object_key_invalid"},
    "/g/%c0%ae%c0%ae/o": {"object_key_invalid"},
    "/g/%ed%a0%80": {"object_key_invalid"},
    "/g/\xff": {"request_malformed"},
    "/g/o?\xff": {"request_malformed"},
    "/g/../g/o": {"object_key_invalid"},
    "/g/./o": {"object_key_invalid"},
    "/g/%2e%2e/o": {"object_key_invalid"},
    "/g/%2e%2e%2fo": {"object_key_invalid"},
    "/g/..": {"object_key_invalid"},
    "/../g/o": {"object_key_invalid"},
    "//g/o": {"object_key_invalid"},
    "/%67/o": set(),
    "/g%2fo": set(),
    "/g/%00": {"object_key_invalid"},
    "/g/%6f": set(),
    "/g//o": {"not_found"},
    "/g/o/": {"not_found"},
    "/g/%252e%252e/o": {"not_found"},
    "/g/%2525": {"not_found"},
    "/g/..%5co": {"not_found"},
    "/g/\xc3\xa9": {"request_malformed"},
    "/g/%C3%A9": {"not_found"},
    "/g/o+o": {"not_found"},
    "/g/" + "x" * 1025: {"object_key_invalid"},
    "/g/" + "%C3%A9" * 513: {"object_key_invalid"},
    "/": {"object_key_invalid"},
    "/g": {"object_key_invalid"},
    "/g/": {"object_key_invalid"},
}


@pytest.mark.parametrize("path", TARGETS)
def test_a_path_means_one_thing(door: Door, gate: Gate, path: str) -> None:
    """Decoded once, strictly; what can be read in two ways names nothing."""
    with door.wire() as wire:
        wire.send(head("GET", target(path, key(gate))))
        answer = wire.answer()
        if TARGETS[path]:
            assert answer.code in TARGETS[path], answer
        else:
            assert answer.body == b"object"


def test_the_key_given_twice_is_ambiguous_however_it_is_written(door: Door, gate: Gate) -> None:
    """Percent-encoded names, two places, other schemes of Authorization."""
    token = key(gate)
    twice = (
        (f"/g/o?valet={token}&valet={token}", ()),
        (f"/g/o?%76alet={token}&valet={token}", ()),
        (f"/g/o?valet={token}&v%61l%65t={token}", ()),
        (f"/g/o?valet={token}", (f"Authorization: Bearer {token}",)),
        (f"/g/o?valet={token}", ("Authorization: Basic dTpw",)),
        (f"/g/o?valet={token}&valet=", ()),
    )
    for wanted, lines in twice:
        assert first(door, head("GET", wanted, *lines)).code == "key_ambiguous"
    two = first(door, head("GET", "/g/o", f"Authorization: Bearer {token}", f"Authorization: Bearer {token}"))
    assert two.status == 400
    assert first(door, head("GET", f"/g/o?%76alet={token}")).body == b"object"
    assert first(door, head("GET", "/g/o", f"Authorization: bEaReR {token}")).body == b"object"
    assert first(door, head("GET", "/g/o", "Authorization: Basic dTpw")).code == "key_malformed"
    assert first(door, head("GET", f"/g/o?VALET={token}")).code == "key_missing"


def test_cookies_open_get_and_head_alone(door: Door, gate: Gate) -> None:
    """An explicit key wins over them; two of them are ambiguous."""
    token = key(gate)
    cookie = f"Cookie: a=b; valet={token}; c=d"
    assert first(door, head("GET", "/g/o", cookie)).body == b"object"
    assert first(door, head("GET", "/g/o", cookie, f"Cookie: valet={token}")).status == 400
    assert first(door, head("GET", "/g/o", f"Cookie: valet={token}; valet={token}")).code == "key_ambiguous"
    assert first(door, head("GET", "/g/o?valet=x", cookie)).code == "key_malformed"
    for method in ("PUT", "DELETE"):
        answer = first(door, head(method, "/g/o", cookie, "Content-Length: 0"))
        assert (answer.status, answer.code) == (401, "key_missing")
    assert first(door, head("GET", "/g/o", "Cookie: " + "; " * 2000 + "=;;=valet")).code == "key_missing"


def test_a_long_chunk_extension_is_refused(door: Door, gate: Gate) -> None:
    """It carries nothing and costs work."""
    with door.wire() as wire:
        wire.send(head("PUT", target("/g/ext", key(gate)), "Transfer-Encoding: chunked"))
        wire.pour(chunk(b"data", b";x=" + b"y" * 100_000) + chunk(b""))
        assert wire.answer().code == "request_malformed"
    assert door.ask("GET", gate.sign("GET", "/g/ext")).status == 404


def test_a_million_tiny_chunks_are_refused(door: Door, gate: Gate) -> None:
    """Within a moment, while others are served."""
    started = time.monotonic()
    with door.wire() as wire:
        wire.send(head("PUT", target("/g/tiny", key(gate)), "Transfer-Encoding: chunked"))
        wire.pour(b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n")
        assert wire.answer().code == "request_malformed"
    assert time.monotonic() - started < 5
    assert door.ask("GET", gate.sign("GET", "/g/tiny")).status == 404


def test_endless_trailers_are_refused(door: Door, gate: Gate) -> None:
    """They are part of the framing too."""
    with door.wire() as wire:
        wire.send(head("PUT", target("/g/trail", key(gate)), "Transfer-Encoding: chunked") + chunk(b"data") + b"0\r\n")
        wire.pour(b"".join(b"X%d: y\r\n" % i for i in range(50_000)))
        answer = wire.answer()
    assert answer.status in {400, 431}
    assert door.ask("GET", gate.sign("GET", "/g/trail")).status == 404


@pytest.mark.parametrize("size", ["g", "-1", "0x5", "5 5", "ffffffffffffffff1", "", "5;\0"])
def test_odd_chunk_sizes_are_refused(door: Door, gate: Gate, size: str) -> None:
    """At once."""
    with door.wire(4) as wire:
        wire.send(head("PUT", target("/g/size", key(gate)), "Transfer-Encoding: chunked"))
        wire.pour(size.encode() + b"\r\nhello\r\n0\r\n\r\n")
        assert wire.answer().code == "request_malformed"
    assert door.ask("GET", gate.sign("GET", "/g/size")).status == 404


def test_a_key_in_odd_places_reaches_no_file(door: Door, gate: Gate) -> None:
    """In the path, the user agent, the referer, the Host, a second Authorization: `inspect` looks at the end."""
    token = key(gate)
    for request in (
        head("GET", "/g/o", f"Referer: https://gate.test/g/o?valet={token}", f"User-Agent: x?valet={token}"),
        head("GET", f"/g/o%3Fvalet={token}"),
        head("GET", f"/g/{token}"),
        head("GET", f"/g/o?valet={token}", f"X-Forwarded-For: {token}"),
        head("GET", "/g/o", f"Authorization: Token {token}"),
        head("GET", "/g/o", f"Proxy-Authorization: Bearer {token}"),
        head("GET", f"/g/o?valet={token}#x"),
        head("GET", f"http://x/g/o?valet={token}"),
        head("GET", f"/g/%zz?valet={token}"),
        head("GET", f"/g/o?valet={token[:-1]}"),
        head("GET", f"/g/o?valet={token}", f"Host: {token}", host=None),
        f"GET /g/o?valet={token} HTTP/3.0\r\n\r\n".encode(),
        f"GET /g/o?valet={token}\0 HTTP/1.1\r\n\r\n".encode(),
    ):
        assert first(door, request).status < 500


def test_the_log_is_one_line_for_each_malformed_request(door: Door, gate: Gate) -> None:
    """Bounded and without what was sent."""
    time.sleep(0.3)  # the log is written by a thread
    before = gate.log.count("\n")
    for _ in range(5):
        first(door, b"\x01" * 5000 + b"\r\n\r\n")
    wait_until(lambda: gate.log.count("\n") >= before + 5)
    lines = gate.log.splitlines()[before:]
    assert len(lines) == 5
    assert all(re.fullmatch(r"valetstore: INFO: request_malformed: \w+ from [\w.:]+", line) for line in lines)


@pytest.mark.parametrize("name", ["Signature", "X-Goog-Signature", "temp_url_sig", "sig", "upload_id"])
def test_a_vendors_key_whose_question_mark_was_escaped_reaches_no_file(door: Door, gate: Gate, name: str) -> None:
    """It is in the path as a whole, and opens what it was signed for."""
    secret = secrets.token_hex(32)
    for mark, equals in (("%3F", "="), ("%3f", "%3D"), ("%253F", "%253D"), ("&", "=")):
        assert first(door, head("GET", f"/v1/a/c/o{mark}se{equals}1&{name}{equals}{secret}")).status < 500
    # The path as it arrived: nobody has read it.
    assert first(door, head("GET", f"/v1/a/c/o%3F{name}={secret}", "Host: a b", host=None)).status == 400
    gate.audit()  # its writer has caught up
    for path in written(gate):
        assert secret.encode() not in path.read_bytes(), path.name
