"""Requests that no SDK would send, signed as SDKs sign; and error documents taken apart."""

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock
from xml.etree.ElementTree import fromstring

from botocore import auth, awsrequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.crt import auth as crt_auth

from tests.edge.s3.conftest import REGION, Clients, Credentials
from tests.gate import Answer


def ask(
    s3: Clients,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    credentials: Credentials | None = None,
) -> Answer:
    """One request with signed headers; the body's hash is signed unless the headers say otherwise."""
    found = credentials or s3.credentials()
    request = awsrequest.AWSRequest(method, s3.gate.base + target, dict(headers or {}), body)
    signer = auth.S3SigV4Auth(BotoCredentials(found.access_key_id, found.secret_access_key), "s3", REGION)
    if headers and "X-Amz-Content-SHA256" in headers:
        signer.payload = lambda _request: headers["X-Amz-Content-SHA256"]
    signer.add_auth(request)
    return s3.gate.ask(method, target, body, dict(request.headers))


def presigned(s3: Any, operation: str, name: str, expires: int = 300, **parameters: Any) -> str:
    """A presigned URL of a boto3 client's, in the bucket `things` unless told otherwise."""
    url: str = s3.generate_presigned_url(
        operation, Params={"Bucket": "things", "Key": name} | parameters, ExpiresIn=expires
    )
    return url


@contextlib.contextmanager
def signing_at(seconds_from_now: float) -> Iterator[datetime.datetime]:
    """What is signed by SigV4 meanwhile is signed then."""
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds_from_now)

    def clock(remove_tzinfo: bool = True) -> datetime.datetime:
        return then.replace(tzinfo=None) if remove_tzinfo else then

    # botocore has two signers: its own, and the one that it takes where awscrt is installed.
    with (
        mock.patch.object(auth, "get_current_datetime", clock),
        mock.patch.object(crt_auth, "get_current_datetime", clock),
    ):
        yield then


def error_of(answer: Answer) -> dict[str, str]:
    """The members of an error document, in order; it has exactly S3's shape."""
    assert answer.headers["content-type"] == "application/xml", answer
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>'), answer
    members = {child.tag: child.text or "" for child in fromstring(answer.body)}
    assert list(members)[:2] == ["Code", "Message"]
    assert list(members)[-3:] == ["Resource", "RequestId", "HostId"]
    assert members["RequestId"] == answer.headers["x-amz-request-id"] == answer.headers["x-request-id"]
    return members


def refused(answer: Answer) -> tuple[int, str]:
    """Status and S3's code of a refusal."""
    return answer.status, error_of(answer)["Code"]
