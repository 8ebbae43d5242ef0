"""Signed by a stranger, changed in one place, refused: every component of what Swift signs."""

import string
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.swift.stranger import (
    ACCOUNT,
    HASHES,
    LATER,
    NOW,
    arriving,
    form_fields,
    posting,
    refusal,
    ring,
    signed,
)
from valetstore.keys.ring import KeyRing

PEER = "192.0.2.7"
RING = ring()
OTHER = ring("another key")


class Request(NamedTuple):
    """A request in parts, as they are before they are encoded."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    now: float = NOW
    peer: str = PEER

    def code(self, keys: KeyRing = RING) -> str:
        """How it is refused, "" where it is let in."""
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query)
        return refusal(arriving(self.method, f"{quote(self.path)}?{query}", self.now, self.peer), keys)


def changed_values(value: str) -> Iterator[str]:
    """Other values: one character more, less, another."""
    yield value + "0"
    if value:
        yield value[:-1]
        for at in {0, len(value) // 2, len(value) - 1}:
            yield value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]


def other_methods(request: Request) -> Iterator[Request]:
    heads = {"GET", "POST", "PUT"}
    for method in {"GET", "HEAD", "PUT", "POST", "DELETE"} - {request.method}:
        if not (method == "HEAD" and request.method in heads):
            yield request._replace(method=method)


def other_paths(request: Request, prefix: str | None) -> Iterator[Request]:
    base = f"/v1/{ACCOUNT}/photos/"
    for path in (*changed_values(request.path[1:]), request.path[1:].upper(), f"v1/{ACCOUNT}/other/x"):
        within = prefix is not None and f"/{path}".startswith(base + prefix) and len(path) >= len(base)
        if f"/{path}" != request.path and not within:
            yield request._replace(path=f"/{path}")


def other_queries(request: Request) -> Iterator[Request]:
    pairs = request.query
    for at, (name, value) in enumerate(pairs):
        before, after = pairs[:at], pairs[at + 1 :]
        yield request._replace(query=before + after)
        yield request._replace(query=(*pairs, (name, value)))
        yield request._replace(query=(*before, (name + "x", value), *after))
        for other in changed_values(value):
            yield request._replace(query=(*before, (name, other), *after))
    have = {name for name, _ in pairs}
    for name, value in (("temp_url_prefix", ""), ("temp_url_ip_range", "192.0.2.0/24")):
        if name not in have:
            yield request._replace(query=(*pairs, (name, value)))


NAMES = st.text(string.ascii_letters + "-_.~ +/%é\n&=", min_size=1, max_size=12).filter(
    lambda name: name.strip("/") and {".", ".."}.isdisjoint(name.split("/"))
)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])


@settings(deadline=None, max_examples=60)
@given(
    METHODS,
    NAMES,
    st.sampled_from(HASHES),
    st.booleans(),
    st.booleans(),
    st.integers(0, 12) | st.none(),
    st.integers(0, 10**6),
)
def test_a_temp_url_opens_what_was_signed(
    method: str, name: str, digest: str, iso: bool, with_network: bool, cut: int | None, life: int
) -> None:
    prefix = None if cut is None else name[:cut]
    place = f"/v1/{ACCOUNT}/photos/{name if prefix is None else prefix}"
    options = {"ip_range": "192.0.2.0/24"} if with_network else {}
    target = signed(method, place, NOW + life, digest=digest, iso8601=iso, prefix=prefix is not None, **options)
    query = tuple((n, unquote(v)) for n, _, v in (p.partition("=") for p in target.partition("?")[2].split("&")))
    request = Request(method, f"/v1/{ACCOUNT}/photos/{name}", query)
    assert request.code() == ""
    assert request.code(OTHER) == "signature_mismatch"
    assert request._replace(now=NOW + life + 0.1).code() == "key_expired"
    if with_network:
        assert request._replace(peer="192.0.3.7").code() == "source_not_allowed"
    others = [*other_methods(request), *other_paths(request, prefix), *other_queries(request)]
    assert len(others) > 15
    assert [other for other in others if not other.code()] == []


@settings(deadline=None, max_examples=60)
@given(
    st.text(string.ascii_letters + "-_.~ +/%é", max_size=12).filter(
        lambda name: {".", ".."}.isdisjoint(name.split("/"))
    ),
    st.sampled_from(HASHES),
    st.sampled_from(["", "https://example.com/done?x=1"]),
    st.integers(0, 10**12),
    st.integers(0, 10**6),
)
def test_a_form_opens_what_was_signed(name: str, digest: str, redirect: str, size: int, count: int) -> None:
    path = f"/v1/{ACCOUNT}/photos/{name}"
    fields = form_fields(path, digest=digest, redirect=redirect, size=size, count=count)
    assert refusal(posting(fields, path)) == ""
    assert refusal(posting(fields, path), OTHER) == "signature_mismatch"
    assert refusal(posting(fields, path, LATER + 0.1)) == "key_expired"
    for other in (path + "x", path[:-1] or "/", path.replace("photos", "other"), path.replace(ACCOUNT, "A")):
        assert refusal(posting(fields, other)), other
    for field, value in fields.items():
        without = {name: text for name, text in fields.items() if name != field}
        # What is left out is signed as "0", or as no redirect at all.
        assert value == "0" or refusal(posting(without, path)), field
        for text in changed_values(value):
            assert refusal(posting(fields | {field: text}, path)) or (value == "0" and not text), (field, text)
