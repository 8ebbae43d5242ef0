"""CopyObject: from an object that the key opens to one that it may write, with what both sides ask."""

import hashlib
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.edge.s3.conftest import Clients
from tests.edge.s3.signed import ask, error_of, presigned, refused
from tests.gate import Gate
from valetstore.edge.s3.copying import source_of
from valetstore.errors import Denied
from valetstore.grants.grant import Profile
from valetstore.inbound import Inbound
from valetstore.objectkey import ObjectKey

BODY: Final = b"copied bytes"
ETAG: Final = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
SOURCE: Final = {"Bucket": "things", "Key": "source ä+%.txt"}
PATH: Final = "/things/source%20%C3%A4%2B%25.txt"


@pytest.fixture(scope="module")
def client(s3: Clients) -> Any:
    """A client that may do everything, and an object to copy from."""
    made = s3()
    made.put_object(
        **SOURCE,
        Body=BODY,
        ContentType="text/csv",
        CacheControl="no-cache",
        Metadata={"colour": "red"},
        ChecksumAlgorithm="SHA256",
    )
    return made


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    """Status and code as an SDK tells them."""
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


# --- the source's name -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"b/k", "k"),
        (b"/b/k", "k"),
        (b"b/a/b%2Fc", "a/b/c"),
        (b"/b/%C3%A4%2B", "ä+"),
        ("b/ä".encode(), "ä"),
        (b"b/a+b", "a b"),  # as in a form
        (b"b/%2525", "%25"),
        (b"b/k?versionId=null", "k"),
        (b"b/what%3Fnot", "what?not"),
        (b"%2Fb%2Fk", "k"),
    ],
)
def test_a_source_is_decoded_once(text: bytes, name: str) -> None:
    """As paths are; a slash before it changes nothing."""
    inbound = Inbound("PUT", b"/x/y", ((b"x-amz-copy-source", text),), now=0)
    assert source_of(inbound) == ObjectKey("b", name)


@pytest.mark.parametrize(
    "text",
    [b"", b"/", b"b", b"b/", b"/b", b"//k", b"b/..%2Fk", b"b/%zz", b"b/%ff", b"b/k?acl", b"arn:aws:s3:::b/k", b"b/%00"],
)
def test_a_source_that_names_no_object_is_refused(text: bytes) -> None:
    """InvalidArgument, naming the header."""
    with pytest.raises(Denied) as caught:
        source_of(Inbound("PUT", b"/x/y", ((b"x-amz-copy-source", text),), now=0))
    assert caught.value.said
    assert caught.value.said.code == "InvalidArgument"
    assert ("ArgumentName", "x-amz-copy-source") in caught.value.said.members


# --- the copy ----------------------------------------------------------------------------------------------------


def test_a_copy_has_all_that_its_source_has(client: Any) -> None:
    """Bytes, type, headers, metadata, checksum; the source stays."""
    copied = client.copy_object(Bucket="things", Key="copy", CopySource=SOURCE)["CopyObjectResult"]
    assert copied["ETag"] == ETAG
    assert copied["ChecksumType"] == "FULL_OBJECT"
    got = client.get_object(Bucket="things", Key="copy", ChecksumMode="ENABLED")
    assert got["Body"].read() == BODY
    assert (got["ContentType"], got["CacheControl"]) == ("text/csv", "no-cache")
    assert got["Metadata"] == {"colour": "red"}
    assert got["ChecksumSHA256"] == copied["ChecksumSHA256"]
    assert client.head_object(**SOURCE)["ETag"] == ETAG


def test_metadata_is_replaced_where_that_is_asked(client: Any) -> None:
    """Whole: what is not given is not kept. A copy onto itself is a way to do that."""
    client.copy_object(
        Bucket="things",
        Key="changed",
        CopySource=SOURCE,
        MetadataDirective="REPLACE",
        ContentType="text/plain",
        Metadata={"size": "small"},
    )
    for _ in range(2):
        head = client.head_object(Bucket="things", Key="changed")
        assert (head["ContentType"], head["Metadata"]) == ("text/plain", {"size": "small"})
        assert head["CacheControl"] == "private"
        client.copy_object(
            Bucket="things",
            Key="changed",
            CopySource="things/changed",
            MetadataDirective="REPLACE",
            ContentType="text/plain",
            Metadata={"size": "small"},
        )
    assert client.get_object(Bucket="things", Key="changed")["Body"].read() == BODY


