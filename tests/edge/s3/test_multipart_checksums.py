"""Checksums of uploads in parts: all five, over the parts' checksums or over the whole; checked, kept, returned."""

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Any, Final

import pytest
from awscrt import checksums as crt

from tests.edge.s3.conftest import Clients
from tests.edge.s3.parts import BUCKET, PART_MIN, Whole, filled, refused

BODIES: Final = {1: filled(1), 2: filled(2, PART_MIN + 3), 3: b"end"}
WHOLE: Final = b"".join(BODIES.values())

DIGESTS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: crt.crc32c(data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: crt.crc64nvme(data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}

KINDS: Final = [
    ("CRC32", "COMPOSITE"),
    ("CRC32C", "COMPOSITE"),
    ("SHA1", "COMPOSITE"),
    ("SHA256", "COMPOSITE"),
    ("CRC32", "FULL_OBJECT"),
    ("CRC32C", "FULL_OBJECT"),
    ("CRC64NVME", "FULL_OBJECT"),
]


def text(digest: bytes) -> str:
    """As S3 writes it."""
    return base64.b64encode(digest).decode()


def expected(algorithm: str, kind: str) -> str:
    """The whole's, computed here."""
    digest = DIGESTS[algorithm]
    if kind == "FULL_OBJECT":
        return text(digest(WHOLE))
    return f"{text(digest(b''.join(map(digest, BODIES.values()))))}-{len(BODIES)}"


def uploaded(client: Any, algorithm: str, **asked: Any) -> Whole:
    """An upload with its parts, each with its checksum."""
    whole = Whole(client, f"sums/{algorithm}").begin(ChecksumAlgorithm=algorithm, **asked)
    for number, body in BODIES.items():
        answer = whole.part(number, body, ChecksumAlgorithm=algorithm)
        assert answer[f"Checksum{algorithm}"] == text(DIGESTS[algorithm](body))
    return whole


@pytest.mark.parametrize(("algorithm", "kind"), KINDS)
def test_the_whole_has_the_checksum_that_its_parts_make(s3: Clients, algorithm: str, kind: str) -> None:
    whole, member = uploaded(s3(), algorithm, ChecksumType=kind), f"Checksum{algorithm}"
    listed = whole.client.list_parts(**whole.named)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    assert [row[member] for row in listed["Parts"]] == [whole.rows[number][member] for number in BODIES]
    wrong = text(DIGESTS[algorithm](b"another"))
    with refused("BadDigest", 400, f"The {algorithm.lower()} you specified did not match the calculated checksum."):
        whole.complete(None, **{member: wrong})
    answer = whole.complete(None, **{member: expected(algorithm, kind)}, ChecksumType=kind)
    assert (answer[member], answer["ChecksumType"]) == (expected(algorithm, kind), kind)
    again = whole.complete()
    assert (again[member], again["ChecksumType"]) == (answer[member], kind)
    found = whole.client.head_object(Bucket=BUCKET, Key=whole.key, ChecksumMode="ENABLED")
    assert (found[member], found["ChecksumType"]) == (expected(algorithm, kind), kind)
    assert whole.body() == WHOLE


def test_a_type_that_is_not_asked_for_is_composite_where_it_can_be(s3: Clients) -> None:
    for algorithm in DIGESTS:
        answer = s3().create_multipart_upload(Bucket=BUCKET, Key="sums/default", ChecksumAlgorithm=algorithm)
        kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
        assert (answer["ChecksumAlgorithm"], answer["ChecksumType"]) == (algorithm, kind)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ChecksumAlgorithm": "SHA1", "ChecksumType": "FULL_OBJECT"}, "The FULL_OBJECT checksum type cannot be used"),
        ({"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}, "with the sha256 checksum algorithm"),
        ({"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"}, "The COMPOSITE checksum type cannot be used"),
        ({"ChecksumType": "COMPOSITE"}, "can only be used with the x-amz-checksum-algorithm header"),
        ({"ChecksumAlgorithm": "MD6"}, "Checksum algorithm provided is unsupported."),
        ({"ChecksumAlgorithm": "CRC32", "ChecksumType": "HALF"}, "Value for x-amz-checksum-type header is invalid."),
    ],
)
def test_what_cannot_be(s3: Clients, asked: dict[str, str], said: str) -> None:
    with refused("InvalidRequest", 400, said):
        s3().create_multipart_upload(Bucket=BUCKET, Key="sums/none", **asked)


def test_a_part_has_the_checksum_that_the_upload_was_begun_with(s3: Clients) -> None:
    client = s3(request_checksum_calculation="when_required")
    whole = Whole(client, "sums/other").begin(ChecksumAlgorithm="SHA256")
    said = "Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: "
    with refused("InvalidRequest", 400, said + "crc32"):
        whole.part(1, b"x", ChecksumAlgorithm="CRC32")
    with refused("InvalidRequest", 400, said + "null"):
        whole.part(1, b"x")
    with refused("BadDigest", 400):
        whole.part(1, b"x", ChecksumSHA256=text(DIGESTS["SHA256"](b"y")))
    whole.part(1, b"x", ChecksumSHA256=text(DIGESTS["SHA256"](b"x")))
    row = {"PartNumber": 1, "ETag": whole.rows[1]["ETag"]}
    with refused("InvalidRequest", 400, "It was missing for part 1 in the request."):
        whole.complete([row])
    with refused("InvalidPart", 400):
        whole.complete([row | {"ChecksumSHA256": text(DIGESTS["SHA256"](b"y"))}])
    with refused("InvalidRequest", 400, "The upload was created using the COMPOSITE checksum mode."):
        whole.complete(ChecksumType="FULL_OBJECT")
    whole.complete()


def test_an_upload_without_a_checksum_is_completed_whatever_is_said_of_one(s3: Clients) -> None:
    """Some clients send that of the document, as of any other body; S3 does not look at it."""
    whole = Whole(s3(request_checksum_calculation="when_required"), "sums/without").begin()
    whole.part(1, b"x")
    whole.complete(ChecksumCRC32="AAAAAA==")


def test_the_parts_of_a_whole_crc_need_no_checksum_of_their_own(s3: Clients) -> None:
    client = s3(request_checksum_calculation="when_required")
    whole = Whole(client, "sums/plain").begin(ChecksumAlgorithm="CRC64NVME")
    for number, body in BODIES.items():
        whole.part(number, body)
    answer = whole.complete([{"PartNumber": n, "ETag": row["ETag"]} for n, row in whole.rows.items()])
    assert answer["ChecksumCRC64NVME"] == expected("CRC64NVME", "FULL_OBJECT")


def test_a_part_may_vouch_for_itself_though_the_upload_has_no_checksum(s3: Clients) -> None:
    whole = Whole(s3(), "sums/each").begin()
    with refused("BadDigest", 400):
        whole.part(1, b"x", ChecksumCRC32C=text(DIGESTS["CRC32C"](b"y")))
    assert whole.part(1, b"x", ChecksumAlgorithm="SHA1")["ChecksumSHA1"] == text(DIGESTS["SHA1"](b"x"))
    answer = whole.complete()
    assert not any(name.startswith("Checksum") for name in answer)


def test_content_md5_holds_for_a_part(s3: Clients) -> None:
    whole = Whole(s3(), "sums/md5").begin()
    md5 = text(hashlib.md5(b"x", usedforsecurity=False).digest())
    with refused("BadDigest", 400):
        whole.part(1, b"y", ContentMD5=md5)
    with refused("InvalidDigest", 400):
        whole.part(1, b"x", ContentMD5="abc")
    whole.part(1, b"x", ContentMD5=md5)
    whole.complete()
