"""URLs that boto3 presigns, SigV4 and SigV2 (its default here), used by someone who has nothing but the URL."""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.interop.boto import client
from tests.interop.house import NAMES, House

KINDS = ["s3v4", "s3", None]
"""SigV4, SigV2, and what boto3 chooses by itself."""


@pytest.fixture(params=KINDS, ids=["v4", "v2", "default"])
def s3(request: pytest.FixtureRequest, house: House) -> Any:
    """A client that presigns in one of these ways."""
    return client(house, signature=request.param)


def url(s3: Any, operation: str, expires: int = 300, **parameters: Any) -> str:
    """A presigned URL."""
    made: str = s3.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_any_name_goes_up_and_comes_down(s3: Any, house: House, bucket: str, name: str) -> None:
    put = house.fetch("PUT", url(s3, "put_object", Bucket=bucket, Key=name), name.encode())
    assert put.status == 200, put.body
    got = house.fetch("GET", url(s3, "get_object", Bucket=bucket, Key=name))
    assert (got.status, got.body) == (200, name.encode())
    assert house.fetch("HEAD", url(s3, "head_object", Bucket=bucket, Key=name)).status == 200
    assert house.fetch("DELETE", url(s3, "delete_object", Bucket=bucket, Key=name)).status == 204
    gone = house.fetch("GET", url(s3, "get_object", Bucket=bucket, Key=name))
    assert (gone.status, b"<Code>NoSuchKey</Code>" in gone.body) == (404, True)


def test_boto3s_own_choice_here_is_still_sigv2(house: House) -> None:
    """That is why SigV2 is on by default; a change of boto3's shows here first."""
    query = parse_qs(urlsplit(url(client(house), "get_object", Bucket="b", Key="k")).query)
    assert "AWSAccessKeyId" in query


def test_the_download_has_the_headers_that_were_signed(s3: Any, house: House, bucket: str) -> None:
    client(house).put_object(Bucket=bucket, Key="x", Body=b"x", ContentType="text/plain")
    asked: dict[str, Any] = {
        "ResponseContentDisposition": 'attachment; filename="a cat+1 & co.txt"',
        "ResponseContentType": "text/csv; charset=utf-8",
        "ResponseCacheControl": "no-store",
        "ResponseContentLanguage": "de",
    }
    got = house.fetch("GET", url(s3, "get_object", Bucket=bucket, Key="x", **asked))
    assert got.status == 200, got.body
    assert got.headers["content-type"] == "text/csv; charset=utf-8"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["content-language"] == "de"
    assert got.headers["content-disposition"] == asked["ResponseContentDisposition"]


def test_a_downloads_name_beyond_ascii_is_sent_as_rfc_6266_says(s3: Any, house: House, bucket: str) -> None:
    client(house).put_object(Bucket=bucket, Key="x", Body=b"x")
    said = 'attachment; filename="Büro.txt"'
    got = house.fetch("GET", url(s3, "get_object", Bucket=bucket, Key="x", ResponseContentDisposition=said))
    assert (got.status, "filename*=UTF-8''B%C3%BCro.txt" in got.headers["content-disposition"]) == (200, True)


def test_an_upload_has_the_type_and_metadata_that_were_signed(s3: Any, house: House, bucket: str) -> None:
    signed = url(s3, "put_object", Bucket=bucket, Key="x", ContentType="image/png", Metadata={"who": "me"})
    sent = {"Content-Type": "image/png", "x-amz-meta-who": "me"}
    assert house.fetch("PUT", signed, b"png", sent).status == 200
    found = client(house).head_object(Bucket=bucket, Key="x")
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"who": "me"})
    other = house.fetch("PUT", signed, b"png", sent | {"Content-Type": "text/html"})
    assert other.status in (400, 403)
    assert house.fetch("PUT", signed, b"png", sent | {"x-amz-meta-who": "you"}).status in (400, 403)


def test_headers_that_were_not_signed_are_refused(s3: Any, house: House, bucket: str) -> None:
    signed = url(s3, "put_object", Bucket=bucket, Key="x")
    refused = house.fetch("PUT", signed, b"x", {"x-amz-meta-a": "b"})
    assert refused.status == 403
    assert house.fetch("PUT", signed, b"", {"x-amz-copy-source": f"/{bucket}/y"}).status == 403


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_a_url_is_for_one_method_object_and_time(house: House, bucket: str, signature: str) -> None:
    s3 = client(house, signature=signature)
    client(house).put_object(Bucket=bucket, Key="x", Body=b"x")
    signed = url(s3, "get_object", Bucket=bucket, Key="x")
    assert house.fetch("GET", signed).status == 200
    assert house.fetch("HEAD", signed).status == 200
    for method, other in (
        ("PUT", signed),
        ("DELETE", signed),
        ("GET", signed.replace("/x?", "/y?")),
        ("GET", signed + "&response-content-type=text/html"),
        ("GET", signed.replace("Expires=", "Expires=1")),
    ):
        refused = house.fetch(method, other, b"y" if method == "PUT" else None)
        assert refused.status in (400, 403), (method, other)
        assert b"<Code>" in refused.body
    wrong = url(client(house, house.web.wrong, signature=signature), "get_object", Bucket=bucket, Key="x")
    refused = house.fetch("GET", wrong)
    assert (refused.status, b"<Code>SignatureDoesNotMatch</Code>" in refused.body) == (403, True)
    brief = url(s3, "get_object", expires=1, Bucket=bucket, Key="x")
    deadline = time.monotonic() + 5
    while (refused := house.fetch("GET", brief)).status == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert refused.status == 403
    assert b"<Code>AccessDenied</Code><Message>Request has expired" in refused.body


