"""`valetstore sign --scheme gcs`: what it prints opens a real gateway, and what Google cannot say is refused."""

import hashlib
import re
from collections.abc import Iterator

import pytest

from tests.cli.s3 import Line, post
from tests.gate import Gate, run_cli

KEYS = ("account", "hmac")
RANGE = "x-goog-content-length-range"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with a service account, an HMAC key, and an account whose profile is narrow."""
    folder = tmp_path_factory.mktemp("gate")
    data = ("--data", str(folder / "data"))
    run_cli("keys", "create", "account", "--scheme", "gcs", *data, cwd=folder)
    run_cli("keys", "create", "hmac", "--scheme", "gcs", "--hmac", *data, cwd=folder)
    run_cli("keys", "create", "narrow", "--scheme", "gcs", "--prefix", "/narrow/", "--ops", "read", *data, cwd=folder)
    with Gate(folder) as running:
        yield running


@pytest.fixture
def line(gate: Gate, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on that gateway's data."""
    return Line(gate.data, capsys)


def signed(line: Line, *arguments: str, key: str = "account") -> str:
    """The URL that `sign --scheme gcs` prints."""
    return line("sign", "--scheme", "gcs", "--key", key, *arguments).strip()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("version", [(), ("--sigv2",)])
@pytest.mark.parametrize("name", ["plain.txt", "with space & ?#%.txt", "ünï/cödé+~'()*!"])
def test_what_is_signed_for_any_name_opens_it(
    gate: Gate, line: Line, name: str, version: tuple[str, ...], key: str
) -> None:
    body = name.encode()
    assert gate.ask("PUT", signed(line, "PUT", f"/names/{name}", *version, key=key), body).status == 200
    url = signed(line, "GET", f"/names/{name}", *version, key=key)
    assert url.startswith(gate.base + "/names/")
    assert gate.ask("GET", url).body == body
    assert gate.ask("DELETE", signed(line, "DELETE", f"/names/{name}", *version, key=key)).status == 204


@pytest.mark.parametrize("version", [(), ("--sigv2",)])
def test_a_list_shows_what_is_below_its_prefix(gate: Gate, line: Line, version: tuple[str, ...]) -> None:
    for name in ("in/a", "out/b"):
        gate.ask("PUT", signed(line, "PUT", f"/lists/{name}"), b"x")
    answer = gate.ask("GET", signed(line, "LIST", "/lists/in/", *version))
    assert re.findall(rb"<Key>(.*?)</Key>", answer.body) == [b"in/a"]


def test_a_resumable_upload_is_begun(gate: Gate, line: Line) -> None:
    made = line.json("sign", "PUT", "/photos/big", "--scheme", "gcs", "--key", "account", "--resumable")
    assert (made["method"], made["headers"]) == ("POST", {"x-goog-resumable": "start"})
    begun = gate.ask("POST", made["url"], b"", made["headers"])
    assert begun.status == 201
    assert gate.ask("PUT", begun.headers["location"], b"hello").status == 200
    assert gate.ask("GET", signed(line, "GET", "/photos/big")).body == b"hello"


def test_as_json_it_says_what_must_be_sent(gate: Gate, line: Line) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    made = line.json(
        "sign", "PUT", "/photos/x", "--scheme", "gcs", "--key", "account", "--sha256", digest,
        "--signed-header", "Content-Type: image/png", "--signed-header", "x-goog-meta-who:ann",
    )  # fmt: skip
    assert set(made) == {"method", "url", "headers", "client_email", "expires_at"}
    sent = {"content-type": "image/png", "x-goog-meta-who": "ann", "x-goog-content-sha256": digest}
    assert made["headers"] == sent
    assert gate.ask("PUT", made["url"], b"x", sent | {"content-type": "text/html"}).status == 403
    assert gate.ask("PUT", made["url"], b"y", sent).status == 400
    assert gate.ask("PUT", made["url"], b"x", sent).status == 200
    hmac = line.json("sign", "GET", "/photos/x", "--scheme", "gcs", "--key", "hmac")
    assert set(hmac) == {"method", "url", "headers", "access_id", "expires_at"}


