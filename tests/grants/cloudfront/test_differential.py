"""Signed by a stranger, changed in one place, refused: every component that a policy of CloudFront's signs."""

import string
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.cloudfront.stranger import (
    EC_ID,
    NOW,
    RSA_ID,
    Members,
    after,
    as_cookies,
    canned,
    custom,
    judge,
    policy,
    source,
    url_with,
)
from valetstore.errors import Denied
from valetstore.inbound import Inbound

HOST = "cdn.example.com"


class Request(NamedTuple):
    """A request in parts. `members` are its key's, in the URL or in cookies."""

    method: str
    scheme: str
    host: str
    path: str
    query: str
    members: Members
    cookies: bool
    now: float = NOW
    peer: str = "192.0.2.7"

    @property
    def url(self) -> str:
        """As it was signed."""
        return f"{self.scheme}://{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

    def judge(self) -> None:
        """Raise Denied unless it is let in."""
        target = self.path + (f"?{self.query}" if self.query else "")
        headers = [(b"Host", self.host.encode())]
        if self.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in as_cookies(self.members).items())
            headers.append((b"Cookie", pairs.encode()))
        else:
            target = url_with(target, self.members)
        peer, tls = ip_address(self.peer), self.scheme == "https"
        judge(Inbound(self.method, target.encode(), tuple(headers), now=self.now, peer=peer, tls=tls))

    @property
    def is_refused(self) -> bool:
        """Whether it is, for whatever reason."""
        try:
            self.judge()
        except Denied:
            return True
        return False


def changed(value: str) -> Iterator[str]:
    """Other values: one character more, less, another."""
    yield value + "0"
    yield value[:-1]
    for at in {0, len(value) // 2, len(value) - 1}:
        yield value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]


def other_keys(request: Request) -> Iterator[Request]:
    """Each member of the key changed, gone, or given under another name."""
    for name, value in request.members.items():
        rest = {key: text for key, text in request.members.items() if key != name}
        # Of two ways to leave the hash to be guessed at, a key on P-256 may have meant either.
        if name != "Hash-Algorithm" or request.members["Key-Pair-Id"] != EC_ID:
            yield request._replace(members=rest)
            yield request._replace(members=rest | {f"{name}x": value})
        for other in changed(value):
            yield request._replace(members=request.members | {name: other})
    for name in {"Expires", "Policy"} - request.members.keys():
        yield request._replace(members=request.members | {name: str(NOW + 9)})


def other_places(request: Request) -> Iterator[Request]:
    """Another scheme, host, path or query."""
    yield request._replace(scheme="http" if request.scheme == "https" else "https")
    yield from (request._replace(host=host) for host in (*changed(request.host), f"{request.host}:8080"))
    for path in (*changed(request.path[1:]), request.path, request.path[1:] + "/", request.path[1:] + "%2F"):
        yield request._replace(path=f"/{path}")
    yield from (request._replace(query=query) for query in (f"{request.query}&x=1", f"x=1&{request.query}"))
    if request.query:
        yield request._replace(query="")
        yield from (request._replace(query=query) for query in changed(request.query))


def check(request: Request, others: Iterator[Request]) -> None:
    """It is let in, and none of the others."""
    request.judge()
    given_ = [other for other in others if other != request]
    assert len(given_) > 12
    assert [other for other in given_ if not other.is_refused] == []


NAMES = st.text(string.ascii_letters + string.digits + "-_.~ *?+%é/", min_size=1, max_size=8).filter(
    lambda name: not {"", ".", ".."} & set(name.split("/"))
)
QUERIES = st.sampled_from(["", "a=1", "b=2&a=%31", "download"])
KEYS = st.sampled_from([(RSA_ID, None), (RSA_ID, "SHA256"), (EC_ID, "SHA1"), (EC_ID, "SHA256")])
METHODS = st.sampled_from(["GET", "HEAD"])
SCHEMES = st.sampled_from(["http", "https"])


@settings(deadline=None, max_examples=25)
@given(METHODS, SCHEMES, NAMES, QUERIES, KEYS, st.booleans(), st.integers(1, 10**6))
def test_a_canned_policy_opens_one_url_until_its_end(
    method: str, scheme: str, name: str, query: str, key: tuple[str, str | None], cookies: bool, seconds: int
) -> None:
    request = Request(method, scheme, HOST, "/photos/" + quote(name, safe="/~"), query, {}, cookies)
    request = request._replace(members=canned(request.url, NOW + seconds, kid=key[0], hashed=key[1]))
    check(request, other_keys(request))
    check(request, other_places(request))
    assert request._replace(now=NOW + seconds).is_refused
    assert request._replace(method="PUT").is_refused
    assert not request._replace(method="HEAD", peer="2001:db8::1").is_refused


@settings(deadline=None, max_examples=25)
@given(METHODS, SCHEMES, NAMES, QUERIES, KEYS, st.booleans(), st.integers(1, 10**6))
def test_a_custom_policy_opens_what_it_says(
    method: str, scheme: str, name: str, query: str, key: tuple[str, str | None], cookies: bool, seconds: int
) -> None:
    """The same, with a beginning and a network; percent-encoded, no name has a wildcard in it."""
    request = Request(method, scheme, HOST, "/photos/" + quote(name, safe="/~"), query, {}, cookies)
    said = policy(request.url, NOW + seconds, **after(NOW - seconds), **source("192.0.2.0/24"))
    request = request._replace(members=custom(said, kid=key[0], hashed=key[1]))
    check(request, other_keys(request))
    check(request, other_places(request))
    assert request._replace(now=NOW + seconds).is_refused
    assert request._replace(now=NOW - seconds).is_refused
    assert request._replace(peer="192.0.3.7").is_refused
    assert request._replace(method="DELETE").is_refused
