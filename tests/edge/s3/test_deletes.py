"""DeleteObjects: many objects by one document, and what became of each."""

import base64
import hashlib
from typing import Any

import botocore.credentials
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from tests.edge.s3.conftest import REGION, Clients
from tests.edge.s3.refused import refused
from tests.gate import Answer
from valetstore.grants.grant import Profile


@pytest.fixture(scope="module")
def bucket(s3: Clients) -> str:
    s3().create_bucket(Bucket="many")
    return "many"


def fill(s3: Clients, bucket: str, *names: str) -> None:
    for name in names:
        s3().put_object(Bucket=bucket, Key=name, Body=name.encode())


def delete(
    client: Any, bucket: str, *objects: str | dict[str, Any], quiet: bool = False
) -> tuple[list[str], dict[str, str]]:
    """The keys that were deleted, and the codes of those that were not."""
    entries = [{"Key": entry} if isinstance(entry, str) else entry for entry in objects]
    told = client.delete_objects(Bucket=bucket, Delete={"Objects": entries, "Quiet": quiet})
    errors = {error["Key"]: error["Code"] for error in told.get("Errors", [])}
    return [entry["Key"] for entry in told.get("Deleted", [])], errors


def presigned(s3: Clients, bucket: str, profile: Profile | None = None) -> str:
    """A URL for DeleteObjects. botocore's own presigning of a POST takes its body for JSON."""
    credentials = s3.credentials(profile)
    request = AWSRequest("POST", f"{s3.gate.base}/{bucket}?delete")
    plain = botocore.credentials.Credentials(credentials.access_key_id, credentials.secret_access_key)
    S3SigV4QueryAuth(plain, "s3", REGION, 300).add_auth(request)
    return str(request.url)


def post(s3: Clients, url: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """The document, with its MD5 unless told otherwise."""
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return s3.gate.ask("POST", url, body, {"Content-MD5": md5} if headers is None else headers)


def document(*keys: str) -> bytes:
    return f"<Delete>{''.join(f'<Object><Key>{key}</Key></Object>' for key in keys)}</Delete>".encode()


def test_many_go_at_once(s3: Clients, bucket: str) -> None:
    names = [f"n/{number}" for number in range(40)]
    fill(s3, bucket, *names, "stays")
    assert delete(s3(), bucket, *names, "was never there") == ([*names, "was never there"], {})
    assert [row["Key"] for row in s3().list_objects_v2(Bucket=bucket)["Contents"]] == ["stays"]


def test_quiet_tells_errors_only(s3: Clients, bucket: str) -> None:
    fill(s3, bucket, "a", "b")
    version = {"Key": "b", "VersionId": "other"}
    assert delete(s3(), bucket, "a", version, quiet=True) == ([], {"b": "NoSuchVersion"})
    assert delete(s3(), bucket, {"Key": "b", "VersionId": "null"}) == (["b"], {})
    assert "Contents" not in s3().list_objects_v2(Bucket=bucket, Prefix="a")


def test_the_key_must_open_each(s3: Clients, bucket: str) -> None:
    fill(s3, bucket, "mine/1", "theirs/1")
    client = s3(profile=Profile(prefixes=(f"/{bucket}/mine/",)))
    assert delete(client, bucket, "mine/1", "theirs/1", "theirs/absent") == (
        ["mine/1"],
        {"theirs/1": "AccessDenied", "theirs/absent": "AccessDenied"},
    )
    assert s3().head_object(Bucket=bucket, Key="theirs/1")["ContentLength"] == 8
    reader = s3(profile=Profile(operations=("read", "list")))
    found = refused(reader.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "theirs/1"}]})
    assert (found.status, found.code) == (403, "AccessDenied")


