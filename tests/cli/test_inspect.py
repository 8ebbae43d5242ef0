"""`valetstore inspect` says what the gateway would, from the logs it keeps, and claims no more than it can read."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.edge.doors import make_certificate
from tests.gate import Gate, run_cli
from valetstore.datalock import DataLock
from valetstore.journal import replace

Start = Callable[..., Gate]
REVOKED_KINDS = {"--signing-key": "default", "--subject": "carol", "--prefix": "/photos/"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Two workers, an object."""
    with Gate(tmp_path_factory.mktemp("gate"), args=("--workers", "2")) as running:
        assert running.ask("PUT", running.sign("PUT", "/photos/cat"), b"a cat").status == 201
        yield running


def inspected(gate: Gate, *arguments: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gate.cli("inspect", *arguments, "--json", status=status))
    return found


def judged(gate: Gate, *arguments: str) -> dict[str, Any]:
    """Whatever it says, with any exit status."""
    found: dict[str, Any] = json.loads(
        run_cli("inspect", *arguments, "--json", "--data", str(gate.data), cwd=gate.folder).stdout
    )
    return found


# Uses


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "LIST"])
def test_the_uses_that_are_left_are_counted_and_none_is_used_up(gate: Gate, method: str) -> None:
    """For every operation, while it runs."""
    path = "/photos/" if method == "LIST" else f"/photos/counted-{method}"
    sent, body = ("GET", None) if method == "LIST" else (method, b"x" if method == "PUT" else None)
    url = gate.sign(method, path, uses=3)
    for used in range(3):
        if method in ("GET", "DELETE"):
            gate.ask("PUT", gate.sign("PUT", path), b"x")
        for _ in range(2):
            found = inspected(gate, url)
            assert (found["use"], found["uses"], found["uses_left"], found["unknown"]) == ("unused", 3, 3 - used, {})
        assert f"{3 - used} of 3 uses left." in gate.cli("inspect", url)
        assert gate.ask(sent, url, body).status < 300
    found = inspected(gate, url, status=1)
    assert (found["use"], found["uses_left"], found["code"], found["released"]) == ("used", 0, "key_used", False)
    assert "0 of 3 uses left." in gate.cli("inspect", url, status=1)


def test_a_key_that_was_given_back_is_refused(gate: Gate) -> None:
    limited, free = gate.sign("PUT", "/photos/back", uses=5), gate.sign("GET", "/photos/cat")
    for url in (limited, free):
        release = f"{gate.base}/_valet/release?{url.partition('?')[2]}"
        assert gate.ask("POST", release).status == 204
    found = inspected(gate, limited, status=1)
    assert (found["code"], found["use"], found["uses_left"], found["released"]) == ("key_used", "used", 0, True)
    assert "given it back" in gate.cli("inspect", limited, status=1)
    found = inspected(gate, free, status=1)
    assert (found["code"], found["revocation"]["reason"]) == ("key_revoked", "released by its holder")


def test_a_window_opens_for_the_address_that_used_it(gate: Gate) -> None:
    url = gate.sign("GET", "/photos/cat", uses=1, window=60)
    assert gate.ask("GET", url).status == 200
    found = inspected(gate, url)
    assert (found["admitted"], found["use"], found["uses_left"]) == (True, "used", 0)
    assert 0 < found["repeatable_until"] - time.time() <= 60
    assert "127.0.0.1 may repeat its use until " in gate.cli("inspect", url)
    assert gate.ask("GET", url).status == 200
    found = inspected(gate, url, "--from", "203.0.113.9", status=1)
    assert (found["code"], found["repeatable_until"]) == ("key_used", None)


def test_a_key_without_limited_uses_has_no_use(gate: Gate) -> None:
    url = gate.sign("GET", "/photos/x")
    found = inspected(gate, url)
    assert not {"use", "uses_left", "released", "repeatable_until", "revocation"} & set(found)
    assert "left" not in gate.cli("inspect", url).replace("m left)", "").replace("s left)", "")


def test_what_is_left_is_said_of_a_key_that_is_refused_for_another_reason(gate: Gate) -> None:
    url = gate.sign("GET", "/photos/cat", uses=2, networks=["127.0.0.0/8"])
    assert gate.ask("GET", url).status == 200
    found = inspected(gate, url, "--from", "203.0.113.9", status=1)
    assert (found["code"], found["use"], found["uses_left"]) == ("source_not_allowed", "unused", 1)


