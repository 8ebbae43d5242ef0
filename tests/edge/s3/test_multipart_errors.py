"""Uploads in parts that S3 refuses, in its own words; after each refusal the upload goes on as if nothing was asked."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, MIB, PART_MIN, Whole, filled, refused
from tests.gate import Gate
from tests.minting import refused as denied
from valetstore.edge.s3.multipart_manifest import manifest


@pytest.fixture
def whole(s3: Clients, request: pytest.FixtureRequest) -> Iterator[Whole]:
    """An upload with three parts that can be completed, and is in the end."""
    made = Whole(s3(), f"errors/{request.node.name[:80]}").begin()
    made.part(1, filled(1))
    made.part(2, filled(2))
    made.part(3, b"end")
    yield made
    made.complete()
    assert made.body() == filled(1) + filled(2) + b"end"


def test_a_part_that_was_never_uploaded(whole: Whole) -> None:
    rows = [*whole.rows.values(), {"PartNumber": 4, "ETag": whole.rows[3]["ETag"]}]
    with refused("InvalidPart", 400, "One or more of the specified parts could not be found.") as seen:
        whole.complete(rows)
    assert (seen.members["UploadId"], seen.members["PartNumber"]) == (whole.id, "4")
    assert f'"{seen.members["ETag"]}"' == whole.rows[3]["ETag"]


@pytest.mark.parametrize("etag", ['"0123456789abcdef0123456789abcdef"', "", "ä", '"'])
def test_an_entity_tag_of_something_else(whole: Whole, etag: str) -> None:
    with refused("InvalidPart", 400):
        whole.complete([whole.rows[1], {"PartNumber": 2, "ETag": etag}])


@pytest.mark.parametrize("order", [(2, 1), (1, 1), (1, 3, 2), (3, 2, 1)])
def test_parts_out_of_order(whole: Whole, order: tuple[int, ...]) -> None:
    with refused("InvalidPartOrder", 400, "The list of parts was not in ascending order."):
        whole.complete([whole.rows[number] for number in order])


def test_a_part_but_the_last_that_is_too_small(s3: Clients) -> None:
    whole = Whole(s3(), "small").begin()
    whole.part(3, filled(1, PART_MIN - 1))
    whole.part(5, b"end")
    with refused("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size") as seen:
        whole.complete()
    assert {name: seen.members[name] for name in ("PartNumber", "MinSizeAllowed", "ProposedSize", "ETag")} == {
        "PartNumber": "3",
        "MinSizeAllowed": str(5 * MIB),
        "ProposedSize": str(5 * MIB - 1),
        "ETag": whole.rows[3]["ETag"].strip('"'),
    }
    whole.complete([whole.rows[5]])


@pytest.mark.parametrize("number", [0, -1, 10_001, 2**63])
def test_a_part_number_that_none_can_have(whole: Whole, number: int) -> None:
    said = "Part number must be an integer between 1 and 10000, inclusive"
    with refused("InvalidArgument", 400, said) as seen:
        whole.client.upload_part(**whole.named, PartNumber=number, Body=b"x")
    assert (seen.members["ArgumentName"], seen.members["ArgumentValue"]) == ("partNumber", str(number))


def test_uploads_that_there_are_not(s3: Clients, whole: Whole) -> None:
    client = s3()
    for asked in (
        whole.named | {"UploadId": "no-such"},
        whole.named | {"Key": "another"},
        whole.named | {"UploadId": "ä"},
    ):
        other = Whole(client, asked["Key"], asked["UploadId"], dict(whole.rows))
        for call in (
            other.complete,
            other.abort,
            lambda other=other: other.part(1, b"x"),
            lambda other=other: client.list_parts(**other.named),
            lambda other=other: client.upload_part_copy(**other.named, PartNumber=1, CopySource=f"{BUCKET}/none"),
        ):
            with refused("NoSuchUpload", 404, "The upload ID may be invalid") as seen:
                call()
            assert seen.members["UploadId"] == other.id


@pytest.mark.parametrize(
    "asked",
    [
        {"ServerSideEncryption": "AES256"},
        {"Tagging": "a=b"},
        {"WebsiteRedirectLocation": "/x"},
        {"ObjectLockMode": "GOVERNANCE"},
        {"GrantRead": "id=1"},
    ],
)
def test_what_is_not_served_is_refused_when_the_upload_begins(s3: Clients, asked: dict[str, Any]) -> None:
    with refused("NotImplemented", 501):
        Whole(s3(), "unserved").begin(**asked)


def test_acls_and_storage_classes(s3: Clients) -> None:
    with refused("InvalidArgument", 400):
        Whole(s3(), "acl").begin(ACL="everybody")
    with refused("InvalidStorageClass", 400):
        Whole(s3(), "class").begin(StorageClass="GLACIER")
    Whole(s3(), "plain").begin(ACL="private", StorageClass="STANDARD").abort()


def test_a_size_that_is_another(whole: Whole) -> None:
    for size in ("5", "-1", "x"):
        with refused("InvalidRequest", 400, "x-amz-mp-object-size"):
            _completed_with(whole, {"x-amz-mp-object-size": size})
    _completed_with(whole, {"x-amz-mp-object-size": str(2 * PART_MIN + 3)})


def _completed_with(whole: Whole, headers: dict[str, str]) -> None:
    def add(request: Any, **_: Any) -> None:
        for name, value in headers.items():
            request.headers[name] = value

    events = whole.client.meta.events
    events.register("before-sign.s3.CompleteMultipartUpload", add)
    try:
        whole.complete()
    finally:
        events.unregister("before-sign.s3.CompleteMultipartUpload", add)


PART = "<Part><PartNumber>%s</PartNumber><ETag>%s</ETag></Part>"
GOOD = PART % (1, "&quot;a&quot;")

MALFORMED = {
    "no parts": "",
    "another member": f"{GOOD}<Bit/>",
    "no number": "<Part><ETag>a</ETag></Part>",
    "no tag": "<Part><PartNumber>1</PartNumber></Part>",
    "a number twice": PART % ("1</PartNumber><PartNumber>2", "a"),
    "a nested tag": PART % (1, "<b>a</b>"),
    "a word for a number": PART % ("one", "a"),
    "a number with a sign": PART % ("+1", "a"),
    "too many": GOOD * 10_001,
}
DOCUMENTS = {case: f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>" for case, parts in MALFORMED.items()}
DOCUMENTS |= {
    "nothing": "",
    "no XML": "parts",
    "another root": f"<Complete>{GOOD}</Complete>",
    "an entity": f'<!DOCTYPE x [<!ENTITY e "a">]>{DOCUMENTS["no tag"].replace("1", "&e;")}',
    "half": f"<CompleteMultipartUpload>{GOOD}",
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_list_that_is_none(case: str) -> None:
    with denied("parameter_invalid") as seen:
        manifest(DOCUMENTS[case].encode())
    assert "not well-formed" in seen.detail


def test_a_malformed_list_is_told_to_the_client(s3: Clients, gate: Gate) -> None:
    whole = Whole(s3(signature_version="s3v4"), "malformed").begin()
    url = whole.client.generate_presigned_url("complete_multipart_upload", whole.named)
    answer = gate.ask("POST", url, b"<CompleteMultipartUpload/>", {"Content-Type": "text/xml"})
    assert answer.status == 400
    assert b"<Code>MalformedXML</Code>" in answer.body
    assert answer.headers["x-valet-error"] == "parameter_invalid"
    answer = gate.ask("POST", url, b"x" * (4 * MIB + 1))
    assert b"<Code>MaxMessageLengthExceeded</Code>" in answer.body


def test_a_list_may_be_in_the_namespace_and_hold_what_nobody_reads() -> None:
    document = (
        b'<?xml version="1.0"?><CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Part> <ETag> &#34;a&#34; </ETag><PartNumber>3</PartNumber><ChecksumCRC32>q</ChecksumCRC32><New>1</New>"
        b"</Part></CompleteMultipartUpload>"
    )
    (named,) = manifest(document)
    assert (named.number, named.etag, dict(named.checksums)) == (3, "a", {"crc32": "q"})
