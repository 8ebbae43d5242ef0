"""`valetstore keys`, as a user types it."""

import base64
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.gate import Gate, run_cli
from valetstore.keys.material import PrivateKey

PEM = serialization.Encoding.PEM
Start = Callable[..., Gate]


def test_create_makes_a_ring_that_only_its_owner_may_read(tmp_path: Path) -> None:
    done = run_cli("keys", "create", "web", "--data", "data", "--json", cwd=tmp_path)
    made = json.loads(done.stdout)
    assert made["kid"] == "web"
    assert made["alg"] == "HS256"
    assert len(made["secret"]) == 43
    assert stat.S_IMODE((tmp_path / "data/keys/ring.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_the_private_half_stays_beside_the_ring_and_signs(algorithm: str, tmp_path: Path) -> None:
    done = run_cli("keys", "create", "web", "--alg", algorithm, "--data", "data", "--json", cwd=tmp_path)
    made = json.loads(done.stdout)
    private = Path(made["private_key_file"])
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert "PRIVATE" not in (tmp_path / "data/keys/ring.json").read_text()
    url = run_cli("sign", "GET", "/a/b", "--data", "data", "--key", "web", cwd=tmp_path).stdout.strip()
    assert run_cli("inspect", url, "--data", "data", cwd=tmp_path).returncode == 0


def test_private_out_keeps_no_copy(tmp_path: Path) -> None:
    arguments = ["keys", "create", "web", "--alg", "EdDSA", "--data", "data", "--private-out", "out.pem"]
    assert run_cli(*arguments, cwd=tmp_path).returncode == 0
    assert stat.S_IMODE((tmp_path / "out.pem").stat().st_mode) == 0o600
    assert not list((tmp_path / "data/keys").glob("*.pem"))
    done = run_cli("sign", "GET", "/a/b", "--data", "data", "--key", "web", cwd=tmp_path)
    assert done.returncode == 2
    assert "private half is not kept here" in done.stderr
    again = run_cli("keys", "create", "web2", *arguments[3:], cwd=tmp_path)
    assert again.returncode == 2
    assert "exists" in again.stderr
    assert "web2" not in run_cli("keys", "list", "--data", "data", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["create", "we b"], "name has 1 to 64"),
        (["create", "web", "--ops", "fly"], "'fly': must be some of admin, delete, list, read, write"),
        (["create", "web", "--prefix", "photos"], "'photos': must start and end with a slash"),
        (["create", "web", "--ttl-max", "soon"], "'soon' is not a duration"),
        (["create", "web", "--length-max", "big"], "'big' is not a size"),
        (["create", "web", "--type", "image"], "'image': must be type/subtype"),
        (["create", "web", "--ip", "10.0.0.1/8"], "networks"),
        (["create", "web", "--single-use", "write,admin"], "--single-use 'admin': must be some of delete, list, read"),
        (["create", "web", "--uses", "0"], "0 is not in the range"),
        (["create", "web", "--budget", "fast"], "'fast': must be some of rate=N, burst=N, transfers=N, each once"),
        (["create", "web", "--budget", "rate=1,rate=2"], "each once"),
        (["create", "web", "--budget", "rate=-1"], "each once"),
        (["create", "web", "--budget", "burst=2"], "'burst=2': needs `rate` or `transfers`"),
        (["create", "web", "--budget", "rate=0"], "'rate=0': `rate` is requests a second"),
        (["create", "web", "--alg", "none"], "'none' is not one of"),
        (["create", "web", "--private-out", "x.pem"], "HS256 has no private half"),
        (["import", "web"], "exactly one of"),
        (["create", "_web"], "signing key '_web': names that begin with `_` are the gateway's own"),
        (["import", "_valet", "--jwks", "x"], "names that begin with `_` are the gateway's own"),
        (["show", "_valet"], "names that begin with `_` are the gateway's own"),
        (["retire", "_valet"], "names that begin with `_` are the gateway's own"),
        (["create", "web", "--ttl-max", "0"], "'0': must be 1 second or more"),
        (["create", "web", "--alg", "EdDSA", "--private-out", ""], "--private-out '': must be the name of a file"),
        (["create", "web", "--alg", "EdDSA", "--private-out", "."], "--private-out '.': exists"),
        (["create", "web", "--alg", "EdDSA", "--private-out", "no/x"], "--private-out 'no/x': no is no folder"),
        (["import", "web", "--public-key", "missing.pem"], "--public-key missing.pem: cannot be read"),
        (["import", "web", "--public-key", "/dev/null"], "--public-key /dev/null: the public key is not a PEM"),
        (["import", "web", "--secret-file", "/dev/null"], "--secret-file /dev/null: the secret has 0 bytes"),
        (["import", "web", "--jwks", "x", "--secret-encoding", "hex"], "--secret-encoding hex: is for --secret-file"),
        (["show", "nobody"], "there is none of that name"),
        (["retire", "nobody"], "there is none of that name"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_2(arguments: list[str], named: str, tmp_path: Path) -> None:
    done = run_cli("keys", *arguments, "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data/keys/ring.json").exists()
    assert not (tmp_path / "no").exists()


def test_a_retirement_only_comes_earlier(tmp_path: Path) -> None:
    def retire(*arguments: str) -> tuple[int, str]:
        done = run_cli("keys", "retire", "web", *arguments, "--data", "data", cwd=tmp_path)
        return done.returncode, done.stderr

    run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path)
    assert retire("--after", "5h")[0] == 0
    status, said = retire("--after", "6h")
    assert status == 2
    assert "may only come earlier" in said
    assert "nothing un-retires" in said
    assert retire("--after", "4h")[0] == 0
    assert retire()[0] == 0
    for arguments in ((), ("--after", "5h")):
        status, said = retire(*arguments)
        assert status == 2
        assert "signing key 'web': is retired since " in said
    assert "retired" in run_cli("keys", "list", "--data", "data", cwd=tmp_path).stdout


def test_the_list_has_heads_and_shows_what_differs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 32)
    run_cli("keys", "create", "web", "--length-max", "0", "--data", "data", cwd=tmp_path)
    out = run_cli("keys", "list", "--data", "data", cwd=tmp_path).stdout
    assert out.splitlines()[0].split() == ["NAME", "ALG", "STATE", "ALLOWS"]
    assert "at most 0 bytes" in out
    assert "at most 0 bytes" in run_cli("keys", "show", "web", "--data", "data", cwd=tmp_path).stdout
    run_cli("keys", "import", "app", "--secret-file", "secret", "--kid", "k-1", "--data", "data", cwd=tmp_path)
    heads, web, app = run_cli("keys", "list", "--data", "data", cwd=tmp_path).stdout.splitlines()
    assert heads.split() == ["NAME", "KID", "ALG", "STATE", "ALLOWS"]
    assert web.split()[:2] == ["web", "web"]
    assert app.split()[:2] == ["app", "k-1"]


def test_uses_and_budgets_of_a_profile_are_kept_and_shown(tmp_path: Path) -> None:
    limits = ["--single-use", "write,delete", "--uses", "3", "--budget", "rate=2.5, burst=5,transfers=2"]
    done = run_cli("keys", "create", "web", *limits, "--data", "data", "--json", cwd=tmp_path)
    profile = json.loads(done.stdout)["profile"]
    assert (profile["single-use"], profile["uses"]) == (["write", "delete"], 3)
    assert profile["budget"] == {"rate": 2.5, "burst": 5, "transfers": 2}
    for command in (["list"], ["show", "web"]):
        out = run_cli("keys", *command, "--data", "data", cwd=tmp_path).stdout
        assert "single-use write, delete; uses of each key at most 3" in out
        assert "all keys together 2.5 requests a second, 5 at once, 2 transfers at once" in out
    (tmp_path / "secret").write_bytes(b"x" * 32)
    run_cli("keys", "import", "app", "--secret-file", "secret", *limits, "--data", "data", cwd=tmp_path)
    shown = json.loads(run_cli("keys", "show", "app", "--json", "--data", "data", cwd=tmp_path).stdout)
    assert shown["profile"] == profile


def test_scrub_refuses_to_read_nothing(tmp_path: Path) -> None:
    done = run_cli("scrub", "--rate", "0", "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "'0': must be 1 byte or more" in done.stderr


def test_a_name_is_given_once(tmp_path: Path) -> None:
    assert run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path).returncode == 0
    before = (tmp_path / "data/keys/ring.json").read_bytes()
    done = run_cli("keys", "create", "web", "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "exists" in done.stderr
    assert (tmp_path / "data/keys/ring.json").read_bytes() == before


def test_imported_public_keys_verify_what_others_sign(start: Start, tmp_path: Path) -> None:
    """Each algorithm's public half as PEM; PyJWT signs with the private one, the gateway admits."""
    gate = start()
    private_keys: dict[str, PrivateKey] = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa.generate_private_key(65537, 2048),
    }
    assert gate.ask("PUT", gate.sign("PUT", "/a/b"), b"bytes").status == 201
    for algorithm, private in private_keys.items():
        public = private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / "key.pem").write_bytes(public)
        gate.cli("keys", "import", f"app-{algorithm}", "--public-key", str(tmp_path / "key.pem"), "--kid", algorithm)
        claims = {"exp": int(time.time()) + 60, "ops": ["read"], "path": "/a/b"}
        token = jwt.encode(claims, private, algorithm=algorithm, headers={"kid": algorithm})
        time.sleep(1)
        assert gate.ask("GET", f"/a/b?valet={token}").body == b"bytes"


