"""Who signed a shared access signature: one of the keys of the account that the path names, or nobody.

Rule: an account that nobody has costs what a known one does, and is told apart by nothing.
"""

import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from valetstore.errors import Denied
from valetstore.grants.azure.address import Address
from valetstore.grants.azure.claim import Claim
from valetstore.grants.azure.layout import strings_to_sign
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import ACCOUNT_KEY_BYTES, AZURE

_STAND_IN: Final = bytes(ACCOUNT_KEY_BYTES)


def proven(readings: Sequence[Claim], address: Address, inbound: Inbound, keys: KeyRing) -> tuple[Claim, SigningKey]:
    """The reading of a SAS that was signed, and the signing key: an account has two, so that one can be rotated.

    Raises `signature_mismatch`, with what Azure shows: the client's own words, nothing that a secret made.
    """
    found = keys.find_all(AZURE, address.account)
    for claim in readings:
        texts = list(strings_to_sign(claim, address, inbound))
        if not found:
            signs(_STAND_IN, texts, claim.mac)
        for key in found:
            if isinstance(key.material, bytes) and signs(key.material, texts, claim.mac):
                return claim, key
    if texts:
        reason = "the signature differs"
        detail = f"Signature did not match. String to sign used was {texts[0].decode('utf-8', 'replace')}"
    else:
        reason = "it is for another kind of resource"
        detail = "Signature did not match. The signature is for another kind of resource than the request."
    raise Denied("signature_mismatch", reason=reason).saying("AuthenticationFailed", AuthenticationErrorDetail=detail)


def signs(secret: bytes, texts: Iterable[bytes], mac: bytes) -> bool:
    """Whether one of the texts has this HMAC-SHA256 by an account key (decoded from base64)."""
    return any(hmac.compare_digest(hmac.digest(secret, text, "sha256"), mac) for text in texts)
