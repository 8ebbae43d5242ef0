"""Signed by Azure's SDK or by hand, changed in one place, refused: every component that a SAS signs."""

import string
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.azure.stranger import (
    ACCOUNT,
    BASE,
    END,
    NOW,
    VERSIONS,
    account_key,
    account_url,
    admit,
    arriving,
    blob_url,
    by_hand,
    container_url,
    parameters,
)
from valetstore.encoding import percent_decode
from valetstore.errors import Denied

PEER = ip_address("192.0.2.7")


class Request(NamedTuple):
    """A request in parts, as they are before they are encoded."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    now: float = NOW

    def judge(self) -> None:
        """Raise Denied unless it is let in."""
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query)
        url = f"http://h{quote(self.path)}?{query}"
        admit(arriving(self.method, url, now=self.now, peer=PEER, tls=True))


def request_of(method: str, url: str) -> Request:
    path = url.partition("?")[0].removeprefix(BASE.removesuffix(f"/{ACCOUNT}"))
    return Request(method, percent_decode(path.encode()), tuple(parameters(url).items()))


# What is changed, and in how many ways


def changed_values(value: str) -> Iterator[str]:
    """Other values: one character more, less, another."""
    yield value + "0"
    yield value + "r"
    if value:
        yield value[:-1]
        for at in {0, len(value) // 2, len(value) - 1}:
            yield value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]


def other_queries(request: Request) -> Iterator[Request]:
    """All of these requests' parameters are signed, or choose an operation that they alone open."""
    pairs = request.query
    for at, (name, value) in enumerate(pairs):
        before, after = pairs[:at], pairs[at + 1 :]
        yield request._replace(query=before + after)
        yield request._replace(query=(*pairs, (name, value)))
        yield request._replace(query=(*before, (name + "x", value), *after))
        yield request._replace(query=(*before, (name.upper(), value), *after))
        for other in changed_values(value):
            yield request._replace(query=(*before, (name, other), *after))
    present = {name for name, _ in pairs}
    for name, value in (
        ("st", "2027-01-01"),
        ("sip", "192.0.2.0-192.0.2.255"),
        ("spr", "https,http"),
        ("si", "policy"),
        ("ses", "scope"),
        ("rsct", "text/html"),
        ("rscd", "inline"),
        ("sdd", "0"),
        ("sr", "c"),
        ("ss", "b"),
        ("srt", "sco"),
        ("skoid", "x"),
        ("x-valet-uses", "1"),
    ):
        if name not in present:
            yield request._replace(query=(*pairs, (name, value)))


def other_times(request: Request) -> Iterator[Request]:
    for now in (NOW + 3600, NOW + 10**8, *([NOW - 86_400 * 30] if "st" in dict(request.query) else [])):
        yield request._replace(now=now)


def other_paths(request: Request, within: str) -> Iterator[Request]:
    """Outside of what was signed: `within` is the beginning of the path that was, "" for all of an account."""
    paths = [request.path.replace(f"/{ACCOUNT}", f"/{ACCOUNT}x"), request.path.removeprefix(f"/{ACCOUNT}")]
    if within.endswith("/"):
        bare = within.removesuffix("/")
        paths += [f"{bare}x/name", f"{bare[:-1]}/name", bare.upper() + "/name", f"{bare}0/a/b", f"/{ACCOUNT}{bare}/n"]
    elif within:
        paths += [within + "x", within[:-1], within + "/", within.swapcase(), within.replace(ACCOUNT, f"{ACCOUNT}/x")]
        paths += [within.rpartition("/")[0] + "/other"]
    for path in paths:
        if path != request.path:
            yield request._replace(path=path)


def is_refused(request: Request) -> bool:
    """Whether it is, for whatever reason."""
    try:
        request.judge()
    except Denied:
        return True
    return False


def check(request: Request, within: str, methods: str) -> None:
    """It is let in, and none that differs from it in one place; of methods, only those that its letters open."""
    request.judge()
    others = [*other_queries(request), *other_times(request), *other_paths(request, within)]
    others += [request._replace(method=method) for method in {"GET", "PUT", "DELETE", "POST"} - set(methods.split())]
    assert len(others) > 40
    assert [other for other in others if not is_refused(other)] == []


