"""One signer for each dialect, as an application has it: the vendor's own SDK, and what `keys create --json` printed.

Rule: a signer gets the command's JSON and the gateway's URL, and nothing of the inside.
"""

import base64
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

import boto3
import jwt
from azure.storage.blob import BlobSasPermissions, generate_blob_sas
from botocore.config import Config
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.cloud.storage.client import Client
from swiftclient.utils import generate_temp_url

from tests.gate import run_cli

SECONDS: Final = 600


class Request(NamedTuple):
    """A request that carries a key, ready to be sent by anyone."""

    method: str
    url: str
    headers: dict[str, str]


Sign = Callable[[str, str], Request]
"""From a bucket and an object's name to a request."""


class Signer(NamedTuple):
    """What one dialect can sign; `put` is None for a dialect that only reads."""

    get: Sign
    put: Sign | None


def make_key(folder: Path, scheme: str, *options: str) -> dict[str, Any]:
    """A signing key of a dialect, by the command line, before the gateway starts."""
    done = run_cli(
        "keys", "create", f"{scheme}-key", *([] if scheme == "native" else ["--scheme", scheme]), *options,
        "--json", "--data", str(folder / "data"), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def native(key: dict[str, Any], base: str) -> Signer:
    """PyJWT."""

    def sign(method: str, operation: str) -> Sign:
        def signed(bucket: str, name: str) -> Request:
            secret = base64.urlsafe_b64decode(key["secret"] + "=" * (-len(key["secret"]) % 4))
            now = int(time.time())
            claims = {"iat": now, "exp": now + SECONDS, "ops": [operation], "path": f"/{bucket}/{name}"}
            token = jwt.encode(claims, secret, algorithm=key["alg"], headers={"kid": key["kid"]})
            return Request(method, f"{base}/{bucket}/{quote(name)}?valet={token}", {})

        return signed

    return Signer(sign("GET", "read"), sign("PUT", "write"))


def s3(key: dict[str, Any], base: str, signature: str) -> Signer:
    """boto3, with SigV4 (`s3v4`) or SigV2 (`s3`)."""
    client = boto3.client(
        "s3",
        endpoint_url=base,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
        region_name=key["region"],
        config=Config(signature_version=signature, s3={"addressing_style": "path"}),
    )

    def sign(method: str, operation: str) -> Sign:
        def signed(bucket: str, name: str) -> Request:
            url = client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": name}, ExpiresIn=SECONDS)
            return Request(method, url, {})

        return signed

    return Signer(sign("GET", "get_object"), sign("PUT", "put_object"))


def gcs(key: dict[str, Any], base: str, version: str) -> Signer:
    """google-cloud-storage, with its older process (`v2`) or its newer one (`v4`)."""
    client = Client.from_service_account_json(key["service_account_file"], client_options={"api_endpoint": base})

    def sign(method: str) -> Sign:
        def signed(bucket: str, name: str) -> Request:
            blob = client.bucket(bucket).blob(name)
            lifetime = datetime.timedelta(seconds=SECONDS)
            url = blob.generate_signed_url(
                expiration=lifetime, method=method, version=version, api_access_endpoint=base
            )
            return Request(method, url, {})

        return signed

    return Signer(sign("GET"), sign("PUT"))


def azure(key: dict[str, Any], base: str) -> Signer:
    """azure-storage-blob."""
    account = key["account_name"]

    def sign(method: str, permission: BlobSasPermissions, headers: dict[str, str]) -> Sign:
        def signed(bucket: str, name: str) -> Request:
            expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SECONDS)
            sas = generate_blob_sas(
                account, bucket, name, account_key=key["account_key"], permission=permission, expiry=expiry
            )
            return Request(method, f"{base}/{account}/{bucket}/{quote(name)}?{sas}", headers)

        return signed

    return Signer(
        sign("GET", BlobSasPermissions(read=True), {}),
        sign("PUT", BlobSasPermissions(write=True), {"x-ms-blob-type": "BlockBlob"}),
    )


def swift(key: dict[str, Any], base: str) -> Signer:
    """python-swiftclient."""

    def sign(method: str) -> Sign:
        def signed(bucket: str, name: str) -> Request:
            path = f"/v1/{key['account']}/{bucket}/{name}"
            signed_path = generate_temp_url(path, SECONDS, key["key"], method)
            query = signed_path.rpartition("?")[2]
            return Request(method, f"{base}{quote(path)}?{query}", {})

        return signed

    return Signer(sign("GET"), sign("PUT"))


def cloudfront(key: dict[str, Any], base: str, *, cookie: bool) -> Signer:
    """botocore's CloudFrontSigner: a canned policy in the URL, or a custom one for the whole bucket in cookies."""
    private = serialization.load_pem_private_key(Path(key["private_key_file"]).read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)

    def rsa_signer(message: bytes) -> bytes:
        return private.sign(message, padding.PKCS1v15(), hashes.SHA1())

    signer = CloudFrontSigner(key["key_pair_id"], rsa_signer)

    def end() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SECONDS)

    def url(bucket: str, name: str) -> Request:
        made = signer.generate_presigned_url(f"{base}/{bucket}/{quote(name)}", date_less_than=end())
        return Request("GET", made, {})

    def with_cookies(bucket: str, name: str) -> Request:
        policy = signer.build_policy(f"{base}/{bucket}/*", end()).encode()
        pairs = {
            "CloudFront-Policy": _cloudfront_base64(policy),
            "CloudFront-Signature": _cloudfront_base64(rsa_signer(policy)),
            "CloudFront-Key-Pair-Id": key["key_pair_id"],
        }
        cookies = "; ".join(f"{name}={value}" for name, value in pairs.items())
        return Request("GET", f"{base}/{bucket}/{quote(name)}", {"Cookie": cookies})

    return Signer(with_cookies if cookie else url, None)


def host_of(request: Request) -> str:
    """The authority that a client would send."""
    return urlsplit(request.url).netloc


def _cloudfront_base64(data: bytes) -> str:
    return base64.b64encode(data).decode().translate(str.maketrans("+=/", "-_~"))
