"""`valetstore sign` and `inspect`, as a user types them."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from tests.gate import Gate, run_cli


def test_sign_prints_the_url_alone(gate: Gate) -> None:
    out = gate.cli("sign", "GET", "/photos/c%at s.jpg", "--base-url", "https://files.example.com/")
    assert out.startswith("https://files.example.com/photos/c%25at%20s.jpg?valet=ey")
    assert out.count("\n") == 1


def test_sign_finds_the_running_gateways_address(gate: Gate) -> None:
    assert gate.cli("sign", "GET", "/photos/x").startswith(gate.base + "/photos/x?valet=")


def test_sign_header_prints_the_header_line(gate: Gate) -> None:
    header = gate.cli("sign", "PUT", "/photos/h", "--header").strip()
    name, value = header.split(": ", 1)
    assert gate.ask("PUT", "/photos/h", b"x", {name: value}).status in (200, 201)


def test_sign_as_json(gate: Gate) -> None:
    made = json.loads(gate.cli("sign", "GET", "/photos/x", "--json", "--expires", "1h"))
    assert made["url"].startswith(gate.base)
    assert made["header"].startswith("Authorization: Bearer ey")
    assert made["kid"] == "default"
    assert abs(made["expires_at"] - time.time() - 3600) < 10


@pytest.mark.parametrize("name", ["plain.txt", "with space & ?#%.txt", "ünï/cödé.txt", "a//b/", "+~'()*!"])
def test_what_is_signed_for_any_name_opens_it(gate: Gate, name: str) -> None:
    body = name.encode()
    assert gate.ask("PUT", gate.cli("sign", "PUT", f"/names/{name}").strip(), body).status in (200, 201)
    assert gate.ask("GET", gate.cli("sign", "GET", f"/names/{name}").strip()).body == body


def test_list_signs_a_prefix(gate: Gate) -> None:
    for name in ("l/1", "l/2/3", "m/4"):
        gate.ask("PUT", gate.sign("PUT", f"/lists/{name}"), b"x")
    url = gate.cli("sign", "LIST", "/lists/l/").strip()
    assert [row["name"] for row in gate.ask("GET", url).json()["objects"]] == ["l/1", "l/2/3"]
    assert gate.ask("GET", url.replace("prefix=l/", "prefix=m/")).code == "path_not_allowed"


def test_start_delays_a_key(gate: Gate) -> None:
    url = gate.cli("sign", "GET", "/photos/x", "--start", "1h").strip()
    assert gate.ask("GET", url).code == "key_not_yet_valid"
    assert "refused, key_not_yet_valid" in gate.cli("inspect", url, status=1)


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["GET", "photos/x"], 2, "PATH 'photos/x': The path must start with a slash"),
        (["GET", "/photos/../x"], 2, "`.` or `..`"),
        (["GET", "/photos"], 2, "PATH '/photos': The object's name is empty"),
        (["GET", "/photos/x", "--prefix"], 2, "PATH '/photos/x': a prefix starts and ends with a slash"),
        (["PATCH", "/photos/x"], 2, "'PATCH': must be one of GET, HEAD, PUT, DELETE, LIST"),
        (["GET", "/photos/x", "--expires", "0s"], 2, "--expires 0: must be 1 second or more"),
        (["GET", "/photos/x", "--expires", "11000d"], 2, "--expires 950400000: must be 315360000 seconds (10 years)"),
        (["GET", "/photos/x", "--start", "later"], 2, "--start 'later': must be"),
        (["GET", "/photos/x", "--once", "--uses", "2"], 2, "--once and --uses"),
        (["GET", "/photos/x", "--window", "5"], 2, "--window 5: needs --once or --uses"),
        (["GET", "/photos/x", "--budget", "rate"], 2, "'rate': must be some of rate=N, burst=N, transfers=N"),
        (["GET", "/photos/x", "--budget", "burst=1,transfers=1"], 2, "`burst` needs `rate`"),
        (["PUT", "/photos/x", "--length", "5-1"], 2, "larger than the maximum"),
        (["PUT", "/photos/x", "--length", "10-"], 2, "'10-': must be MIN-MAX"),
        (["PUT", "/photos/x", "--sha256", "abc"], 2, "--sha256 'abc': must be 64 hexadecimal digits"),
        (["PUT", "/photos/x", "--ip", "300.1.1.1"], 2, "--ip '300.1.1.1': must be an address"),
        (["PUT", "/photos/x", "--type", "*"], 2, "--type '*': must be type/subtype"),
        (["GET", "/photos/x", "--base-url", "files.example.com"], 2, "--base-url 'files.example.com': must be http://"),
        (["GET", "/photos/x", "--base-url", "https://a.example/b"], 2, "--base-url 'https://a.example/b': must be"),
        (["GET", "/photos/x", "--base-url", "https://a.example?b"], 2, "without a path, a query"),
        (["GET", "/photos/x", "--base-url", ""], 2, "--base-url '': must be"),
        (["GET", "/photos/x", "--sub", "x" * 9000], 2, "a gateway takes at most 8192"),
        (["GET", "/photos/x", "--key", "_valet"], 2, "names that begin with `_` are the gateway's own"),
        (["GET", "/photos/x", "--key", "nobody"], 2, "there are: "),
    ],
)
def test_a_wrong_argument_is_one_sentence(gate: Gate, arguments: list[str], status: int, named: str) -> None:
    out = gate.cli("sign", *arguments, status=status)
    assert named in out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["GET", "/photos/x"], "read: the signing key allows"),
        (["PUT", "/other/x"], "/other/x: the signing key allows everything below /photos/"),
        (["PUT", "/photos/x", "--expires", "2h"], "at most 1h"),
        (["PUT", "/photos/x", "--length", "1-1MiB"], "at most 1 KiB"),
        (["PUT", "/photos/x", "--type", "text/html"], "the signing key allows image/*"),
        (["PUT", "/photos/x", "--uses", "2"], "uses 2: the signing key makes write single-use"),
        (["PUT", "/photos/x", "--uses", "4"], "uses 4: the signing key allows at most 3"),
        (["PUT", "/photos/x", "--budget", "rate=9"], "budget rate 9: the signing key allows 5 requests a second"),
        (["PUT", "/photos/x", "--ip", "10.0.0.0/8"], "the signing key allows 127.0.0.0/8"),
    ],
)
def test_what_the_profile_forbids_is_refused_at_signing(gate: Gate, arguments: list[str], named: str) -> None:
    name = "narrow"
    if name not in gate.cli("keys", "list"):
        limits = ["--ops", "write", "--prefix", "/photos/", "--ttl-max", "1h", "--length-max", "1KiB"]
        limits += ["--single-use", "write", "--uses", "3", "--budget", "rate=5"]
        gate.cli("keys", "create", name, *limits, "--type", "image/*", "--ip", "127.0.0.0/8")
    assert named in gate.cli("sign", *arguments, "--key", name, status=1)


def test_inspect_says_what_a_key_allows_and_that_it_is_admitted(gate: Gate) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    conditions = ["--length", "1-2KiB", "--type", "image/*,text/plain", "--ip", "203.0.113.0/24", "--create-only"]
    conditions += ["--uses", "3", "--budget", "rate=2.5,transfers=1"]
    url = gate.cli("sign", "PUT", "/photos/new", *conditions, "--sha256", digest, "--sub", "bob").strip()
    out = gate.cli("inspect", url)
    for said in (
        "write: /photos/new",
        "3 times",
        "at most 2.5 requests a second, 3 at once, 1 transfer at once",
        "1 bytes to 2 KiB",
        "image/*",
        "203.0.113.0/24",
        "never replaces",
        "bob",
    ):
        assert said in out
    assert "admitted" in out


def test_inspect_never_prints_the_signature(gate: Gate) -> None:
    url = gate.cli("sign", "GET", "/photos/x").strip()
    signature = url.rsplit(".", 1)[1]
    for arguments in ([url], [url, "--json"], [url + "x"], [url[:-1], "--json"]):
        done = run_cli("inspect", *arguments, "--data", str(gate.data), cwd=gate.folder)
        assert signature[:20] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: url[:-8] + "AAAAAAAA", "signature_mismatch"),
        (lambda url: url.replace("/photos/x", "/photos/y", 1), "path_not_allowed"),
        (lambda url: url.split("?")[0], "key_missing"),
        (lambda url: url.split("?")[0] + "?valet=abc", "key_malformed"),
        (lambda url: f"{url}&{url.split('?')[1]}", "key_ambiguous"),
        (lambda url: url.replace("/photos/x", "/photos/%ff", 1), "object_key_invalid"),
    ],
)
def test_inspect_names_the_code_the_reason_and_the_mend(gate: Gate, change: object, code: str) -> None:
    assert callable(change)
    url = change(gate.cli("sign", "GET", "/photos/x").strip())
    said = json.loads(gate.cli("inspect", url, "--json", status=1))
    assert said["admitted"] is False
    assert said["code"] == code
    assert said["reason"]
    assert said["mend"]
    assert gate.ask("GET", url).code == code


def test_inspect_judges_the_method_and_source_it_is_told(gate: Gate) -> None:
    url = gate.cli("sign", "GET", "/photos/x", "--ip", "203.0.113.0/24").strip()
    assert "admitted" in gate.cli("inspect", url)
    assert "source_not_allowed" in gate.cli("inspect", url, "--from", "198.51.100.1", status=1)
    assert "operation_not_allowed" in gate.cli("inspect", url, "--method", "PUT", status=1)
    assert "must be an IP address" in gate.cli("inspect", url, "--from", "home", status=2)


def test_inspect_learns_from_the_running_gateway_that_a_key_is_used(gate: Gate) -> None:
    gate.ask("PUT", gate.sign("PUT", "/photos/once"), b"x")
    url = gate.cli("sign", "GET", "/photos/once", "--once").strip()
    assert "admitted" in gate.cli("inspect", url)
    assert gate.ask("GET", url).status == 200
    assert "key_used" in gate.cli("inspect", url, status=1)


def test_signing_needs_no_gateway(tmp_path: Path) -> None:
    run_cli("keys", "create", "only", "--data", "data", cwd=tmp_path)
    done = run_cli("sign", "GET", "/a/b", "--data", "data", cwd=tmp_path)
    assert done.stdout.startswith("http://127.0.0.1:8420/a/b?valet=")


def test_an_empty_ring_says_how_a_key_is_made(tmp_path: Path) -> None:
    done = run_cli("sign", "GET", "/a/b", "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "`valetstore keys create NAME` makes one" in done.stderr


def test_of_several_keys_the_one_in_force_signs(tmp_path: Path) -> None:
    def cli(*arguments: str) -> str:
        done = run_cli(*arguments, "--data", "data", cwd=tmp_path)
        return done.stdout + done.stderr

    for name in ("default", "web", "app"):
        cli("keys", "create", name)
    cli("keys", "retire", "default")
    assert "signing key 'default': is retired; there are: web, app" in cli("sign", "GET", "/a/b")
    cli("keys", "retire", "app")
    assert json.loads(cli("sign", "GET", "/a/b", "--json"))["kid"] == "web"


def test_usage_shows_methods_as_they_are_sent(tmp_path: Path) -> None:
    out = run_cli("sign", "--help", cwd=tmp_path).stdout
    assert "GET|HEAD|PUT|DELETE|LIST|POST PATH" in out
    assert "needs --once or --uses" in " ".join(out.split())
    assert "active types (HTML, SVG, XML) are always saved" in " ".join(out.split())


@pytest.mark.parametrize(
    ("listen", "base"),
    [
        ("0.0.0.0:8420", "http://127.0.0.1:8420/"),
        ("[::]:8420", "http://[::1]:8420/"),
        ("unix:/x", "--base-url: is needed"),
    ],
)
def test_the_default_base_url_can_be_opened(listen: str, base: str, tmp_path: Path) -> None:
    run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path)
    done = run_cli("sign", "GET", "/a/b", "--data", "data", cwd=tmp_path, environment={"VALETSTORE_LISTEN": listen})
    assert base in done.stdout + done.stderr
    assert done.returncode == (0 if done.stdout else 2)
