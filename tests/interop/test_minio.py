"""MinIO's client for Python: SigV4 with signed lengths and digests, presigned URLs, forms of its own making."""

import datetime
import io
from typing import Any

import pytest
from minio import Minio
from minio.commonconfig import CopySource
from minio.datatypes import PostPolicy
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from tests.interop.house import NAMES, House, Secret, md5
from tests.interop.test_boto3_post import send

PART = 5 * 2**20


def client(house: House, secret: Secret | None = None) -> Minio:
    """A client, as an application makes it."""
    secret = secret or house.web
    return Minio(
        f"127.0.0.1:{house.port}",
        access_key=secret.access_key_id,
        secret_key=secret.secret_access_key,
        region=secret.region,
        secure=False,
    )


@pytest.fixture
def minio(house: House, bucket: str) -> Minio:
    """A client, and the test's bucket is there."""
    made = client(house)
    made.make_bucket(bucket)
    return made


def put(minio: Minio, bucket: str, name: str, content: bytes, **more: Any) -> Any:
    """Upload bytes."""
    return minio.put_object(bucket, name, io.BytesIO(content), len(content), **more)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_holds_an_object(minio: Minio, house: House, bucket: str, name: str) -> None:
    put(minio, bucket, name, name.encode())
    assert minio.get_object(bucket, name).read() == name.encode()
    assert [row.object_name for row in minio.list_objects(bucket, recursive=True)] == [name]
    assert house.fetch("GET", minio.presigned_get_object(bucket, name)).body == name.encode()
    minio.remove_object(bucket, name)
    assert not list(minio.list_objects(bucket))


def test_what_is_said_of_an_object(minio: Minio, bucket: str) -> None:
    made = put(minio, bucket, "x", b"0123456789", content_type="text/x-cat", metadata={"who": "me"})
    found = minio.stat_object(bucket, "x")
    assert found.etag == made.etag == md5(b"0123456789")
    assert found.content_type == "text/x-cat"
    assert found.metadata is not None
    assert found.metadata["x-amz-meta-who"] == "me"
    assert minio.get_object(bucket, "x", offset=2, length=3).read() == b"234"
    minio.copy_object(bucket, "y", CopySource(bucket, "x"))
    assert minio.get_object(bucket, "y").read() == b"0123456789"


def test_a_stream_of_unknown_length_goes_up_in_parts(minio: Minio, bucket: str) -> None:
    content = bytes(range(256)) * (PART // 256) + b"the end"
    minio.put_object(bucket, "x", io.BytesIO(content), length=-1, part_size=PART)
    found = minio.stat_object(bucket, "x")
    assert found.size == len(content)
    assert (found.etag or "").endswith("-2")
    assert minio.get_object(bucket, "x").read() == content


def test_objects_are_removed_together(minio: Minio, bucket: str) -> None:
    for name in NAMES:
        put(minio, bucket, name, b"x")
    assert not list(minio.remove_objects(bucket, [DeleteObject(name) for name in NAMES]))
    assert not list(minio.list_objects(bucket))
    minio.remove_bucket(bucket)
    assert not minio.bucket_exists(bucket)


def test_presigned_uploads_and_forms(minio: Minio, house: House, bucket: str) -> None:
    assert house.fetch("PUT", minio.presigned_put_object(bucket, "a b"), b"put").status == 200
    policy = PostPolicy(bucket, datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5))
    policy.add_starts_with_condition("key", "in/")
    policy.add_content_length_range_condition(1, 10)
    form = {"url": f"{house.endpoint}/{bucket}", "fields": minio.presigned_post_policy(policy) | {"key": "in/x"}}
    assert send(house, form, b"posted").status == 204
    assert send(house, form, b"posted too much").status == 400
    assert [minio.get_object(bucket, name).read() for name in ("a b", "in/x")] == [b"put", b"posted"]


def test_errors(minio: Minio, house: House, bucket: str) -> None:
    for secret, name, code in (
        (house.web, "not there", "NoSuchKey"),
        (house.web.wrong, "x", "SignatureDoesNotMatch"),
        (house.keys["scoped"], "x", "AccessDenied"),
    ):
        with pytest.raises(S3Error) as caught:
            client(house, secret).get_object(bucket, name)
        assert caught.value.code == code
