"""`valetstore inspect` and `revoke` of S3's keys: what keeps one from holding is found and named."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config

from tests.cli.s3 import Line, post
from tests.gate import Gate, run_cli
from valetstore.encoding import b64url_decode
from valetstore.grants import sigv4
from valetstore.grants.presign import Request
from valetstore.grants.s3.sign import Key, presign_v4
from valetstore.grants.sigv4 import AWS
from valetstore.keys.ringfile import RingFile

BASE = "http://files.example.org:8420"
Change = Callable[[str], str]


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on a data directory with one signing key for S3."""
    made = Line(tmp_path / "data", capsys)
    made("keys", "create", "web", "--scheme", "s3")
    return made


def key_of(line: Line, name: str = "web") -> Key:
    """A signing key, to sign what the command line would not."""
    key = RingFile(line.data).load().named(name)
    assert key is not None
    return Key(key.record.kid, b64url_decode((key.record.secret or "").encode()))


def url_of(line: Line, method: str = "GET", path: str = "/photos/a b+c.jpg", *options: str) -> str:
    """A presigned URL."""
    return line("sign", "--scheme", "s3", method, path, "--base-url", BASE, *options).strip()


def signature_in(url: str) -> str:
    """The signature of a URL, which nobody may print."""
    found = re.search(r"(?i)signature=([^&]+)", url.replace("X-Amz-SignedHeaders", ""))
    assert found
    return found[1]


def test_it_says_what_a_url_is_and_that_it_is_admitted(line: Line) -> None:
    url = url_of(line, "PUT", "/photos/x.png", "--once", "--type", "image/*")
    out = line("inspect", url)
    assert "presigned URL, signature version 4, access key id VK" in out
    assert "x-valet-uses 1" in out
    assert "PUT /photos/x.png (PutObject): admitted." in out
    assert "1 of 1 use left." in out
    found = line.json("inspect", url)
    assert (found["admitted"], found["signing_key"], found["method"]) == (True, "web", "PUT")
    assert (found["s3"]["version"], found["s3"]["carrier"]) == ("4", "query")


CHANGES: list[tuple[str, Change, str, dict[str, str]]] = [
    (
        "host",
        lambda u: u.replace("files.example.org", "inside.example.org"),
        "host",
        {"wanted": "files.example.org:8420"},
    ),
    ("prefix", lambda u: u.replace(":8420/", ":8420/s3/"), "path", {"wanted": "/photos/a%20b%2Bc.jpg"}),
    ("plus", lambda u: u.replace("%20", "+", 1), "path", {"wanted": "/photos/a%20b%2Bc.jpg"}),
    ("twice", lambda u: u.replace("%20", "%2520", 1), "path", {"wanted": "/photos/a%20b%2Bc.jpg"}),
    ("slashes", lambda u: u.replace("/photos/", "//photos/"), "path", {}),
    ("html", lambda u: u.replace("&", "&amp;"), "query", {"found": "`&amp;` in place of `&`"}),
    ("added", lambda u: u + "&utm_source=mail", "query", {"found": "the parameter utm_source"}),
    ("added two", lambda u: u + "&a=1&b=2", "query", {"found": "the parameter a, b"}),
]


@pytest.mark.parametrize(("_what", "change", "kind", "members"), CHANGES, ids=[row[0] for row in CHANGES])
def test_what_was_rewritten_on_the_way_is_found(
    line: Line, _what: str, change: Change, kind: str, members: dict[str, str]
) -> None:
    url = url_of(line)
    found = line.json("inspect", change(url), "--config", _config(line), status=1)
    (would,) = found["s3"]["would_hold"]
    assert would["kind"] == kind
    assert members.items() <= would.items()
    assert signature_in(url) not in json.dumps(found)


def _config(line: Line) -> str:
    """Settings that know the public name, though not as the public URL: that would hold whatever Host comes."""
    file = line.data.parent / "valetstore.toml"
    file.write_text('[s3]\nvirtual-hosts = ["localhost", "files.example.org"]\n')
    return str(file)


def test_another_method_is_named(line: Line) -> None:
    out = line("inspect", url_of(line), "--method", "PUT", status=1)
    assert "It was signed for GET, not for PUT." in out
    assert "What was computed here:\n  | PUT\n  | /photos/a%20b%2Bc.jpg\n" in out


def test_two_changes_are_found_together(line: Line) -> None:
    url = url_of(line).replace(":8420/", ":8420/s3/")
    out = line("inspect", url, "--method", "DELETE", status=1)
    assert "It was signed for GET, not for DELETE." in out
    assert "The path was signed without /s3 before it" in out
    assert "Only all of these together make it hold." in out


