"""Key material: what each JWS algorithm generates, loads, signs and verifies with (RFC 7518, RFC 8037).

Rule 1: the algorithm belongs to the signing key. A token's header is compared with it, never obeyed.
Rule 2: material is checked where it is loaded (length, curve, type), so that verifying needs no checks.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final, Literal, NamedTuple, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from valetstore.errors import ConfigInvalid
from valetstore.keys.vendor import ECDSA, HMAC, RSA

SECRET_BYTES_MIN: Final = 32
"""HS256 needs a key at least as long as its hash (RFC 7518 section 3.2)."""

RSA_BITS: Final = (2048, 3072, 4096)
"""RFC 7518 section 3.3 asks for 2048 or more. Few sizes, so that an unknown key can cost what a known one does."""

_P256_BYTES: Final = 32
_RSA_EXPONENT: Final = 65537
_RSA_SIGNATURE_BYTES: Final = frozenset(bits // 8 for bits in RSA_BITS)

Secret = bytes
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


Holds = Callable[[bytes, bytes], bool]
"""Whether a message has a signature: what one signing key verifies with."""


class HmacSha256:
    """HMAC-SHA256 (RFC 2104) by one key that is hashed beforehand: half of what a short message costs is its key."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER)).copy
        self._outer = hashlib.sha256(block.translate(_OUTER)).copy

    def digest(self, message: bytes) -> bytes:
        """The 32 bytes that sign this message."""
        inner, outer = self._inner(), self._outer()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()

    def holds(self, message: bytes, signature: bytes) -> bool:
        """Whether this signs the message; how long that takes does not depend on where they differ."""
        return hmac.compare_digest(self.digest(message), signature)


_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Algorithm(NamedTuple):
    """One JWS algorithm. `verify` and `sign` take what `load_*` returned (a secret for HS256)."""

    name: str
    asymmetric: bool
    # An ECDSA signature has a second valid form, so it cannot stand for the key it signs.
    malleable: bool
    generate: Callable[[], Secret | PrivateKey]
    sign: Callable[[Secret | PrivateKey, bytes], bytes]
    verify: Callable[[Secret | PublicKey, bytes, bytes], bool]


def _hs256_sign(secret: Secret | PrivateKey, message: bytes) -> bytes:
    return hmac.digest(cast(bytes, secret), message, "sha256")


