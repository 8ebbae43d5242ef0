"""Which request a signature of Google's holds for: the way to find out what rewrote the one that came.

Rule 1: a change is tried by the very checks that serve. Nothing here computes a signature, and none is handed on.
Rule 2: the search is finite, and changes one thing at a time.
"""

import mimetypes
from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple
from urllib.parse import quote

from valetstore.errors import Denied
from valetstore.grants.gcs import v2, v4
from valetstore.grants.gcs.operations import RESUMABLE
from valetstore.grants.gcs.rules import Rules
from valetstore.grants.gcs.session import EARLY_SECONDS
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import GCS

_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
_TYPES: Final = ("application/octet-stream", "text/plain", "application/json", "image/jpeg")
_GUESSES: Final = {RESUMABLE: ("start",), "x-goog-if-generation-match": ("0",)}
_HOSTS: Final = ("storage.googleapis.com", "127.0.0.1:8420", "localhost:8420", "127.0.0.1", "localhost")
_AUTH: Final = ("x-goog-", "googleaccessid", "signature", "expires", "x-valet-")


class Fitting(NamedTuple):
    """What a key is for: a method, and headers (lower-case name, value) that must come with it.

    `is_asked` says that the request which came is the one.
    """

    method: str
    headers: tuple[tuple[str, str], ...]
    is_asked: bool


def fitting(inbound: Inbound, rules: Rules, keys: KeyRing) -> Fitting | None:
    """The method and the headers with which the signature holds; None where none of those tried does."""
    if holds(inbound, rules, keys):
        headers = tuple((name, (inbound.header(name) or "").strip(" \t")) for name in _came(inbound))
        return Fitting(inbound.method, headers, is_asked=True)
    for method, headers in product(_methods(inbound), _headers(inbound)):
        if holds(_with(inbound, method, headers), rules, keys):
            return Fitting(method, headers, is_asked=False)
    return None


def causes_of(inbound: Inbound, rules: Rules, keys: KeyRing, found: Fitting | None) -> Iterator[str]:
    """Sentences: why the signature of the request that came does not hold, as far as that can be found out."""
    client, kind, issued_at = _claimed(inbound)
    known = keys.find_all(GCS, client)
    if not known:
        yield f"No signing key here is {client}'s."
        return
    if issued_at is not None and issued_at > inbound.now + EARLY_SECONDS:
        yield "Its date is more than 15 minutes ahead of the clock here."
    if kind and all(key.record.algorithm != kind for key in known):
        yield f"It is signed by {kind}, and the signing key of {client} is for {known[0].record.algorithm}."
        return
    if found is not None:
        yield from _differences(inbound, found)
        return
    for changed, cause in _changes(inbound, rules):
        if any(
            holds(_with(changed, method, headers), rules, keys)
            for method, headers in product((inbound.method, *_methods(inbound)), _headers(inbound))
        ):
            yield cause
            return


def holds(inbound: Inbound, rules: Rules, keys: KeyRing) -> bool:
    """Whether the signature in this URL holds for this request."""
    try:
        if v4.in_query(inbound):
            return v4.made_by(v4.claim_of(inbound), inbound, rules, keys) is not None
        return v2.made_by(v2.claim_of(inbound), inbound, rules, keys) is not None
    except Denied:
        return False


def _claimed(inbound: Inbound) -> tuple[str, str, int | None]:
    """Who is said to have signed, by what kind of key, when."""
    if v4.in_query(inbound):
        scope = v4.claim_of(inbound).scope
        return scope.client, scope.kind, scope.issued_at
    return v2.claim_of(inbound).client, "", None


def _differences(inbound: Inbound, found: Fitting) -> Iterator[str]:
    if found.method != inbound.method:
        yield f"It was signed for {found.method}, and asked for by {inbound.method}."
    for name, value in found.headers:
        sent = inbound.header(name)
        if sent is None:
            yield f"It was signed with the header {name}: {value}, which did not come."
        elif sent.strip(" \t") != value:
            yield f"It was signed with the header {name}: {value}, and {sent} came."


def _methods(inbound: Inbound) -> tuple[str, ...]:
    return tuple(method for method in _METHODS if method != inbound.method)


def _came(inbound: Inbound) -> tuple[str, ...]:
    """The headers that are signed and came, where that can be told."""
    if v4.in_query(inbound):
        return tuple(sorted(v4.claim_of(inbound).names - {"host"}))
    names = sorted({raw.decode("latin-1").lower() for raw, _ in inbound.headers})
    return tuple(name for name in names if name.startswith("x-goog-") or name in ("content-type", "content-md5"))


def _headers(inbound: Inbound) -> tuple[tuple[tuple[str, str], ...], ...]:
    """What may have been signed and did not come: guesses of headers, each with a value."""
    types = list(dict.fromkeys([mimetypes.guess_type(inbound.path)[0] or _TYPES[0], *_TYPES]))
    if v4.in_query(inbound):
        absent = [name for name in _came(inbound) if inbound.header(name) is None]
        values = [types if name == "content-type" else _GUESSES.get(name, ()) for name in absent]
        return tuple(tuple(zip(absent, chosen, strict=True)) for chosen in product(*values))
    start: tuple[tuple[str, str], ...] = ((RESUMABLE, "start"),)
    typed = [(("content-type", kind),) for kind in types]
    return ((), start, *typed, *((*row, *start) for row in typed))


def _with(inbound: Inbound, method: str, headers: tuple[tuple[str, str], ...]) -> Inbound:
    made = inbound
    for name, _ in headers:
        made = made.without_header(name.encode())
    return made.with_headers(tuple((name.encode(), value.encode()) for name, value in headers)).with_method(method)


def _changes(inbound: Inbound, rules: Rules) -> Iterator[tuple[Inbound, str]]:
    """Requests that differ from the one that came in one thing, and what to say of each."""
    for host in dict.fromkeys((rules.public_host, *_HOSTS)):
        if host and host != inbound.host:
            yield _of(inbound, host=host), f"It was signed for the host {host}, and asked for as {inbound.host}."
    for path in (quote(inbound.path, safe="/~!*'()"), quote(inbound.path, safe=""), quote(quote(inbound.path))):
        if path.startswith("/") and path.encode() != inbound.raw_path:
            yield _of(inbound, path=path.encode()), f"It was signed for the path {path}."
    parts = [part for part in inbound.raw_query.split(b"&") if part]
    for at, (name, _) in enumerate(inbound.query):
        if not name.lower().startswith(_AUTH):
            query = b"&".join(parts[:at] + parts[at + 1 :])
            yield _of(inbound, query=query), f"The parameter {name} was added after it was signed."
    if b"+" in inbound.raw_query:
        query = inbound.raw_query.replace(b"+", b"%20")
        yield _of(inbound, query=query), "It has `+` in its query where `%20` was signed: something wrote it anew."
    for name in _came(inbound):
        if inbound.header(name) is not None:
            yield inbound.without_header(name.encode()), f"The header {name} came, and was not signed."


def _of(inbound: Inbound, host: str | None = None, path: bytes | None = None, query: bytes | None = None) -> Inbound:
    target = (inbound.raw_path if path is None else path) + b"?" + (inbound.raw_query if query is None else query)
    headers, at = inbound.headers, inbound.host
    if host is not None:
        headers = (*inbound.without_header(b"host").headers, (b"Host", host.encode()))
        at = host
    return Inbound(inbound.method, target, headers, now=inbound.now, tls=inbound.tls, host=at)