def test_it_does_not_matter_whether_a_gateway_runs(start: Start) -> None:
    """Not for what was used, nor for what was revoked; and it waits for nobody's lock."""
    gate = start()
    gate.ask("PUT", gate.sign("PUT", "/photos/x"), b"x")
    used, left = gate.sign("GET", "/photos/x", uses=1), gate.sign("GET", "/photos/x", uses=2)
    for url in (used, left):
        assert gate.ask("GET", url).status == 200
    revoked = gate.sign("GET", "/photos/x", subject="carol")
    gate.cli("revoke", revoked)
    running = [judged(gate, url) for url in (used, left, revoked)]
    gate.kill()
    before = {path: path.read_bytes() for path in (gate.data / "state").iterdir() if path.is_file()}
    with DataLock(gate.data):
        lock = gate.data / "state/lock"
        killed = [judged(gate, url) for url in (used, left, revoked)]
        assert {path: path.read_bytes() for path in before if path != lock} == {
            path: data for path, data in before.items() if path != lock
        }
    assert killed == running
    assert [found.get("code") for found in killed] == ["key_used", None, "key_revoked"]


def test_an_upload_that_is_running_is_not_seen_until_it_is_published(gate: Gate) -> None:
    url = gate.sign("PUT", "/photos/slow", uses=1)
    target = url.removeprefix(gate.base)
    with socket.create_connection(gate.address) as sock:
        sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx".encode())
        assert inspected(gate, url)["uses_left"] == 1
        sock.sendall(b"y")
        assert b" 201 " in sock.recv(1000)
    assert inspected(gate, url, status=1)["uses_left"] == 0


def test_it_reads_a_log_that_is_written_as_fast_as_it_goes(gate: Gate) -> None:
    """What was answered before it looks, it sees; and it finds no damage."""
    url = gate.sign("GET", "/photos/cat", uses=1_000_000)
    answered, end = 0, threading.Event()

    def use() -> None:
        nonlocal answered
        while not end.is_set():
            assert gate.ask("GET", url).status == 200
            answered += 1

    user = threading.Thread(target=use)
    user.start()
    try:
        for _ in range(5):
            before = answered
            found = inspected(gate, url)
            assert found["unknown"] == {}
            assert 1_000_000 - found["uses_left"] >= before
    finally:
        end.set()
        user.join()
    assert inspected(gate, url)["uses_left"] == 1_000_000 - answered


# Revocations


def test_a_revoked_key_is_refused_with_the_way_back(gate: Gate) -> None:
    url = gate.sign("PUT", "/photos/revoked", subject="dave")
    made = json.loads(gate.cli("revoke", url, "--reason", "sent to the wrong list", "--json"))
    found = inspected(gate, url, status=1)
    assert (found["admitted"], found["code"]) == (False, "key_revoked")
    assert found["revocation"] == made
    assert f"valetstore revoke --undo {made['id']}" in found["mend"]
    out = gate.cli("inspect", url, status=1)
    assert "reason: sent to the wrong list" in out
    assert f"revocation {made['id']}" in out
    assert f"valetstore revoke --undo {made['id']}" in out
    gate.cli("revoke", "--undo", made["id"])
    assert inspected(gate, url)["admitted"]


@pytest.mark.parametrize("option", REVOKED_KINDS)
def test_a_key_is_found_in_every_kind_of_revocation(gate: Gate, option: str) -> None:
    url = gate.sign("GET", "/photos/cat", subject="carol")
    made = json.loads(gate.cli("revoke", option, REVOKED_KINDS[option], "--json"))
    found = inspected(gate, url, status=1)
    assert (found["revocation"]["id"], found["revocation"]["value"]) == (made["id"], REVOKED_KINDS[option])
    gate.cli("revoke", "--undo", made["id"])
    assert inspected(gate, url)["admitted"]


def test_a_retired_signing_key_is_not_undone(tmp_path: Path) -> None:
    run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path)
    url = run_cli("sign", "GET", "/a/b", "--data", "data", cwd=tmp_path).stdout.strip()
    run_cli("keys", "retire", "web", "--data", "data", cwd=tmp_path)
    found = json.loads(run_cli("inspect", url, "--data", "data", "--json", cwd=tmp_path).stdout)
    assert (found["code"], "--undo" in found["mend"]) == ("key_revoked", False)


# What cannot be read