def test_a_jwk_set_with_several_keys_is_imported_by_their_ids(tmp_path: Path) -> None:
    keys = []
    for number in (1, 2):
        public = ed25519.Ed25519PrivateKey.generate().public_key()
        member = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(public))
        keys.append(member | {"kid": f"key-{number}"})
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    done = run_cli("keys", "import", "idp", "--jwks", "jwks.json", "--data", "data", "--json", cwd=tmp_path)
    assert [(key["name"], key["kid"]) for key in json.loads(done.stdout)] == [("idp-1", "key-1"), ("idp-2", "key-2")]


def test_a_jwk_set_is_imported_whole_or_not_at_all(tmp_path: Path) -> None:
    keys = []
    for number in (1, 2):
        public = ed25519.Ed25519PrivateKey.generate().public_key()
        keys.append(json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(public)) | {"kid": f"key-{number}"})
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys}))
    run_cli("keys", "create", "idp-2", "--data", "data", cwd=tmp_path)
    before = (tmp_path / "data/keys/ring.json").read_bytes()
    done = run_cli("keys", "import", "idp", "--jwks", "jwks.json", "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "'idp-2' exists" in done.stderr
    assert (tmp_path / "data/keys/ring.json").read_bytes() == before


def test_a_shared_secret_is_imported_in_each_encoding(tmp_path: Path) -> None:
    secret = os.urandom(32)
    (tmp_path / "hex").write_text(secret.hex() + "\n")
    done = run_cli(
        "keys", "import", "web", "--secret-file", "hex", "--secret-encoding", "hex", "--data", "data", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    shown = run_cli("keys", "show", "web", "--secret", "--json", "--data", "data", cwd=tmp_path)
    assert base64.urlsafe_b64decode(json.loads(shown.stdout)["secret"] + "=") == secret
    assert "secret" not in json.loads(run_cli("keys", "show", "web", "--json", "--data", "data", cwd=tmp_path).stdout)
    (tmp_path / "short").write_text("hunter2\n")
    done = run_cli("keys", "import", "weak", "--secret-file", "short", "--data", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "32 or more" in done.stderr


def test_a_key_created_or_retired_while_the_gateway_runs_holds_within_a_second(start: Start) -> None:
    gate = start()
    gate.cli("keys", "create", "second")
    url = gate.sign("PUT", "/a/b", key="second")
    time.sleep(1)
    assert gate.ask("PUT", url, b"x").status == 201
    gate.cli("keys", "retire", "second")
    time.sleep(1)
    refused = gate.ask("PUT", url, b"x")
    assert (refused.status, refused.code) == (401, "key_revoked")
    assert gate.cli("sign", "GET", "/a/b", "--key", "second", status=2)


def test_retiring_after_a_while_leaves_an_overlap(start: Start) -> None:
    gate = start()
    url = gate.sign("PUT", "/a/b")
    gate.cli("keys", "retire", "default", "--after", "3s")
    time.sleep(1)
    assert gate.ask("PUT", url, b"x").status == 201
    time.sleep(3)
    assert gate.ask("PUT", url, b"x").code == "key_revoked"


def test_a_broken_ring_is_refused_and_the_old_one_stays(start: Start) -> None:
    gate = start()
    url = gate.sign("PUT", "/a/b")
    ring = gate.data / "keys/ring.json"
    good = ring.read_bytes()
    ring.write_bytes(b"{")
    time.sleep(1)
    assert gate.ask("PUT", url, b"x").status == 201
    assert gate.says("refused, the old one stays"), gate.log
    ring.write_bytes(good)
