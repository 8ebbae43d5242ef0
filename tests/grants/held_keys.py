"""A key of each dialect and kind, and the request that brings it: for promises that hold for every dialect."""

import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.errors import Denied
from valetstore.grants.azure import sign as azure
from valetstore.grants.claims import Claims
from valetstore.grants.cloudfront import sign as cloudfront
from valetstore.grants.gcs import sign as gcs
from valetstore.grants.grant import Profile, Proof
from valetstore.grants.native import sign
from valetstore.grants.presign import Pairs, Request
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import session
from valetstore.grants.s3 import sign as s3
from valetstore.grants.scheme import Scheme
from valetstore.grants.swift import sign as swift
from valetstore.inbound import Headers, Inbound
from valetstore.keys.material import public_pem
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import AZURE, CLOUDFRONT, ECDSA, GCS, HMAC, RSA, S3, SWIFT

HOST = "files.example.org"
BASE = f"https://{HOST}"
BUCKET = "photos"
NAME = "2024/cat.jpg"
PATH = f"/{BUCKET}/{NAME}"
NOW = int(time.time())
ENDS = NOW + 3600
SECRET = b"a-secret-of-forty-bytes-as-S3-has-them-0"
ACCOUNT_KEY = bytes(range(64))
S3_ID = "VKTESTTESTTESTTESTTE"
GOOGLE_ID = "GOOGTESTTESTTESTTEST"
CLIENT = "tests@project.iam.gserviceaccount.com"


class Held(NamedTuple):
    """A request that its key opens."""

    method: str
    target: bytes
    headers: Headers = ((b"Host", HOST.encode()),)
    tls: bool = True

    @property
    def inbound(self) -> Inbound:
        """As it arrives."""
        return Inbound(self.method, self.target, self.headers, now=NOW, tls=self.tls)


@cache
def schemes() -> tuple[Scheme, ...]:
    """All dialects, one scheme each."""
    return schemes_of(Config())


@cache
def private_keys() -> tuple[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]:
    """What signs for Google and CloudFront."""
    return rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())


@cache
def ring(secret: bytes = SECRET) -> KeyRing:
    """A signing key for each, those with a secret with this one."""
    by_rsa, by_ec = (public_pem(key) for key in private_keys())
    pairs = [("gcs", GCS, RSA, CLIENT, by_rsa), ("rsa", CLOUDFRONT, RSA, "KRSA", by_rsa)]
    pairs += [("ec", CLOUDFRONT, ECDSA, "KEC", by_ec)]
    secrets = [("s3", S3, S3_ID, secret), ("gcs-hmac", GCS, GOOGLE_ID, secret), ("swift", SWIFT, "AUTH_test", secret)]
    secrets += [("azure", AZURE, "account", secret[:1] + ACCOUNT_KEY[1:] if secret != SECRET else ACCOUNT_KEY)]
    records = [record_of("native", "HS256", Profile(), secret=secret)]
    records += [record_of(n, HMAC, Profile(), kid=kid, secret=own, scheme=scheme) for n, scheme, kid, own in secrets]
    records += [
        record_of(name, algorithm, Profile(), kid=kid, public_key=pem, scheme=scheme)
        for name, scheme, algorithm, kid, pem in pairs
    ]
    return KeyRing(records)


@cache
def held() -> dict[str, Held]:
    """Each kind of key, by a name for it."""
    return dict(_native()) | dict(_s3()) | dict(_google()) | dict(_azure()) | dict(_cloudfront()) | dict(_swift())


def outcome(inbound: Inbound, keys: KeyRing) -> Proof | tuple[str, str]:
    """What recognising, reading and verifying come to: the proof, or code and text of the refusal."""
    try:
        credential = recognise(inbound, schemes())
        intent = credential.scheme.intent(inbound)
        return credential.scheme.verify(inbound, credential, keys, intent)
    except Denied as denied:
        return denied.code, denied.text


def _native() -> Iterator[tuple[str, Held]]:
    token = sign(Claims(exp=ENDS, iat=NOW, ops=["read", "write"], path=PATH), "native", "HS256", SECRET)
    host = (b"Host", HOST.encode())
    yield "native URL", Held("GET", f"{PATH}?valet={token}".encode())
    yield "native header", Held("PUT", PATH.encode(), (host, (b"Authorization", f"Bearer {token}".encode())))
    yield "native cookie", Held("GET", PATH.encode(), (host, (b"Cookie", f"a=b; valet={token}".encode())))


