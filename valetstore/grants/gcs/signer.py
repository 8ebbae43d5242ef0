"""Who signed: the signing keys that one e-mail address or access id may mean, and how each of their kinds signs.

Rule 1: the algorithm belongs to the signing key. One that a key names and its signing key has not opens nothing.
Rule 2: an unknown signer and a wrong signature cost the same kind of work and get the same answer.
"""

import base64
import hmac
import re
from collections.abc import Callable
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from valetstore.grants.sigv4 import Check
from valetstore.keys.material import rsa_holds, spend_as_much
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import GCS, HMAC, RSA

Mac = Callable[[bytes, bytes], bytes]
"""How a shared secret signs a text: of the secret and the text, the bytes."""

_SHA1_BYTES: Final = 20
_SIGNATURE_BYTES_MAX: Final = 1024
_HEX: Final = re.compile(r"(?:[0-9a-f]{2}){1,1024}", re.ASCII)


def signer_of(
    client: str, algorithm: str, signature: bytes, mac: Mac, keys: KeyRing, holds: Callable[[Check], bool]
) -> SigningKey | None:
    """The signing key of this client's that made the signature; None where none did.

    `algorithm` is RSA or HMAC, `mac` how a secret of the latter signs. `holds` tries a check on every text that may
    have been signed.
    """
    found = [key for key in keys.find_all(GCS, client) if key.record.algorithm == algorithm]
    for key in found:
        if holds(_check(key, signature, mac)):
            return key
    if not found:
        holds(_nobody(algorithm, signature, mac))
    return None


def hex_signature(text: str) -> bytes:
    """The bytes of a signature in lower-case hexadecimal digits; none that could hold where it is not one."""
    return bytes.fromhex(text) if _HEX.fullmatch(text) else b""


def base64_signature(text: str) -> bytes:
    """The same of base64, of which only the one text of these bytes counts (`QQ==` and `QR==` are one)."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        return b""
    return data if len(data) <= _SIGNATURE_BYTES_MAX and base64.b64encode(data).decode() == text else b""


def algorithm_by_length(signature: bytes) -> str:
    """Version 2 does not say how it was signed: HMAC-SHA1 has 20 bytes, and no RSA signature is so short."""
    return HMAC if len(signature) == _SHA1_BYTES else RSA


def sha1_mac(secret: bytes, text: bytes) -> bytes:
    """How secrets sign in version 2."""
    return hmac.digest(secret, text, "sha1")


def _check(key: SigningKey, signature: bytes, mac: Mac) -> Check:
    if key.record.algorithm == HMAC:
        secret = cast(bytes, key.material)
        return lambda text: hmac.compare_digest(mac(secret, text), signature)
    public = cast(RSAPublicKey, key.material)
    if len(signature) != (public.key_size + 7) // 8:
        # The library would say so at once, and how long the key is would be known.
        return _nobody(RSA, signature, mac)
    return lambda text: rsa_holds(public, text, signature)


def _nobody(algorithm: str, signature: bytes, mac: Mac) -> Check:
    """The work of a check, against a key that nobody holds."""

    def check(text: bytes) -> bool:
        if algorithm == HMAC:
            hmac.compare_digest(mac(b"", text), signature)
        else:
            spend_as_much("RS256", text, signature)
        return False

    return check
