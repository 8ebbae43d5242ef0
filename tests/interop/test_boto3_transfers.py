"""boto3's transfers (`upload_file`, `download_file`, multipart uploads by hand), over HTTP and TLS."""

import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.interop.boto import client, raises
from tests.interop.house import md5_of_parts

PART = 5 * 2**20
IN_PARTS = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)


@pytest.fixture(params=["http", "tls"])
def s3(request: pytest.FixtureRequest) -> Any:
    """A client over HTTP, then one over TLS."""
    return client(request.getfixturevalue("house" if request.param == "http" else "tls"))


@pytest.fixture(scope="module")
def content() -> bytes:
    """Two parts and a bit, no two places alike."""
    return b"".join(number.to_bytes(8, "big") for number in range((2 * PART + 1000) // 8))


def test_a_file_goes_up_and_comes_down_in_parts(s3: Any, bucket: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(content)
    said = {"ContentType": "video/mp4", "Metadata": {"who": "me"}}
    s3.upload_file(str(tmp_path / "up"), bucket, "film ä.mp4", ExtraArgs=said, Config=IN_PARTS)
    found = s3.head_object(Bucket=bucket, Key="film ä.mp4")
    tag = md5_of_parts(content[:PART], content[PART : 2 * PART], content[2 * PART :])
    assert (found["ETag"], found["ContentType"], found["Metadata"]) == (f'"{tag}"', "video/mp4", {"who": "me"})
    s3.download_file(bucket, "film ä.mp4", str(tmp_path / "down"), Config=IN_PARTS)
    assert (tmp_path / "down").read_bytes() == content


def test_a_small_file_goes_up_whole(s3: Any, bucket: str, tmp_path: Path) -> None:
    s3.upload_fileobj(io.BytesIO(b"small"), bucket, "small")
    into = io.BytesIO()
    s3.download_fileobj(bucket, "small", into)
    assert into.getvalue() == b"small"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_parts_have_checksums(s3: Any, bucket: str, algorithm: str) -> None:
    started = s3.create_multipart_upload(Bucket=bucket, Key="x", ChecksumAlgorithm=algorithm)
    here = {"Bucket": bucket, "Key": "x", "UploadId": started["UploadId"]}
    part = s3.upload_part(**here, PartNumber=1, Body=b"the only part", ChecksumAlgorithm=algorithm)
    field = f"Checksum{algorithm}"
    parts = [{"PartNumber": 1, "ETag": part["ETag"], field: part[field]}]
    done = s3.complete_multipart_upload(**here, MultipartUpload={"Parts": parts})
    found = s3.get_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"the only part"
    assert found[field] == done[field]


def test_an_uploads_life(s3: Any, bucket: str, content: bytes) -> None:
    first, second = content[:PART], content[PART : PART + 100]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    here = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    assert [row["UploadId"] for row in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    s3.upload_part(**here, PartNumber=2, Body=b"to be replaced")
    tags = [s3.upload_part(**here, PartNumber=number, Body=body)["ETag"] for number, body in ((1, first), (2, second))]
    listed = s3.list_parts(**here)["Parts"]
    assert [(row["PartNumber"], row["Size"], row["ETag"]) for row in listed] == [(1, PART, tags[0]), (2, 100, tags[1])]
    wrong = [{"PartNumber": 2, "ETag": tags[1]}, {"PartNumber": 1, "ETag": tags[0]}]
    with raises("InvalidPartOrder", 400):
        s3.complete_multipart_upload(**here, MultipartUpload={"Parts": wrong})
    with raises("InvalidPart", 400):
        s3.complete_multipart_upload(**here, MultipartUpload={"Parts": [{"PartNumber": 4, "ETag": tags[0]}]})
    with raises("404", 404):
        s3.head_object(Bucket=bucket, Key="x")
    s3.complete_multipart_upload(**here, MultipartUpload={"Parts": wrong[::-1]})
    found = s3.get_object(Bucket=bucket, Key="x", PartNumber=2)
    assert (found["Body"].read(), found["PartsCount"]) == (second, 2)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_an_upload_that_is_given_up_leaves_nothing(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    here = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    s3.upload_part(**here, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**here)
    for call in (s3.list_parts, partial(s3.upload_part, PartNumber=1, Body=b"x")):
        with raises("NoSuchUpload", 404):
            call(**here)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_all_parts_but_the_last_have_5_mib(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    here = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**here, PartNumber=number, Body=b"small")["ETag"]}
        for number in (1, 2)
    ]
    with raises("EntityTooSmall", 400):
        s3.complete_multipart_upload(**here, MultipartUpload={"Parts": parts})


def test_a_completion_has_conditions(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"there already")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    here = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**here, PartNumber=1, Body=b"new")["ETag"]}]
    with raises("PreconditionFailed", 412):
        s3.complete_multipart_upload(**here, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"there already"


def test_a_part_is_copied_from_another_object(s3: Any, bucket: str, content: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=content[: PART + 10])
    upload = s3.create_multipart_upload(Bucket=bucket, Key="x")["UploadId"]
    here = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    copied = [
        s3.upload_part_copy(
            **here, PartNumber=number, CopySource={"Bucket": bucket, "Key": "source"}, CopySourceRange=f"bytes={where}"
        )["CopyPartResult"]["ETag"]
        for number, where in ((1, f"0-{PART - 1}"), (2, f"{PART}-{PART + 9}"))
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(copied, 1)]
    s3.complete_multipart_upload(**here, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == content[: PART + 10]
