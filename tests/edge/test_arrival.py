"""Arrivals: what is remembered of fields that come again changes nothing about what is made of a request."""

from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion, HttpVersion10, HttpVersion11
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from valetstore.edge import arrival
from valetstore.edge.arrival import Arrivals
from valetstore.edge.proxies import Forwarded, Origin, TrustedProxies
from valetstore.errors import Denied
from valetstore.inbound import Address, Headers

HOST: Final = (b"Host", b"files.example.org")
PROXIES: Final = ("10.0.0.0/8", "unix")


def arriving(
    method: str,
    path: str,
    headers: Headers = (HOST,),
    version: HttpVersion = HttpVersion11,
    peer: str = "192.0.2.1",
    tls: bool = False,
) -> Any:
    """A parsed head and its connection, as Arrivals looks at them."""
    none: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    message = RawRequestMessage(method, path, version, none, headers, False, None, False, False, None)  # type: ignore[arg-type]
    address = ip_address(peer) if peer else None
    return SimpleNamespace(message=message, protocol=SimpleNamespace(address=address, origin=(peer, tls)))


def facts(arrivals: Arrivals, asked: Any) -> object:
    """All that is made of it but the moment, or the refusal."""
    try:
        inbound = arrivals.inbound(asked)
        whence = inbound.peer, inbound.tls, inbound.host
        said = inbound.headers, dict.fromkeys(inbound.header_names), list(inbound.further_names)
        return inbound.method, inbound.target, *whence, *said, inbound.query, inbound.path
    except Denied as denied:
        return denied.code, denied.detail


paths = st.sampled_from(["/b/x", "/b/x?valet=a.b.c", "/b/%78", "/b/%", "/b/\udcff", "*", "http://h/b/x", "/b/a b", "/"])
fields = st.sampled_from(
    [
        (b"X-Forwarded-For", b"198.51.100.7"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"other.example.org"),
        (b"X-Forwarded-Host", b"a b"),
        (b"Content-Length", b"12"),
        (b"Content-Length", b"+12"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Host", b"a b"),
        (b"host", b"twice.example.org"),
        (b"X-Amz-Acl", b"private"),
    ]
)
requests = st.builds(
    arriving,
    st.sampled_from(["GET", "PUT", "OPTIONS", "CONNECT", "BREW"]),
    paths,
    st.lists(fields, max_size=2).map(lambda more: (HOST, *more)),
    st.sampled_from([HttpVersion10, HttpVersion11, HttpVersion(2, 0)]),
    st.sampled_from(["192.0.2.1", "10.0.0.1", ""]),
    st.booleans(),
)


@given(st.lists(requests, min_size=1, max_size=4), st.data())
def test_a_request_is_the_same_whatever_came_before(asked: list[Any], data: st.DataObject) -> None:
    """Fields, origins and versions in any order, each several times, with other lines above them."""
    arrivals = Arrivals(TrustedProxies(PROXIES))
    for _ in range(8):
        one = data.draw(st.sampled_from(asked))
        message = one.message._replace(path=data.draw(paths))
        other = SimpleNamespace(message=message, protocol=one.protocol)
        for request in (one, other):
            assert facts(arrivals, request) == facts(Arrivals(TrustedProxies(PROXIES)), request)


class Counted(TrustedProxies):
    """Proxies of which none is trusted; `asked` counts the requests whose fields were read."""

    asked = 0

    def origin(self, connected: Address | None, tls: bool, host: str, said: Forwarded) -> Origin:
        """See TrustedProxies."""
        self.asked += 1
        return super().origin(connected, tls, host, said)


def test_fields_that_come_again_are_not_read_again() -> None:
    """Those of a client, whatever it asks for; from elsewhere they are read."""
    proxies = Counted(())
    arrivals = Arrivals(proxies)
    for number in range(10):
        assert arrivals.inbound(arriving("GET", f"/b/{number}")).path == f"/b/{number}"
    assert proxies.asked == 1
    arrivals.inbound(arriving("GET", "/b/x", peer="192.0.2.2"))
    arrivals.inbound(arriving("GET", "/b/x", tls=True))
    arrivals.inbound(arriving("GET", "/b/x", version=HttpVersion10))
    assert proxies.asked == 4


@pytest.mark.parametrize("headers", [((b"A", b"x" * 2_100),), tuple((b"N%d" % number, b"") for number in range(40))])
def test_long_fields_are_not_remembered(headers: Headers) -> None:
    """Strangers send them."""
    arrivals = Arrivals(TrustedProxies(()))
    arrivals.inbound(arriving("GET", "/b/x", (HOST, *headers)))
    assert not arrivals._read


def test_nothing_of_a_request_is_kept_but_its_fields() -> None:
    """Its target may be long, hold a key, and be read into more than it is."""
    arrivals = Arrivals(TrustedProxies(()))
    inbound = arrivals.inbound(arriving("GET", "/b/x?" + "&".join("ab" for _ in range(5_000))))
    assert len(inbound.query) == 5_000
    (kept,) = arrivals._read.values()
    assert kept.target == b"/"
    assert not kept.query


def test_the_longest_remembered_make_room() -> None:
    """However many clients come."""
    arrivals = Arrivals(TrustedProxies(()))
    for number in range(1_000):
        arrivals.inbound(arriving("GET", "/b/x", (HOST, (b"User-Agent", b"%d" % number))))
    assert len(arrivals._read) == arrival._READ_MAX
