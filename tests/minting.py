"""Signing keys, tokens and requests for tests that need no daemon: the gate's own parts, judged directly."""

import hmac
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from valetstore.encoding import b64url_decode, b64url_encode
from valetstore.errors import REFUSALS, Denied
from valetstore.grants.grant import Profile, Proof
from valetstore.grants.native import Native
from valetstore.inbound import Address, Inbound
from valetstore.keys.material import ALGORITHMS, PrivateKey, public_pem
from valetstore.keys.ring import KeyRecord, KeyRing
from valetstore.keys.ringfile import record_of

NOW = 1_800_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ANYTHING = Profile(operations=("read", "write", "delete", "list", "admin"))


@dataclass(frozen=True)
class Minter:
    """A signing key of a ring: its record, and what signs."""

    record: KeyRecord
    material: bytes | PrivateKey

    def sign(self, message: bytes) -> bytes:
        """A bare signature."""
        return ALGORITHMS[self.record.algorithm].sign(self.material, message)

    def raw(self, header: bytes, payload: bytes) -> str:
        """A token of exactly these bytes, well-formed or not, rightly signed."""
        signed = b64url_encode(header) + b"." + b64url_encode(payload)
        return (signed + b"." + b64url_encode(self.sign(signed))).decode()

    def token(self, claims: Mapping[str, Any] | None = None, **header: Any) -> str:
        """A token of these claims; header members are added, and left out where they are None."""
        members = {"alg": self.record.algorithm, "kid": self.record.kid} | header
        kept = {name: value for name, value in members.items() if value is not None}
        return self.raw(json.dumps(kept).encode(), json.dumps(reading() if claims is None else claims).encode())


def minter(algorithm: str = "HS256") -> Minter:
    """The signing key of that algorithm, called by its name in lower case; one for all tests of a process."""
    return make_minter(algorithm, algorithm.lower(), ANYTHING)


@cache
def make_minter(algorithm: str, name: str, profile: Profile) -> Minter:
    """A signing key (RSA takes long to make)."""
    if algorithm == "RS256":
        private = rsa.generate_private_key(65537, 2048)
        return Minter(record_of(name, algorithm, profile, public_key=public_pem(private)), private)
    material = ALGORITHMS[algorithm].generate()
    if isinstance(material, bytes):
        return Minter(record_of(name, algorithm, profile, secret=material), material)
    return Minter(record_of(name, algorithm, profile, public_key=public_pem(material)), material)


@cache
def ring() -> KeyRing:
    """A ring of one signing key for each algorithm."""
    return KeyRing(minter(algorithm).record for algorithm in ALGORITHMS)


def claims(**more: Any) -> dict[str, Any]:
    """Claims that are admitted, with these added; None takes one away."""
    found = {"exp": NOW + 60, "ops": ["read"], "path": "/photos/cat.jpg"} | more
    return {name: value for name, value in found.items() if value is not None}


def reading() -> dict[str, Any]:
    """Claims that open one photo."""
    return claims()


def ask(
    method: str = "GET",
    target: str | bytes = "/photos/cat.jpg",
    headers: Mapping[str, str] | None = None,
    *,
    token: str = "",
    now: float = NOW,
    peer: Address | None = None,
    tls: bool = False,
) -> Inbound:
    """A request; a token is put into the query."""
    raw = target.encode() if isinstance(target, str) else target
    if token:
        raw += (b"&" if b"?" in raw else b"?") + b"valet=" + token.encode()
    pairs = tuple((name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items())
    return Inbound(method, raw, pairs, now=now, peer=peer, tls=tls)


def verify(token: str, keys: KeyRing | None = None, scheme: Native | None = None) -> Proof:
    """What the native scheme says of a token."""
    scheme = scheme or Native()
    inbound = ask(headers={"authorization": f"Bearer {token}"})
    (credential,) = scheme.recognises(inbound)
    return scheme.verify(inbound, credential, ring() if keys is None else keys)


@contextmanager
def refused(code: str, *parts: str) -> Iterator[Denied]:
    """What is inside must be refused with this code, and the public text name these parts."""
    assert code in REFUSALS
    seen = Denied(code)
    with pytest.raises(Denied) as caught:
        yield seen
    assert caught.value.code == code, caught.value
    for part in parts:
        assert part in caught.value.text
    seen.detail, seen.evidence = caught.value.detail, caught.value.evidence


@contextmanager
def perhaps_refused(*codes: str) -> Iterator[None]:
    """What is inside may be refused with one of these codes, and may fail in no other way."""
    try:
        yield
    except Denied as denied:
        if denied.code not in codes:
            raise


def hs256(secret: bytes, header: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """A token signed with any bytes as the secret: what an attacker can make."""
    signed = b".".join(b64url_encode(json.dumps(part).encode()) for part in (header, payload))
    return (signed + b"." + b64url_encode(hmac.digest(secret, signed, "sha256"))).decode()


def parts_of(token: str) -> list[bytes]:
    """Header, payload and signature, decoded."""
    return [b64url_decode(part.encode()) for part in token.split(".")]


def with_signature(token: str, signature: bytes) -> str:
    """The same token with another signature."""
    return token.rpartition(".")[0] + "." + b64url_encode(signature).decode()


def second_form(token: str) -> str:
    """The other signature of an ES256 token that holds as well: (r, -s) for (r, s)."""
    r, s = halves(parts_of(token)[2])
    return with_signature(token, r.to_bytes(32) + (P256_ORDER - s).to_bytes(32))


def halves(signature: bytes) -> tuple[int, int]:
    """An ECDSA signature as (r, s)."""
    first, second = struct.unpack("32s32s", signature)
    return int.from_bytes(first), int.from_bytes(second)
