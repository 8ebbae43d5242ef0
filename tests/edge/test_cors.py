"""CORS: pages of allowed origins may use a bucket, and see why they are refused; others may not."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge.conftest import inspect
from tests.gate import Answer, Gate

CONFIG = """
[[cors]]
origins = ["*"]

[[buckets.app.cors]]
origins = ["https://app.example.org"]
methods = ["GET", "PUT", "DELETE"]
headers = ["content-type", "x-valet-meta-*"]
expose = ["x-valet-meta-a"]
max-age-seconds = 77

[[buckets.app.cors]]
origins = ["https://*.example.net", "http://localhost:*"]

[[buckets.forms.cors]]
origins = ["https://app.example.org"]
methods = ["POST"]
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """One with rules for all, and rules of a bucket."""
    with Gate(tmp_path_factory.mktemp("cors"), CONFIG) as running:
        assert running.ask("PUT", running.sign("PUT", "/app/x"), b"x").status == 201
        yield running
        inspect(running)


def preflight(gate: Gate, path: str, origin: str, method: str, headers: str = "") -> Answer:
    """What a browser asks before it asks."""
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        sent["Access-Control-Request-Headers"] = headers
    return gate.ask("OPTIONS", path, headers=sent)


def test_a_preflight_needs_no_key(gate: Gate) -> None:
    """It is answered by the rule that allows all it asks for, for objects that exist and others alike."""
    for path in ("/app/x", "/app/absent", "/app/x?valet=nonsense"):
        answer = preflight(gate, path, "https://app.example.org", "PUT", "Content-Type, x-valet-meta-a")
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
        assert answer.headers["access-control-allow-methods"] == "GET, PUT, DELETE"
        assert answer.headers["access-control-allow-headers"] == "Content-Type, x-valet-meta-a"
        assert answer.headers["access-control-max-age"] == "77"
        assert answer.headers["vary"] == "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("https://evil.example.org", "PUT", ""),
        ("https://app.example.org.evil.test", "PUT", ""),
        ("http://app.example.org", "PUT", ""),
        ("https://app.example.org:8443", "PUT", ""),
        ("https://APP.example.org", "PUT", ""),
        ("null", "GET", ""),
        ("https://app.example.org", "POST", ""),
        ("https://app.example.org", "put", ""),
        ("https://app.example.org", "PUT", "authorization"),
        ("https://app.example.org", "PUT", "content-type, x-other"),
        ("https://a.example.net", "PUT", ""),
        ("https://example.net", "GET", ""),
    ],
)
def test_what_no_rule_allows_is_refused(gate: Gate, origin: str, method: str, headers: str) -> None:
    """With a code, and without headers that would let the page on."""
    answer = preflight(gate, "/app/x", origin, method, headers)
    assert (answer.status, answer.code) == (403, "cors_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["https://a.example.net", "https://a.b.example.net", "http://localhost:3000"])
def test_a_star_stands_for_any_characters(gate: Gate, origin: str) -> None:
    """Inside an origin; the origin itself is named in the answer."""
    answer = preflight(gate, "/app/x", origin, "GET", "x-anything")
    assert answer.headers["access-control-allow-origin"] == origin


def test_a_bucket_without_rules_has_those_for_all(gate: Gate) -> None:
    """`*` is answered as `*`, which needs no Vary."""
    answer = preflight(gate, "/other/x", "https://any.test", "GET")
    assert answer.headers["access-control-allow-origin"] == "*"
    refused = gate.ask("GET", "/other/x", headers={"Origin": "https://any.test"})
    assert refused.headers["access-control-allow-origin"] == "*"
    assert preflight(gate, "/other/x", "https://any.test", "PUT").code == "cors_not_allowed"


def test_every_answer_carries_the_headers(gate: Gate) -> None:
    """Success and each kind of refusal, so that the page sees the code."""
    origin = {"Origin": "https://app.example.org"}
    url = gate.sign("GET", "/app/x")
    asks: list[tuple[str, str, dict[str, str], int]] = [
        ("GET", url, {}, 200),
        ("GET", url, {"Range": "bytes=0-0"}, 206),
        ("GET", url, {"If-None-Match": "*"}, 304),
        ("GET", url, {"Range": "bytes=9-"}, 416),
        ("GET", "/app/x", {}, 401),
        ("GET", gate.sign("GET", "/app/absent"), {}, 404),
        ("PUT", url, {}, 403),
        ("GET", "/app/x?q=%zz", {}, 400),
    ]
    for method, asked, more, status in asks:
        answer = gate.ask(method, asked, headers=origin | more)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
        assert answer.headers["vary"] == "Origin"
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"etag", "content-range", "x-valet-error", "x-request-id", "x-valet-meta-a"} <= set(exposed)


def test_an_answer_without_a_rule_says_that_it_varies(gate: Gate) -> None:
    """A shared cache must not hand it to a page that has one."""
    sent: list[dict[str, Any]] = [{}, {"Origin": "https://evil.test"}]
    for headers in sent:
        answer = gate.ask("GET", gate.sign("GET", "/app/x"), headers=headers)
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in answer.headers


def test_a_bucket_that_is_written_in_escapes_is_the_same_bucket(gate: Gate) -> None:
    """The path is decoded once, for the rules as for the key; what does not decode has no rules."""
    answer = preflight(gate, "/%61pp/x", "https://app.example.org", "PUT")
    assert answer.headers["access-control-allow-methods"] == "GET, PUT, DELETE"
    assert preflight(gate, "/%61pp/x", "https://any.test", "GET").code == "cors_not_allowed"
    for path in ("/%zz/x", "/%ff/x", "/other/%zz"):
        assert preflight(gate, path, "https://any.test", "GET").code == "cors_not_allowed"
        assert (
            "access-control-allow-origin" not in gate.ask("GET", path, headers={"Origin": "https://any.test"}).headers
        )


def test_what_no_browser_sends_is_matched_with_nothing(gate: Gate) -> None:
    """An origin or a header's name as long as an attacker likes."""
    for length, status in ((512, 204), (513, 403)):
        origin = "https://" + "a" * (length - len("https://.example.net")) + ".example.net"
        assert preflight(gate, "/app/x", origin, "GET").status == status
        allowed = gate.ask("GET", "/app/x", headers={"Origin": origin}).headers.get("access-control-allow-origin")
        assert (allowed == origin) is (status == 204)
    for length, status in ((128, 204), (129, 403)):
        name = "x-valet-meta-".ljust(length, "a")
        assert preflight(gate, "/app/x", "https://app.example.org", "PUT", f"content-type, {name}").status == status


def test_options_that_is_no_preflight_says_what_is_served(gate: Gate) -> None:
    """And nothing about objects."""
    for path in ("/app/x", "/none/x"):
        answer = gate.ask("OPTIONS", path)
        assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, PUT, DELETE, OPTIONS")


def test_an_origin_is_never_echoed_with_a_line_end(gate: Gate) -> None:
    """Nor are header names that were asked for."""
    raw = gate.raw(
        b"OPTIONS /app/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: https://a.example.net\x0bX\r\n"
        b"Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: a\x0b\r\n\r\n"
    )
    assert b"\x0b" not in raw


def test_the_preflight_of_swifts_form_goes_by_the_containers_rules(gate: Gate) -> None:
    """A page that shows how much has been sent makes its browser ask first, of a path that carries no key."""
    allowed = preflight(gate, "/v1/AUTH_a/forms/2026", "https://app.example.org", "POST")
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    assert preflight(gate, "/v1/AUTH_a/forms/2026", "https://other.example", "POST").code == "cors_not_allowed"
