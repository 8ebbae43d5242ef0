"""`valetstore revoke`: through a running gateway and without one, it means the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.edge.doors import make_certificate, mint, target
from tests.gate import Gate, run_cli
from valetstore.cli.keeper import with_keeper
from valetstore.cli.options import plain
from valetstore.cli.revoke import _moment
from valetstore.config import Config, Storage
from valetstore.datalock import DataHeld, DataLock
from valetstore.errors import ConfigInvalid
from valetstore.keys.ring import INTERNAL_NAME
from valetstore.keys.ringfile import RingFile
from valetstore.policy.bounds import SKEW_SECONDS_MAX

Start = Callable[..., Gate]
CAT = "/photos/2024/cat.jpg"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Two workers, an object."""
    with Gate(tmp_path_factory.mktemp("gate"), args=("--workers", "2")) as running:
        assert running.ask("PUT", running.sign("PUT", CAT), b"a cat").status == 201
        yield running


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A data directory that was served, and is not now."""
    stopped = Gate(tmp_path_factory.mktemp("gate"))
    with stopped:
        assert stopped.ask("PUT", stopped.sign("PUT", CAT), b"a cat").status == 201
    return stopped


@pytest.fixture(params=["running", "resting"])
def either(request: pytest.FixtureRequest) -> Gate:
    """One that runs, one that does not."""
    found: Gate = request.getfixturevalue("gate" if request.param == "running" else "resting")
    return found


def revoked(gate: Gate, *arguments: str) -> dict[str, Any]:
    """A revocation as `--json` shows it."""
    made: dict[str, Any] = json.loads(gate.cli("revoke", *arguments, "--json"))
    return made


def listed(gate: Gate) -> list[dict[str, Any]]:
    """All revocations."""
    rows: list[dict[str, Any]] = json.loads(gate.cli("revoke", "--list", "--json"))
    return rows


def undo(gate: Gate, made: dict[str, Any]) -> None:
    """Take it back."""
    assert json.loads(gate.cli("revoke", "--undo", made["id"], "--json")) == {"id": made["id"], "undone": True}


def codes(gate: Gate, url: str) -> set[str | None]:
    """What many connections are answered."""
    return {gate.ask("GET", url).code for _ in range(8)}


def test_a_pasted_url_is_refused_when_the_command_returns_and_opens_when_it_is_undone(gate: Gate) -> None:
    url, other = gate.sign("GET", CAT, subject="a"), gate.sign("GET", CAT, subject="b")
    said = gate.cli("revoke", url, "--reason", "leaked")
    assert codes(gate, url) == {"key_revoked"}
    assert codes(gate, other) == {None}
    assert "Revoked: key " in said
    assert "when the key has ended by itself" in said
    (row,) = listed(gate)
    assert row["id"] in said
    assert row["reason"] == "leaked"
    assert row["by"].startswith("_valet (")
    assert "Revoked already" in gate.cli("revoke", url)
    undo(gate, row)
    assert codes(gate, url) == {None}


@pytest.mark.parametrize("form", ["url", "token", "header", "identity", "stdin"])
def test_a_key_may_be_given_in_every_form(either: Gate, form: str) -> None:
    end = int(time.time()) + 500
    token = mint(either, ops=["read"], path=CAT, exp=end, jti=form)
    url = f"https://files.example.com{target(CAT, token)}"
    identity = json.loads(either.cli("inspect", url, "--json"))["key_identity"]
    given = {"url": url, "token": token, "header": f"Authorization: Bearer {token}", "identity": identity.upper()}
    if form == "stdin":
        done = subprocess.run(
            [sys.executable, "-m", "valetstore", "revoke", "-", "--json", "--data", str(either.data)],
            input=f"{url}\n",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
    else:
        made = revoked(either, given[form])
    assert (made["kind"], made["value"]) == ("key", identity)
    assert made["expires_at"] == (None if form == "identity" else end + SKEW_SECONDS_MAX)
    assert made in listed(either)
    undo(either, made)
    assert made not in listed(either)


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [("--signing-key", "default", "signing-key"), ("--subject", "a b", "subject"), ("--prefix", "/photos/", "prefix")],
)
def test_many_keys_at_once(either: Gate, option: str, value: str, kind: str) -> None:
    made = revoked(either, option, value, "--issued-before", "2026-01-01T00:00:00Z")
    assert (made["kind"], made["value"], made["issued_before"]) == (kind, value, 1_767_225_600)
    said = either.cli("revoke", "--list")
    assert f"{value}, issued before Thu, 01 Jan 2026 00:00:00 GMT" in said
    undo(either, made)


def test_issued_before_now_spares_what_is_issued_from_now_on(gate: Gate) -> None:
    old = gate.sign("GET", CAT, subject="carol")
    time.sleep(1.1)
    made = revoked(gate, "--subject", "carol", "--issued-before", "now")
    time.sleep(1)
    assert codes(gate, old) == {"key_revoked"}
    assert codes(gate, gate.sign("GET", CAT, subject="carol")) == {None}
    undo(gate, made)


def test_what_is_revoked_while_no_gateway_runs_is_refused_by_the_next(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with gate:
        assert gate.ask("PUT", gate.sign("PUT", CAT), b"a cat").status == 201
        url = gate.sign("GET", CAT)
    made = revoked(gate, url)
    with gate:
        assert codes(gate, url) == {"key_revoked"}
        assert listed(gate) == [made]
        undo(gate, made)
        assert codes(gate, url) == {None}


def test_commands_at_once_all_do_what_they_say(resting: Gate) -> None:
    with ThreadPoolExecutor(5) as threads:
        made = list(threads.map(lambda number: revoked(resting, "--subject", f"at once {number}"), range(5)))
    assert sorted(row["id"] for row in made) == [row["id"] for row in listed(resting)]
    for row in made:
        undo(resting, row)


def test_who_holds_the_data_and_accepts_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetstore.cli.keeper._PATIENCE_SECONDS", 0.5)
    with DataLock(tmp_path), pytest.raises(DataHeld, match="is served by"):
        with_keeper(Config(storage=Storage(data=str(tmp_path))), lambda keeper: keeper.entries())


def test_everything_can_be_revoked_and_that_be_undone(gate: Gate) -> None:
    url = gate.sign("GET", CAT)
    made = revoked(gate, "--prefix", "/")
    assert codes(gate, url) == {"key_revoked"}
    assert listed(gate) == [made]
    undo(gate, made)
    assert codes(gate, url) == {None}


def test_an_empty_list_is_one(either: Gate) -> None:
    assert either.cli("revoke", "--list") == ""
    assert listed(either) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "Give exactly one of"),
        (("x", "--list"), 2, "Give exactly one of"),
        (("--subject", "a", "--prefix", "/b/"), 2, "Give exactly one of"),
        (("--list", "--reason", "x"), 2, "--issued-before and --reason belong to"),
        (("--undo", "00000000001", "--issued-before", "now"), 2, "--issued-before and --reason belong to"),
        (("--subject", "a", "--issued-before", "soon"), 2, "--issued-before 'soon': must be `now`, a date"),
        (("--subject", "a", "--issued-before", "2999-01-01T00:00:00Z"), 2, "at most a day ahead"),
        (("--subject", ""), 2, "`subject` is empty"),
        (("--prefix", "photos"), 2, "starts and ends with a slash"),
        (("--prefix", "/_valet/"), 2, "could hold no object"),
        (("--signing-key", "none"), 2, "there is none of that name"),
        (("--signing-key", "_valet"), 2, "the gateway's own"),
        (("--undo", "00000000001"), 2, "there is no such revocation"),
        (("--undo", "../../x"), 2, "there is no such revocation"),
        (("--undo", "\u00e9"), 2, "there is no such revocation"),
        (("nonsense",), 2, "The key is not well-formed."),
        (("https://files.example.com/x",), 2, "This needs a signed key."),
        (("--subject", "a", "--reason", "x" * 2000), 2, "1024"),
    ],
)
def test_what_is_wrong_is_one_sentence(either: Gate, arguments: tuple[str, ...], status: int, said: str) -> None:
    assert said in either.cli("revoke", *arguments, status=status)


def test_a_key_that_does_not_hold_is_not_revoked_and_not_shown(either: Gate) -> None:
    token = mint(either, ops=["read"], path=CAT)
    out = either.cli("revoke", f"{token[:-8]}AAAAAAAA", status=2)
    assert "signature does not hold" in out
    assert token[:30] not in out
    assert "expired by itself" in either.cli("revoke", mint(either, ops=["read"], path=CAT, exp=1), status=2)


def test_a_directory_that_was_never_served_is_named(tmp_path: Path) -> None:
    done = run_cli("revoke", "--subject", "a", "--data", "new", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not set up yet" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_log_that_is_gone_is_told(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with gate:
        pass
    (gate.data / "state/revocations.log").unlink()
    for arguments in (("--list",), ("--subject", "a"), ("--undo", "00000000001")):
        out = gate.cli("revoke", *arguments, status=1)
        assert "revocations.log" in out
        assert "valetstore repair" in out


def test_over_tls_and_a_unix_socket(start: Start, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    gate = start(f'[listen]\ntls-cert = "{cert}"\ntls-key = "{key}"\n', "--listen", "0.0.0.0:0", cafile=cert)
    made = revoked(gate, "--subject", "a")
    assert listed(gate) == [made]
    gate = start("", "--listen", f"unix:{tmp_path / 's'}")
    made = revoked(gate, "--subject", "a")
    undo(gate, made)


def test_a_gateway_that_does_not_answer_is_named(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with gate:
        assert gate.process
        for process in [gate.process.pid, *gate.workers()]:
            os.kill(process, signal.SIGSTOP)
        lock = gate.data / "state/lock"
        lock.write_text(json.dumps({"pid": gate.process.pid, "addresses": ["http://127.0.0.1:1"]}))
        out = gate.cli("revoke", "--subject", "a", status=1)
        assert f"process {gate.process.pid}" in out
        assert "cannot be asked" in out
        gate.kill()


def test_a_ring_of_an_older_version_is_made_fit_at_the_start(tmp_path: Path) -> None:
    """The gateway's own key of before opened the probes alone."""
    gate = Gate(tmp_path)
    with gate:
        pass
    ring_file = RingFile(gate.data)

    def older(records: list[Any]) -> list[Any]:
        return [
            msgspec.structs.replace(
                record,
                profile=msgspec.structs.replace(record.profile, operations=("read",), prefixes=("/_valet/echo/",)),
            )
            if record.name == INTERNAL_NAME
            else record
            for record in records
        ]

    ring_file.change(older)
    with gate:
        own = ring_file.load().named(INTERNAL_NAME)
        assert own
        assert own.limits.operations == {"read", "admin"}
        undo(gate, revoked(gate, "--subject", "a"))
        assert json.loads(gate.cli("check", "--json"))[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_does_not_write_the_log_of_another_user(tmp_path: Path) -> None:
    """Its files would shut the gateway out, and whoever owns the folder could have them lie elsewhere."""
    gate = Gate(tmp_path)
    with gate:
        pass
    os.chown(gate.data, 12345, 12346)
    before = {path: path.stat().st_mtime_ns for path in (gate.data / "state").iterdir()}
    assert "run revoke as that user" in gate.cli("revoke", "--subject", "a", status=2)
    assert {path: path.stat().st_mtime_ns for path in (gate.data / "state").iterdir()} == before


def test_moments_are_now_a_date_or_seconds() -> None:
    assert abs(_moment("now") - time.time()) < 5
    assert _moment("1767225600") == _moment("2026-01-01T01:00:00+01:00") == 1_767_225_600
    for wrong in ("", "1h", "2026-01-01", "12", "1e9"):
        with pytest.raises(ConfigInvalid, match="--issued-before"):
            _moment(wrong)


def test_nothing_in_a_list_reaches_the_terminal_as_a_control() -> None:
    assert plain("a\x1b[2Jb\u202e") == "a?[2Jb?"