def _s3() -> Iterator[tuple[str, Held]]:
    key = s3.Key(S3_ID, SECRET)

    def v4(method: str, headers: Pairs = (), parameters: Pairs = (), by: s3.Key = key) -> Held:
        asked = Request(method, BASE, PATH, headers, parameters)
        url = s3.presign_v4(by, asked, now=NOW, expires=3600, region="us-east-1")
        return _sent(method, url, asked.headers)

    yield "S3 V4", v4("GET")
    yield "S3 V4 that signs a header", v4("GET", headers=(("range", "bytes=0-9"),))
    yield "S3 V4 with conditions", v4("GET", parameters=(("response-content-type", "a/b"), ("x-valet-uses", "2")))
    yield "S3 V4 upload", v4("PUT", headers=(("content-type", "image/png"),))
    temporary = session.mint(S3_ID, SECRET, ENDS)
    by = s3.Key(temporary.access_key_id, temporary.secret_access_key.encode(), temporary.session_token)
    yield "S3 V4 session", v4("GET", by=by)
    asked = Request("PUT", BASE, PATH, headers=(("content-type", "image/png"), ("x-amz-meta-a", "b")))
    yield "S3 V2", _sent("PUT", s3.presign_v2(key, asked, expires_at=ENDS), asked.headers)


def _google() -> Iterator[tuple[str, Held]]:
    asked, signed = Request("GET", BASE, PATH), Request("PUT", BASE, PATH, headers=(("x-goog-meta-a", "b"),))
    keys: dict[str, gcs.Key] = {"RSA": gcs.Key(CLIENT, private_keys()[0]), "HMAC": gcs.Key(GOOGLE_ID, SECRET)}
    for kind, key in keys.items():
        yield f"Google V4 {kind}", _sent("GET", gcs.sign_v4(key, asked, now=NOW, expires=3600))
        url = gcs.sign_v4(key, signed, now=NOW, expires=3600)
        yield f"Google V4 {kind} that signs a header", _sent("PUT", url, signed.headers)
        yield f"Google V2 {kind}", _sent("PUT", gcs.sign_v2(key, signed, expires_at=ENDS), signed.headers)


def _azure() -> Iterator[tuple[str, Held]]:
    key, terms = azure.Key("account", ACCOUNT_KEY), azure.Terms("rw", ENDS)
    for kind, query in (
        ("blob", azure.blob_sas(key, terms, BUCKET, NAME)),
        ("container", azure.container_sas(key, terms, BUCKET)),
        ("account", azure.account_sas(key, terms)),
    ):
        yield f"Azure {kind}", Held("GET", f"/account{PATH}?{query}".encode())


def _cloudfront() -> Iterator[tuple[str, Held]]:
    by_rsa, by_ec = private_keys()
    canned = cloudfront.canned(cloudfront.Key("KRSA", RSA, by_rsa), BASE + PATH, ENDS)
    policy = cloudfront.policy_text(f"http*://{HOST}/{BUCKET}/*", ends=ENDS)
    custom = cloudfront.custom(cloudfront.Key("KEC", ECDSA, by_ec, "sha256"), policy)
    cookie = "; ".join(f"{name}={value}" for name, value in cloudfront.cookies_of(custom).items())
    yield "CloudFront canned", Held("GET", cloudfront.with_key(PATH, canned).encode())
    yield "CloudFront custom", Held("GET", cloudfront.with_key(PATH, custom).encode())
    yield "CloudFront cookies", Held("GET", PATH.encode(), ((b"Host", HOST.encode()), (b"Cookie", cookie.encode())))


def _swift() -> Iterator[tuple[str, Held]]:
    url = swift.temp_url(swift.Key("AUTH_test", SECRET), BASE, "GET", PATH, expires_at=ENDS)
    yield "Swift", _sent("GET", url)


def _sent(method: str, url: str, headers: Iterable[tuple[str, str]] = ()) -> Held:
    pairs = [(b"Host", HOST.encode())]
    for name, value in headers:
        pairs.append((name.encode(), value.encode()))
    return Held(method, url.removeprefix(BASE).encode(), tuple(pairs))
