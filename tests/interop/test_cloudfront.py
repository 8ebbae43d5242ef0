"""botocore's CloudFrontSigner and a stranger's signers, with the key files that `keys create` hands out or takes."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.gate import Gate, run_cli
from tests.grants.cloudfront import stranger
from tests.interop.house import NAMES
from tests.interop.signers import make_key

SECONDS = 600


class Distribution(NamedTuple):
    """A gateway and what an application holds for it, by kind of key."""

    gate: Gate
    keys: dict[str, dict[str, Any]]

    def signer(self, kind: str, hashed: str = "SHA1") -> CloudFrontSigner:
        """botocore's signer, with this key and hash."""
        key = self.keys[kind]
        private = serialization.load_pem_private_key(Path(key["private_key_file"]).read_bytes(), None)

        def sign(text: bytes) -> bytes:
            if isinstance(private, ec.EllipticCurvePrivateKey):
                return private.sign(text, ec.ECDSA(stranger.HASHES[hashed]))
            assert isinstance(private, rsa.RSAPrivateKey)
            return private.sign(text, padding.PKCS1v15(), stranger.HASHES[hashed])

        return CloudFrontSigner(key["key_pair_id"], sign)

    def url(self, name: str) -> str:
        """An object's URL."""
        return f"{self.gate.base}/films/{quote(name)}"


def imported(folder: Path) -> dict[str, Any]:
    """A key that exists elsewhere: its public half is brought along."""
    private = rsa.generate_private_key(65537, 2048)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "theirs.pub").write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "theirs.pem").write_bytes(pem)
    done = run_cli(
        "keys", "import", "theirs", "--scheme", "cloudfront", "--key-pair-id", "K2JCJMDEHXQW5F", "--public-key",
        str(folder / "theirs.pub"), "--data", str(folder / "data"), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {"key_pair_id": "K2JCJMDEHXQW5F", "private_key_file": str(folder / "theirs.pem")}


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    """A gateway with a signing key of each kind, and objects whose names hurt."""
    folder = tmp_path_factory.mktemp("cloudfront")
    make_key(folder, "native")
    keys = {"rsa": make_key(folder, "cloudfront", "--out", str(folder / "rsa.pem"))}
    done = run_cli(
        "keys", "create", "ec", "--scheme", "cloudfront", "--ec", "--out", str(folder / "ec.pem"), "--json", "--data",
        str(folder / "data"), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    keys |= {"ec": json.loads(done.stdout), "imported": imported(folder)}
    with Gate(folder) as gate:
        for name in NAMES:
            assert gate.ask("PUT", gate.sign("PUT", f"/films/{name}", key="native-key"), name.encode()).status == 201
        yield Distribution(gate, keys)
        assert "Traceback" not in gate.log


def ends() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SECONDS)


@pytest.mark.parametrize("kind", ["rsa", "ec", "imported"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_down(distribution: Distribution, kind: str, name: str) -> None:
    """By a canned policy, and by a custom one for the whole folder."""
    signer, url = distribution.signer(kind), distribution.url(name)
    policy = signer.build_policy(f"{distribution.gate.base}/films/*", ends())
    for made in (
        signer.generate_presigned_url(url, date_less_than=ends()),
        signer.generate_presigned_url(url, policy=policy),
    ):
        got = distribution.gate.ask("GET", made)
        assert (got.status, got.body) == (200, name.encode())


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("hashed", ["SHA1", "SHA256"])
def test_a_hash_may_be_named(distribution: Distribution, kind: str, hashed: str) -> None:
    made = distribution.signer(kind, hashed).generate_presigned_url(distribution.url("plain.txt"), ends())
    assert distribution.gate.ask("GET", f"{made}&Hash-Algorithm={hashed}").status == 200
    other = {"SHA1": "SHA256", "SHA256": "SHA1"}[hashed]
    assert distribution.gate.ask("GET", f"{made}&Hash-Algorithm={other}").status == 403


def test_dates_and_addresses_hold(distribution: Distribution) -> None:
    signer, url, now = distribution.signer("rsa"), distribution.url("plain.txt"), datetime.datetime.now(datetime.UTC)
    for start, address, status in (
        (now - datetime.timedelta(minutes=1), "127.0.0.1", 200),
        (now + datetime.timedelta(minutes=1), "127.0.0.1", 403),
        (None, "127.0.0.0/8", 200),
        (None, "192.0.2.0/24", 403),
    ):
        policy = signer.build_policy(url, ends(), start, address)
        assert distribution.gate.ask("GET", signer.generate_presigned_url(url, policy=policy)).status == status
    over = signer.generate_presigned_url(url, date_less_than=now - datetime.timedelta(seconds=1))
    assert distribution.gate.ask("GET", over).code == "key_expired"


def test_what_was_signed_for_one_object_opens_no_other(distribution: Distribution) -> None:
    made = distribution.signer("rsa").generate_presigned_url(distribution.url("plain.txt"), date_less_than=ends())
    assert distribution.gate.ask("GET", made.replace("plain.txt", "one%2Bone%3D2.txt")).status == 403
