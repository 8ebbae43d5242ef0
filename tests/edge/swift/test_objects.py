"""Objects by TempURL against the real gateway: what Swift answers, in its headers."""

import hashlib
import http.client
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.edge.swift.conftest import Accounts
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile


def md5(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("options", [{}, {"iso8601": True}, {"ip_range": "127.0.0.0/8"}])
def test_an_object_goes_round(swift: Accounts, digest: str, options: dict[str, Any]) -> None:
    """PUT, HEAD, GET, DELETE, each with a URL of its own."""
    one, path, data = swift(), f"/round/{digest} ü.txt", digest.encode()

    def ask(method: str, body: bytes | None = None) -> Answer:
        return swift.gate.ask(method, one.url(method, path, digest=digest, **options), body)

    put = ask("PUT", data)
    assert (put.status, put.body, put.headers["etag"]) == (201, b"", f'"{md5(data)}"')
    assert put.headers["content-type"] == "text/html; charset=UTF-8"
    assert put.headers["x-trans-id"] == put.headers["x-openstack-request-id"] == put.headers["x-request-id"]
    assert parsedate_to_datetime(put.headers["last-modified"])
    head, got = ask("HEAD"), ask("GET")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(data)))
    assert (got.status, got.body, got.headers["etag"]) == (200, data, put.headers["etag"])
    assert ask("PUT", b"again").status == 201
    assert (ask("DELETE").status, ask("DELETE").status, ask("GET").status) == (204, 404, 404)


def test_a_prefix_opens_what_begins_with_it(swift: Accounts) -> None:
    one = swift()
    one.put("/pre/album-1/x", b"1")
    one.put("/pre/other", b"2")
    query = one.url("GET", "/pre/album", prefix=True).partition("?")[2]
    assert swift.gate.ask("GET", f"/v1/{one.name}/pre/album-1/x?{query}").body == b"1"
    assert swift.gate.ask("GET", f"/v1/{one.name}/pre/other?{query}").status == 401


@pytest.mark.parametrize("signed", ["GET", "PUT", "POST", "HEAD"])
def test_a_head_opens_by_any_of_these(swift: Accounts, signed: str) -> None:
    one = swift()
    one.put("/heads/x", b"12345")
    answer = swift.gate.ask("HEAD", one.url(signed, "/heads/x"))
    assert (answer.status, answer.headers["content-length"]) == (200, "5")


def test_a_url_says_until_when_it_holds(swift: Accounts) -> None:
    """Expires is that moment, whatever was stored."""
    one = swift()
    one.put("/until/x", b"x", Expires="Thu, 01 Jan 2099 00:00:00 GMT")
    url = one.url("GET", "/until/x")
    expires = parsedate_to_datetime(swift.gate.ask("GET", url).headers["expires"]).timestamp()
    assert str(int(expires)) == parse_qs(urlsplit(url).query)["temp_url_expires"][0]


@pytest.mark.parametrize(
    ("query", "stored", "disposition"),
    [
        ("", None, 'attachment; filename="a_b.txt"'),
        ("", "inline", "inline"),
        ("", 'attachment; filename="s.txt"', 'attachment; filename="s.txt"'),
        ("&inline", 'attachment; filename="s.txt"', "inline"),
        ("&inline=", None, "inline"),
        ("&filename=q.txt", "inline", 'attachment; filename="q.txt"'),
        ("&filename=q.txt&inline", None, 'inline; filename="q.txt"'),
        ("&filename=My+Test+File.pdf", None, 'attachment; filename="My Test File.pdf"'),
        ("&filename=", "inline", "inline"),
        ("&filename=a%0d%0aX:%20y", None, 'attachment; filename="aX: y"'),
    ],
)
def test_how_it_is_saved_says_the_query_then_the_object_then_its_name(
    swift: Accounts, query: str, stored: str | None, disposition: str
) -> None:
    one, headers = swift(), {"Content-Type": "text/plain"}
    headers |= {"Content-Disposition": stored} if stored else {}
    one.put("/saved/in/a_b.txt", b"x", **{name.replace("-", "_"): value for name, value in headers.items()})
    for method in ("GET", "HEAD"):
        answer = swift.gate.ask(method, one.url("GET", "/saved/in/a_b.txt") + query)
        assert (answer.status, answer.headers["content-disposition"]) == (200, disposition)


def test_what_could_run_as_a_page_is_saved_whatever_the_query_says(swift: Accounts) -> None:
    """Anyone who has the URL may write `inline` into it."""
    one = swift()
    one.put("/pages/x.html", b"<script>", Content_Type="text/html")
    answer = swift.gate.ask("GET", one.url("GET", "/pages/x.html") + "&inline&filename=%C3%BC.html")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_public_metadata_goes_out(swift: Accounts) -> None:
    one = swift()
    one.put("/meta/x", b"x", X_Object_Meta_Secret="s", X_Object_Meta_Public_Color="blue", X_Object_Meta_Publicx="n")
    answer = one.ask("GET", "/meta/x")
    assert {name for name in answer.headers if name.startswith("x-object-meta-")} == {"x-object-meta-public-color"}
    assert answer.headers["x-object-meta-public-color"] == "blue"


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [("a.png", None, "image/png"), ("a.png", "a/b", "a/b"), ("a", None, "application/octet-stream")],
)
def test_a_type_that_was_not_given_is_told_by_the_name(swift: Accounts, name: str, sent: str | None, kept: str) -> None:
    one = swift()
    one.put(f"/types/{name}", b"x", **({"Content_Type": sent} if sent else {}))
    assert one.ask("GET", f"/types/{name}").headers["content-type"] == kept


