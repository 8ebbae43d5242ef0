"""boto3 clients of a gateway, as an application makes them, and what they raise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from tests.interop.house import House, Secret

_SESSION: Final = boto3.Session()  # reading its descriptions of services takes longer than most tests


def client(
    house: House,
    secret: Secret | None = None,
    *,
    signature: str | None = None,
    style: str = "path",
    endpoint: str = "",
    region: str = "",
    token: str | None = None,
    **settings: Any,
) -> Any:
    """A client; `signature` is "s3v4", "s3" (SigV2), or None for boto3's own choice."""
    secret = secret or house.web
    return _SESSION.client(
        "s3",
        endpoint_url=endpoint or house.endpoint,
        aws_access_key_id=secret.access_key_id,
        aws_secret_access_key=secret.secret_access_key,
        aws_session_token=token,
        region_name=region or secret.region,
        verify=str(house.gate.cafile) if house.gate.cafile else None,
        config=Config(
            signature_version=signature,
            s3={"addressing_style": style},
            retries={"total_max_attempts": 1},
            **settings,
        ),
    )


@contextmanager
def raises(code: str, status: int) -> Iterator[None]:
    """The client raises S3's error with this code."""
    with pytest.raises(ClientError) as caught:
        yield
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
