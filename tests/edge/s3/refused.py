"""A refusal as an application of boto3's sees it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError


class Refusal(NamedTuple):
    """Status, code, sentence, and the further members of the document."""

    status: int
    code: str
    message: str
    members: dict[str, str]


def refused(call: Callable[..., Any], **arguments: Any) -> Refusal:
    """How this call is refused; it must be."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    error = dict(response["Error"])
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return Refusal(status, error.pop("Code"), error.pop("Message"), error)