def test_conditions_hold_for_each(s3: Clients, bucket: str) -> None:
    client = s3()
    fill(s3, bucket, "tagged")
    head = client.head_object(Bucket=bucket, Key="tagged")
    wrong: list[dict[str, Any]] = [
        {"ETag": '"other"'},
        {"ETag": "other"},
        {"Size": 99},
        {"ETag": head["ETag"], "Size": 99},
    ]
    wrong.append({"LastModifiedTime": "Sat, 01 Jan 2000 00:00:00 GMT"})
    for condition in wrong:
        assert delete(client, bucket, {"Key": "tagged"} | condition) == ([], {"tagged": "PreconditionFailed"})
    right = {"ETag": head["ETag"].strip('"'), "Size": 6, "LastModifiedTime": head["LastModified"]}
    assert delete(client, bucket, {"Key": "tagged"} | right) == (["tagged"], {})
    assert delete(client, bucket, {"Key": "tagged", "ETag": "any"}) == (["tagged"], {}), "what is missing is deleted"


def test_names_of_every_kind(s3: Clients, bucket: str) -> None:
    names = ["<&>", " led by a space", "quote\"'", "\xe9", "a//b", "a/"]
    fill(s3, bucket, *names)
    long = "x" * 1025
    assert delete(s3(), bucket, *names, long, "a/../b") == (names, {long: "KeyTooLongError", "a/../b": "InvalidURI"})


def test_a_document_must_come_with_its_digest(s3: Clients, bucket: str) -> None:
    body = document("x")
    answer = post(s3, presigned(s3, bucket), body, {})
    assert answer.status == 400
    assert b"<Code>InvalidRequest</Code>" in answer.body
    assert b"Missing required header for this request: Content-MD5 OR x-amz-checksum-*" in answer.body
    wrong = base64.b64encode(bytes(16)).decode()
    answer = post(s3, presigned(s3, bucket), body, {"Content-MD5": wrong})
    assert (answer.status, b"<Code>BadDigest</Code>" in answer.body) == (400, True)
    assert post(s3, presigned(s3, bucket), body).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete>",
        b"<Delete></Delete>",
        b"<Other/>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Size>x</Size></Object></Delete>",
        b"<Delete><Object><Key>a</Key><LastModifiedTime>x</LastModifiedTime></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Other/></Object></Delete>",
        b'<!DOCTYPE Delete [<!ENTITY a "a">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        document(*map(str, range(1001))),
    ],
)
def test_what_is_no_document_deletes_nothing(s3: Clients, bucket: str, body: bytes) -> None:
    fill(s3, bucket, "a", "0")
    answer = post(s3, presigned(s3, bucket), body)
    assert (answer.status, b"<Code>MalformedXML</Code>" in answer.body) == (400, True), answer.body
    assert s3().head_object(Bucket=bucket, Key="a")["ContentLength"] == 1
    assert s3().head_object(Bucket=bucket, Key="0")["ContentLength"] == 1


def test_a_thousand_are_one_request(s3: Clients, bucket: str) -> None:
    told = post(s3, presigned(s3, bucket), document(*(f"absent/{number}" for number in range(1000))))
    assert told.status == 200
    assert told.body.count(b"<Deleted>") == 1000


def test_a_bucket_must_be_there(s3: Clients) -> None:
    found = refused(s3().delete_objects, Bucket="no-such-bucket", Delete={"Objects": [{"Key": "x"}]})
    assert (found.status, found.code) == (404, "NoSuchBucket")


def test_a_presigned_document_has_one_use_where_the_key_says_so(s3: Clients, bucket: str) -> None:
    fill(s3, bucket, "one", "two")
    url = presigned(s3, bucket, Profile(single_use=("delete",)))
    assert post(s3, url, b"<Delete>").status == 400, "a refusal uses nothing"
    assert post(s3, url, document("one")).status == 200
    assert post(s3, url, document("two")).code == "key_used"
    assert s3().head_object(Bucket=bucket, Key="two")["ContentLength"] == 3


def test_deletes_after_a_revocation_do_not_happen(s3: Clients, bucket: str) -> None:
    fill(s3, bucket, "kept/1", "kept/2")
    s3.gate.cli("revoke", "--prefix", f"/{bucket}/kept/")
    assert delete(s3(), bucket, "kept/1", "kept/2", "other") == (
        ["other"],
        {"kept/1": "AccessDenied", "kept/2": "AccessDenied"},
    )
