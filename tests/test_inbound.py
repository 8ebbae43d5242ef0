"""A request is kept as it came: split once, decoded once, and refused where it is none."""

from ipaddress import ip_address
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.minting import NOW, ask, perhaps_refused, refused
from valetstore.inbound import Inbound, host_is_valid

TOKEN = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8)
TARGET = st.text("/?&=%+;:@.~azAZ09\u00e9", max_size=20).map(lambda rest: "/" + rest)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
HEAD = (
    b"GET /photos/a%20b?valet=t&x=%31 HTTP/1.1\r\nHost: files.example.com:8420\r\n"
    b"Cookie: a=1; valet=c\r\nX-Two: 1\r\nx-two:\t2 \r\n\r\n"
)


@given(TOKEN, TARGET, st.lists(st.tuples(TOKEN, VALUE), max_size=4), st.sampled_from(["\r\n", "\n"]), st.binary())
def test_a_raw_head_comes_back_as_its_parts(
    method: str, target: str, headers: list[tuple[str, str]], end: str, body: bytes
) -> None:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    inbound = Inbound.from_raw((end.join(lines) + end * 2).encode("latin-1") + body, now=NOW)
    assert inbound.method == method
    assert inbound.target == target.encode("latin-1")
    assert inbound.headers == tuple((name.encode(), value.encode("latin-1").strip(b" \t")) for name, value in headers)


def test_a_head_with_lf_is_the_head_with_crlf() -> None:
    for head in (HEAD, HEAD.replace(b"\r\n", b"\n"), HEAD[:-2], HEAD[:-4], HEAD + b"body\r\n\r\nmore"):
        inbound = Inbound.from_raw(head, now=NOW, peer="192.0.2.7", tls=True)
        assert (inbound.method, inbound.path, inbound.host) == ("GET", "/photos/a b", "files.example.com:8420")
        assert inbound.query == (("valet", "t"), ("x", "1"))
        assert inbound.header("x-two") == "1, 2"
        assert inbound.cookies == (("a", "1"), ("valet", "c"))
        assert (inbound.now, inbound.peer, inbound.tls) == (NOW, ip_address("192.0.2.7"), True)


def read_all(head: bytes) -> None:
    """Every view of a request is there or refused; nothing else happens."""
    with perhaps_refused("request_malformed", "target_invalid", "object_key_invalid"):
        inbound = Inbound.from_raw(head, now=NOW)
        assert inbound.cookies is not None
        assert all(inbound.header(name.decode().lower()) is not None for name, _ in inbound.headers)
        assert inbound.query is not None
        assert inbound.path.startswith("/")


@pytest.mark.parametrize("end", range(0, len(HEAD), 3))
def test_a_head_cut_anywhere_is_read_or_refused(end: int) -> None:
    read_all(HEAD[:end])


@given(st.integers(0, len(HEAD)), st.binary(min_size=1, max_size=4), st.integers(0, 3))
@example(0, b"\xff", 1)
@example(3, b"\0", 0)
def test_junk_anywhere_in_a_head_is_read_or_refused(at: int, junk: bytes, dropped: int) -> None:
    read_all(HEAD[:at] + junk + HEAD[at + dropped :])


@given(st.binary())
def test_junk_alone_is_refused(junk: bytes) -> None:
    read_all(junk)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\r\n\r\n",
        b"GET /",
        b"GET / HTTP/0.9",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.12",
        b"GET  / HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"G\xffT / HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\r\nHost",
        b"GET / HTTP/1.1\r\n: x",
        b"GET / HTTP/1.1\r\nA : x",
        b"GET / HTTP/1.1\r\n A: x",
        b"GET / HTTP/1.1\r\nA: x\r\n folded",
        b"GET / HTTP/1.1\r\nA b: x",
        b"GET / HTTP/1.1\r\nA: x\ry",
        b"GET / HTTP/1.1\r\nA: x\0",
        b"GET / HTTP/1.1\r\n\xe9: x",
        b"\r\nGET / HTTP/1.1",
    ],
)
def test_what_is_no_head(head: bytes) -> None:
    with refused("request_malformed"):
        Inbound.from_raw(head, now=NOW)


