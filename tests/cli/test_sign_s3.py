"""`valetstore sign --scheme s3`: what it prints opens a real gateway, and what S3 cannot say is refused."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.cli.s3 import Line, post
from tests.gate import Gate, run_cli

SMALL_PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with one signing key for S3."""
    folder = tmp_path_factory.mktemp("gate")
    run_cli("keys", "create", "web", "--scheme", "s3", "--data", str(folder / "data"), cwd=folder)
    with Gate(folder) as running:
        yield running


@pytest.fixture
def line(gate: Gate, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on that gateway's data."""
    return Line(gate.data, capsys)


def signed(line: Line, *arguments: str) -> str:
    """The URL that `sign --scheme s3` prints."""
    return line("sign", "--scheme", "s3", *arguments).strip()


@pytest.mark.parametrize("version", [(), ("--sigv2",)])
@pytest.mark.parametrize("name", ["plain.txt", "with space & ?#%.txt", "ünï/cödé.txt", "a//b", "+~'()*!"])
def test_what_is_signed_for_any_name_opens_it(gate: Gate, line: Line, name: str, version: tuple[str, ...]) -> None:
    body = name.encode()
    assert gate.ask("PUT", signed(line, "PUT", f"/names/{name}", *version), body).status == 200
    url = signed(line, "GET", f"/names/{name}", *version)
    assert url.startswith(gate.base + "/names/")
    assert gate.ask("GET", url).body == body
    assert gate.ask("DELETE", signed(line, "DELETE", f"/names/{name}", *version)).status == 204


def test_a_list_shows_what_is_below_its_prefix(gate: Gate, line: Line) -> None:
    for name in ("in/a", "out/b"):
        gate.ask("PUT", signed(line, "PUT", f"/lists/{name}"), b"x")
    answer = gate.ask("GET", signed(line, "LIST", "/lists/in/"))
    assert re.findall(rb"<Key>(.*?)</Key>", answer.body) == [b"in/a"]


def test_as_json_it_says_what_must_be_sent(gate: Gate, line: Line) -> None:
    made = line.json(
        "sign", "PUT", "/photos/x", "--scheme", "s3", "--signed-header", "Content-Type: image/png",
        "--signed-header", "If-None-Match:*", "--expires", "1h",
    )  # fmt: skip
    assert set(made) == {"method", "url", "headers", "access_key_id", "expires_at"}
    assert made["headers"] == {"content-type": "image/png", "if-none-match": "*"}
    assert gate.ask("PUT", made["url"], b"x", {"content-type": "text/html"}).status == 403
    assert gate.ask("PUT", made["url"], b"x", made["headers"]).status == 200
    assert gate.ask("PUT", made["url"], b"x", made["headers"]).status == 412


def test_headers_that_must_be_sent_are_told_beside_the_url(line: Line) -> None:
    signed(line, "PUT", "/photos/x", "--signed-header", "Content-Type: image/png")
    assert "Send it with the header content-type: image/png" in line.errors


def test_each_condition_holds(gate: Gate, line: Line) -> None:
    def put(*options: str, body: bytes = b"12345", **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return gate.ask("PUT", signed(line, "PUT", "/photos/conditions", *options), body, sent).status

    assert put("--length", "1-5") == 200
    assert put("--length", "1-4") == 400
    assert put("--type", "image/*", content_type="image/png") == 200
    assert put("--type", "image/*", content_type="text/html") == 403
    assert put("--ip", "127.0.0.0/8") == 200
    assert put("--ip", "203.0.113.0/24") == 403
    assert put("--create-only") == 412
    digest = hashlib.sha256(b"12345").hexdigest()
    assert put("--sha256", digest) == 200
    assert put("--sha256", digest, body=b"54321") == 400


def test_one_use_is_one_use(gate: Gate, line: Line) -> None:
    gate.ask("PUT", signed(line, "PUT", "/photos/once"), b"x")
    url = signed(line, "GET", "/photos/once", "--once")
    assert [gate.ask("GET", url).status for _ in range(2)] == [200, 403]
    windowed = signed(line, "GET", "/photos/once", "--uses", "1", "--window", "1h")
    assert [gate.ask("GET", windowed).status for _ in range(2)] == [200, 200]


def test_a_download_is_saved_under_its_name(gate: Gate, line: Line) -> None:
    gate.ask("PUT", signed(line, "PUT", "/photos/x"), b"x")
    for version in ((), ("--sigv2",)):
        answer = gate.ask("GET", signed(line, "GET", "/photos/x", "--filename", "a b+c.jpg", *version))
        assert answer.headers["content-disposition"] == 'attachment; filename="a b+c.jpg"'


# Forms.


def form(line: Line, path: str, *options: str) -> Any:
    """The form that METHOD POST prints."""
    return json.loads(line("sign", "--scheme", "s3", "POST", path, *options))


@pytest.mark.parametrize("version", [(), ("--sigv2",)])
def test_a_form_uploads_within_its_conditions(gate: Gate, line: Line, version: tuple[str, ...]) -> None:
    made = form(line, "/photos/in/", "--prefix", "--length", "1-8", "--type", "image/*", *version)
    fields = made["fields"] | {"Content-Type": "image/png"}
    assert post(gate, made["url"], fields, "cat.png", SMALL_PNG).status == 204
    assert gate.ask("GET", signed(line, "GET", "/photos/in/cat.png")).headers["content-type"] == "image/png"
    assert post(gate, made["url"], fields, "cat.png", SMALL_PNG + b"x").status == 400
    assert post(gate, made["url"], fields | {"Content-Type": "text/html"}, "cat.png", SMALL_PNG).status == 403
    assert post(gate, made["url"], fields | {"key": "out/x"}, "cat.png", SMALL_PNG).status == 403


def test_a_form_for_one_object_with_every_option(gate: Gate, line: Line) -> None:
    made = form(
        line, "/photos/form/one", "--type", "image/png", "--once", "--success-status", "201",
        "--signed-header", "Cache-Control: max-age=60", "--signed-header", "x-amz-meta-who: me",
        "--sha256", hashlib.sha256(SMALL_PNG).hexdigest(),
    )  # fmt: skip
    checksum = base64.b64encode(hashlib.sha256(SMALL_PNG).digest()).decode()
    assert made["fields"]["x-amz-checksum-sha256"] == checksum
    answer = post(gate, made["url"], made["fields"], "x", SMALL_PNG)
    assert (answer.status, b"<PostResponse>" in answer.body) == (201, True)
    assert post(gate, made["url"], made["fields"], "x", SMALL_PNG).status == 403
    headers = gate.ask("GET", signed(line, "GET", "/photos/form/one")).headers
    assert headers["cache-control"] == "max-age=60"


def test_a_form_as_a_page_says_the_same(gate: Gate, line: Line) -> None:
    """What a browser would send of the page is accepted; nothing in it can end an attribute."""
    redirect = 'https://app.example.org/done?a="b"&c=<d>'
    options = ("--prefix", "--type", "image/*", "--success-redirect", redirect, "--html")
    page = line("sign", "--scheme", "s3", "PUT", "/photos/page/", "--post", *options)
    fields = {unescape(n): unescape(v) for n, v in re.findall(r'name="([^"]*)" value="([^"]*)"', page)}
    assert fields["success_action_redirect"] == redirect
    assert '<input name="Content-Type"' in page
    (url,) = re.findall(r'action="([^"]*)"', page)
    answer = post(gate, url, fields | {"Content-Type": "image/png"}, "cat.png", SMALL_PNG)
    assert answer.status == 303
    assert answer.headers["location"].startswith("https://app.example.org/done?")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["GET", "/a/b", "--budget", "rate=1"], "--budget: no key of S3's has one of its own"),
        (["GET", "/a/b", "--start", "1h"], "--start: what is signed for S3 holds at once"),
        (["GET", "/a/b", "--sub", "bob"], "--sub: S3 names nobody"),
        (["GET", "/a/b", "--aud", "x"], "--aud: S3 signs the Host instead"),
        (["GET", "/a/b", "--https"], "--https: no key of S3's says so"),
        (["GET", "/a/b", "--header"], "--header: S3 signs one request"),
        (["GET", "/a/", "--prefix"], "--prefix: a URL of S3's is for one object"),
        (["GET", "/a/b", "--sha256", "ab" * 32], "--sha256: is of an upload, not of GET"),
        (["PUT", "/a/b", "--filename", "x"], "--filename, --inline: are for a GET"),
        (["GET", "/a/b", "--expires", "8d"], "--expires 691200: signature version 4 allows at most 604800"),
        (["GET", "/a/b", "--expires", "0"], "--expires 0: must be 1 second or more"),
        (["GET", "/a/b", "--sigv2", "--expires", "9000d"], "signature version 2 ends in the year 2038"),
        (["GET", "/a/b", "--sigv2", "--once"], "--once, --uses: signature version 2 does not sign it"),
        (["PUT", "/a/b", "--sigv2", "--create-only"], "--create-only: signature version 2 does not sign it"),
        (["PUT", "/a/b", "--sigv2", "--signed-header", "if-none-match: *"], "if-none-match: signature version 2"),
        (["LIST", "/a/", "--sigv2"], "LIST: signature version 2 does not sign a list's prefix"),
        (["PUT", "/a/b", "--signed-header", "x-valet-uses: 1"], "--signed-header x-valet-uses: is no header to sign"),
        (["PUT", "/a/b", "--signed-header", "Host: x"], "--signed-header host: is no header to sign"),
        (["POST", "/a/b", "--signed-header", "if-none-match: *"], "if-none-match: a form has no field for it"),
        (["GET", "/a/b", "--html"], "--html, --success-status, --success-redirect: are for a form"),
        (["GET", "/a/b", "--post"], "--post: a form uploads; METHOD is POST or PUT, not GET"),
        (["POST", "/a/b", "--success-redirect", "javascript:x"], "must start with http:// or https://"),
        (["POST", "/a/b", "--type", "image/*,text/plain"], "--type: a form's policy takes one pattern"),
        (["POST", "/a/b", "--prefix"], "PATH '/a/b': a prefix starts and ends with a slash"),
        (["GET", "a"], "PATH 'a'"),
        (["GET", "/a/b", "--key", "nobody"], "there is none of that name; there are: web"),
        (["GET", "/a/b", "--base-url", "files"], "--base-url 'files': must be http:// or https://"),
    ],
)
def test_what_s3_cannot_say_is_refused_with_the_reason(line: Line, arguments: list[str], said: str) -> None:
    assert said in line.refused("sign", "--scheme", "s3", *arguments)


