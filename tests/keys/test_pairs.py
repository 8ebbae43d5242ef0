"""Key pairs of the vendors' dialects: what is made loads everywhere; of what is brought along, the public half."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from valetstore.errors import ConfigInvalid
from valetstore.keys.material import PrivateKey, load_private, private_pem, public_pem
from valetstore.keys.pairs import new_pair, openssl_pem, public_half, public_half_of_private

BOTH = ("RSA", "ECDSA")


@pytest.fixture(scope="module")
def pairs() -> dict[str, PrivateKey]:
    """One of each."""
    return {algorithm: new_pair(algorithm) for algorithm in BOTH}


def certificate(pair: PrivateKey) -> bytes:
    """A self-signed certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(pair.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    algorithm = None if isinstance(pair, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(pair, algorithm).public_bytes(serialization.Encoding.PEM)


def test_what_is_made_is_what_the_vendors_take(pairs: dict[str, PrivateKey]) -> None:
    rsa_pair, curve = pairs["RSA"], pairs["ECDSA"]
    assert isinstance(rsa_pair, rsa.RSAPrivateKey)
    assert rsa_pair.key_size == 2048
    assert isinstance(curve, ec.EllipticCurvePrivateKey)
    assert curve.curve.name == "secp256r1"


@pytest.mark.parametrize(("algorithm", "head"), [("RSA", "RSA PRIVATE KEY"), ("ECDSA", "EC PRIVATE KEY")])
def test_the_older_form_is_the_same_key(algorithm: str, head: str, pairs: dict[str, PrivateKey]) -> None:
    text = openssl_pem(pairs[algorithm])
    assert text.startswith(f"-----BEGIN {head}-----\n")
    assert private_pem(load_private(text)) == private_pem(pairs[algorithm])


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_public_key_and_a_certificate_are_the_same_public_half(algorithm: str, pairs: dict[str, PrivateKey]) -> None:
    pem = public_pem(pairs[algorithm])
    for text in (pem.encode(), certificate(pairs[algorithm]), certificate(pairs[algorithm]) * 2):
        assert public_half(text, BOTH) == (algorithm, pem)


def test_the_public_half_of_a_private_key_of_rsa_is_taken(pairs: dict[str, PrivateKey]) -> None:
    assert public_half_of_private(private_pem(pairs["RSA"])) == public_pem(pairs["RSA"])
    with pytest.raises(ConfigInvalid, match="not one for RSA"):
        public_half_of_private(private_pem(pairs["ECDSA"]))


def test_what_is_no_public_half_is_named(pairs: dict[str, PrivateKey]) -> None:
    for text, allowed, why in (
        (b"\xff", BOTH, "is not PEM text"),
        (b"text", BOTH, "is not a PEM `PUBLIC KEY`"),
        (private_pem(pairs["RSA"]).encode(), BOTH, "is not a PEM `PUBLIC KEY`"),
        (public_pem(pairs["ECDSA"]).encode(), ("RSA",), "not one for RSA"),
        (certificate(ed25519.Ed25519PrivateKey.generate()), BOTH, "not one for"),
        (public_pem(rsa.generate_private_key(65537, 1024)).encode(), BOTH, "has 1024 bits"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())).encode(), BOTH, "needs P-256"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", BOTH, "not one in X.509 PEM"),
    ):
        with pytest.raises(ConfigInvalid, match=why):
            public_half(text, allowed)
