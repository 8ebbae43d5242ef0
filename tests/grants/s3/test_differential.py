"""Signed by botocore, changed in one place, refused: every component of a request that Signature Version 4 signs."""

import string
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.grants.s3.stranger import ENDPOINT, HOST, RULES, identity, presigned, ring, signed
from valetstore.errors import Denied
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import session
from valetstore.grants.s3.scheme import S3
from valetstore.inbound import Inbound
from valetstore.policy.request import enforce

PAYLOAD = "ab" * 32


class Request(NamedTuple):
    """A request in parts, as they are before they are encoded."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]

    def judge(self) -> None:
        """Raise Denied unless it is let in."""
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in self.query)
        target = f"{quote(self.path)}?{query}".encode()
        headers = tuple((name.encode(), value.encode()) for name, value in self.headers)
        inbound = Inbound(self.method, target, headers, now=datetime.now(UTC).timestamp())
        scheme = S3(RULES)
        intent = scheme.intent(inbound)
        proof = scheme.verify(inbound, recognise(inbound, [scheme]), ring())
        enforce(proof.grant.narrowed_by(proof.limits), intent, inbound)


def request_of(method: str, url: str, headers: Mapping[str, str]) -> Request:
    """A request as botocore would send it."""
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
    if any(name == "Authorization" for name, _ in request.headers):
        tolerated = {request.method}
    for method in {"GET", "HEAD", "PUT", "POST", "DELETE"} - tolerated:
        yield request._replace(method=method)


def other_paths(request: Request) -> Iterator[Request]:
    for path in (*changed_values(request.path[1:]), request.path, request.path[1:] + "/", request.path[1:].upper()):
        if f"/{path}" != request.path:
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
    for name, value in (
        ("versionId", "null"),
        ("x-amz-acl", "private"),
        ("response-content-type", "text/html"),
        ("", ""),
    ):
        yield request._replace(query=(*pairs, (name, value)))


def other_headers(request: Request) -> Iterator[Request]:
    """Every header of these requests is signed, or is the signature."""
    for at, (name, value) in enumerate(request.headers):
        before, after = request.headers[:at], request.headers[at + 1 :]
        yield request._replace(headers=before + after)
        yield request._replace(headers=(*request.headers, (name, value)))
        for other in changed_values(value):
            yield request._replace(headers=(*before, (name, other), *after))
    for name in ("x-amz-copy-source", "x-amz-meta-further", "X-Amz-Acl"):
        yield request._replace(headers=(*request.headers, (name, "/secret/x")))


WAYS = (other_methods, other_paths, other_queries, other_headers)


def is_refused(request: Request) -> bool:
    """Whether it is, for whatever reason."""
    try:
        request.judge()
    except Denied:
        return True
    return False


def check(request: Request) -> None:
    """It is let in, and none that differs from it in one place."""
    request.judge()
    others = [other for way in WAYS for other in way(request)]
    assert len(others) > 40
    assert [other for other in others if not is_refused(other)] == []


NAMES = st.text(string.ascii_lowercase + "-_.~", min_size=1, max_size=8).filter(lambda name: name.strip("."))
VALUES = st.text(string.ascii_letters + " +/=&%~é;:,", min_size=1, max_size=12)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE"])
HEADERS = st.dictionaries(
    st.sampled_from(["x-amz-meta-a", "x-amz-meta-b", "content-type", "if-none-match"]),
    st.text(string.ascii_letters + "/=;", min_size=1, max_size=9),
    max_size=3,
)
OVERRIDES = st.dictionaries(st.sampled_from(["response-content-type", "x-a", "partNumber"]), VALUES, max_size=2)


def url_of(name: str, parameters: Mapping[str, str]) -> str:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())
    return f"{ENDPOINT}/photos/{name}" + (f"?{query}" if query else "")


@settings(deadline=None, max_examples=100)
@given(method=METHODS, name=NAMES, parameters=OVERRIDES, headers=HEADERS, expires=st.integers(10, 604_800))
def test_a_presigned_url_opens_one_request(
    method: str, name: str, parameters: dict[str, str], headers: dict[str, str], expires: int
) -> None:
    check(request_of(method, presigned(method, url_of(name, parameters), headers, expires), headers))


@settings(deadline=None, max_examples=100)
@given(method=METHODS, name=NAMES, parameters=OVERRIDES, headers=HEADERS, body=st.binary(max_size=9))
def test_signed_headers_open_one_request(
    method: str, name: str, parameters: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    url = url_of(name, parameters)
    sent = signed(method, url, headers, body)
    sent.pop("Content-Length", None)  # nobody signs it: HTTP itself holds a body to it
    check(request_of(method, url, sent))


def test_temporary_credentials_open_one_request() -> None:
    """The token is one more component."""
    made = session.mint(identity().access_key, identity().secret_key.encode(), 4_000_000_000)
    temporary = Credentials(made.access_key_id, made.secret_access_key, made.session_token)
    url = url_of("cat.jpg", {})
    check(request_of("GET", presigned(url=url, credentials=temporary), {}))
    check(request_of("GET", url, signed(url=url, credentials=temporary)))


def test_a_signed_payload_hash_is_a_component() -> None:
    headers = {"x-amz-content-sha256": PAYLOAD}
    check(request_of("PUT", presigned("PUT", url_of("cat.jpg", {}), headers), headers))
