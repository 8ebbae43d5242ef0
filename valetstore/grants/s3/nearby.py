"""Which change of a request would make its S3 signature hold: the way to find out what rewrote it.

Rule 1: a change is tried by the very `verify` that serves. Nothing here computes a signature, and none is handed on.
Rule 2: the search is finite, and one change is tried before two: what is found is the least that explains it.
"""

import mimetypes
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from valetstore.errors import Denied
from valetstore.grants.s3.explain import Facts, facts_of, fitting_type, missing_headers
from valetstore.grants.s3.rules import Rules
from valetstore.grants.s3.scheme import S3
from valetstore.inbound import Form, Headers, Inbound
from valetstore.keys.ring import KeyRing

Kind = Literal["method", "host", "path", "query", "header", "region"]

_METHODS: Final = ("GET", "PUT", "HEAD", "POST", "DELETE")
_PORTS: Final = ("80", "443", "8420")
_TYPES: Final = ("application/octet-stream", "binary/octet-stream", "text/plain", "application/json", "image/jpeg")
_PREFIX_SEGMENTS_MAX: Final = 3
_OWN: Final = ("x-amz-", "awsaccesskeyid", "signature", "expires")


class Change(NamedTuple):
    """What would have to be otherwise: of which kind, how it is, how it would hold ("": without it).

    A header is found as its name where it did not come, as `name: value` where it did.
    """

    kind: Kind
    found: str
    wanted: str = ""


class _Asked(NamedTuple):
    """A request in parts that can be changed one by one."""

    method: str
    host: str
    path: bytes
    query: bytes
    headers: Headers
    any_region: bool = False


class _Option(NamedTuple):
    """One change, and the parts of the request that it replaces."""

    change: Change
    parts: dict[str, Any]


def holding(inbound: Inbound, rules: Rules, keys: KeyRing, hosts: tuple[str, ...] = ()) -> tuple[Change, ...]:
    """The fewest changes of the request with which its signature would hold; none where none is found.

    `hosts` are further names under which the gateway may have been meant.
    """
    asked = _asked(inbound)
    axes = [list(axis) for axis in _axes(asked, inbound, rules, hosts)]
    for count in (1, 2):
        for chosen in combinations(axes, count):
            for options in product(*chosen):
                parts = {name: part for option in options for name, part in option.parts.items()}
                if _holds(asked._replace(**parts), inbound, rules, keys):
                    return tuple(option.change for option in options)
    return ()


class Fitting(NamedTuple):
    """What a request has to bring for a key, as far as that can be told: `source` is "" for any."""

    method: str
    source: str
    headers: dict[str, str]
    form: Form | None


def fitting(bare: Inbound, facts: Facts, rules: Rules, keys: KeyRing, *, method_is_given: bool) -> Fitting:
    """The request that a key is for: the method that its signature holds with, what its conditions ask for."""
    terms = {name: value.partition(",")[0].strip() for name, value in facts.terms}
    source = terms.get("x-valet-ip", "").partition("/")[0]
    if bare.form is not None:
        content_type = fitting_type(bare)
        return Fitting("POST", source, {}, (("content-type", content_type), *bare.form) if content_type else bare.form)
    found = _signed_as(bare, rules, keys, method_is_given=method_is_given)
    headers = {change.found: change.wanted for change in found if change.kind == "header"}
    method = next((change.wanted for change in found if change.kind == "method"), bare.method)
    if method == "PUT" and "x-valet-type" in terms and "content-type" not in facts.signed_headers:
        headers["content-type"] = terms["x-valet-type"].replace("*", "x")
    return Fitting(method, source, headers, None)


def _signed_as(bare: Inbound, rules: Rules, keys: KeyRing, *, method_is_given: bool) -> tuple[Change, ...]:
    """The method and the Content-Type that were signed, where the request does not say them."""
    asked = _asked(bare)
    methods = [] if method_is_given else list(_methods(asked))
    missing = list(_missing(asked, bare))
    unchanged = _Option(Change("method", bare.method, bare.method), {})
    for method, header in product([unchanged, *methods], [unchanged, *missing]):
        if _holds(asked._replace(**method.parts, **header.parts), bare, rules, keys):
            return tuple(option.change for option in (method, header) if option is not unchanged)
    found = holding(bare, rules, keys)
    return () if method_is_given else tuple(change for change in found if change.kind == "method")


def _asked(inbound: Inbound) -> _Asked:
    """The request without what is refused for another reason than its signature: headers that nobody signed."""
    facts = facts_of(inbound)
    signed = facts.signed_headers if facts is not None and facts.version == "4" and facts.carrier == "query" else None
    headers = [
        (name, value)
        for name, value in inbound.headers
        if name.lower() != b"host" and (signed is None or not _is_amazons(name) or name.lower().decode() in signed)
    ]
    return _Asked(inbound.method, inbound.host, inbound.raw_path, inbound.raw_query, tuple(headers))


def _is_amazons(name: bytes) -> bool:
    return name[:6].lower() == b"x-amz-"


def _holds(asked: _Asked, inbound: Inbound, rules: Rules, keys: KeyRing) -> bool:
    """Whether the signature is good for this request; when, and for whom, does not matter."""
    target = asked.path + (b"?" + asked.query if asked.query else b"")
    headers = ((b"host", asked.host.encode("latin-1", "replace")), *asked.headers)
    scheme = S3(msgspec.structs.replace(rules, region="") if asked.any_region else rules)
    try:
        changed = Inbound(asked.method, target, headers, now=inbound.now, tls=inbound.tls, form=inbound.form)
        (credential,) = scheme.recognises(changed)
        scheme.verify(changed, credential, keys)
    except (Denied, ValueError):
        return False
    return True


