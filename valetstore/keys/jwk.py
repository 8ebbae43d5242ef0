"""JSON Web Keys (RFC 7517): read a JWK or a JWK Set into material the ring can hold."""

from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from valetstore.encoding import b64url_decode, strict_json
from valetstore.errors import ConfigInvalid
from valetstore.keys.material import PublicKey, algorithm_of, check_secret, public_pem

_KINDS: Final = "OKP (Ed25519), EC (P-256), RSA, oct"


class Jwk(NamedTuple):
    """One key of a set: its `kid` ("" where it has none), the algorithm, and a secret or a public key (PEM)."""

    kid: str
    algorithm: str
    secret: bytes | None
    public_key: str | None

    def __repr__(self) -> str:
        """Never shows the secret."""
        return f"Jwk(kid={self.kid!r}, algorithm={self.algorithm!r})"


def read_jwks(data: bytes) -> list[Jwk]:
    """The keys of a JWK Set, or a single JWK; encryption keys are passed over. Raises ConfigInvalid."""
    try:
        document = msgspec.convert(strict_json(data), dict[str, object])
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigInvalid(f"is not a JWK Set: {error}") from error
    members = document.get("keys", [document])
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ConfigInvalid('is not a JWK Set: "keys" must be a list of objects')
    keys = [_read(member) for member in members if member.get("use", "sig") == "sig"]
    if not keys:
        raise ConfigInvalid("holds no signing key")
    return keys


def _read(member: dict[str, object]) -> Jwk:
    kid = member.get("kid", "")
    if not isinstance(kid, str):
        raise ConfigInvalid("kid: must be a string")
    where = f"key {kid!r}: " if kid else ""
    try:
        if member.get("kty") == "oct":
            secret = check_secret(_bytes(member, "k"))
            return _checked(where, member, Jwk(kid, "HS256", secret, None))
        public = _public(member)
        return _checked(where, member, Jwk(kid, algorithm_of(public), None, public_pem(public)))
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{where}{error}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigInvalid(f"{where}is not a valid key: {error}") from error


def _public(member: dict[str, object]) -> PublicKey:
    match member.get("kty"), member.get("crv"):
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(member, "x"))
        case "EC", "P-256":
            numbers = ec.EllipticCurvePublicNumbers(_int(member, "x"), _int(member, "y"), ec.SECP256R1())
            return numbers.public_key()
        case "RSA", _:
            return rsa.RSAPublicNumbers(_int(member, "e"), _int(member, "n")).public_key()
        case kind, curve:
            raise ConfigInvalid(f"kty {kind!r} (crv {curve!r}) is not supported; allowed: {_KINDS}")


def _checked(where: str, member: dict[str, object], key: Jwk) -> Jwk:
    if member.get("alg", key.algorithm) != key.algorithm:
        raise ConfigInvalid(f"{where}alg {member['alg']!r} is not supported for it; allowed: {key.algorithm}")
    return key


def _bytes(member: dict[str, object], name: str) -> bytes:
    value = member.get(name)
    if not isinstance(value, str):
        raise ConfigInvalid(f"{name}: must be base64url text")
    return b64url_decode(value.encode())


def _int(member: dict[str, object], name: str) -> int:
    return int.from_bytes(_bytes(member, name))
