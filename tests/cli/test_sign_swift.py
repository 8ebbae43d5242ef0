"""`valetstore sign --scheme swift`: what it prints opens, and what Swift cannot say is refused with the reason."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.s3 import Line
from tests.edge.swift.conftest import BOUNDARY, File, encoded
from tests.gate import Answer, Gate, run_cli


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with two signing keys of Swift's."""
    folder = tmp_path_factory.mktemp("sign-swift")
    for name, options in (("web", ()), ("narrow", ("--prefix", "/in/", "--length-max", "10", "--ttl-max", "60s"))):
        done = run_cli(
            "keys", "create", name, "--scheme", "swift", *options, "--data", str(folder / "data"), cwd=folder
        )
        assert done.returncode == 0, done.stderr
    with Gate(folder) as running:
        yield running


@pytest.fixture
def line(gate: Gate, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on that gateway's data."""
    return Line(gate.data, capsys)


def sign(line: Line, *args: str, key: str = "web") -> str:
    """What it prints."""
    return line("sign", *args, "--scheme", "swift", "--key", key).strip()


def refused(line: Line, *args: str, key: str = "web") -> str:
    """Why it does not."""
    return line.refused("sign", *args, "--scheme", "swift", "--key", key)


def post(gate: Gate, printed: str, *files: File) -> Answer:
    """Send the form that was printed."""
    form = json.loads(printed)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return gate.ask("POST", form["url"], encoded(form["fields"], files), kind)


@pytest.mark.parametrize("hashed", [(), ("--hash", "sha1"), ("--hash", "sha256"), ("--hash", "sha512")])
def test_urls_open(gate: Gate, line: Line, hashed: tuple[str, ...]) -> None:
    assert gate.ask("PUT", sign(line, "PUT", "/photos/ü 1.jpg", *hashed), b"x").status == 201
    answer = gate.ask(
        "GET", sign(line, "GET", "/photos/ü 1.jpg", *hashed, "--filename", "a+b &.jpg", "--ip", "127.0.0.1")
    )
    assert (answer.status, answer.headers["content-disposition"]) == (200, 'attachment; filename="a+b &.jpg"')
    inline = gate.ask("GET", sign(line, "GET", "/photos/ü 1.jpg", *hashed, "--inline"))
    assert inline.headers["content-disposition"] == "inline"
    assert gate.ask("DELETE", sign(line, "DELETE", "/photos/ü 1.jpg", *hashed)).status == 204


@pytest.mark.parametrize("path", ["/photos/", "/photos/cats/"])
def test_a_prefix_opens_what_is_put_before_the_question_mark(gate: Gate, line: Line, path: str) -> None:
    where, _, query = sign(line, "PUT", path, "--prefix").partition("?")
    assert gate.ask("PUT", f"{where}tom.jpg?{query}", b"x").status == 201
    assert gate.ask("PUT", f"{where.replace('photos', 'other')}tom.jpg?{query}", b"x").status == 401


def test_json_says_it_all(line: Line) -> None:
    made = json.loads(sign(line, "GET", "/photos/x", "--expires", "60s", "--json"))
    assert made["method"] == "GET"
    assert made["headers"] == {}
    assert made["account"] == "AUTH_web"
    assert int(parse_qs(urlsplit(made["url"]).query)["temp_url_expires"][0]) == made["expires_at"]
    assert abs(made["expires_at"] - time.time() - 60) < 30


def test_a_form_uploads_one_file_of_at_most_that_length(gate: Gate, line: Line) -> None:
    printed = sign(line, "POST", "/photos/posted/", "--prefix", "--length", "0-5")
    assert post(gate, printed, File(b"123456", "a")).code == "too_large"
    assert post(gate, printed, File(b"12345", "a")).status == 201
    assert post(gate, printed, File(b"1", "b"), File(b"2", "c")).status == 400


def test_a_form_may_be_as_large_as_its_signing_key_allows(line: Line) -> None:
    form = json.loads(sign(line, "PUT", "/in/", "--post", "--prefix", "--expires", "60s", key="narrow"))
    assert form["fields"]["max_file_size"] == "10"


def test_a_page_has_the_form(line: Line) -> None:
    page = sign(line, "POST", "/photos/", "--prefix", "--html", "--success-redirect", "https://example.com/?a&b")
    assert '<input type="hidden" name="redirect" value="https://example.com/?a&amp;b">' in page
    assert '<input type="file" name="file" required>' in page


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("GET", "/photos/x", "--once"), "--single-use"),
        (("PUT", "/photos/x", "--length", "0-5"), "--length-max"),
        (("PUT", "/photos/x", "--type", "image/*"), "--type"),
        (("GET", "/photos/x", "--https"), "--https"),
        (("PUT", "/photos/x", "--create-only"), "--create-only"),
        (("PUT", "/photos/x", "--sha256", "ab" * 32), "Etag"),
        (("GET", "/photos/x", "--start", "10m"), "--start"),
        (("GET", "/photos/x", "--sub", "erin"), "--sub"),
        (("GET", "/photos/x", "--aud", "me"), "--aud"),
        (("GET", "/photos/x", "--budget", "rate=1"), "--budget"),
        (("GET", "/photos/x", "--ip", "192.0.2.0/24,198.51.100.0/24"), "one address or network"),
        (("PUT", "/photos/x", "--inline"), "Content-Disposition"),
        (("LIST", "/photos/"), "lists no container"),
        (("GET", "/photos/"), "PATH"),
        (("GET", "/photos/x", "--html"), "--html"),
        (("GET", "/photos/x", "--signed-header", "x: y"), "--signed-header"),
        (("GET", "/photos/x", "--post"), "METHOD is POST or PUT"),
        (("POST", "/photos/x"), "give --prefix"),
        (("POST", "/photos/", "--prefix", "--ip", "127.0.0.1"), "no network"),
        (("POST", "/photos/", "--prefix", "--length", "1-5"), "no smallest size"),
        (("POST", "/photos/", "--prefix", "--success-redirect", "javascript:x"), "http://"),
    ],
)
def test_what_swift_cannot_say_is_refused_with_the_reason(line: Line, args: tuple[str, ...], why: str) -> None:
    assert why in refused(line, *args)


def test_what_a_profile_forbids_is_not_signed(line: Line) -> None:
    assert "/photos/x" in refused(line, "GET", "/photos/x", "--expires", "60s", key="narrow")
    assert "expires" in refused(line, "GET", "/in/x", "--expires", "2m", key="narrow")
    assert "length" in refused(line, "POST", "/in/", "--prefix", "--expires", "60s", "--length", "0-11", key="narrow")


def test_sha1_is_not_signed_where_it_is_refused(line: Line, tmp_path: Path) -> None:
    config = tmp_path / "valetstore.toml"
    config.write_text("[swift]\ntempurl-sha1 = false\n")
    assert "swift.tempurl-sha1" in refused(line, "GET", "/photos/x", "--hash", "sha1", "--config", str(config))