def test_a_copy_onto_itself_that_changes_nothing_is_refused(s3: Clients, client: Any) -> None:
    """In S3's words."""
    answer = ask(s3, "PUT", PATH, headers={"x-amz-copy-source": PATH})
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "InvalidRequest")
    assert members["Message"] == (
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
        "metadata, storage class, website redirect location or encryption attributes."
    )


def test_another_checksum_is_computed_where_it_is_asked_for(client: Any) -> None:
    """And told with the copy."""
    copied = client.copy_object(Bucket="things", Key="crc", CopySource=SOURCE, ChecksumAlgorithm="CRC32C")
    assert copied["CopyObjectResult"]["ChecksumCRC32C"]
    head = client.head_object(Bucket="things", Key="crc", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32C"] == copied["CopyObjectResult"]["ChecksumCRC32C"]
    assert "ChecksumSHA256" not in head


def test_missing_sources_are_told_by_their_own_names(s3: Clients, client: Any) -> None:
    """Not by the copy's."""
    members = error_of(ask(s3, "PUT", "/things/to", headers={"x-amz-copy-source": "/things/nothing"}))
    assert (members["Code"], members["Key"]) == ("NoSuchKey", "nothing")
    members = error_of(ask(s3, "PUT", "/things/to", headers={"x-amz-copy-source": "/no-such-bucket/k"}))
    assert (members["Code"], members["BucketName"]) == ("NoSuchBucket", "no-such-bucket")
    versioned = ask(s3, "PUT", "/things/to", headers={"x-amz-copy-source": f"{PATH}?versionId=abc"})
    assert refused(versioned) == (404, "NoSuchVersion")
    directive = {"x-amz-copy-source": PATH, "x-amz-metadata-directive": "SOME"}
    assert refused(ask(s3, "PUT", "/things/to", headers=directive)) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"CopySourceIfMatch": ETAG}, True),
        ({"CopySourceIfMatch": "abc"}, False),
        ({"CopySourceIfNoneMatch": '"abc"'}, True),
        ({"CopySourceIfNoneMatch": ETAG}, False),
        ({"CopySourceIfModifiedSince": "2020-01-01"}, True),
        ({"CopySourceIfModifiedSince": "2020-01-01", "CopySourceIfNoneMatch": ETAG}, False),
        ({"CopySourceIfUnmodifiedSince": "2020-01-01"}, False),
        ({"CopySourceIfUnmodifiedSince": "2020-01-01", "CopySourceIfMatch": ETAG}, True),
    ],
)
def test_the_source_has_conditions(client: Any, conditions: dict[str, str], holds: bool) -> None:
    """What would be a 304 is a 412: a copy has nothing to show for it."""
    if holds:
        client.copy_object(Bucket="things", Key="if", CopySource=SOURCE, **conditions)
        return
    with pytest.raises(ClientError) as caught:
        client.copy_object(Bucket="things", Key="if", CopySource=SOURCE, **conditions)
    assert code_of(caught) == (412, "PreconditionFailed")
    assert caught.value.response["Error"]["Condition"].startswith("x-amz-copy-source-if-")