def test_ranges_and_conditions(swift: Accounts) -> None:
    """As HTTP has them; entity tags without their quotes too, as Swift's clients send them."""
    one, tag = swift(), md5(b"0123456789")
    one.put("/ranges/x", b"0123456789")
    part = one.ask("GET", "/ranges/x", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    beyond = one.ask("GET", "/ranges/x", headers={"Range": "bytes=20-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */10")
    assert (
        beyond.body
        == b"<html><h1>Requested Range Not Satisfiable</h1><p>The Range requested is not available.</p></html>"
    )
    for value in (tag, f'"{tag}"'):
        assert one.ask("GET", "/ranges/x", headers={"If-None-Match": value}).status == 304
        assert one.ask("GET", "/ranges/x", headers={"If-Match": value}).status == 200
        assert one.ask("PUT", "/ranges/x", b"0123456789", {"If-Match": value}).status == 201
    assert one.ask("GET", "/ranges/x", headers={"If-Match": "x"}).status == 412
    assert one.ask("DELETE", "/ranges/x", headers={"If-Match": "x"}).status == 412
    assert one.ask("PUT", "/ranges/x", b"new", {"If-None-Match": "*"}).status == 412
    assert one.ask("PUT", "/ranges/new", b"new", {"If-None-Match": "*"}).status == 201
    assert one.ask("GET", "/ranges/x").body == b"0123456789"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Etag": md5(b"body")}, 201),
        ({"ETag": f'"{md5(b"body").upper()}"'}, 201),
        ({"Etag": md5(b"other")}, 422),
        ({"Etag": "x"}, 422),
        ({"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, 422),
    ],
)
def test_a_promised_digest_holds(swift: Accounts, headers: dict[str, str], status: int) -> None:
    one, path = swift(), f"/digests/{''.join(filter(str.isalnum, str(headers)))}"
    answer = one.ask("PUT", path, b"body", headers)
    assert answer.status == status
    if status == 422:
        assert (
            answer.body
            == b"<html><h1>Unprocessable Entity</h1><p>Unable to process the contained instructions</p></html>"
        )
        assert answer.code == "digest_mismatch"
        assert one.ask("GET", path).status == 404


def test_a_body_in_chunks_needs_no_length_and_any_other_does(swift: Accounts, gate: Gate) -> None:
    one = swift()
    connection = http.client.HTTPConnection(*gate.address, timeout=10)
    connection.request(
        "PUT", one.url("PUT", "/chunks/x"), iter([b"ab", b"cd"]), {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert connection.getresponse().status == 201
    connection.close()
    assert one.ask("GET", "/chunks/x").body == b"abcd"
    sent = f"PUT {one.url('PUT', '/chunks/y')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = gate.raw(sent.encode())
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert answer.endswith(b"\r\n\r\nMissing Content-Length header.")


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("X-Object-Manifest", 400),
        ("X-Symlink-Target", 400),
        ("X-Symlink-Target-Account", 400),
        ("X-Copy-From", 400),
        ("x-copy-from-account", 400),
        ("X-Delete-At", 501),
        ("X-Delete-After", 501),
        ("X-Detect-Content-Type", 501),
        ("Content-Range", 400),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_what_is_not_done_here_is_refused_and_not_passed_over(
    swift: Accounts, method: str, header: str, status: int
) -> None:
    """A pointer that is written by one key must not be read by another's right."""
    one = swift()
    one.put("/pointers/x", b"before")
    answer = one.ask(method, "/pointers/x", b"after" if method == "PUT" else None, {header: "pointers/secret"})
    assert answer.status == status
    if header.startswith("X-Object"):
        assert answer.body == b"The header &#x27;X-Object-Manifest&#x27; is not allowed in this tempurl"
    assert one.ask("GET", "/pointers/x").body == b"before"


def test_reads_pass_such_headers_over_as_swift_does(swift: Accounts) -> None:
    one = swift()
    one.put("/pointers/y", b"y")
    assert one.ask("GET", "/pointers/y", headers={"X-Object-Manifest": "a/b"}).status == 200


def test_metadata_is_not_changed_in_place(swift: Accounts) -> None:
    one = swift()
    one.put("/posts/x", b"x")
    answer = one.ask("POST", "/posts/x", headers={"X-Object-Meta-A": "b"})
    assert (answer.status, answer.code) == (501, "not_implemented")
    assert b"<h1>Not Implemented</h1>" in answer.body


def test_further_parameters_do_nothing(swift: Accounts) -> None:
    one = swift()
    one.put("/extra/x", b"x")
    for query in ("&multipart-manifest=get", "&format=json&prefix=", "&symlink=get", "&versions", "&uploads"):
        assert swift.gate.ask("GET", one.url("GET", "/extra/x") + query).body == b"x"
    assert swift.gate.ask("DELETE", one.url("DELETE", "/extra/x") + "&multipart-manifest=delete").status == 204


def test_two_keys_of_one_account_open_while_they_are_rotated(swift: Accounts, gate: Gate) -> None:
    """Retiring the old one ends what it signed, and nothing else."""
    first = swift.new(Profile())
    second = swift.new(Profile(), first.name)
    first.put("/rotated/x", b"x")
    old, new = first.url("GET", "/rotated/x"), second.url("GET", "/rotated/x")
    assert (gate.ask("GET", old).status, gate.ask("GET", new).status) == (200, 200)
    gate.cli("keys", "retire", first.signing_key)
    answer = gate.ask("GET", old)
    assert (answer.status, answer.code) == (401, "key_revoked")
    assert gate.ask("GET", new).status == 200


def test_a_large_body_goes_through(swift: Accounts) -> None:
    one, data = swift(), bytes(range(256)) * 20_000
    one.put("/large/x", data)
    assert one.ask("GET", "/large/x").body == data