@pytest.mark.parametrize("what", [("GET", "/a/b"), ("POST", "/a/b")])
def test_version_2_is_not_signed_for_a_gateway_that_refuses_it(
    line: Line, tmp_path: Path, what: tuple[str, ...]
) -> None:
    config = tmp_path / "off.toml"
    config.write_text("[s3]\nsigv2 = false\n")
    said = line.refused("sign", "--scheme", "s3", *what, "--sigv2", "--config", str(config))
    assert said == "--sigv2: the gateway refuses it (s3.sigv2 = false); leave --sigv2 away"


@pytest.mark.parametrize("option", ["--post", "--html", "--sigv2", "--signed-header=a: b", "--success-status=201"])
def test_options_of_s3_need_its_scheme(line: Line, option: str) -> None:
    assert f"{option.partition('=')[0]}: needs --scheme s3" in line.refused("sign", "GET", "/a/b", option)
    assert "POST: needs --scheme s3" in line.refused("sign", "POST", "/a/b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["GET", "/b/x"], "/b/x: the signing key allows everything below /a/"),
        (["DELETE", "/a/x"], "delete: the signing key allows read, write"),
        (["PUT", "/a/x", "--length", "1-20"], "length: the signing key allows at most 10 bytes"),
        (["PUT", "/a/x", "--type", "text/html"], "type text/html: the signing key allows image/*"),
        (["PUT", "/a/x", "--signed-header", "content-type: text/html;charset=x"], "type text/html: the signing key"),
        (["GET", "/a/x", "--expires", "2h"], "expires: the signing key allows at most 1h"),
        (["POST", "/b/", "--prefix"], "/b/: the signing key allows everything below /a/"),
        (["GET", "/a/x", "--uses", "9"], "uses 9: the signing key allows at most 3"),
    ],
)
def test_what_the_profile_forbids_is_refused_at_signing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    line = Line(tmp_path / "data", capsys)
    limits = ("--prefix", "/a/", "--ops", "read,write", "--length-max", "10", "--type", "image/*", "--ttl-max", "1h")
    line("keys", "create", "web", "--scheme", "s3", *limits, "--uses", "3")
    assert said in line.refused("sign", "--scheme", "s3", *arguments)


def test_a_signing_key_is_chosen_only_where_one_could_be_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line(tmp_path / "data", capsys)
    line("keys", "create", "default")
    said = line.refused("sign", "--scheme", "s3", "GET", "/a/b")
    assert "--key: is needed for --scheme s3; `valetstore keys create NAME --scheme s3` makes one" in said
    said = line.refused("sign", "--scheme", "s3", "GET", "/a/b", "--key", "default")
    assert "'default': is for --scheme native" in said
    line("keys", "create", "one", "--scheme", "s3")
    assert "X-Amz-Signature=" in signed(line, "GET", "/a/b")
    assert "'one': is for --scheme s3; take that" in line.refused("sign", "GET", "/a/b", "--key", "one")
    line("keys", "create", "two", "--scheme", "s3")
    assert "there are: one, two" in line.refused("sign", "--scheme", "s3", "GET", "/a/b")


def test_a_header_is_written_with_a_colon(tmp_path: Path) -> None:
    done = run_cli("sign", "--scheme", "s3", "PUT", "/a/b", "--signed-header", "x", "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "'x': must be written 'NAME: VALUE'" in done.stderr
