"""What the tests of uploads in parts share: one upload by one client, and what came of a call that is refused."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

import pytest
from botocore.exceptions import ClientError

from tests.gate import Answer, Gate

BUCKET: Final = "box"
MIB: Final = 2**20
PART_MIN: Final = 5 * MIB
"""What every part but the last must have."""

Row = dict[str, Any]
"""A part as a complete names it."""


def filled(mark: int, size: int = PART_MIN) -> bytes:
    """Bytes that differ by their mark and are quickly made."""
    return (b"%03d|" % mark) * (size // 4) + b"x" * (size % 4)


@dataclass
class Whole:
    """One upload in parts."""

    client: Any
    key: str
    id: str = ""
    rows: dict[int, Row] = field(default_factory=dict)

    def begin(self, **asked: Any) -> Self:
        """POST ?uploads."""
        self.id = self.client.create_multipart_upload(Bucket=BUCKET, Key=self.key, **asked)["UploadId"]
        return self

    @property
    def named(self) -> dict[str, Any]:
        """The upload, as parameters of a call."""
        return {"Bucket": BUCKET, "Key": self.key, "UploadId": self.id}

    def part(self, number: int, body: bytes, **asked: Any) -> dict[str, Any]:
        """PUT ?partNumber; its row is kept for the complete."""
        answer: dict[str, Any] = self.client.upload_part(**self.named, PartNumber=number, Body=body, **asked)
        self.keep(number, answer)
        return answer

    def keep(self, number: int, answer: dict[str, Any]) -> None:
        """Name this part in the complete, with the checksums it was answered with."""
        told = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        self.rows[number] = {"PartNumber": number, "ETag": answer["ETag"], **told}

    def complete(self, rows: Sequence[Row] | None = None, **asked: Any) -> dict[str, Any]:
        """POST ?uploadId, with all its parts in order unless told otherwise."""
        rows = [self.rows[number] for number in sorted(self.rows)] if rows is None else rows
        answer: dict[str, Any] = self.client.complete_multipart_upload(
            **self.named, MultipartUpload={"Parts": list(rows)}, **asked
        )
        return answer

    def abort(self) -> None:
        """DELETE ?uploadId."""
        self.client.abort_multipart_upload(**self.named)

    def body(self) -> bytes:
        """The object that stands there now."""
        found: bytes = self.client.get_object(Bucket=BUCKET, Key=self.key)["Body"].read()
        return found


@dataclass
class Refused:
    """How a call was refused: S3's code, the status, the members of the document."""

    code: str = ""
    status: int = 0
    members: dict[str, Any] = field(default_factory=dict)


@contextmanager
def refused(code: str, status: int, sentence: str = "") -> Iterator[Refused]:
    """What is inside must be refused so, with this in the message."""
    seen = Refused()
    with pytest.raises(ClientError) as caught:
        yield seen
    answer = caught.value.response
    seen.members = answer["Error"]
    seen.code, seen.status = seen.members["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
    assert (seen.code, seen.status) == (code, status), answer
    assert sentence in seen.members["Message"]


def presigned(client: Any, call: str, params: dict[str, Any], **conditions: str) -> str:
    """A URL for one call, with `x-valet-*` conditions in its signed query."""

    def add(request: Any, **_: Any) -> None:
        request.params.update({f"x-valet-{name}": value for name, value in conditions.items()})

    events = client.meta.events
    event = f"before-sign.s3.{client.meta.method_to_api_mapping[call]}"
    events.register(event, add)
    try:
        url: str = client.generate_presigned_url(call, params)
    finally:
        events.unregister(event, add)
    assert all(f"x-valet-{name}=" in url for name in conditions)
    return url


@dataclass
class Presigned:
    """One upload in parts of which each step is a URL that the client signs, as browsers are given them."""

    gate: Gate
    client: Any
    key: str
    id: str = ""
    etags: dict[int, str] = field(default_factory=dict)

    def create(self, **conditions: str) -> str:
        """A URL that begins it."""
        return presigned(self.client, "create_multipart_upload", {"Bucket": BUCKET, "Key": self.key}, **conditions)

    def begin(self, url: str) -> Answer:
        """Begin it; where that is refused, what was begun before stays."""
        answer = self.gate.ask("POST", url)
        if answer.status == 200:
            self.id = answer.body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
            self.etags.clear()
        return answer

    def url(self, call: str, **asked: Any) -> str:
        """A URL for one more step of it."""
        return presigned(self.client, call, {"Bucket": BUCKET, "Key": self.key, "UploadId": self.id} | asked)

    def part(self, number: int, body: bytes) -> Answer:
        """Send a part."""
        answer = self.gate.ask("PUT", self.url("upload_part", PartNumber=number), body)
        if answer.status == 200:
            self.etags[number] = answer.headers["etag"]
        return answer

    def document(self) -> bytes:
        """What completes it."""
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in sorted(self.etags.items())
        )
        return f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()

    def complete(self) -> Answer:
        """Complete it."""
        return self.gate.ask("POST", self.url("complete_multipart_upload"), self.document())

    def abort(self) -> Answer:
        """Give it up."""
        return self.gate.ask("DELETE", self.url("abort_multipart_upload"))