def _axes(asked: _Asked, inbound: Inbound, rules: Rules, hosts: tuple[str, ...]) -> tuple[Iterator[_Option], ...]:
    """What can be changed, the likely first; of a form's signature only its region."""
    regions = _regions(inbound, rules)
    if inbound.form is not None:
        return (regions,)
    return (
        _methods(asked),
        _queries(asked),
        _missing(asked, inbound),
        _other_types(asked, inbound),
        regions,
        _paths(asked),
        _hosts(asked, rules, hosts),
    )


def _methods(asked: _Asked) -> Iterator[_Option]:
    for method in _METHODS:
        if method != asked.method:
            yield _Option(Change("method", asked.method, method), {"method": method})


def _hosts(asked: _Asked, rules: Rules, further: tuple[str, ...]) -> Iterator[_Option]:
    """Other names of the gateway, and the bucket moved from the path into the Host."""
    name, _, port = asked.host.rpartition(":")
    bare = name if port.isdigit() else asked.host
    ports = dict.fromkeys([*([port] if port.isdigit() else []), *_PORTS])
    with_ports = [f"{host}:{port}" for host in (bare, *rules.hosts) for port in ports]
    names = dict.fromkeys([rules.public_host, *further, *rules.hosts, bare, *with_ports])
    bucket, _, rest = asked.path[1:].partition(b"/")
    for host in names:
        if host and host != asked.host:
            yield _Option(Change("host", asked.host, host), {"host": host})
    for host in dict.fromkeys((asked.host, *names)):
        virtual = f"{bucket.decode('latin-1')}.{host}"
        if host and bucket:
            yield _Option(Change("host", asked.host, virtual), {"host": virtual, "path": b"/" + rest})


def _paths(asked: _Asked) -> Iterator[_Option]:
    for path in dict.fromkeys(_other_paths(asked.path)):
        if path != asked.path:
            yield _Option(Change("path", _text(asked.path), _text(path)), {"path": path})


def _other_paths(path: bytes) -> Iterator[bytes]:
    """How intermediaries and hand-written clients write one path in other ways."""
    text = _text(path)
    once = unquote(text, "latin-1")
    yield path.replace(b"+", b"%20")
    yield path.replace(b"%20", b"+")
    yield path.replace(b"+", b"%2B")
    yield path.replace(b"%2B", b"+").replace(b"%2b", b"+")
    yield quote(text, safe="/~%+", encoding="latin-1").encode("ascii")
    yield _encoded(once)
    yield _encoded(_encoded(once).decode("ascii"))  # meant once, encoded twice
    yield _encoded(unquote(once, "latin-1"))  # sent once, encoded twice before
    while b"//" in path:
        path = path.replace(b"//", b"/")
    yield path
    yield path + b"/"
    if len(path) > 1:
        yield path.removesuffix(b"/")
    for _ in range(_PREFIX_SEGMENTS_MAX):
        _, slash, rest = path[1:].partition(b"/")
        if not slash:
            return
        path = b"/" + rest
        yield path


def _encoded(text: str) -> bytes:
    return quote(text, safe="/~", encoding="latin-1").encode("ascii")


def _queries(asked: _Asked) -> Iterator[_Option]:
    """Entities of HTML, `+` against `%20`, escapes of escapes, parameters that somebody added."""
    query = asked.query
    rewritten = {
        "`&amp;` in place of `&`": query.replace(b"&amp;", b"&"),
        "`+` in place of `%20`": query.replace(b"+", b"%20"),
        "`%20` in place of `+`": query.replace(b"%20", b"%2B"),
        "`%25` in place of `%`": query.replace(b"%25", b"%"),
    }
    for what, text in rewritten.items():
        if text != query:
            yield _Option(Change("query", what), {"query": text})
    parts = [part for part in query.split(b"&") if part]
    foreign = [part for part in parts if not unquote(_text(part)).lower().startswith(_OWN)]
    for gone in [*([part] for part in foreign), foreign]:
        names = ", ".join(unquote(_text(part.partition(b"=")[0])) for part in gone)
        kept = b"&".join(part for part in parts if part not in gone)
        yield _Option(Change("query", f"the parameter {names}"), {"query": kept})


def _missing(asked: _Asked, inbound: Inbound) -> Iterator[_Option]:
    """The signed Content-Type that did not come, with the values that clients send of themselves."""
    if missing_headers(inbound) == ["content-type"]:
        yield from _typed(asked, "content-type")


def _other_types(asked: _Asked, inbound: Inbound) -> Iterator[_Option]:
    """A Content-Type that came with another value than was signed, or by version 2 with none: clients add their own."""
    facts, sent = facts_of(inbound), inbound.header("content-type")
    if facts is None or sent is None:
        return
    if facts.version == "2":
        yield _Option(Change("header", f"content-type: {sent}"), {"headers": _untyped(asked)})
    if facts.version == "2" or "content-type" in facts.signed_headers:
        yield from _typed(asked, f"content-type: {sent}")


def _typed(asked: _Asked, found: str) -> Iterator[_Option]:
    guessed = mimetypes.guess_type(_text(asked.path))[0]
    for value in dict.fromkeys([*([guessed] if guessed else []), *_TYPES]):
        headers = (*_untyped(asked), (b"content-type", value.encode()))
        yield _Option(Change("header", found, value), {"headers": headers})


def _untyped(asked: _Asked) -> Headers:
    return tuple(pair for pair in asked.headers if pair[0].lower() != b"content-type")


def _regions(inbound: Inbound, rules: Rules) -> Iterator[_Option]:
    facts = facts_of(inbound)
    if facts is not None and rules.region and facts.region not in ("", rules.region):
        yield _Option(Change("region", facts.region, rules.region), {"any_region": True})


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