def test_each_condition_holds(gate: Gate, line: Line) -> None:
    def put(*options: str, body: bytes = b"12345", **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return gate.ask("PUT", signed(line, "PUT", "/photos/conditions", *options), body, sent).status

    assert put("--length", "1-5") == 200
    assert put("--length", "1-4") == 400
    assert put("--type", "image/*", content_type="image/png") == 200
    assert put("--type", "image/*", content_type="text/html") != 200
    assert put("--ip", "203.0.113.0/24") == 403
    assert put("--create-only") == 412
    once = signed(line, "GET", "/photos/conditions", "--once")
    assert [gate.ask("GET", once).status for _ in range(2)] == [200, 403]
    named = signed(line, "GET", "/photos/conditions", "--filename", "a b.txt")
    assert 'filename="a b.txt"' in gate.ask("GET", named).headers["content-disposition"]


def test_version_2_says_lengths_and_create_only_by_headers(gate: Gate, line: Line) -> None:
    made = line.json(
        "sign", "PUT", "/photos/v2", "--scheme", "gcs", "--key", "account", "--sigv2", "--length", "1-5",
        "--create-only",
    )  # fmt: skip
    assert made["headers"] == {RANGE: "1,5", "x-goog-if-generation-match": "0"}
    assert gate.ask("PUT", made["url"], b"123456", made["headers"]).status == 400
    assert [gate.ask("PUT", made["url"], b"12345", made["headers"]).status for _ in range(2)] == [200, 412]


def test_a_form_uploads(gate: Gate, line: Line) -> None:
    made = line.json("sign", "POST", "/photos/form.png", "--scheme", "gcs", "--key", "account", "--length", "1-9")
    assert made["url"] == f"{gate.base}/photos"
    assert post(gate, made["url"], made["fields"], "x", b"hello").status == 204
    assert post(gate, made["url"], made["fields"], "x", b"hello hello").status == 400
    assert gate.ask("GET", signed(line, "GET", "/photos/form.png")).body == b"hello"


def test_a_form_as_a_page_has_every_field(line: Line) -> None:
    page = signed(line, "PUT", "/photos/up/", "--post", "--html", "--prefix", "--type", "image/*")
    names = set(re.findall('name="([^"]+)"', page))
    assert {"key", "policy", "x-goog-signature", "x-goog-credential", "Content-Type", "file"} <= names


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("GET", "/b/k", "--https"), "--https"),
        (("GET", "/b/k", "--sub", "x"), "--sub"),
        (("GET", "/b/", "--prefix"), "--prefix"),
        (("GET", "/b/k", "--expires", "8d"), "--expires"),
        (("GET", "/b/k", "--sigv2", "--once"), "--once"),
        (("GET", "/b/k", "--sigv2", "--ip", "203.0.113.0/24"), "--ip"),
        (("GET", "/b/k", "--resumable"), "--resumable"),
        (("PUT", "/b/k", "--post", "--sigv2"), "--sigv2"),
        (("PUT", "/b/k", "--signed-header", "x-goog-resumable: start"), "--signed-header"),
        (("PUT", "/b/k", "--sigv2", "--signed-header", "cache-control: no-store"), "--signed-header"),
        (("PUT", "/b/k", "--filename", "x"), "--filename"),
    ],
)
def test_what_google_cannot_say_is_refused(line: Line, arguments: tuple[str, ...], named: str) -> None:
    assert named in line.refused("sign", "--scheme", "gcs", "--key", "account", *arguments)


def test_what_the_profile_forbids_is_not_signed(line: Line) -> None:
    assert "/narrow/" in line.refused("sign", "GET", "/photos/x", "--scheme", "gcs", "--key", "narrow")
    assert "allows read" in line.refused("sign", "PUT", "/narrow/x", "--scheme", "gcs", "--key", "narrow")
