"""Signed by Google's library, changed in one place, refused: every component of a request that its keys sign."""

import string
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.gcs.stranger import HOST, LIFE, RULES, hmac_url, hmac_v2_url, policy_fields, posted, ring, signed
from valetstore.errors import Denied
from valetstore.grants.gcs import Gcs
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.policy.request import enforce


class Request(NamedTuple):
    """A request in parts, as they are before they are encoded."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    after: float = 0

    def judge(self, keys: KeyRing | None = None) -> None:
        """Raise Denied unless it is let in, `after` seconds from now."""
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query)
        target = f"{quote(self.path)}?{query}".encode()
        headers = tuple((name.encode(), value.encode()) for name, value in self.headers)
        judge(Inbound(self.method, target, headers, now=time.time() + self.after), keys)


def judge(inbound: Inbound, keys: KeyRing | None = None) -> None:
    """Raise Denied unless it is let in."""
    scheme = Gcs(RULES)
    intent = scheme.intent(inbound)
    proof = scheme.verify(inbound, recognise(inbound, [scheme]), ring() if keys is None else keys)
    enforce(proof.grant.narrowed_by(proof.limits), intent, inbound)


def request_of(method: str, url: str, headers: Mapping[str, str]) -> Request:
    """A request as a client would send it."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)
    # The path of these requests has nothing that is encoded.
    return Request(method, parts.path, tuple(query), tuple({"Host": HOST, **headers}.items()))


# What is changed, and in how many ways


def changed_values(value: str) -> Iterator[str]:
    """Other values: one character more, less, another."""
    yield value + "0"
    if value:
        yield value[:-1]
        for at in {0, len(value) // 2, len(value) - 1}:
            yield value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]


def other_methods(request: Request) -> Iterator[Request]:
    tolerated = {"GET": {"GET", "HEAD"}}.get(request.method, {request.method})
    for method in {"GET", "HEAD", "PUT", "POST", "DELETE"} - tolerated:
        yield request._replace(method=method)


def other_paths(request: Request) -> Iterator[Request]:
    for path in (*changed_values(request.path[1:]), request.path, request.path[1:] + "/", request.path[1:].upper()):
        if f"/{path}" != request.path:
            yield request._replace(path=f"/{path}")


def other_queries(request: Request, *, is_v4: bool) -> Iterator[Request]:
    pairs = request.query
    for at, (name, value) in enumerate(pairs):
        before, after = pairs[:at], pairs[at + 1 :]
        yield request._replace(query=before + after)
        yield request._replace(query=(*pairs, (name, value)))
        yield request._replace(query=(*before, (name + "x", value), *after))
        for other in changed_values(value):
            yield request._replace(query=(*before, (name, other), *after))
    # Version 2 signs no parameter that is not the signer's: what is added there says nothing (test_v2).
    added = [("generation", "1"), ("response-content-type", "text/html"), ("", ""), ("x", "y")] if is_v4 else []
    for name, value in (*added, ("acl", ""), ("x-valet-uses", "1"), ("upload_id", "x")):
        yield request._replace(query=(*pairs, (name, value)))


def other_headers(request: Request, *, is_v4: bool) -> Iterator[Request]:
    """Every header of these requests is signed; version 2 signs no Host."""
    for at, (name, value) in enumerate(request.headers):
        if name == "Host" and not is_v4:
            continue
        before, after = request.headers[:at], request.headers[at + 1 :]
        yield request._replace(headers=before + after)
        yield request._replace(headers=(*request.headers, (name, value)))
        for other in changed_values(value):
            yield request._replace(headers=(*before, (name, other), *after))
    for name in ("x-goog-copy-source", "x-goog-meta-further", "X-Goog-Acl", "x-goog-resumable"):
        yield request._replace(headers=(*request.headers, (name, "/secret/x")))


def is_refused(request: Request, keys: KeyRing | None = None) -> bool:
    """Whether it is, for whatever reason."""
    try:
        request.judge(keys)
    except Denied:
        return True
    return False


def check(request: Request, *, is_v4: bool = True) -> None:
    """It is let in, and none that differs from it in one place."""
    request.judge()
    others = [
        *other_methods(request),
        *other_paths(request),
        *other_queries(request, is_v4=is_v4),
        *other_headers(request, is_v4=is_v4),
        request._replace(after=LIFE.total_seconds() + 700_000),
    ]
    assert len(others) > 30
    assert [other for other in others if not is_refused(other)] == []
    assert is_refused(request, KeyRing())


NAMES = st.text(string.ascii_lowercase + "-_.~", min_size=1, max_size=8).filter(lambda name: name.strip("."))
VALUES = st.text(string.ascii_letters + " +/=&%~é;:,", min_size=1, max_size=12).filter(lambda value: value.strip())
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE"])
HEADERS = st.dictionaries(
    st.sampled_from(["x-goog-meta-a", "x-goog-meta-b", "x-goog-storage-class"]),
    st.text(string.ascii_letters + "/=;", min_size=1, max_size=9),
    max_size=3,
)
PARAMETERS = st.dictionaries(st.sampled_from(["response-content-type", "x-a", "userproject"]), VALUES, max_size=2)
TYPES = st.none() | st.sampled_from(["image/png", "text/plain; charset=utf-8"])


def test_a_url_of_version_4_opens_one_request() -> None:
    @settings(deadline=None, derandomize=True, max_examples=15)
    @given(METHODS, NAMES, PARAMETERS, HEADERS, TYPES)
    def one(
        method: str, name: str, parameters: dict[str, str], headers: dict[str, str], content_type: str | None
    ) -> None:
        url = signed(method, name, query_parameters=parameters, headers=dict(headers), content_type=content_type)
        sent = headers | ({"content-type": content_type} if content_type else {})
        check(request_of(method, url, sent))

    one()


def test_a_url_of_version_2_opens_one_request() -> None:
    @settings(deadline=None, derandomize=True, max_examples=15)
    @given(METHODS, NAMES, HEADERS, TYPES)
    def one(method: str, name: str, headers: dict[str, str], content_type: str | None) -> None:
        url = signed(method, name, version="v2", headers=dict(headers), content_type=content_type)
        sent = headers | ({"content-type": content_type} if content_type else {})
        check(request_of(method, url, sent), is_v4=False)

    one()


def test_urls_of_hmac_keys_open_one_request() -> None:
    check(request_of("GET", hmac_url(), {}))
    check(request_of("PUT", hmac_url("PUT", x_goog_meta_a="b"), {"x-goog-meta-a": "b"}))
    check(request_of("GET", hmac_v2_url(), {}), is_v4=False)


def test_the_beginning_of_a_session_is_one_request() -> None:
    for version in ("v4", "v2"):
        url = signed("RESUMABLE", "cat.jpg", version=version)
        check(request_of("POST", url, {"x-goog-resumable": "start"}), is_v4=version == "v4")


def test_a_signed_payload_hash_is_a_component() -> None:
    headers = {"x-goog-content-sha256": "ab" * 32}
    check(request_of("PUT", signed("PUT", "cat.jpg", headers=dict(headers)), headers))


def test_a_form_opens_one_upload() -> None:
    fields = policy_fields(fields={"x-goog-meta-a": "b", "content-type": "image/png"})
    judge(posted(fields))
    others = [fields | {name: other} for name, value in fields.items() for other in changed_values(value)]
    others += [{k: v for k, v in fields.items() if k != name} for name in fields]
    others += [fields | {name: "1"} for name in ("acl", "x-goog-meta-more", "success_action_status", "bucket")]
    for other in others:
        try:
            judge(posted(other))
        except Denied:
            continue
        raise AssertionError(other)
