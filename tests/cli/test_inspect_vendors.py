"""`valetstore sign`, `inspect` and `revoke` of Google's, Azure's, CloudFront's and Swift's keys, as they are pasted."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from tests.cli.s3 import Line, post
from tests.gate import Answer, Gate, run_cli

SCHEMES = ("gcs", "azure", "cloudfront", "swift")
BASE = "http://files.example.org:8420"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one signing key for each of them."""
    folder = tmp_path_factory.mktemp("ring")
    for scheme in SCHEMES:
        run_cli("keys", "create", f"my{scheme}", "--scheme", scheme, "--data", "data", cwd=folder)
    return folder / "data"


@pytest.fixture
def line(data: Path, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on it."""
    return Line(data, capsys)


def url_of(line: Line, scheme: str, method: str = "GET", path: str = "/photos/cat.jpg", *options: str) -> str:
    """What `sign` prints."""
    return line("sign", method, path, "--scheme", scheme, "--base-url", BASE, *options).strip()


def secrets_in(url: str) -> list[str]:
    """The signature of a URL, which nobody may print, as it is and decoded."""
    found = re.search(r"(?i)(?:[?&]|-)(?:signature|sig|temp_url_sig)=([^&;]+)", url)
    assert found
    return [found[1][:20], found[1].replace("%2F", "/").replace("%2B", "+")[:20]]


# --- signing -----------------------------------------------------------------------------------------------------

FOREIGN: list[tuple[str, list[str], str]] = [
    ("native", ["--cookie"], "--cookie: needs --scheme cloudfront"),
    ("native", ["--hash", "sha1"], "--hash: needs --scheme cloudfront or swift"),
    ("s3", ["--resumable"], "--resumable: is for --scheme gcs, not for S3"),
    ("s3", ["--account-sas"], "--account-sas: is for --scheme azure, not for S3"),
    ("gcs", ["--permissions", "r"], "--permissions: is for --scheme azure, not for Google Cloud Storage"),
    ("azure", ["--sigv2"], "--sigv2: is for --scheme s3 or gcs, not for Azure Blob"),
    ("azure", ["--post"], "--post: is for --scheme s3, gcs or swift, not for Azure Blob"),
    ("azure", ["--signed-header", "a: b"], "--signed-header: is for --scheme s3 or gcs, not for Azure Blob"),
    ("cloudfront", ["--html"], "--html: is for --scheme s3, gcs or swift, not for CloudFront"),
    ("cloudfront", ["--success-redirect", "http://h/"], "--success-redirect: is for --scheme s3, gcs or swift, not"),
    ("swift", ["--success-status", "204"], "--success-status: is for --scheme s3 or gcs, not for Swift"),
    ("swift", ["--cookie"], "--cookie: is for --scheme cloudfront, not for Swift"),
    ("swift", ["--header"], "--header: Swift has no such key"),
]


@pytest.mark.parametrize(("scheme", "options", "said"), FOREIGN)
def test_an_option_that_a_scheme_does_not_have_is_refused(
    scheme: str, options: list[str], said: str, line: Line
) -> None:
    assert said in line.refused("sign", "PUT", "/a/b", "--scheme", scheme, *options)


def test_only_forms_have_the_method_post(line: Line) -> None:
    assert "POST: needs --scheme s3, gcs or swift" in line.refused("sign", "POST", "/a/b")
    for scheme in ("azure", "cloudfront"):
        said = line.refused("sign", "POST", "/a/b", "--scheme", scheme)
        assert "POST: is for --scheme s3, gcs or swift, not for" in said


def test_the_only_signing_key_of_a_scheme_signs_and_another_has_to_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line(tmp_path / "data", capsys)
    for scheme in SCHEMES:
        said = line.refused("sign", "GET", "/a/b", "--scheme", scheme)
        assert f"--key: is needed for --scheme {scheme}; `valetstore keys create NAME --scheme {scheme}` makes" in said
    line("keys", "create", "one", "--scheme", "swift")
    assert "AUTH_one" in url_of(line, "swift")
    line("keys", "create", "two", "--scheme", "swift")
    assert "there are: one, two" in line.refused("sign", "GET", "/a/b", "--scheme", "swift")
    assert "AUTH_two" in url_of(line, "swift", "GET", "/a/b", "--key", "two")
    assert "is for --scheme swift" in line.refused("sign", "GET", "/a/b", "--scheme", "azure", "--key", "one")


# --- what a key says ---------------------------------------------------------------------------------------------

SIGNERS = {
    "gcs": "mygcs@valetstore.invalid",
    "azure": "myazure",
    "cloudfront": "KV",
    "swift": "AUTH_myswift",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_says_what_a_url_is_and_that_it_is_admitted(scheme: str, line: Line) -> None:
    url = url_of(line, scheme)
    out = line("inspect", url)
    assert out.startswith("The key says:\n")
    assert SIGNERS[scheme] in out
    assert "from now)" in out
    assert f"Signing key my{scheme}, key identity " in out
    assert re.search(r"^GET /\S*photos/cat\.jpg \(Get(Object|Blob)\): admitted\.$", out, re.MULTILINE)
    found = line.json("inspect", url)
    assert (found["admitted"], found["dialect"], found["method"]) == (True, scheme, "GET")
    about = found[scheme]
    assert set(about) == {
        "kind", "carrier", "signer", "method", "signed_at", "starts_at", "expires_at", "networks", "headers", "says",
        "computed", "causes",
    }  # fmt: skip
    assert about["carrier"] == "query"
    assert about["signer"].startswith(SIGNERS[scheme])
    assert about["causes"] == []
    assert abs(about["expires_at"] - time.time() - 900) < 60
    for secret in secrets_in(url):
        assert secret not in out + json.dumps(found)


@pytest.mark.parametrize(
    ("scheme", "method", "action"),
    [
        ("gcs", "PUT", "PutObject"), ("gcs", "DELETE", "DeleteObject"), ("gcs", "HEAD", "HeadObject"),
        ("azure", "PUT", "PutBlob"), ("azure", "DELETE", "DeleteBlob"), ("azure", "LIST", "ListBlobs"),
        ("swift", "PUT", "PutObject"), ("swift", "DELETE", "DeleteObject"),
    ],
)  # fmt: skip
def test_the_method_that_a_key_is_for_is_found(scheme: str, method: str, action: str, line: Line) -> None:
    path = "/photos/" if method == "LIST" else "/photos/cat.jpg"
    found = line("inspect", url_of(line, scheme, method, path))
    assert f"({action}): admitted." in found


REFUSED: list[tuple[str, list[str], str, str, int]] = [
    ("gcs", ["--method", "DELETE"], "signature_mismatch", "SignatureDoesNotMatch", 403),
    ("azure", ["--method", "DELETE"], "operation_not_allowed", "AuthorizationPermissionMismatch", 403),
    ("cloudfront", ["--method", "PUT"], "operation_not_allowed", "AccessDenied", 403),
    ("swift", ["--method", "DELETE"], "signature_mismatch", "401 Unauthorized: Temp URL invalid", 401),
]


@pytest.mark.parametrize(("scheme", "options", "code", "vendors", "status"), REFUSED)
def test_a_refusal_is_told_in_the_vendors_words_and_in_ours(
    scheme: str, options: list[str], code: str, vendors: str, status: int, line: Line
) -> None:
    url = url_of(line, scheme)
    out = line("inspect", url, *options, status=1)
    assert f"refused, {vendors} ({status}; {code})." in out
    found = line.json("inspect", url, *options, status=1)
    assert (found["code"], found[f"{scheme}_code"], found["status"]) == (code, vendors, status)
    assert found["mend"]
    for secret in secrets_in(url):
        assert secret not in out + json.dumps(found)


@pytest.mark.parametrize(("scheme", "cause"), [("gcs", "It was signed for GET"), ("swift", "It was signed for GET")])
def test_what_was_signed_is_shown_where_it_was_something_else(scheme: str, cause: str, line: Line) -> None:
    out = line("inspect", url_of(line, scheme), "--method", "DELETE", status=1)
    assert cause in out
    assert "What was signed, as it is computed here:\n  | DELETE\n" in out
    assert "Send it as it was signed, or sign one for this request." in out


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_stranger_to_the_ring_is_named(
    scheme: str, line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same id, another key: where an id is not known at all, that is said."""
    strangers = Line(tmp_path / "data", capsys)
    given = {"gcs": "--client-email", "azure": "--account", "cloudfront": "--key-pair-id", "swift": "--account"}
    kid = next(key["kid"] for key in line.json("keys", "list") if key["scheme"] == scheme)
    strangers("keys", "create", "stranger", "--scheme", scheme, given[scheme], kid)
    found = line.json("inspect", url_of(strangers, scheme), status=1)
    assert found["code"] == "signature_mismatch"
    assert "The key says (its signature is not proven):" in line("inspect", url_of(strangers, scheme), status=1)
    unknown = Line(tmp_path / "unknown", capsys)
    unknown("keys", "create", "x")
    assert unknown.json("inspect", url_of(strangers, scheme), status=1)["code"] == "signature_mismatch"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_key_that_has_ended_says_since_when(scheme: str, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    url, now = url_of(line, scheme), time.time()
    monkeypatch.setattr("valetstore.cli.inspect.time", SimpleNamespace(time=lambda: now + 900 + 3600))
    out = line("inspect", url, status=1)
    assert "; key_expired)." in out
    assert re.search(r"until .* \((59m|1h).* ago\)", out)
    assert "not proven" not in out


def test_a_url_that_was_copied_out_of_html_is_called_so(line: Line) -> None:
    url = url_of(line, "swift").replace("&", "&amp;")
    out = line("inspect", url, status=1)
    assert "The URL was copied out of HTML: it has `&amp;` in place of `&`." in out
    assert "AUTH_myswift" in out


def test_networks_and_headers_of_a_key_are_taken_as_they_are_asked_for(line: Line) -> None:
    url = url_of(line, "azure", "GET", "/photos/cat.jpg", "--ip", "203.0.113.7")
    assert line.json("inspect", url)["admitted"]
    assert (
        line.json("inspect", url, "--from", "198.51.100.1", status=1)["azure_code"] == "AuthorizationSourceIPMismatch"
    )
    url = url_of(line, "gcs", "PUT", "/photos/x.png", "--signed-header", "Content-Type: image/png", "--once")
    found = line.json("inspect", url)
    assert (found["admitted"], found["gcs"]["headers"], found["uses_left"]) == (True, {"content-type": "image/png"}, 1)
    url = url_of(line, "gcs", "PUT", "/photos/x.png", "--type", "image/*")
    assert line.json("inspect", url)["admitted"]
    assert not line.json("inspect", url, "--header", "content-type: text/html", status=1)["admitted"]


def test_azures_own_words_are_said_for_a_sas_of_its_sdk(line: Line) -> None:
    account = line.json("keys", "show", "myazure", "--secret")
    start = datetime.now(UTC) + timedelta(hours=1)
    sas = generate_blob_sas(
        account["account_name"], "photos", "cat.jpg", account_key=account["account_key"],
        permission=BlobSasPermissions(read=True), start=start, expiry=start + timedelta(hours=1),
    )  # fmt: skip
    out = line("inspect", f"{BASE}/myazure/photos/cat.jpg?{sas}", status=1)
    assert "permissions: read" in out
    assert "not before " in out
    assert "refused, AuthenticationFailed (403; key_not_yet_valid)" in out


# --- cookies and forms -------------------------------------------------------------------------------------------


def cookies_of(line: Line, *options: str) -> Any:
    """Signed cookies as JSON."""
    return line.json("sign", "GET", *(options or ("/photos/", "--prefix")), "--cookie", "--scheme", "cloudfront",
                     "--base-url", BASE)  # fmt: skip


def test_cookies_are_judged_in_each_way_of_giving_them(line: Line) -> None:
    made = cookies_of(line)
    cookie = "Cookie: " + "; ".join(f"{name}={value}" for name, value in made["cookies"].items())
    for arguments in ((f"{BASE}/photos/a/b.ts", "--header", cookie), (cookie,), (json.dumps(made),)):
        out = line("inspect", *arguments)
        assert "CloudFront: signed cookies with a custom policy" in out
        assert "admitted." in out
        assert made["cookies"]["CloudFront-Signature"] not in out
    assert "refused, AccessDenied" in line("inspect", f"{BASE}/other/b.ts", "--header", cookie, status=1)
    canned = cookies_of(line, "/photos/cat.jpg")
    assert "with a canned policy" in line("inspect", json.dumps(canned))


@pytest.mark.parametrize("scheme", ["gcs", "swift"])
def test_a_form_is_judged_by_its_fields(scheme: str, line: Line) -> None:
    form = json.loads(url_of(line, scheme, "POST", "/photos/in/", "--prefix"))
    out = line("inspect", json.dumps(form))
    assert f"Signing key my{scheme}" in out
    assert "admitted." in out
    found = line.json("inspect", json.dumps(form))
    assert (found["dialect"], found[scheme]["carrier"], found["method"]) == (scheme, "form", "POST")
    name = "policy" if scheme == "gcs" else "expires"
    form["fields"][name] = form["fields"][name][:-3] + "111"
    assert not line.json("inspect", json.dumps(form), status=1)["admitted"]
    for wrong in ('{"fields": {}}', '{"url": "http://h/"}', "{"):
        assert "JSON has `url`" in line.refused("inspect", wrong)


# --- revoking, before a real gateway -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with a signing key of each dialect, one of a single use, and one object."""
    folder = tmp_path_factory.mktemp("gate")
    for scheme in SCHEMES:
        for name, options in ((f"my{scheme}", ()), (f"once-{scheme}", ("--single-use", "read"))):
            run_cli("keys", "create", name, "--scheme", scheme, *options, "--data", str(folder / "data"), cwd=folder)
    with Gate(folder) as running:
        url = running.cli("sign", "PUT", "/photos/cat.jpg", "--scheme", "swift", "--key", "myswift").strip()
        assert running.ask("PUT", url, b"a cat").status == 201
        yield running


@pytest.fixture
def here(gate: Gate, capsys: pytest.CaptureFixture[str]) -> Line:
    """The command line on that gateway's data."""
    return Line(gate.data, capsys)


def signed(here: Line, scheme: str, method: str = "GET", path: str = "/photos/cat.jpg", *options: str) -> str:
    """What opens the gate, by the lasting signing key of that scheme."""
    return here("sign", method, path, "--scheme", scheme, "--key", f"my{scheme}", *options).strip()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_pasted_url_is_refused_from_then_on_and_no_other(scheme: str, gate: Gate, here: Line) -> None:
    url, other = signed(here, scheme), signed(here, scheme, "GET", "/photos/cat.jpg", "--expires", "20m")
    assert gate.ask("GET", url).body == b"a cat"
    made = here.json("revoke", url)
    assert (made["kind"], len(made["value"])) == ("key", 32)
    assert gate.ask("GET", url).code == "key_revoked"
    assert gate.ask("GET", other).body == b"a cat"
    found = here.json("inspect", url, status=1)
    assert (found["code"], found["revocation"]["id"]) == ("key_revoked", made["id"])
    here("revoke", "--undo", made["id"])
    assert gate.ask("GET", url).body == b"a cat"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
@pytest.mark.parametrize("scheme", ["gcs", "azure", "swift"])
def test_whatever_method_was_signed_a_pasted_url_is_known(scheme: str, method: str, here: Line) -> None:
    url = signed(here, scheme, method, f"/photos/{scheme}-{method}")
    identity = here.json("inspect", url)["key_identity"]
    assert here.json("revoke", url)["value"] == identity


def test_pasted_cookies_are_refused_from_then_on(gate: Gate, here: Line) -> None:
    options = ("--cookie", "--json")
    for path, further in (("/photos/", ("--prefix",)), ("/photos/cat.jpg", ())):
        made = json.loads(signed(here, "cloudfront", "GET", path, *further, *options))
        cookie = "; ".join(f"{name}={value}" for name, value in made["cookies"].items())
        sent = {"cookie": cookie}
        assert gate.ask("GET", "/photos/cat.jpg", None, sent).body == b"a cat"
        # A canned policy is for a URL, which JSON brings along.
        here("revoke", f"Cookie: {cookie}" if further else json.dumps(made))
        assert gate.ask("GET", "/photos/cat.jpg", None, sent).code == "key_revoked"


@pytest.mark.parametrize("scheme", ["gcs", "swift"])
def test_a_pasted_form_is_refused_from_then_on(scheme: str, gate: Gate, here: Line) -> None:
    form = json.loads(signed(here, scheme, "POST", "/photos/form/", "--prefix"))
    assert sent(gate, form).status in (201, 204)
    here("revoke", json.dumps(form))
    assert sent(gate, form).code == "key_revoked"


def sent(gate: Gate, form: Any) -> Answer:
    """A form as a browser sends it."""
    return post(gate, form["url"], form["fields"], "x", b"x")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_uses_that_are_left_are_counted(scheme: str, gate: Gate, here: Line) -> None:
    url = here("sign", "GET", "/photos/cat.jpg", "--scheme", scheme, "--key", f"once-{scheme}").strip()
    out = here("inspect", url)
    assert "opens read once, by its signing key's profile" in out
    assert "1 of 1 use left." in out
    assert gate.ask("GET", url).body == b"a cat"
    found = here.json("inspect", url, status=1)
    assert (found["code"], found["uses_left"], found["use"]) == ("key_used", 0, "used")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_of_a_signing_key_are_refused_and_it_is_given_back(scheme: str, gate: Gate, here: Line) -> None:
    url = signed(here, scheme, "GET", "/photos/cat.jpg", "--expires", "25m")
    made = here.json("revoke", "--signing-key", f"my{scheme}")
    assert gate.ask("GET", url).code == "key_revoked"
    here("revoke", "--undo", made["id"])
    assert gate.ask("GET", url).status == 200
    assert gate.ask("POST", "/_valet/release", json.dumps({"key": url}).encode()).status == 204
    assert gate.ask("GET", url).code == "key_revoked"
    assert here.json("inspect", url, status=1)["code"] == "key_revoked"


def test_what_was_cut_says_so(line: Line) -> None:
    cut: dict[str, Callable[[str], str]] = {
        "gcs": lambda url: url.replace("X-Goog-Date", "X-Goog-Dote"),
        "azure": lambda url: url.replace("&sp=r", ""),
        "cloudfront": lambda url: url.replace("Expires=", "Expirs="),
        "swift": lambda url: url.replace("temp_url_expires", "temp_url_expire"),
    }
    for scheme, change in cut.items():
        found = line.json("inspect", change(url_of(line, scheme)), status=1)
        assert found["code"] in ("key_malformed", "parameter_invalid", "signature_mismatch")
        assert not found["admitted"]