def test_a_range_of_a_presigned_download(s3: Any, house: House, bucket: str) -> None:
    client(house).put_object(Bucket=bucket, Key="x", Body=b"0123456789")
    got = house.fetch("GET", url(s3, "get_object", Bucket=bucket, Key="x"), headers={"Range": "bytes=2-4"})
    assert (got.status, got.body) == (206, b"234")


def test_lists_and_parts_are_presigned_too(s3: Any, house: House, bucket: str) -> None:
    started = house.fetch("POST", url(s3, "create_multipart_upload", Bucket=bucket, Key="x"), b"")
    assert started.status == 200, started.body
    upload = started.body.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()
    here: dict[str, Any] = {"Bucket": bucket, "Key": "x", "UploadId": upload}
    part = house.fetch("PUT", url(s3, "upload_part", PartNumber=1, **here), b"part")
    assert part.status == 200, part.body
    body = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
    )
    done = house.fetch("POST", url(s3, "complete_multipart_upload", **here), body.encode())
    assert done.status == 200, done.body
    listed = house.fetch("GET", url(s3, "list_objects_v2", Bucket=bucket))
    assert b"<Key>x</Key>" in listed.body
    assert house.fetch("GET", url(s3, "get_object", Bucket=bucket, Key="x")).body == b"part"


def test_single_use_create_only_types_and_lengths_hold_for_presigned_uploads(house: House, bucket: str) -> None:
    for signature in ("s3v4", "s3"):
        once = url(client(house, house.keys["uploads"], signature=signature), "put_object", Bucket=bucket, Key="once")
        assert house.fetch("PUT", once, b"1").status == 200
        again = house.fetch("PUT", once, b"2")
        assert (again.status, again.headers["x-valet-error"]) == (403, "key_used")
        create = url(
            client(house, house.keys["creator"], signature=signature), "put_object", Bucket=bucket, Key=signature
        )
        assert house.fetch("PUT", create, b"1").status == 200
        assert house.fetch("PUT", create, b"2").status == 412
        pictures = client(house, house.keys["pictures"], signature=signature)
        typed = url(pictures, "put_object", Bucket=bucket, Key="p", ContentType="text/plain")
        assert (
            house.fetch("PUT", typed, b"1", {"Content-Type": "text/plain"}).headers["x-valet-error"]
            == "type_not_allowed"
        )
        large = url(pictures, "put_object", Bucket=bucket, Key="p", ContentType="image/png")
        assert (
            house.fetch("PUT", large, bytes(1025), {"Content-Type": "image/png"}).headers["x-valet-error"]
            == "too_large"
        )
        assert house.fetch("PUT", large, bytes(1024), {"Content-Type": "image/png"}).status == 200


def test_a_url_that_lives_longer_than_its_signing_key_allows_is_refused(house: House, bucket: str) -> None:
    s3 = client(house, house.keys["brief"], signature="s3v4")
    client(house).put_object(Bucket=bucket, Key="x", Body=b"x")
    assert house.fetch("GET", url(s3, "get_object", 60, Bucket=bucket, Key="x")).status == 200
    refused = house.fetch("GET", url(s3, "get_object", 61, Bucket=bucket, Key="x"))
    assert (refused.status, refused.headers["x-valet-error"]) == (403, "ttl_too_long")


def test_only_sigv4_signs_a_condition(house: House, bucket: str) -> None:
    """Of SigV2 boto3 drops it in silence; there a profile that may only create is what holds."""
    for signature, without in (("s3v4", 403), ("s3", 200)):
        s3 = client(house, signature=signature)
        signed = url(s3, "put_object", Bucket=bucket, Key=signature, IfNoneMatch="*")
        assert house.fetch("PUT", signed, b"1", {"If-None-Match": "*"}).status == 200
        assert house.fetch("PUT", signed, b"2", {"If-None-Match": "*"}).status == 412
        assert house.fetch("PUT", signed, b"2").status == without


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_buckets_in_the_host(house: House, signature: str) -> None:
    """Virtual-host style: the bucket is the first label of the name."""
    s3 = client(house, signature=signature, style="virtual", endpoint=f"http://localhost:{house.port}")
    put = url(s3, "put_object", Bucket="virtual-photos", Key="a b.txt")
    assert put.startswith(f"http://virtual-photos.localhost:{house.port}/a%20b.txt?")
    assert house.fetch("PUT", put, b"x").status == 200
    assert house.fetch("GET", url(s3, "get_object", Bucket="virtual-photos", Key="a b.txt")).body == b"x"
    listed = house.fetch("GET", url(s3, "list_objects_v2", Bucket="virtual-photos"))
    assert b"<Key>a%20b.txt</Key>" in listed.body  # boto3 asks for names in this form
    assert client(house).get_object(Bucket="virtual-photos", Key="a b.txt")["Body"].read() == b"x"


def test_conditions_of_the_gateways_own_travel_in_a_url(house: House, bucket: str) -> None:
    """`x-valet-*` parameters, added before boto3 signs."""
    s3 = client(house, signature="s3v4")

    def limited(request: Any, **_: Any) -> None:
        request.params |= {"x-valet-uses": "1", "x-valet-length": "1-5"}

    s3.meta.events.register("before-sign.s3.PutObject", limited)
    signed = url(s3, "put_object", Bucket=bucket, Key="x")
    assert house.fetch("PUT", signed, b"123456").headers["x-valet-error"] == "too_large"
    assert house.fetch("PUT", signed, b"12345").status == 200
    assert house.fetch("PUT", signed, b"12345").headers["x-valet-error"] == "key_used"
    bare = signed.replace("x-valet-uses=1", "x-valet-uses=2")
    assert bare != signed
    assert house.fetch("PUT", bare, b"12345").status == 403