def test_where_nothing_helps_nothing_is_guessed(line: Line) -> None:
    url = url_of(line).replace("X-Amz-Expires=900", "X-Amz-Expires=901")
    found = line.json("inspect", url, status=1)
    assert found["s3"]["would_hold"] == []
    assert "No other method, Host, path, query or region" in line("inspect", url, status=1)


def test_a_canonical_request_is_compared_line_by_line(line: Line, tmp_path: Path) -> None:
    url = url_of(line).replace("X-Amz-Expires=900", "X-Amz-Expires=901")
    ours = line.json("inspect", url, status=1)["s3"]["computed"]
    file = tmp_path / "canonical"
    for change, number, part in (
        (("GET\n", "PUT\n"), 1, "method"),
        (("b%2Bc", "b+c"), 2, "path"),
        (("Expires=901", "Expires=900"), 3, "query"),
        (("host:files", "host:other"), 4, "header host"),
        (("UNSIGNED-PAYLOAD", "ab" * 32), 7, "payload"),
    ):
        file.write_text(ours.replace(*change) + "\n")
        found = line.json("inspect", url, "--canonical-request", str(file), status=1)["s3"]["difference"]
        assert (found["line"], found["part"]) == (number, part)
    file.write_text(ours)
    out = line("inspect", url, "--canonical-request", str(file), status=1)
    assert "only the secret can be another" in out
    assert "--canonical-request none: cannot be read" in line.refused("inspect", url, "--canonical-request", "none")


def test_the_region_is_named(line: Line) -> None:
    url = presign_v4(key_of(line), Request("GET", BASE, "/a/b"), now=int(time.time()), expires=60, region="eu-west-1")
    out = line("inspect", url, status=1)
    assert "It was signed for the region eu-west-1: give the client us-east-1, or set s3.region." in out


@pytest.mark.parametrize(("ago", "code"), [(4000, "key_expired"), (-1800, "key_not_yet_valid")])
def test_by_how_much_a_time_is_missed_is_said(line: Line, ago: int, code: str) -> None:
    now = int(time.time()) - ago
    out = line(
        "inspect", presign_v4(key_of(line), Request("GET", BASE, "/a/b"), now=now, expires=60, region="us-east-1"),
        status=1,
    )  # fmt: skip
    assert f"refused, AccessDenied (403; {code})" in out
    assert ("1h 5m" in out) if ago > 0 else ("29m" in out or "30m" in out)


def test_each_fault_of_a_credential_is_said_in_s3s_words(line: Line) -> None:
    url = url_of(line)
    day = datetime.now(UTC).strftime("%Y%m%d")
    for change, said in (
        ((day + "%2F", "20200101%2F"), "Invalid credential date"),
        (("%2Fs3%2F", "%2Fec2%2F"), 'incorrect service "ec2"'),
        (("aws4_request", "aws3_request"), "incorrect terminal"),
        (("X-Amz-Expires=900", "X-Amz-Expires=999999"), "Sign one that lives at most 604800 seconds"),
        ((key_of(line).access_key_id, "AKIAUNKNOWN"), "Sign with an access key id of this ring"),
    ):
        out = line("inspect", url.replace(*change), status=1)
        assert said in out
        assert "refused" in out


def test_unsigned_headers_are_named(line: Line) -> None:
    out = line("inspect", url_of(line, "PUT", "/photos/x"), "--header", "x-amz-acl: private", status=1)
    assert "headers present in the request which were not signed: x-amz-acl" in out
    assert "Do not send these headers, or have them signed" in out
    assert "not proven" not in out


def test_a_signed_content_type_that_was_not_sent_is_found(line: Line) -> None:
    url = url_of(line, "PUT", "/photos/x.png", "--signed-header", "Content-Type: image/png")
    assert "signed headers content-type: image/png, host" in line("inspect", url)
    out = line("inspect", url, "--header", "content-type: text/html", status=1)
    assert "SignedHeaders=content-type%3Bhost" in out
    assert "It was signed with the header content-type: image/png, and came with text/html." in out
    assert "PUT /photos/x.png: refused" in out
    strange = url_of(line, "PUT", "/photos/x.png", "--signed-header", "Content-Type: x/strange")
    out = line("inspect", strange, status=1)
    assert "It signs headers that did not come: content-type." in out
    assert "another secret" not in out
    assert "admitted" in line("inspect", strange, "--header", "Content-Type: x/strange")


def test_version_2_signs_that_there_is_no_content_type(line: Line) -> None:
    url = url_of(line, "PUT", "/photos/x.png", "--sigv2")
    out = line("inspect", url, "--header", "Content-Type: image/png", status=1)
    assert "It was signed without the header content-type, and came with image/png: do not send it." in out


def test_a_url_that_was_cut_is_found_by_its_signature(line: Line) -> None:
    out = line("inspect", url_of(line)[:-3], status=1)
    assert "Its signature has 61 characters, and not 64" in out
    assert "another secret" not in out


