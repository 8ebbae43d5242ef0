"""A stranger's signer: what CloudFront's documentation says, with `cryptography` and nothing of the gateway's; and
requests as they arrive that it has signed.
"""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from valetstore.errors import Denied
from valetstore.grants.cloudfront import CloudFront, Rules
from valetstore.grants.grant import Grant, Profile
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.policy.request import enforce

NOW: Final = 1_800_000_000
HOST: Final = "cdn.example.com"
URL: Final = f"https://{HOST}/photos/cat.jpg"
RSA_ID: Final = "KRSA123"
EC_ID: Final = "KEC1234"
HASHES: Final = {"SHA1": hashes.SHA1(), "SHA256": hashes.SHA256()}

Members = dict[str, str]


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """The tests' RSA key."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """The tests' key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """Its public half, as users bring it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@cache
def ring(profile: Profile | None = None) -> KeyRing:
    """A ring that holds both."""
    profile = profile or Profile()
    rows = (("rsa", "RSA", RSA_ID, rsa_key()), ("ec", "ECDSA", EC_ID, ec_key()))
    return KeyRing(
        record_of(name, algorithm, profile, kid=kid, public_key=pem_of(key), scheme="cloudfront")
        for name, algorithm, kid, key in rows
    )


def encoded(data: bytes) -> str:
    """Base64 as CloudFront has it."""
    return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))


def signature(text: bytes, hashed: str = "SHA1", kid: str = RSA_ID) -> bytes:
    """By the key of that id."""
    if kid == EC_ID:
        return ec_key().sign(text, ec.ECDSA(HASHES[hashed]))
    return rsa_key().sign(text, padding.PKCS1v15(), HASHES[hashed])


def policy(resource: str, ends: object = NOW + 60, **conditions: Any) -> dict[str, Any]:
    """A custom policy, as a value; conditions by their names."""
    condition = {"DateLessThan": {"AWS:EpochTime": ends}, **conditions}
    return {"Statement": [{"Resource": resource, "Condition": condition}]}


def after(moment: object) -> dict[str, object]:
    """The condition DateGreaterThan."""
    return {"DateGreaterThan": {"AWS:EpochTime": moment}}


def source(network: object) -> dict[str, object]:
    """The condition IpAddress."""
    return {"IpAddress": {"AWS:SourceIp": network}}


def canned(url: str = URL, ends: int = NOW + 60, *, hashed: str | None = None, kid: str = RSA_ID) -> Members:
    """A key with a canned policy; its text as it stands in the documentation."""
    text = f'{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{ends}}}}}}}]}}'
    return {"Expires": str(ends)} | signed(text.encode(), hashed=hashed, kid=kid)


def custom(value: object, *, hashed: str | None = None, kid: str = RSA_ID) -> Members:
    """A key with a custom policy: a value that is written with spaces, or the very bytes."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return {"Policy": encoded(text)} | signed(text, hashed=hashed, kid=kid)


def signed(text: bytes, *, hashed: str | None = None, kid: str = RSA_ID) -> Members:
    """The members that every key has."""
    said = {"Signature": encoded(signature(text, hashed or "SHA1", kid)), "Key-Pair-Id": kid}
    return said | ({"Hash-Algorithm": hashed} if hashed else {})


def url_with(url: str, members: Members) -> str:
    """A signed URL."""
    return url + ("&" if "?" in url else "?") + "&".join(f"{name}={value}" for name, value in members.items())


def arriving(
    url: str,
    method: str = "GET",
    *,
    cookies: Mapping[str, str] | None = None,
    now: float = NOW,
    peer: str = "192.0.2.7",
) -> Inbound:
    """A request as it arrives."""
    parts = urlsplit(url)
    target = url.removeprefix(f"{parts.scheme}://{parts.netloc}")
    cookie = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
    head = f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n" + (f"Cookie: {cookie}\r\n" if cookie else "")
    return Inbound.from_raw(f"{head}\r\n".encode(), now=now, peer=peer, tls=parts.scheme == "https")


def as_cookies(members: Members) -> dict[str, str]:
    """The same key in cookies."""
    return {f"CloudFront-{name}": value for name, value in members.items()}


def judge(inbound: Inbound, rules: Rules | None = None, keys: KeyRing | None = None) -> Grant:
    """What the gate does until a use is looked at. Raises Denied."""
    scheme = CloudFront(rules)
    credential = recognise(inbound, [scheme])
    intent = scheme.intent(inbound)
    proof = scheme.verify(inbound, credential, keys or ring())
    grant = proof.grant.narrowed_by(proof.limits)
    enforce(grant, intent, inbound)
    return grant


def refusal(inbound: Inbound, rules: Rules | None = None, keys: KeyRing | None = None) -> Denied:
    """How it is refused; it must be."""
    with pytest.raises(Denied) as caught:
        judge(inbound, rules, keys)
    return caught.value


def is_let_in(inbound: Inbound, rules: Rules | None = None) -> bool:
    """Whether it is; a signature that does not hold is no answer."""
    try:
        judge(inbound, rules)
    except Denied as denied:
        if denied.code == "signature_mismatch":
            raise
        return False
    return True