def test_the_copy_has_conditions(client: Any) -> None:
    """If-None-Match: * for one that is new."""
    client.copy_object(Bucket="things", Key="new", CopySource=SOURCE, IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        client.copy_object(Bucket="things", Key="new", CopySource=SOURCE, IfNoneMatch="*")
    assert code_of(caught) == (412, "PreconditionFailed")


# --- what the key allows -----------------------------------------------------------------------------------------


def test_the_key_must_open_the_source_too(s3: Clients, client: Any) -> None:
    """A prefix that has the copy and not the source; a key that may write and not read."""
    client.copy_object(Bucket="things", Key="own/there", CopySource=SOURCE)
    within = s3(profile=Profile(prefixes=("/things/own/",)))
    within.copy_object(Bucket="things", Key="own/copy", CopySource="things/own/there")
    for limited, key in ((within, "own/stolen"), (s3(profile=Profile(operations=("write",))), "stolen")):
        with pytest.raises(ClientError) as caught:
            limited.copy_object(Bucket="things", Key=key, CopySource=SOURCE)
        assert code_of(caught) == (403, "AccessDenied")
        with pytest.raises(ClientError):
            client.head_object(Bucket="things", Key=key)


def test_a_copy_is_an_upload_to_its_profile(s3: Clients, client: Any) -> None:
    """Length and type are the source's (or what replaces it); create-only holds."""
    client.put_object(Bucket="things", Key="picture", Body=BODY, ContentType="image/png")
    cases = [
        (Profile(length_bytes_max=3), {}, (400, "EntityTooLarge")),
        (Profile(length_bytes_min=100), {}, (400, "EntityTooSmall")),
        (Profile(types=("image/*",)), {}, (403, "AccessDenied")),
        (Profile(types=("image/*",)), {"ContentType": "image/png"}, (403, "AccessDenied")),
        (Profile(types=("image/*",)), {"ContentType": "image/png", "MetadataDirective": "REPLACE"}, None),
        (Profile(types=("text/*",)), {}, None),
    ]
    for profile, further, expected in cases:
        limited = s3(profile=profile)
        if expected is None:
            limited.copy_object(Bucket="things", Key="limited", CopySource=SOURCE, **further)
            continue
        with pytest.raises(ClientError) as caught:
            limited.copy_object(Bucket="things", Key="limited", CopySource=SOURCE, **further)
        assert code_of(caught) == expected, (profile, further)
    once = s3(profile=Profile(create_only=True))
    once.copy_object(Bucket="things", Key="created", CopySource=SOURCE)
    with pytest.raises(ClientError) as caught:
        once.copy_object(Bucket="things", Key="created", CopySource=SOURCE)
    assert code_of(caught) == (412, "PreconditionFailed")


def test_a_presigned_copy_is_of_its_source_alone(s3: Clients, gate: Gate, client: Any) -> None:
    """The header must be signed; a PUT that was signed without it does not become a copy."""
    v4 = s3(signature_version="s3v4")
    url = presigned(v4, "copy_object", "presigned-copy", CopySource=SOURCE)
    header = {"x-amz-copy-source": PATH.removeprefix("/")}
    hoisted = "x-amz-copy-source=" in url.lower()
    assert gate.ask("PUT", url, b"", {} if hoisted else header).status == 200
    assert client.head_object(Bucket="things", Key="presigned-copy")["ETag"] == ETAG
    put = presigned(v4, "put_object", "presigned-put")
    assert refused(gate.ask("PUT", put, b"", header)) == (403, "AccessDenied")
    with pytest.raises(ClientError):
        client.head_object(Bucket="things", Key="presigned-put")


def test_a_single_use_copy_is_made_once(s3: Clients, gate: Gate, client: Any) -> None:
    """What fails leaves the use."""
    once = s3(profile=Profile(single_use=("write",)), signature_version="s3v4")
    url = presigned(once, "copy_object", "once-copied", CopySource=SOURCE)
    headers = {} if "x-amz-copy-source=" in url.lower() else {"x-amz-copy-source": PATH.removeprefix("/")}
    assert gate.ask("PUT", url, b"", headers).status == 200
    assert gate.ask("PUT", url, b"", headers).code == "key_used"


def test_a_copy_is_of_the_whole_source(s3: Clients) -> None:
    """A Range would be passed over otherwise, and more be copied than was asked for."""
    answer = ask(s3, "PUT", "/things/ranged", b"", {"x-amz-copy-source": PATH, "Range": "bytes=0-2"})
    assert refused(answer) == (400, "InvalidArgument")
    assert b"<ArgumentName>Range</ArgumentName><ArgumentValue>bytes=0-2</ArgumentValue>" in answer.body
    assert ask(s3, "GET", "/things/ranged").status == 404


def test_a_copy_has_no_body(s3: Clients, client: Any) -> None:
    """One that has is no copy that S3 knows."""
    answer = ask(s3, "PUT", "/things/with-body", b"body", {"x-amz-copy-source": PATH})
    assert answer.status == 400
    assert ask(s3, "GET", "/things/with-body").status == 404


def test_a_run_of_spaces_in_a_source_is_escaped_or_refused(s3: Clients) -> None:
    """A signature takes a run for one space: a URL for `s p` must not copy `s  p`."""
    for name in ("s p", "s  p"):
        s3().put_object(Bucket="things", Key=name, Body=name.encode())
    headers = {"x-amz-copy-source": "/things/s p"}
    assert ask(s3, "PUT", "/things/spaced", headers=headers).status == 200
    assert s3().get_object(Bucket="things", Key="spaced")["Body"].read() == b"s p"
    for raw in ("/things/s  p", "/things/s\tp"):
        assert refused(ask(s3, "PUT", "/things/spaced", headers={"x-amz-copy-source": raw})) == (400, "InvalidArgument")
    assert ask(s3, "PUT", "/things/spaced", headers={"x-amz-copy-source": "/things/s%20%20p"}).status == 200
    assert s3().get_object(Bucket="things", Key="spaced")["Body"].read() == b"s  p"