def test_the_checksum_of_an_empty_body_is_a_trap_that_is_named(line: Line) -> None:
    request = Request("PUT", BASE, "/a/b", parameters=(("x-amz-checksum-crc32", "AAAAAA=="),))
    url = presign_v4(key_of(line), request, now=int(time.time()), expires=60, region="us-east-1")
    assert "x-amz-checksum-crc32=AAAAAA==, the checksum of an empty body" in line("inspect", url)


def test_what_version_2_drops_is_said(line: Line, tmp_path: Path) -> None:
    """boto3 was told IfNoneMatch, and signs nothing of it."""
    key = key_of(line)
    client = boto3.client(
        "s3", endpoint_url=BASE, region_name="us-east-1", aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret.decode(), config=Config(signature_version="s3"),
    )  # fmt: skip
    url = client.generate_presigned_url("put_object", {"Bucket": "photos", "Key": "x", "IfNoneMatch": "*"})
    out = line("inspect", url)
    assert "signature version 2" in out
    assert "(If-None-Match, Range, a length) it has dropped without a word" in out
    config = tmp_path / "off.toml"
    config.write_text("[s3]\nsigv2 = false\n")
    assert "Sign with version 4" in line("inspect", url, "--config", str(config), status=1)
    assert "It was signed for PUT" in line("inspect", url, "--method", "GET", status=1)


def test_a_session_is_named_and_its_token_masked(line: Line) -> None:
    made = line.json("keys", "session", "web", "--expires", "1h")
    key = Key(made["access_key_id"], made["secret_access_key"].encode(), made["session_token"])
    url = presign_v4(key, Request("GET", BASE, "/a/b"), now=int(time.time()), expires=60, region="us-east-1")
    assert "by temporary credentials" in line("inspect", url)
    assert "ends with its session" not in line("inspect", url)
    longer = presign_v4(key, Request("GET", BASE, "/a/b"), now=int(time.time()), expires=86_400, region="us-east-1")
    assert re.search(r"ends with its session, .* \((59m|1h)", line("inspect", longer))
    out = line("inspect", url, "--method", "PUT", status=1)
    assert made["session_token"] not in out
    assert quote(made["session_token"]) not in out
    broken = url.replace("valet1.", "valet1.x")
    assert "Take the session token whole" in line("inspect", broken, status=1)


def test_signed_headers_are_judged_as_given(line: Line) -> None:
    key, now = key_of(line), datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": "files.example.org:8420", "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now}
    signed = sigv4.Signed(now, "us-east-1", tuple(headers), ("UNSIGNED-PAYLOAD",), ("GET",), b"")
    text = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"GET\n/photos/x\n\n{text}\n{';'.join(headers)}\nUNSIGNED-PAYLOAD".encode()
    mac = sigv4.mac(AWS, key.secret, signed, sigv4.string_to_sign(AWS, signed, canonical)).hex()
    credential = f"{key.access_key_id}/{signed.scope(AWS)}"
    authorization = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(headers)}, Signature={mac}"
    given = [f"{name}: {value}" for name, value in (headers | {"authorization": authorization}).items()]
    options = [option for header in given for option in ("--header", header)]
    assert "signed request, signature version 4" in line("inspect", f"{BASE}/photos/x", *options)
    out = line("inspect", f"{BASE}/photos/y", "--method", "PUT", *options, status=1)
    assert "refused, SignatureDoesNotMatch (403; signature_mismatch)" in out
    assert mac not in out


@pytest.mark.parametrize("version", [(), ("--sigv2",)])
def test_a_form_is_judged_by_its_fields(line: Line, version: tuple[str, ...]) -> None:
    options = ("--prefix", "--type", "image/*", "--length", "1-5", "--base-url", BASE, *version)
    form = json.loads(line("sign", "--scheme", "s3", "POST", "/photos/in/", *options))
    out = line("inspect", json.dumps(form))
    assert "POST form, signature version" in out
    assert 'condition ["starts-with", "$key", "in/"]' in out
    assert "POST /photos (PostObject): admitted." in out
    form["fields"]["key"] = "out/x"
    out = line("inspect", json.dumps(form), status=1)
    assert 'Policy Condition failed: ["starts-with", "$key", "in/"]' in out
    assert "not proven" not in out
    form["fields"]["policy"] = form["fields"]["policy"].replace("ey", "eY", 1)
    assert line.json("inspect", json.dumps(form), status=1)["code"] in ("signature_mismatch", "key_malformed")
    assert "JSON has `url`, and a form's `fields` or `cookies`" in line.refused("inspect", '{"fields": {}}')


