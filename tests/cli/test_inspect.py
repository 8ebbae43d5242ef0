"""`valetstore inspect` asks the running gateway what only it knows, and claims no more than it was told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.edge.doors import make_certificate
from tests.gate import Gate, run_cli

Start = Callable[..., Gate]
NOT_ASKED = "Whether it has been used is known only to the running gateway, which could not be asked."


def inspected(gate: Gate, *arguments: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gate.cli("inspect", *arguments, "--json", status=status))
    return found


def test_the_use_of_a_read_key_is_asked_for_and_none_is_used_up(gate: Gate) -> None:
    gate.ask("PUT", gate.sign("PUT", "/photos/once"), b"x")
    url = gate.sign("GET", "/photos/once", uses=1)
    for _ in range(3):
        assert inspected(gate, url)["use"] == "unused"
    assert "has a use left" in gate.cli("inspect", url)
    assert gate.ask("GET", url).status == 200
    found = inspected(gate, url, status=1)
    assert (found["use"], found["code"], found["admitted"]) == ("used", "key_used", False)


def test_a_key_without_limited_uses_has_no_use(gate: Gate) -> None:
    url = gate.sign("GET", "/photos/x")
    assert "use" not in inspected(gate, url)
    assert NOT_ASKED not in gate.cli("inspect", url)


def test_what_a_signing_keys_profile_adds_is_said(tmp_path: Path) -> None:
    """Of a key that says nothing of uses itself."""
    profile = ["--single-use", "write", "--uses", "3", "--budget", "rate=5"]
    run_cli("keys", "create", "web", *profile, "--data", "data", cwd=tmp_path)
    for method, words, uses in (("PUT", "write once", 1), ("GET", "read 3 times", 3)):
        url = run_cli("sign", method, "/a/b", "--data", "data", cwd=tmp_path).stdout.strip()
        out = run_cli("inspect", url, "--data", "data", cwd=tmp_path).stdout
        assert f"opens {words}, by its signing key's profile" in out
        assert "all keys of its signing key together: at most 5 requests a second, 5 at once" in out
        assert NOT_ASKED in out
        found = json.loads(run_cli("inspect", url, "--data", "data", "--json", cwd=tmp_path).stdout)
        assert (found["use"], found["uses"], found["shared_budget"]) == ("unknown", uses, {"rate": 5.0})


def test_the_use_of_an_object_that_is_not_there_is_known_all_the_same(gate: Gate) -> None:
    assert inspected(gate, gate.sign("GET", "/photos/none", uses=1))["use"] == "unused"


@pytest.mark.parametrize(
    ("method", "terms"),
    [
        ("PUT", {}),
        ("DELETE", {}),
        ("GET", {"networks": ["203.0.113.0/24"]}),
        ("GET", {"https": True}),
        ("GET", {"window": 60}),
    ],
)
def test_what_cannot_be_asked_is_said(gate: Gate, method: str, terms: dict[str, Any]) -> None:
    """A write; a source that is not here; a key for TLS at a plain listener; one that opens again for some."""
    url = gate.sign(method, "/photos/unknown", uses=1, **terms)
    if terms.get("https"):
        url = url.replace("http://", "https://")
    assert inspected(gate, url)["use"] == "unknown"
    out = gate.cli("inspect", url)
    assert f"{method} /photos/unknown: admitted, unless it has been used." in out
    assert NOT_ASKED in out


def test_where_no_gateway_runs_the_use_is_unknown(tmp_path: Path) -> None:
    run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path)
    url = run_cli("sign", "GET", "/a/b", "--once", "--data", "data", cwd=tmp_path).stdout.strip()
    assert NOT_ASKED in run_cli("inspect", url, "--data", "data", cwd=tmp_path).stdout


def test_a_tls_listener_is_asked_whatever_its_certificate_says(start: Start, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    gate = start(f'[listen]\ntls-cert = "{cert}"\ntls-key = "{key}"\n', "--listen", "0.0.0.0:0", cafile=cert)
    gate.base = gate.base.replace("0.0.0.0", "127.0.0.1")
    gate.ask("PUT", gate.sign("PUT", "/a/b"), b"x")
    url = gate.sign("GET", "/a/b", uses=1, https=True)
    assert inspected(gate, url)["use"] == "unused"
    assert gate.ask("GET", url).status == 200
    assert inspected(gate, url, status=1)["use"] == "used"


def test_a_unix_listener_is_asked(start: Start, tmp_path: Path) -> None:
    gate = start("", "--listen", f"unix:{tmp_path / 'gate.sock'}")
    gate.base = "http://x.example"
    assert inspected(gate, gate.sign("GET", "/a/b", uses=1))["use"] == "unused"


def test_a_replay_set_that_cannot_answer_is_a_refusal(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    from click.testing import CliRunner

    from valetstore.cli import inspect

    monkeypatch.setattr(inspect, "_head", lambda _url, _inbound: "replay_unavailable")
    url = gate.sign("GET", "/photos/x", uses=1)
    said = CliRunner().invoke(inspect.command, [url, "--data", str(gate.data), "--json"])
    found = json.loads(said.output)
    assert (found["admitted"], found["code"], found["use"]) == (False, "replay_unavailable", "unknown")
    assert found["mend"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_read_only_bucket_refuses_writes(start: Start, method: str) -> None:
    gate = start("[buckets.ro]\nread-only = true\n")
    settings = ("--config", str(gate.folder / "valetstore.toml"))
    found = inspected(gate, gate.sign(method, "/ro/x"), *settings, status=1)
    assert found["code"] == "operation_not_allowed"
    assert "read-only" in found["mend"]
    assert inspected(gate, gate.sign("GET", "/ro/x"), *settings)["admitted"]


def test_a_prefix_itself_names_no_object(gate: Gate) -> None:
    hint = "Put an object's name after the slash"
    assert hint in inspected(gate, gate.sign("GET", "/photos/", prefix=True), status=1)["mend"]
    assert hint in gate.cli("inspect", gate.sign("GET", "/photos/2026/", prefix=True))
    assert hint not in gate.cli("inspect", gate.sign("LIST", "/photos/"))


def test_a_proven_key_is_not_called_unproven(gate: Gate) -> None:
    """Refused for its audience after the signature held; refused for its path before it was looked at."""
    elsewhere = gate.sign("GET", "/photos/x", audience="elsewhere")
    out = gate.cli("inspect", elsewhere, status=1)
    assert "key_malformed" in out
    assert "not proven" not in out
    forged = gate.sign("GET", "/photos/", prefix=True)[:-8] + "AAAAAAAA"
    assert "not proven" in gate.cli("inspect", forged, status=1)


def test_a_wrong_header_or_url_is_named_and_no_key_in_it(gate: Gate) -> None:
    url = gate.sign("GET", "/photos/x")
    token = url.rpartition("=")[2]
    assert "--header 'bad': must be written" in gate.cli("inspect", url, "--header", "bad", status=2)
    out = gate.cli("inspect", url, "--header", f"Authorization Bearer {token}", status=2)
    assert token.rpartition(".")[2] not in out
    out = gate.cli("inspect", f"ftp://x/y?valet={token}", status=2)
    assert "URL 'ftp://x/y?***': must start with http" in out
    assert "URL 'http://x/a b': It must start with a slash" in gate.cli("inspect", "http://x/a b", status=2)


def test_a_key_until_any_number_is_explained(gate: Gate) -> None:
    from tests.minting import hs256

    token = hs256(b"x" * 32, {"alg": "HS256", "kid": "default"}, {"exp": 2**53, "ops": ["read"], "path": "/a/b"})
    assert "Dec 9999" in gate.cli("inspect", f"http://x/a/b?valet={token}", status=1)
