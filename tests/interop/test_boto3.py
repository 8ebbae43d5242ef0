"""boto3 with signed headers, over HTTP and TLS: the whole of an object's life, and the errors it raises.

Over HTTP it signs the body's digest; over TLS it sends the body in chunks with a checksum behind it.
"""

from functools import partial
from typing import Any

import pytest

from tests.interop.boto import client, raises
from tests.interop.house import NAMES, House, md5


@pytest.fixture(params=["http", "tls"])
def way(request: pytest.FixtureRequest) -> House:
    """A gateway over HTTP, then one over TLS."""
    found: House = request.getfixturevalue("house" if request.param == "http" else "tls")
    return found


@pytest.fixture
def s3(way: House) -> Any:
    """A client as boto3 makes it without being told anything."""
    return client(way)


HEADERS = {
    "ContentType": "text/plain; charset=utf-8",
    "CacheControl": "max-age=60",
    "ContentDisposition": 'attachment; filename="a cat.txt"',
    "ContentLanguage": "en",
    "ContentEncoding": "identity",
}


def test_an_object_comes_back_with_all_that_it_was_put_with(s3: Any, bucket: str) -> None:
    made = s3.put_object(
        Bucket=bucket, Key="cat.txt", Body=b"a cat", Metadata={"who": "me", "Two": "words here"}, **HEADERS
    )
    assert made["ETag"] == f'"{md5(b"a cat")}"'
    for found in (s3.get_object(Bucket=bucket, Key="cat.txt"), s3.head_object(Bucket=bucket, Key="cat.txt")):
        assert found["ContentLength"] == 5
        assert found["ETag"] == made["ETag"]
        assert found["Metadata"] == {"who": "me", "two": "words here"}
        assert {name: found[name] for name in HEADERS} == HEADERS
    assert s3.get_object(Bucket=bucket, Key="cat.txt")["Body"].read() == b"a cat"
    s3.delete_object(Bucket=bucket, Key="cat.txt")
    s3.delete_object(Bucket=bucket, Key="cat.txt")  # S3 deletes what is not there, too
    with raises("404", 404):
        s3.head_object(Bucket=bucket, Key="cat.txt")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_holds_an_object(s3: Any, bucket: str, name: str) -> None:
    s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [name]
    assert [row["Key"] for row in s3.list_objects(Bucket=bucket)["Contents"]] == [name]
    s3.delete_object(Bucket=bucket, Key=name)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_each_checksum_is_checked_kept_and_returned(s3: Any, bucket: str, algorithm: str) -> None:
    made = s3.put_object(Bucket=bucket, Key="x", Body=b"checked", ChecksumAlgorithm=algorithm)
    field = f"Checksum{algorithm}"
    found = s3.get_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"checked"  # boto3 compares it with the checksum that came along
    assert found[field] == made[field]
    with raises("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="y", Body=b"other", **{field: made[field]})


def test_ranges(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"0123456789")
    for asked, got, where in (("bytes=2-4", b"234", "2-4"), ("bytes=-3", b"789", "7-9"), ("bytes=8-", b"89", "8-9")):
        found = s3.get_object(Bucket=bucket, Key="x", Range=asked)
        assert found["Body"].read() == got
        assert found["ContentRange"] == f"bytes {where}/10"
    with raises("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="x", Range="bytes=10-")


def test_conditions(s3: Any, bucket: str) -> None:
    tag = s3.put_object(Bucket=bucket, Key="x", Body=b"1", IfNoneMatch="*")["ETag"]
    with raises("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="x", Body=b"2", IfNoneMatch="*")
    with raises("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="x", Body=b"2", IfMatch='"other"')
    with raises("304", 304):
        s3.get_object(Bucket=bucket, Key="x", IfNoneMatch=tag)
    with raises("PreconditionFailed", 412):
        s3.get_object(Bucket=bucket, Key="x", IfMatch='"other"')
    assert s3.get_object(Bucket=bucket, Key="x", IfMatch=tag)["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="x", Body=b"2", IfMatch=tag)
    assert s3.get_object(Bucket=bucket, Key="x")["Body"].read() == b"2"


def test_copies_keep_or_replace_what_is_said_of_an_object(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from here", Body=b"copied", ContentType="text/a", Metadata={"a": "1"})
    source = {"Bucket": bucket, "Key": "from here"}
    copied = s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{md5(b"copied")}"'
    s3.copy_object(
        Bucket=bucket,
        Key="new",
        CopySource=source,
        MetadataDirective="REPLACE",
        ContentType="text/b",
        Metadata={"b": "2"},
    )
    kept, new = (s3.get_object(Bucket=bucket, Key=key) for key in ("kept", "new"))
    assert (kept["Body"].read(), kept["ContentType"], kept["Metadata"]) == (b"copied", "text/a", {"a": "1"})
    assert (new["Body"].read(), new["ContentType"], new["Metadata"]) == (b"copied", "text/b", {"b": "2"})
    with raises("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="z", CopySource={"Bucket": bucket, "Key": "not there"})


def test_lists_are_paged_and_folded(s3: Any, bucket: str) -> None:
    names = [f"{folder}/{number:02}" for folder in ("a", "b", "c d") for number in range(5)] + ["top"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    for operation, size in (("list_objects_v2", "KeyCount"), ("list_objects", None)):
        pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 4}))
        assert [row["Key"] for page in pages for row in page["Contents"]] == names
        assert len(pages) == 4
        assert size is None or [page[size] for page in pages] == [4, 4, 4, 4]
        folded = getattr(s3, operation)(Bucket=bucket, Delimiter="/")
        assert [row["Prefix"] for row in folded["CommonPrefixes"]] == ["a/", "b/", "c d/"]
        assert [row["Key"] for row in folded["Contents"]] == ["top"]
        inside = getattr(s3, operation)(Bucket=bucket, Prefix="c d/", Delimiter="/", MaxKeys=2)
        assert [row["Key"] for row in inside["Contents"]] == ["c d/00", "c d/01"]
        assert inside["IsTruncated"]
    after = s3.list_objects_v2(Bucket=bucket, StartAfter="c d/03")
    assert [row["Key"] for row in after["Contents"]] == ["c d/04", "top"]


def test_many_objects_are_deleted_at_once(s3: Any, bucket: str) -> None:
    for name in NAMES:
        s3.put_object(Bucket=bucket, Key=name, Body=b"x")
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in (*NAMES, "not there")]})
    assert sorted(row["Key"] for row in done["Deleted"]) == sorted([*NAMES, "not there"])
    assert "Errors" not in done
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_buckets(s3: Any, bucket: str) -> None:
    with raises("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket=bucket)
    s3.create_bucket(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)
    assert bucket in [row["Name"] for row in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.put_object(Bucket=bucket, Key="x", Body=b"")
    with raises("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="x")
    s3.delete_bucket(Bucket=bucket)
    with raises("404", 404):
        s3.head_bucket(Bucket=bucket)


def test_cors_rules_of_a_bucket(s3: Any, bucket: str) -> None:
    rule = {
        "AllowedOrigins": ["https://app.example.org"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["content-type"],
        "ExposeHeaders": ["etag"],
        "MaxAgeSeconds": 60,
    }
    s3.create_bucket(Bucket=bucket)
    with raises("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    s3.delete_bucket_cors(Bucket=bucket)
    with raises("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=bucket)


def test_attributes(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"12345", ChecksumAlgorithm="SHA256")
    asked = ["ETag", "ObjectSize", "StorageClass", "Checksum"]
    found = s3.get_object_attributes(Bucket=bucket, Key="x", ObjectAttributes=asked)
    assert found["ETag"] == md5(b"12345")
    assert found["ObjectSize"] == 5
    assert found["StorageClass"] == "STANDARD"
    assert found["Checksum"]["ChecksumSHA256"]


def test_what_is_not_there_is_an_error_of_its_own_class(s3: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=bucket)
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="not there")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.get_object(Bucket=f"{bucket}-not", Key="not there")
    with pytest.raises(s3.exceptions.NoSuchUpload):
        s3.list_parts(Bucket=bucket, Key="x", UploadId="nothing")


def test_a_wrong_secret_and_an_unknown_key_are_refused(way: House, bucket: str) -> None:
    with raises("SignatureDoesNotMatch", 403):
        client(way, way.web.wrong).put_object(Bucket=bucket, Key="x", Body=b"x")
    with raises("InvalidAccessKeyId", 403):
        client(way, way.web._replace(access_key_id="VKNOSUCHKEY")).list_objects_v2(Bucket=bucket)
    with raises("NoSuchBucket", 404):
        client(way).list_objects_v2(Bucket=bucket)


def test_a_profile_narrows_what_signed_headers_may(house: House, bucket: str) -> None:
    client(house).put_object(Bucket=bucket, Key="x", Body=b"x")
    reader, scoped = client(house, house.keys["reader"]), client(house, house.keys["scoped"])
    assert reader.get_object(Bucket=bucket, Key="x")["Body"].read() == b"x"
    with raises("AccessDenied", 403):
        reader.put_object(Bucket=bucket, Key="x", Body=b"y")
    with raises("AccessDenied", 403):
        scoped.get_object(Bucket=bucket, Key="x")
    scoped.put_object(Bucket="scoped", Key="inside/x", Body=b"y")
    with raises("AccessDenied", 403):
        scoped.copy_object(Bucket="scoped", Key="inside/z", CopySource={"Bucket": bucket, "Key": "x"})
    with raises("AccessDenied", 403):
        client(house, house.keys["uploads"]).put_object(Bucket=bucket, Key="z", Body=b"z")


def test_what_is_not_served_says_so(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    for call in (
        partial(s3.get_object_acl, Key="x"),
        partial(s3.put_object_tagging, Key="x", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        partial(s3.put_bucket_versioning, VersioningConfiguration={"Status": "Enabled"}),
        partial(s3.put_object, Key="y", Body=b"y", ServerSideEncryption="AES256"),
    ):
        with raises("NotImplemented", 501):
            call(Bucket=bucket)