NAMES = st.text(string.ascii_lowercase + "-_.~ %+é", min_size=2, max_size=8).filter(lambda name: name.strip("."))
TEXTS = st.text(string.ascii_letters + " +/=&%~é;:,", min_size=1, max_size=12)
STARTS = st.sampled_from([None, "2027-01-15", "2027-01-14T08:00Z", "2027-01-15T08:00:00Z"])
ADDRESSES = st.sampled_from([None, "192.0.2.7", "192.0.2.0-192.0.2.9"])
PROTOCOLS = st.sampled_from([None, "https", "https,http"])
OVERRIDES = st.dictionaries(st.sampled_from(["cache_control", "content_type", "content_disposition"]), TEXTS)
LETTERS = st.sampled_from([("r", "GET"), ("w", "PUT"), ("c", "PUT"), ("d", "DELETE")])


@settings(deadline=None, max_examples=60)
@given(
    LETTERS,
    NAMES,
    STARTS,
    ADDRESSES,
    PROTOCOLS,
    OVERRIDES,
)
def test_a_blobs_sas_opens_one_blob(
    letters: tuple[str, str],
    name: str,
    start: str | None,
    ip: str | None,
    protocol: str | None,
    response: dict[str, str],
) -> None:
    letter, method = letters
    url = blob_url(name, letter, start=start, ip=ip, protocol=protocol, **response)
    check(request_of(method, url), f"/{ACCOUNT}/photos/{name}", method)


@settings(deadline=None, max_examples=40)
@given(LETTERS, NAMES, STARTS, ADDRESSES, PROTOCOLS)
def test_a_containers_sas_opens_one_container(
    letters: tuple[str, str], name: str, start: str | None, ip: str | None, protocol: str | None
) -> None:
    letter, method = letters
    url = container_url(name, letter, start=start, ip=ip, protocol=protocol)
    check(request_of(method, url), f"/{ACCOUNT}/photos/", method)


@settings(deadline=None, max_examples=40)
@given(LETTERS, NAMES, STARTS, ADDRESSES, PROTOCOLS)
def test_an_accounts_sas_opens_one_account(
    letters: tuple[str, str], name: str, start: str | None, ip: str | None, protocol: str | None
) -> None:
    letter, method = letters
    url = account_url(f"/photos/{name}", letter, "o", start=start, ip=ip, protocol=protocol)
    check(request_of(method, url), "", method)


@settings(deadline=None, max_examples=40)
@given(LETTERS, st.sampled_from(VERSIONS), st.sampled_from(["b", "c", "d"]), STARTS)
def test_every_version_signs_all_of_it(letters: tuple[str, str], sv: str, sr: str, start: str | None) -> None:
    """What a version does not sign (`sr` until 2018) changes nothing all the same."""
    letter, method = letters
    if sr == "d" and sv < "2020-02-10":
        sr = "c"
    path = {"b": "/photos/a/cat.jpg", "c": "/photos", "d": "/photos/a"}[sr]
    values = {"sv": sv, "sp": letter, "se": END, "sr": sr} | ({"st": start} if start else {})
    values |= {"sdd": "1"} if sr == "d" else {}
    url = f"{BASE}/photos/a/cat.jpg?{by_hand(values, path)}"
    check(request_of(method, url), f"/{ACCOUNT}{path}" + ("" if sr == "b" else "/"), method)


def test_another_key_of_another_account_signs_nothing_here() -> None:
    url = blob_url(account_key=account_key("other"))
    assert is_refused(request_of("GET", url))


def test_a_lists_sas_lists_one_container() -> None:
    url = container_url("", "l")
    request = request_of("GET", url)
    listing = request._replace(query=(("restype", "container"), ("comp", "list"), *request.query))
    check(listing, f"/{ACCOUNT}/photos/", "GET")
    assert is_refused(listing._replace(path=f"/{ACCOUNT}"))
    assert is_refused(listing._replace(path=f"/{ACCOUNT}/other"))