@contextmanager
def away(path: Path) -> Iterator[None]:
    """A file that is not there for a while."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


def test_a_log_that_cannot_be_read_leaves_it_unknown(gate: Gate) -> None:
    once, free = gate.sign("PUT", "/photos/x", uses=1), gate.sign("GET", "/photos/cat")
    state = gate.data / "state"
    with away(state / "replay.log"):
        found = inspected(gate, once)
        assert (found["use"], found["uses"], found["uses_left"], found["admitted"]) == ("unknown", 1, None, True)
        assert found["unknown"] == {"use": f"{state / 'replay.log'}: the log is missing"}
        out = gate.cli("inspect", once)
        assert "PUT /photos/x: admitted, unless it has been used." in out
        assert f"Whether it has been used is unknown: {state / 'replay.log'}: the log is missing." in out
        assert "valetstore repair" in out
        assert inspected(gate, free)["unknown"] == {}
    with away(state / "revocations.log"):
        assert inspected(gate, free)["unknown"] == {"revocation": f"{state / 'revocations.log'}: the log is missing"}
        out = gate.cli("inspect", once)
        assert "admitted, unless it has been revoked." in out
        with away(state / "format"):
            assert inspected(gate, free)["unknown"]
    (state / "format").replace(state / "kept")
    (state / "format").write_text("999\n")
    found = inspected(gate, once)
    assert found["unknown"].keys() == {"use", "revocation"}
    assert "has format 999" in found["unknown"]["use"]
    assert "unless it has been revoked or used." in gate.cli("inspect", once)
    (state / "kept").replace(state / "format")
    assert inspected(gate, once)["unknown"] == {}


def test_a_clock_behind_the_log_is_a_refusal(start: Start) -> None:
    gate = start()
    gate.stop()
    url = gate.sign("GET", "/photos/x", uses=1)
    assert inspected(gate, url)["use"] == "unused"
    replace(gate.data / "state/replay.log", [b"\x02" + bytes(8)], time.time() + 3600)
    found = inspected(gate, url, status=1)
    assert (found["code"], found["use"], found["uses_left"]) == ("replay_unavailable", "unknown", None)
    assert "clock" in found["unknown"]["use"]
    assert "clock" in found["mend"]


def test_where_nothing_was_ever_served_nothing_was_used(tmp_path: Path) -> None:
    run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path)
    url = run_cli("sign", "GET", "/a/b", "--once", "--data", "data", cwd=tmp_path).stdout.strip()
    found = json.loads(run_cli("inspect", url, "--data", "data", "--json", cwd=tmp_path).stdout)
    assert (found["use"], found["uses_left"], found["unknown"]) == ("unused", 1, {})
    assert not (tmp_path / "data/state").exists()


def test_of_a_key_that_is_not_proven_the_use_is_unknown(gate: Gate) -> None:
    forged = gate.sign("GET", "/photos/cat", uses=2)[:-8] + "AAAAAAAA"
    found = inspected(gate, forged, status=1)
    assert (found["code"], found["use"], found["uses"], found["uses_left"]) == (
        "signature_mismatch",
        "unknown",
        2,
        None,
    )
    elsewhere = inspected(gate, gate.sign("GET", "/photos/cat", uses=2, audience="elsewhere"), status=1)
    assert (elsewhere["code"], elsewhere["use"]) == ("key_malformed", "unknown")
    assert elsewhere["unknown"]["use"]


def test_what_a_key_says_cannot_speak_to_the_terminal(gate: Gate) -> None:
    out = gate.cli("inspect", gate.sign("GET", "/photos/cat", subject="a\x1b[2Jb"))
    assert "for a?[2Jb" in out


# The rest


def test_what_a_signing_keys_profile_adds_is_said(tmp_path: Path) -> None:
    """Of a key that says nothing of uses itself."""
    profile = ["--single-use", "write", "--uses", "3", "--budget", "rate=5"]
    run_cli("keys", "create", "web", *profile, "--data", "data", cwd=tmp_path)
    for method, words, uses in (("PUT", "write once", 1), ("GET", "read 3 times", 3)):
        url = run_cli("sign", method, "/a/b", "--data", "data", cwd=tmp_path).stdout.strip()
        out = run_cli("inspect", url, "--data", "data", cwd=tmp_path).stdout
        assert f"opens {words}, by its signing key's profile" in out
        assert "all keys of its signing key together: at most 5 requests a second, 5 at once" in out
        assert f"{uses} of {uses} use" in out
        found = json.loads(run_cli("inspect", url, "--data", "data", "--json", cwd=tmp_path).stdout)
        assert (found["use"], found["uses"], found["shared_budget"]) == ("unused", uses, {"rate": 5.0})


def test_the_use_of_an_object_that_is_not_there_is_known_all_the_same(gate: Gate) -> None:
    assert inspected(gate, gate.sign("GET", "/photos/none", uses=1))["use"] == "unused"


def test_how_the_gateway_listens_does_not_matter(start: Start, tmp_path: Path) -> None:
    """It is not asked: over TLS, on a socket, at an address that is not here."""
    cert, key = make_certificate(tmp_path)
    gate = start(f'[listen]\ntls-cert = "{cert}"\ntls-key = "{key}"\n', "--listen", "0.0.0.0:0", cafile=cert)
    gate.base = gate.base.replace("0.0.0.0", "127.0.0.1")
    gate.ask("PUT", gate.sign("PUT", "/a/b"), b"x")
    url = gate.sign("GET", "/a/b", uses=1, https=True)
    assert inspected(gate, url)["use"] == "unused"
    assert gate.ask("GET", url).status == 200
    assert inspected(gate, url, status=1)["use"] == "used"
    far = gate.sign("GET", "/a/b", uses=1, networks=["203.0.113.0/24"])
    assert inspected(gate, far)["use"] == "unused"


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