# Revoking, before a real gateway.


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with a signing key for S3 and one object."""
    folder = tmp_path_factory.mktemp("gate")
    run_cli("keys", "create", "web", "--scheme", "s3", "--data", str(folder / "data"), cwd=folder)
    with Gate(folder) as running:
        url = running.cli("sign", "--scheme", "s3", "PUT", "/photos/cat.jpg").strip()
        assert running.ask("PUT", url, b"a cat").status == 200
        yield running


@pytest.fixture
def here(gate: Gate, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on that gateway's data."""
    return Line(gate.data, capsys)


def presigned(here: Line, path: str = "/photos/cat.jpg", method: str = "GET", *options: str) -> str:
    """A presigned URL of the gate's."""
    return here("sign", "--scheme", "s3", method, path, *options).strip()


def revoked(here: Line, *arguments: str) -> Any:
    """A revocation as `--json` shows it."""
    return here.json("revoke", *arguments)


@pytest.mark.parametrize(("method", "options"), [("GET", ()), ("PUT", ()), ("GET", ("--sigv2",))])
def test_a_pasted_url_is_refused_when_the_command_returns(
    gate: Gate, here: Line, method: str, options: tuple[str, ...]
) -> None:
    """Whatever method it was signed for; another URL of the same signing key still opens."""
    url, other = presigned(here, "/photos/cat.jpg", method, *options), presigned(here, "/photos/cat.jpg", "HEAD")
    made = revoked(here, url, "--reason", "leaked")
    assert gate.ask(method, url, b"x" if method == "PUT" else None).code == "key_revoked"
    assert gate.ask("HEAD", other).status == 200
    inspected = here.json("inspect", url, status=1)
    assert (inspected["code"], inspected["revocation"]["id"]) == ("key_revoked", made["id"])
    here("revoke", "--undo", made["id"])
    assert gate.ask(method, url, b"a cat" if method == "PUT" else None).status == 200


def test_all_of_a_signing_key_of_a_prefix_and_of_a_session_are_refused(gate: Gate, here: Line) -> None:
    session = here.json("keys", "session", "web")
    client = boto3.client(
        "s3", endpoint_url=gate.base, region_name="us-east-1", aws_access_key_id=session["access_key_id"],
        aws_secret_access_key=session["secret_access_key"], aws_session_token=session["session_token"],
        config=Config(signature_version="s3v4"),
    )  # fmt: skip
    temporary = client.generate_presigned_url("get_object", {"Bucket": "photos", "Key": "cat.jpg"})
    lasting = presigned(here)
    for arguments, refused in (
        (("--signing-key", "web"), {temporary, lasting}),
        (("--prefix", "/photos/"), {temporary, lasting}),
        (("--subject", session["access_key_id"]), {temporary}),
    ):
        made = revoked(here, *arguments)
        assert {url for url in (temporary, lasting) if gate.ask("GET", url).code == "key_revoked"} == refused
        here("revoke", "--undo", made["id"])
    assert gate.ask("GET", temporary).body == b"a cat"


def test_a_form_is_revoked_by_the_identity_that_inspect_shows(gate: Gate, here: Line) -> None:
    form = json.loads(here("sign", "--scheme", "s3", "POST", "/photos/form.txt"))
    identity = here.json("inspect", json.dumps(form))["key_identity"]
    assert post(gate, form["url"], form["fields"], "x", b"x").status == 204
    revoked(here, identity)
    assert post(gate, form["url"], form["fields"], "x", b"x").code == "key_revoked"


def test_uses_that_are_left_are_counted(gate: Gate, here: Line) -> None:
    url = presigned(here, "/photos/cat.jpg", "GET", "--uses", "2")
    assert gate.ask("GET", url).status == 200
    assert here.json("inspect", url)["uses_left"] == 1
    assert gate.ask("GET", url).status == 200
    assert here.json("inspect", url, status=1)["code"] == "key_used"


def test_whoever_holds_a_url_gives_it_back(gate: Gate, here: Line) -> None:
    url = presigned(here)
    body = json.dumps({"key": url}).encode()
    assert gate.ask("POST", "/_valet/release", body).status == 204
    assert gate.ask("GET", url).code == "key_revoked"


def test_a_url_is_revoked_while_no_gateway_runs(tmp_path: Path) -> None:
    run_cli("keys", "create", "web", "--scheme", "s3", "--data", "data", cwd=tmp_path)
    with Gate(tmp_path) as running:
        url = running.cli("sign", "--scheme", "s3", "GET", "/photos/cat.jpg").strip()
        port = running.address[1]
    made = json.loads(run_cli("revoke", url, "--json", "--data", "data", cwd=tmp_path).stdout)
    assert made["kind"] == "key"
    with Gate(tmp_path, args=("--listen", f"127.0.0.1:{port}")) as running:
        assert running.ask("GET", url).code == "key_revoked"