def _hs256_verify(secret: Secret | PublicKey, message: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(hmac.digest(cast(bytes, secret), message, "sha256"), signature)


def _eddsa_sign(key: Secret | PrivateKey, message: bytes) -> bytes:
    return cast(ed25519.Ed25519PrivateKey, key).sign(message)


def _eddsa_verify(key: Secret | PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        cast(ed25519.Ed25519PublicKey, key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _es256_sign(key: Secret | PrivateKey, message: bytes) -> bytes:
    der = cast(ec.EllipticCurvePrivateKey, key).sign(message, ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)


def _es256_verify(key: Secret | PublicKey, message: bytes, signature: bytes) -> bool:
    if len(signature) != 2 * _P256_BYTES:
        return False
    r, s = int.from_bytes(signature[:_P256_BYTES]), int.from_bytes(signature[_P256_BYTES:])
    try:
        der = encode_dss_signature(r, s)
        cast(ec.EllipticCurvePublicKey, key).verify(der, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _rs256_sign(key: Secret | PrivateKey, message: bytes) -> bytes:
    return cast(rsa.RSAPrivateKey, key).sign(message, padding.PKCS1v15(), hashes.SHA256())


def _rs256_verify(key: Secret | PublicKey, message: bytes, signature: bytes) -> bool:
    public = cast(rsa.RSAPublicKey, key)
    if len(signature) != public.key_size // 8:
        # The library would say so at once, and how long the key is would be known.
        if len(signature) in _RSA_SIGNATURE_BYTES:
            spend_as_much("RS256", message, signature)
        return False
    try:
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def verifier_of(algorithm: Algorithm, material: Secret | PublicKey) -> Holds:
    """`algorithm.verify` by this material, with what can be done once done."""
    if isinstance(material, bytes):
        return HmacSha256(material).holds
    return partial(algorithm.verify, material)


ALGORITHMS: Final = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("HS256", False, False, lambda: secrets.token_bytes(32), _hs256_sign, _hs256_verify),
        Algorithm("EdDSA", True, False, ed25519.Ed25519PrivateKey.generate, _eddsa_sign, _eddsa_verify),
        Algorithm("ES256", True, True, lambda: ec.generate_private_key(ec.SECP256R1()), _es256_sign, _es256_verify),
        Algorithm(
            "RS256", True, False, lambda: rsa.generate_private_key(_RSA_EXPONENT, 3072), _rs256_sign, _rs256_verify
        ),
    )
}


SHARED_SECRET: Final = Algorithm(HMAC, False, False, lambda: secrets.token_bytes(32), _hs256_sign, _hs256_verify)
"""What a signing key of a vendor's dialect has, whose own file says how its secret signs."""


VENDOR_ALGORITHMS: Final = {HMAC: SHARED_SECRET, RSA: ALGORITHMS["RS256"], ECDSA: ALGORITHMS["ES256"]}
"""What the algorithms of vendors' signing keys are nearest to; how they sign is each dialect's own business."""

SignatureHash = Literal["sha1", "sha256"]
"""What vendors' signers hash a message with before they sign it."""

_HASHES: Final[Mapping[SignatureHash, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what CloudFront's signers use
    "sha256": hashes.SHA256(),
}


def rsa_holds(key: Secret | PublicKey, message: bytes, signature: bytes, hashed: SignatureHash = "sha256") -> bool:
    """Whether an RSA key signed this message by PKCS #1 v1.5 (RFC 8017 section 8.2.2)."""
    try:
        cast(rsa.RSAPublicKey, key).verify(signature, message, padding.PKCS1v15(), _HASHES[hashed])
    except InvalidSignature:
        return False
    return True


def rsa_sign(key: PrivateKey, message: bytes, hashed: SignatureHash = "sha256") -> bytes:
    """The signature that `rsa_holds` asks for."""
    return cast(rsa.RSAPrivateKey, key).sign(message, padding.PKCS1v15(), _HASHES[hashed])


def ecdsa_holds(key: Secret | PublicKey, message: bytes, signature: bytes, hashed: SignatureHash = "sha256") -> bool:
    """Whether a P-256 key signed this message, the signature in DER (RFC 3279 section 2.2.3)."""
    try:
        cast(ec.EllipticCurvePublicKey, key).verify(signature, message, ec.ECDSA(_HASHES[hashed]))
    except InvalidSignature:
        return False
    return True


def ecdsa_sign(key: PrivateKey, message: bytes, hashed: SignatureHash = "sha256") -> bytes:
    """A signature that `ecdsa_holds` takes."""
    return cast(ec.EllipticCurvePrivateKey, key).sign(message, ec.ECDSA(_HASHES[hashed]))


def load_vendor_public(pem: str, algorithm: str) -> PublicKey:
    """A PEM public key for a vendor's dialect (`RSA` or `ECDSA`). Raises ConfigInvalid.

    RSA keys count by their signatures' length: vendors' tools have made moduli whose first bit is 0.
    """
    key = _public(pem)
    if algorithm == RSA and isinstance(key, rsa.RSAPublicKey):
        if (key.key_size + 7) // 8 not in _RSA_SIGNATURE_BYTES:
            raise ConfigInvalid(f"the RSA key has {key.key_size} bits; it must have {', '.join(map(str, RSA_BITS))}")
        return key
    if algorithm == ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
        algorithm_of(key)
        return key
    raise ConfigInvalid(f"the public key is not one for {algorithm}")


def algorithm_of(key: PublicKey | PrivateKey) -> str:
    """The one JWS algorithm a key is used with; raises ConfigInvalid where it is none of ours."""
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        if isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        raise ConfigInvalid(f"the key is on the curve {key.curve.name}; ES256 needs P-256 (secp256r1)")
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        if key.key_size not in RSA_BITS:
            raise ConfigInvalid(f"the RSA key has {key.key_size} bits; RS256 takes {', '.join(map(str, RSA_BITS))}")
        return "RS256"
    raise ConfigInvalid("the key is of no known kind; allowed: Ed25519, EC P-256, RSA")


def load_public(pem: str) -> PublicKey:
    """A PEM public key; certificates and private keys are refused. Raises ConfigInvalid."""
    key = _public(pem)
    algorithm_of(key)
    return key


def _public(pem: str) -> PublicKey:
    try:
        return cast(PublicKey, serialization.load_pem_public_key(pem.encode()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigInvalid("the public key is not a PEM `PUBLIC KEY` (SubjectPublicKeyInfo)") from error


def load_private(pem: str) -> PrivateKey:
    """An unencrypted PEM private key; raises ConfigInvalid."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigInvalid("the private key is not an unencrypted PEM `PRIVATE KEY`") from error
    algorithm_of(cast(PrivateKey, key))
    return cast(PrivateKey, key)


def public_pem(key: PublicKey | PrivateKey) -> str:
    """The public half as PEM SubjectPublicKeyInfo."""
    public = key.public_key() if isinstance(key, PrivateKey) else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> str:
    """The private key as unencrypted PEM PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def check_secret(secret: bytes) -> bytes:
    """An HS256 secret that is long enough and is not an asymmetric key by mistake; raises ConfigInvalid."""
    if len(secret) < SECRET_BYTES_MIN:
        raise ConfigInvalid(
            f"the secret has {len(secret)} bytes; HS256 needs {SECRET_BYTES_MIN} or more (RFC 7518 section 3.2)"
        )
    # A public key used as an HMAC secret is known to everyone (the classic RS256-to-HS256 confusion).
    if b"-----BEGIN" in secret:
        raise ConfigInvalid("the secret is a PEM file; import a public key with --public-key instead")
    return secret


_USUAL_RSA_BYTES: Final = 384


def spend_as_much(name: str, message: bytes, signature: bytes) -> None:
    """Do the work of verifying this signature, against a key that nobody holds.

    For a signing key that does not exist, and for a signature that a library would turn away by its length:
    what a refusal costs must depend on the request alone, or it tells which signing keys there are.
    """
    # Only of RSA does the work depend on the length: a stand-in for each of the others' would have to be made first.
    _stand_in(name, len(signature) if name == "RS256" and len(signature) in _RSA_SIGNATURE_BYTES else 0)(
        message, signature
    )


@lru_cache(maxsize=8)
def _stand_in(name: str, signature_bytes: int) -> Holds:
    if name != "RS256":
        key = ALGORITHMS[name].generate()
        return verifier_of(ALGORITHMS[name], key if isinstance(key, bytes) else key.public_key())
    size = signature_bytes or _USUAL_RSA_BYTES
    # Any odd number of that length will do: it need not be a product of two primes to cost as much.
    modulus = int.from_bytes(hashlib.shake_256(b"stand-in").digest(size)) | 1 << (8 * size - 1) | 1
    return verifier_of(ALGORITHMS[name], rsa.RSAPublicNumbers(_RSA_EXPONENT, modulus).public_key())


def fingerprint(*parts: bytes) -> bytes:
    """16 bytes that name these parts: a key's identity. Lengths are hashed too, so parts cannot shift."""
    return hashlib.sha256(framed(*parts)).digest()[:16]


def framed(*parts: bytes) -> bytes:
    """Parts one after the other, each with its length before it."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])