@pytest.mark.parametrize(
    "target",
    [b"", b"*", b"a", b"http://x/a", b"x:443", b"?a", b"/a b", b"/a#b", b"/a\tb", b"/\0", b"/a\x7f", b"/a\n"],
)
def test_a_target_is_a_path_without_space_control_or_fragment(target: bytes) -> None:
    with refused("target_invalid"):
        ask(target=target)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_path_is_decoded_once(text: str) -> None:
    assert ask(target=f"/{quote(text, safe='/')}").path == f"/{text}"
    assert ask(target=f"/{quote(quote(text, safe='/'), safe='/')}").path == f"/{quote(text, safe='/')}"


def test_the_path_ends_at_the_first_question_mark() -> None:
    inbound = ask(target=b"/a%3Fb?c?d=e?f")
    assert (inbound.path, inbound.query) == ("/a?b", (("c?d", "e?f"),))


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (b"/%ff", "object_key_invalid"),
        (b"/\xff", "object_key_invalid"),
        (b"/%c0%af", "object_key_invalid"),
        (b"/%", "target_invalid"),
        (b"/%4", "target_invalid"),
        (b"/%u0041", "target_invalid"),
    ],
)
def test_a_path_that_cannot_be_decoded_is_refused(target: bytes, code: str) -> None:
    with refused(code):
        assert ask(target=target).path


@pytest.mark.parametrize("query", [b"%", b"a=%g1", b"%ff=1", b"a=%c3"])
def test_a_query_that_cannot_be_decoded_is_refused(query: bytes) -> None:
    with refused("target_invalid"):
        assert ask(target=b"/?" + query).parameters("valet")


def test_a_parameter_given_twice_has_no_value() -> None:
    inbound = ask(target=b"/?limit=1&%6cimit=2&after=x")
    assert inbound.parameters("limit") == ["1", "2"]
    assert inbound.parameter("after") == "x"
    assert inbound.parameter("prefix") is None
    with refused("parameter_invalid", "`limit`"):
        inbound.parameter("limit")


def test_header_names_are_read_in_any_case_and_bytes_as_latin_1() -> None:
    inbound = Inbound("GET", b"/", ((b"X-A", b"\xe9"), (b"x-a", b"b"), (b"HOST", b"h")), now=NOW)
    assert inbound.header_values("x-a") == ["\u00e9", "b"]
    assert inbound.header("x-a") == "\u00e9, b"
    assert inbound.header("x-b") is None
    assert inbound.host == "h"
    assert Inbound("GET", b"/", inbound.headers, now=NOW, host="proxy.example").host == "proxy.example"


def test_cookies_are_pairs_from_every_line() -> None:
    inbound = Inbound("GET", b"/", ((b"cookie", b'a=1;b="2" ; c'), (b"Cookie", b"a=3; valet=x=y;=z")), now=NOW)
    assert inbound.cookies == (("a", "1"), ("b", "2"), ("a", "3"), ("valet", "x=y"), ("", "z"))


@pytest.mark.parametrize(
    "host", ["a", "files.example.com", "files.example.com:8420", "192.0.2.1:80", "[::1]", "[2001:db8::1]:443"]
)
def test_hosts(host: str) -> None:
    assert host_is_valid(host)


@pytest.mark.parametrize(
    "host",
    ["", "a b", "user@a", "a/b", "a:b", "a:123456", "[::1", "::1", "a,b:", "a\n", "\u00e9", "x" * 256, "[x]", "a?b"],
)
def test_what_is_no_host(host: str) -> None:
    assert not host_is_valid(host)


@given(st.sampled_from((b"/photos/a%20b", b"/other", b"/photos/")), st.sampled_from((b"", b"?valet=u", b"?x=1&y")))
def test_another_request_with_the_same_headers_is_as_if_it_had_been_read_anew(path: bytes, query: bytes) -> None:
    """Nothing of the former one's line is left in it, whatever was asked of that before."""
    former = Inbound.from_raw(HEAD, now=NOW, peer="192.0.2.7", tls=True)
    assert (former.path, former.names, former.parameter("x"), former.cookies[0]) == (
        "/photos/a b", {"valet", "x"}, "1", ("a", "1"),
    )  # fmt: skip
    one = former.asking("HEAD", path + query, NOW + 5)
    other = Inbound("HEAD", path + query, former.headers, now=NOW + 5, peer=former.peer, tls=True, host=former.host)
    for name in ("method", "target", "headers", "now", "peer", "tls", "raw_path", "raw_query", "host", "form"):
        assert getattr(one, name) == getattr(other, name)
    for view in ("path", "query", "names", "cookies", "header_names"):
        assert getattr(one, view) == getattr(other, view)
