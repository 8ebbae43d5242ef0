"""Signatures of Swift's, of URLs and forms alike: how they are written, and whose they are.

Rule 1: there is one text for each signature. Hexadecimal digits are lower-case ones, base64 is canonical.
Rule 2: an account has several keys while they are rotated; each is tried, and none differs in what a refusal costs
but by their number.

Source: OpenStack Swift, `tempurl` and `formpost` middleware; the digest is told by a signature's form.
"""

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from valetstore.encoding import b64url_decode
from valetstore.errors import Denied
from valetstore.grants.swift.rules import Rules
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import SWIFT as NAME

SIZES: Final[Mapping[str, int]] = {"sha1": 20, "sha256": 32, "sha512": 64}
"""Bytes of a signature, by the hash that it is made with."""

_HASHES: Final = {size * 2: name for name, size in SIZES.items()}
_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)
# One alphabet or the other: `+/` as of old, `-_` for URLs.
_BASE64: Final = re.compile(r"([0-9A-Za-z+/]+|[0-9A-Za-z_-]+)(={0,2})", re.ASCII)
_TO_URLSAFE: Final = str.maketrans("+/", "-_")
# Whom an account is tried against that has no key here.
_NOBODY: Final = secrets.token_bytes(32)


class Signature(NamedTuple):
    """A decoded signature and the hash it was made with."""

    hash: str
    mac: bytes

    def __repr__(self) -> str:
        """Never shows the signature."""
        return f"Signature({self.hash})"


def read_signature(text: str, rules: Rules) -> Signature:
    """`hex` or `hash:base64`. Raises `key_malformed`."""
    found = _read(text)
    if found is None:
        raise Denied("key_malformed", "Its signature is 40, 64 or 128 hexadecimal digits, or hash:base64.")
    if found.hash == "sha1" and not rules.sha1:
        raise Denied("key_malformed", "SHA-1 is not taken here; sign with sha256 or sha512.")
    return found


def mac_of(secret: bytes, text: bytes, name: str) -> bytes:
    """The HMAC of a text, by one of SIZES."""
    return hmac.digest(secret, text, name)


class Held(NamedTuple):
    """Who signed, and which of the texts in question."""

    key: SigningKey
    text: bytes


def held_by(account: str, signature: Signature, texts: Sequence[bytes], keys: KeyRing) -> Held:
    """The signing key of an account that made this signature over one of these texts. Raises `signature_mismatch`."""
    candidates = keys.find_all(NAME, account)
    for key in candidates:
        for text in texts:
            if hmac.compare_digest(mac_of(_secret(key), text, signature.hash), signature.mac):
                return Held(key, text)
    if not candidates:
        for text in texts:
            hmac.compare_digest(mac_of(_NOBODY, text, signature.hash), signature.mac)
    raise Denied(
        "signature_mismatch",
        reason="the signature differs" if candidates else "no signing key is for this account",
        signing_key=candidates[0].name if len(candidates) == 1 else "",
    )


def _secret(key: SigningKey) -> bytes:
    # The ring takes no other material for this dialect.
    assert isinstance(key.material, bytes)
    return key.material


def _read(text: str) -> Signature | None:
    name, colon, encoded = text.partition(":")
    if not colon:
        size = len(text)
        return Signature(_HASHES[size], bytes.fromhex(text)) if size in _HASHES and _HEX.fullmatch(text) else None
    found = _BASE64.fullmatch(encoded)
    if name not in SIZES or not found or (found[2] and len(encoded) % 4):
        return None
    try:
        mac = b64url_decode(found[1].translate(_TO_URLSAFE).encode())
    except ValueError:
        return None
    return Signature(name, mac) if len(mac) == SIZES[name] else None
