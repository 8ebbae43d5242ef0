"""`valetstore check` looks, leaves nothing behind, and verifies what a client would verify."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.edge.doors import make_certificate
from tests.gate import Gate, run_cli
from tests.storage.test_disk_contract import MEMORY

Start = Callable[..., Gate]


def test_a_data_directory_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    done = run_cli("check", "--data", "new", cwd=tmp_path)
    assert done.returncode == 0
    assert "new does not exist yet" in done.stdout
    assert not (tmp_path / "new").exists()


def test_retired_keys_are_listed_apart(tmp_path: Path) -> None:
    for name in ("old", "web"):
        run_cli("keys", "create", name, "--data", "data", cwd=tmp_path)
    run_cli("keys", "retire", "old", "--data", "data", cwd=tmp_path)
    assert "signing keys: web; retired: old" in run_cli("check", "--data", "data", cwd=tmp_path).stdout
    run_cli("keys", "retire", "web", "--data", "data", cwd=tmp_path)
    out = run_cli("check", "--data", "data", cwd=tmp_path).stdout
    assert "none is in force" in out
    assert "retired: old, web" in out


def test_the_certificate_is_judged_at_the_public_url_alone(start: Start, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    gate = start(f'[listen]\ntls-cert = "{cert}"\ntls-key = "{key}"\n', cafile=cert)
    arguments = ("check", "--data", str(gate.data), "--public-url", gate.base, "--json")
    done = run_cli(*arguments, cwd=tmp_path)
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["gateway directly"]["verdict"] == "ok"
    assert found["public URL"]["verdict"] == "fault"
    assert "SSL_CERT_FILE" in found["public URL"]["text"]
    done = run_cli(*arguments, cwd=tmp_path, environment={"SSL_CERT_FILE": str(cert)})
    assert {finding["name"]: finding for finding in json.loads(done.stdout)}["public URL"]["verdict"] == "ok"


def test_a_listener_on_every_address_is_probed_on_loopback(start: Start) -> None:
    gate = start("[listen]\ninsecure-http = true", "--listen", "0.0.0.0:0")
    found = {finding["name"]: finding for finding in json.loads(gate.cli("check", "--json"))}
    assert found["gateway directly"]["verdict"] == "ok"
    assert "127.0.0.1" in found["gateway directly"]["text"]


def test_beside_a_running_gateway_it_changes_nothing(start: Start, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as far:
        config = f'[audit]\naudit-to = "off"\n[buckets.q]\nquota-bytes = 1000\n[buckets.far]\nroot = "{far}"\n'
        gate = start(config)
        assert gate.ask("PUT", gate.sign("PUT", "/q/x"), b"1").status == 201
        for folder in Path(far).iterdir():  # where uploads would be kept: made by the first that needs it
            folder.rmdir()
        (gate.data / "objects/q/by-hand").write_bytes(b"which no count knows")

        def everything() -> dict[str, tuple[int, bytes]]:
            found = [Path(far), *Path(far).rglob("*"), *gate.data.rglob("*")]
            return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in found}

        before = everything()
        out = gate.cli("check", "--config", str(gate.folder / "valetstore.toml"))
        assert "file system: extended attributes are kept" in out
        assert everything() == before


def test_a_public_url_that_is_none_is_named(gate: Gate) -> None:
    assert "--public-url 'nowhere': must be http" in gate.cli("check", "--public-url", "nowhere", status=2)
