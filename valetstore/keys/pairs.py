"""Key pairs of the vendors' dialects: made here, or the public half taken out of what a vendor hands out.

Rule: of what is brought along only the public half is kept. A private key in it is read, and forgotten.
"""

from typing import Final, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from valetstore.errors import ConfigInvalid
from valetstore.keys.material import PrivateKey, PublicKey, load_private, load_vendor_public, public_pem
from valetstore.keys.vendor import ECDSA, RSA

_BITS: Final = 2048
"""What Google's and CloudFront's own keys have; CloudFront takes no others."""
_EXPONENT: Final = 65537
_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"


def new_pair(algorithm: str) -> PrivateKey:
    """A new key for `RSA` (2048 bits) or `ECDSA` (P-256)."""
    if algorithm == ECDSA:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(_EXPONENT, _BITS)


def openssl_pem(key: PrivateKey) -> str:
    """A private key as unencrypted PEM in OpenSSL's older form (PKCS #1, SEC 1): some signers know no other."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def public_half(text: bytes, algorithms: tuple[str, ...]) -> tuple[str, str]:
    """(algorithm, PEM public key) of a PEM public key or X.509 certificate, if it is one of these.

    A certificate's dates do not count: it carries the key, and the signing key's own end is `keys retire`.
    Raises ConfigInvalid.
    """
    try:
        pem = text.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigInvalid("is not PEM text") from None
    if _CERTIFICATE in pem:
        pem = _certified(text)
    last: ConfigInvalid | None = None
    for algorithm in algorithms:
        try:
            return algorithm, public_pem(load_vendor_public(pem, algorithm))
        except ConfigInvalid as error:
            # The one that says what is wrong with it, not that it is of another kind.
            last = error if last is None or "is not one for" in str(last) else last
    assert last is not None
    raise last


def public_half_of_private(pem: str) -> str:
    """The public half (PEM) of an unencrypted PEM private key of RSA. Raises ConfigInvalid."""
    return public_half(public_pem(load_private(pem)).encode(), (RSA,))[1]


def _certified(text: bytes) -> str:
    """The public key (PEM) of the first certificate."""
    try:
        key = x509.load_pem_x509_certificate(text).public_key()
        return public_pem(cast(PublicKey, key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigInvalid("the certificate is not one in X.509 PEM") from error
