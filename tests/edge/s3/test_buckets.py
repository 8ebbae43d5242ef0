"""Buckets by S3's operations: made, found, listed, removed; and what is said about one."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.handlers import validate_bucket_name

from tests.edge.s3.conftest import Clients
from tests.edge.s3.refused import refused
from tests.gate import Gate
from valetstore.grants.grant import Profile


def names(client: Any) -> list[str]:
    return [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]


def test_a_bucket_from_its_making_to_its_end(s3: Clients) -> None:
    client = s3()
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=5)
    assert client.create_bucket(Bucket="life")["Location"] == "/life"
    head = client.head_bucket(Bucket="life")
    assert head["BucketRegion"] == "us-east-1"
    assert head["AccessPointAlias"] is False
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    assert "LocationConstraint" in client.get_bucket_location(Bucket="life")
    assert client.get_bucket_location(Bucket="life")["LocationConstraint"] is None
    assert "Status" not in client.get_bucket_versioning(Bucket="life")
    found = next(bucket for bucket in client.list_buckets()["Buckets"] if bucket["Name"] == "life")
    assert before < found["CreationDate"] < before + datetime.timedelta(seconds=60)
    client.put_object(Bucket="life", Key="a/b", Body=b"")
    full = refused(client.delete_bucket, Bucket="life")
    assert (full.status, full.code) == (409, "BucketNotEmpty")
    assert full.message == "The bucket you tried to delete is not empty"
    assert full.members["BucketName"] == "life"
    client.delete_object(Bucket="life", Key="a/b")
    client.create_multipart_upload(Bucket="life", Key="unfinished")
    assert client.delete_bucket(Bucket="life")["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (client.delete_bucket, client.get_bucket_location, client.get_bucket_versioning):
        assert refused(call, Bucket="life")[:2] == (404, "NoSuchBucket")
    assert refused(client.head_bucket, Bucket="life").status == 404
    assert "life" not in names(client)
    client.create_bucket(Bucket="life")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="life")
    client.put_object(Bucket="life", Key="again", Body=b"1")
    assert client.list_objects_v2(Bucket="life")["KeyCount"] == 1


def test_who_makes_it_twice_owns_it(s3: Clients) -> None:
    """In us-east-1 S3 answers 200; elsewhere it says that it is there."""
    client = s3()
    client.create_bucket(Bucket="twice")
    client.put_object(Bucket="twice", Key="kept", Body=b"1")
    client.create_bucket(Bucket="twice", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert client.get_object(Bucket="twice", Key="kept")["Body"].read() == b"1"


def test_elsewhere_a_bucket_is_made_once(start: Callable[..., Gate]) -> None:
    gate = start('[s3]\nregion = "eu-central-1"\n')
    client = Clients(gate)(region="eu-central-1")
    client.create_bucket(Bucket="once", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    found = refused(
        client.create_bucket, Bucket="once", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    assert (found.status, found.code) == (409, "BucketAlreadyOwnedByYou")
    assert client.get_bucket_location(Bucket="once")["LocationConstraint"] == "eu-central-1"
    assert client.head_bucket(Bucket="once")["BucketRegion"] == "eu-central-1"


@pytest.mark.parametrize(
    "name",
    [
        *("ab", "Capital", "under_score", "192.168.5.123", "ends-", "two..dots", "dot.-dash", "dash-.dot", "ends."),
        *("xn--x", "sthree-x", "amzn-s3-demo-x", "x-s3alias", "x--ol-s3", "a" * 64),
    ],
)
def test_names_that_s3_gives_to_no_bucket(s3: Clients, name: str) -> None:
    client = s3()
    client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    found = refused(client.create_bucket, Bucket=name)
    assert (found.status, found.code) == (400, "InvalidBucketName")
    assert found.members["BucketName"] == name


@pytest.mark.parametrize("name", ["abc", "a.b-c.d1", "0start", "a" * 63])
def test_names_that_s3_gives(s3: Clients, name: str) -> None:
    s3().create_bucket(Bucket=name)
    assert name in names(s3())


def test_what_a_bucket_cannot_be_made_with(s3: Clients) -> None:
    client = s3()
    found = refused(client.create_bucket, Bucket="open", ACL="everybody")
    assert (found.status, found.code) == (400, "InvalidArgument")
    client.create_bucket(Bucket="closed", ACL="private", ObjectOwnership="BucketOwnerEnforced")
    for further in (
        {"ObjectLockEnabledForBucket": True},
        {"ObjectOwnership": "ObjectWriter"},
        {"GrantRead": "id=somebody"},
        {"CreateBucketConfiguration": {"Bucket": {"Type": "Directory"}}},
    ):
        assert refused(client.create_bucket, Bucket="special", **further)[:2] == (501, "NotImplemented")
    url = client.generate_presigned_url("create_bucket", Params={"Bucket": "malformed"})
    for body in (b"<CreateBucketConfiguration>", b"<Other/>", b"not xml", b"<!DOCTYPE x [<!ENTITY e 'x'>]><x>&e;</x>"):
        answer = s3.gate.ask("PUT", url, body)
        assert (answer.status, b"<Code>MalformedXML</Code>" in answer.body) == (400, True)
    for name in ("open", "special", "malformed"):
        assert refused(client.head_bucket, Bucket=name).status == 404
    assert s3.gate.ask("PUT", url).status == 200
    raw = s3.gate.raw(_bare(client.generate_presigned_url("create_bucket", Params={"Bucket": "bare"}), s3.gate))
    assert raw.startswith(b"HTTP/1.1 200"), "a request that says nothing of a body has none"


def _bare(url: str, gate: Gate) -> bytes:
    host = gate.base.partition("://")[2]
    target = url.removeprefix(gate.base)
    return f"PUT {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def test_a_list_of_buckets_shows_what_the_key_opens(s3: Clients) -> None:
    client = s3()
    for name in ("seen-1", "seen-2", "unseen"):
        client.create_bucket(Bucket=name)
    narrow = s3(profile=Profile(prefixes=("/seen-1/", "/seen-2/some/")))
    assert names(narrow) == ["seen-1", "seen-2"]
    assert refused(narrow.list_objects_v2, Bucket="seen-2").code == "AccessDenied"
    assert narrow.head_bucket(Bucket="seen-2")["BucketRegion"] == "us-east-1"
    assert refused(narrow.head_bucket, Bucket="unseen").status == 403
    assert refused(narrow.create_bucket, Bucket="unseen-2").status == 403
    assert names(s3(profile=Profile(prefixes=("/nowhere/",)))) == []
    assert refused(s3(profile=Profile(operations=("read",))).list_buckets).code == "AccessDenied"


def test_a_list_of_buckets_goes_on(s3: Clients) -> None:
    client = s3()
    for name in ("page-1", "page-2", "page-3"):
        client.create_bucket(Bucket=name)
    first = client.list_buckets(Prefix="page-", MaxBuckets=2)
    assert [bucket["Name"] for bucket in first["Buckets"]] == ["page-1", "page-2"]
    assert first["Prefix"] == "page-"
    rest = client.list_buckets(Prefix="page-", MaxBuckets=2, ContinuationToken=first["ContinuationToken"])
    assert [bucket["Name"] for bucket in rest["Buckets"]] == ["page-3"]
    assert "ContinuationToken" not in rest
    assert rest["Buckets"][0]["BucketRegion"] == "us-east-1"
    assert client.list_buckets(BucketRegion="us-west-2")["Buckets"] == []
    assert client.list_buckets()["Owner"]["ID"]
    url = client.generate_presigned_url("list_buckets")
    answer = s3.gate.ask("GET", url + "&max-buckets=0")
    assert answer.status == 400


def test_a_bucket_of_the_operators_folder_stays(start: Callable[..., Gate], tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    gate = start(f'[buckets.media]\nroot = "{folder}"\nlayout = "files"\n')
    client = Clients(gate)()
    client.create_bucket(Bucket="media")
    found = refused(client.delete_bucket, Bucket="media")
    assert (found.status, found.code) == (403, "AccessDenied")
    assert folder.is_dir()
    assert names(client) == ["media"]


def test_a_presigned_change_of_a_bucket_has_one_use_where_the_key_says_so(s3: Clients) -> None:
    client = s3(profile=Profile(single_use=("write", "delete")), signature_version="s3v4")
    make = client.generate_presigned_url("create_bucket", Params={"Bucket": "single"})
    assert s3.gate.ask("PUT", make, b"<x").status == 400, "a refusal uses nothing"
    assert s3.gate.ask("PUT", make).status == 200
    assert s3.gate.ask("PUT", make).code == "key_used"
    s3().put_object(Bucket="single", Key="x", Body=b"")
    remove = client.generate_presigned_url("delete_bucket", Params={"Bucket": "single"})
    assert s3.gate.ask("DELETE", remove).status == 409
    s3().delete_object(Bucket="single", Key="x")
    assert s3.gate.ask("DELETE", remove).status == 204
    assert s3.gate.ask("DELETE", remove).code == "key_used"
