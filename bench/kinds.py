"""A key of each kind for one object, signed by each dialect's own signer, and the request that brings it."""

import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from valetstore.grants.azure import sign as azure
from valetstore.grants.claims import Claims
from valetstore.grants.cloudfront import sign as cloudfront
from valetstore.grants.gcs import sign as gcs
from valetstore.grants.grant import Profile
from valetstore.grants.native import sign
from valetstore.grants.presign import Condition, Form, Request
from valetstore.grants.s3 import sign as s3
from valetstore.grants.swift import sign as swift
from valetstore.inbound import Headers, Inbound
from valetstore.keys.material import PrivateKey, public_pem
from valetstore.keys.ring import KeyRecord, KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import (
    AZURE,
    CLOUDFRONT,
    ECDSA,
    GCS,
    HMAC,
    RSA,
    S3,
    SWIFT,
    new_account_key,
    new_secret_access_key,
)

EXPIRES_SECONDS: Final = 3600
REGION: Final = "us-east-1"
HOST: Final = "files.example.org"
BASE: Final = f"https://{HOST}"
BUCKET: Final = "photos"
NAME: Final = "2024/cat.jpg"
PATH: Final = f"/{BUCKET}/{NAME}"
HEADERS: Final[Headers] = ((b"Host", HOST.encode()), (b"User-Agent", b"bench"), (b"Accept", b"*/*"))
FORM_HEADERS: Final = (*HEADERS, (b"Content-Type", b"multipart/form-data; boundary=bench"))
ROWS: Final[list[Condition]] = [["content-length-range", 1, 10 * 2**20], ["starts-with", "$Content-Type", "image/"]]
"""What the forms' policies ask for, beside bucket, name and signature."""

PEER: Final = ip_address("203.0.113.7")
ACCOUNT: Final = "bench"
CLIENT: Final = "bench@project.iam.gserviceaccount.com"

Make = Callable[[], Inbound]


class Signers(NamedTuple):
    """A signer for each kind of key: `secret` serves all that share one."""

    secret: bytes
    account_key: bytes
    rsa: PrivateKey
    ec: PrivateKey
    ids: tuple[str, str]

    @classmethod
    def new(cls, ids: tuple[str, str]) -> "Signers":
        """All of them new, under these access ids of S3 and of Google."""
        return cls(
            new_secret_access_key().encode(),
            new_account_key(),
            rsa.generate_private_key(65537, 2048),
            ec.generate_private_key(ec.SECP256R1()),
            ids,
        )

    def ring(self) -> KeyRing:
        """A signing key for each."""
        s3_id, gcs_id = self.ids
        return KeyRing(
            [
                record_of("native", "HS256", Profile(), secret=self.secret),
                _record("s3", S3, HMAC, s3_id, self.secret),
                _record("gcs", GCS, RSA, CLIENT, self.rsa),
                _record("gcs-hmac", GCS, HMAC, gcs_id, self.secret),
                _record("azure", AZURE, HMAC, ACCOUNT, self.account_key),
                _record("cloudfront", CLOUDFRONT, RSA, "KRSA", self.rsa),
                _record("cloudfront-ec", CLOUDFRONT, ECDSA, "KEC", self.ec),
                _record("swift", SWIFT, HMAC, "AUTH_bench", self.secret),
            ]
        )


def requests_of(signers: Signers) -> dict[str, Make]:
    """A download by each kind of URL, and forms; whoever calls gets a new request with the same key."""
    now = int(time.time())
    ends = now + EXPIRES_SECONDS
    token = sign(Claims(exp=ends, iat=now, ops=["read"], path=PATH), "native", "HS256", signers.secret)
    targets = {"native URL (HS256)": f"{PATH}?valet={token}"}
    targets |= _s3_targets(signers, now)
    targets |= _gcs_targets(signers, now)
    targets |= _azure_targets(signers, ends)
    targets |= _cloudfront_targets(signers, ends)
    key = swift.Key("AUTH_bench", signers.secret)
    targets["Swift TempURL (SHA-256)"] = swift.temp_url(key, BASE, "GET", PATH, expires_at=ends).removeprefix(BASE)
    made: dict[str, Make] = {name: partial(download, target) for name, target in targets.items()}
    return made | {name: partial(_upload, form) for name, form in _forms(signers, now).items()}


