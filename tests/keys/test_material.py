"""Each algorithm signs and verifies as its RFC says; weak, foreign and mistaken keys are refused by name."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import minter
from valetstore.errors import ConfigInvalid
from valetstore.keys.material import (
    ALGORITHMS,
    algorithm_of,
    check_secret,
    fingerprint,
    load_private,
    load_public,
    private_pem,
    public_pem,
    spend_as_much,
)

EVERY = pytest.mark.parametrize("algorithm", list(ALGORITHMS))
ASYMMETRIC = pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])


@EVERY
@given(message=st.binary(), other=st.binary())
@settings(max_examples=20)
def test_a_signature_holds_for_its_message_alone(algorithm: str, message: bytes, other: bytes) -> None:
    by = minter(algorithm)
    public = by.material if isinstance(by.material, bytes) else by.material.public_key()
    signature = by.sign(message)
    assert ALGORITHMS[algorithm].verify(public, message, signature)
    assert ALGORITHMS[algorithm].verify(public, other, signature) == (other == message)
    assert not ALGORITHMS[algorithm].verify(public, message, other)


@EVERY
@pytest.mark.parametrize("size", [0, 1, 32, 64, 256, 384, 512, 513])
def test_a_refusal_can_be_made_to_cost_what_any_signature_costs(algorithm: str, size: int) -> None:
    """For every length a client may send; what it costs is measured in bench/."""
    spend_as_much(algorithm, b"message", bytes(size))


@pytest.mark.parametrize("size", [256, 384, 512])
def test_an_rsa_signature_of_another_keys_length_is_refused(size: int) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    assert not ALGORITHMS["RS256"].verify(public, b"message", bytes(size))


@ASYMMETRIC
def test_keys_come_back_from_pem(algorithm: str) -> None:
    private = minter(algorithm).material
    assert not isinstance(private, bytes)
    assert public_pem(load_private(private_pem(private))) == public_pem(private)
    assert public_pem(load_public(public_pem(private))) == public_pem(private)
    assert "PRIVATE" not in public_pem(private)


def pem(
    key: rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | dsa.DSAPrivateKey
    | x25519.X25519PrivateKey
    | ed448.Ed448PrivateKey,
    *,
    private: bool,
) -> str:
    if private:
        none = serialization.NoEncryption()
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none).decode()
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    ("key", "why"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "secp384r1; ES256 needs P-256"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1; ES256 needs P-256"),
        (rsa.generate_private_key(65537, 1024), "1024 bits; RS256 takes 2048"),
        (x25519.X25519PrivateKey.generate(), "no known kind; allowed: Ed25519"),
        (ed448.Ed448PrivateKey.generate(), "no known kind"),
    ],
    ids=["P-384", "secp256k1", "RSA-1024", "X25519", "Ed448"],
)
def test_a_key_that_cannot_be_used_says_why(key: ec.EllipticCurvePrivateKey, why: str, private: bool) -> None:
    with pytest.raises(ConfigInvalid, match=why):
        (load_private if private else load_public)(pem(key, private=private))


@pytest.mark.parametrize(
    "text", ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\u00e9", "ssh-ed25519 AAAA"]
)
def test_what_is_no_pem_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="PUBLIC KEY"):
        load_public(text)
    with pytest.raises(ConfigInvalid, match="PRIVATE KEY"):
        load_private(text)


def test_a_private_key_is_no_public_key_and_the_reverse() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(ConfigInvalid, match="PUBLIC KEY"):
        load_public(private_pem(private))
    with pytest.raises(ConfigInvalid, match="PRIVATE KEY"):
        load_private(public_pem(private))


def test_an_encrypted_private_key_is_refused() -> None:
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(ConfigInvalid, match="unencrypted"):
        load_private(locked.decode())


def test_keys_made_by_openssl_are_read(tmp_path: Path) -> None:
    def openssl(*args: str) -> str:
        return subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=tmp_path, text=True).stdout

    for algorithm, options in {
        "EdDSA": ["-algorithm", "ED25519"],
        "ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    }.items():
        openssl("genpkey", *options, "-out", "key.pem")
        private = load_private((tmp_path / "key.pem").read_text())
        assert algorithm_of(private) == algorithm
        assert public_pem(load_public(openssl("pkey", "-in", "key.pem", "-pubout"))) == public_pem(private)


@pytest.mark.parametrize("secret", [b"", b"secret", bytes(31)])
def test_a_short_secret_is_refused_and_not_shown(secret: bytes) -> None:
    with pytest.raises(ConfigInvalid, match=f"has {len(secret)} bytes; HS256 needs 32") as caught:
        check_secret(secret)
    assert "'secret'" not in str(caught.value)


@ASYMMETRIC
def test_a_pem_file_is_no_secret(algorithm: str) -> None:
    private = minter(algorithm).material
    assert not isinstance(private, bytes)
    for text in (public_pem(private), private_pem(private), "\n " + public_pem(private)):
        with pytest.raises(ConfigInvalid, match="PEM file"):
            check_secret(text.encode())


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_a_fingerprint_names_its_parts_and_where_they_end(one: list[bytes], other: list[bytes]) -> None:
    assert len(fingerprint(*one)) == 16
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)
    assert fingerprint(b"".join(one), b"") != fingerprint(b"", b"".join(one)) or not b"".join(one)