def _s3_targets(signers: Signers, now: int) -> dict[str, str]:
    key, asked = s3.Key(signers.ids[0], signers.secret), Request("GET", BASE, PATH)
    v4 = s3.presign_v4(key, asked, now=now, expires=EXPIRES_SECONDS, region=REGION)
    v2 = s3.presign_v2(key, asked, expires_at=now + EXPIRES_SECONDS)
    return {"S3 V4 URL": v4.removeprefix(BASE), "S3 V2 URL": v2.removeprefix(BASE)}


def _gcs_targets(signers: Signers, now: int) -> dict[str, str]:
    account, interoperable = gcs.Key(CLIENT, signers.rsa), gcs.Key(signers.ids[1], signers.secret)
    asked, ends = Request("GET", BASE, PATH), now + EXPIRES_SECONDS
    urls = {
        "Google V4 URL (RSA)": gcs.sign_v4(account, asked, now=now, expires=EXPIRES_SECONDS),
        "Google V4 URL (HMAC)": gcs.sign_v4(interoperable, asked, now=now, expires=EXPIRES_SECONDS),
        "Google V2 URL (RSA)": gcs.sign_v2(account, asked, expires_at=ends),
        "Google V2 URL (HMAC)": gcs.sign_v2(interoperable, asked, expires_at=ends),
    }
    return {name: url.removeprefix(BASE) for name, url in urls.items()}


def _azure_targets(signers: Signers, ends: int) -> dict[str, str]:
    key, terms = azure.Key(ACCOUNT, signers.account_key), azure.Terms("r", ends)
    path = f"/{ACCOUNT}{quote(PATH)}"
    return {
        "Azure service SAS, a blob": f"{path}?{azure.blob_sas(key, terms, BUCKET, NAME)}",
        "Azure account SAS": f"{path}?{azure.account_sas(key, terms)}",
    }


def _cloudfront_targets(signers: Signers, ends: int) -> dict[str, str]:
    sha1 = cloudfront.Key("KRSA", RSA, signers.rsa)
    sha256 = cloudfront.Key("KRSA", RSA, signers.rsa, "sha256")
    p256 = cloudfront.Key("KEC", ECDSA, signers.ec, "sha256")
    resource, starts = f"http*://{HOST}/{BUCKET}/*", ends - 2 * EXPIRES_SECONDS
    policy = cloudfront.policy_text(resource, ends=ends, starts=starts, network="203.0.113.0/24")
    kinds = {
        "CloudFront canned (RSA-SHA1)": cloudfront.canned(sha1, BASE + PATH, ends),
        "CloudFront custom, wildcard (RSA-SHA256)": cloudfront.custom(sha256, policy),
        "CloudFront custom, wildcard (ECDSA)": cloudfront.custom(p256, policy),
    }
    return {name: cloudfront.with_key(PATH, parameters) for name, parameters in kinds.items()}


def _forms(signers: Signers, now: int) -> dict[str, Form]:
    fields = {"Content-Type": "image/jpeg"}
    forms = {}
    for name, region in (("V4", REGION), ("V2", "")):
        forms[f"S3 POST policy {name}, 5 conditions"] = s3.post_form(
            s3.Key(signers.ids[0], signers.secret), BASE, BUCKET, NAME,
            now=now, expires=EXPIRES_SECONDS, region=region, conditions=ROWS, fields=fields,
        )  # fmt: skip
    account = gcs.Key(CLIENT, signers.rsa)
    forms["Google POST policy (RSA), 5 conditions"] = gcs.post_form(
        account, BASE, BUCKET, NAME, now=now, expires=EXPIRES_SECONDS, conditions=ROWS, fields=fields
    )
    return forms


def _record(name: str, scheme: str, algorithm: str, kid: str, material: bytes | PrivateKey) -> KeyRecord:
    if isinstance(material, bytes):
        return record_of(name, algorithm, Profile(), kid=kid, secret=material, scheme=scheme)
    return record_of(name, algorithm, Profile(), kid=kid, public_key=public_pem(material), scheme=scheme)


def download(target: str) -> Inbound:
    """A new request for a signed target, over TLS."""
    return Inbound("GET", target.encode(), HEADERS, now=time.time(), peer=PEER, tls=True)


def _upload(form: Form) -> Inbound:
    fields = (*((name.lower(), value) for name, value in form.fields.items()), ("file", "cat.jpg"))
    return Inbound("POST", f"/{BUCKET}".encode(), FORM_HEADERS, now=time.time(), peer=PEER, tls=True, form=fields)
