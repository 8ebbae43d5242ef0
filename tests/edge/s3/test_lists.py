"""S3's lists: what is shown, in which order, how they go on; as boto3 reads them and as they stand on the wire."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.edge.s3.conftest import Clients
from tests.edge.s3.refused import refused
from valetstore.grants.grant import Profile

NAMES = ["a", "a b+c", "b/1", "b/2", "b/3", "c/x/1", "c/y", "d-1", "d-2", "z\xe9"]
IN_ORDER = sorted(NAMES, key=str.encode)


@pytest.fixture(scope="module")
def bucket(s3: Clients) -> str:
    """A bucket with some names in it."""
    client = s3()
    client.create_bucket(Bucket="listed")
    for name in NAMES:
        client.put_object(Bucket="listed", Key=name, Body=name.encode())
    return "listed"


def keys(page: dict[str, Any]) -> list[str]:
    return [row["Key"] for row in page.get("Contents", [])]


def groups(page: dict[str, Any]) -> list[str]:
    return [group["Prefix"] for group in page.get("CommonPrefixes", [])]


def ask(s3: Clients, operation: str, query: str = "", **params: Any) -> str:
    """The document that a presigned URL of this operation gives, with more of a query behind."""
    url = s3().generate_presigned_url(operation, Params=params)
    answer = s3.gate.ask("GET", url + query)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/xml"
    return answer.body.decode()


def elements(document: str) -> list[str]:
    """The names of the root's children, in order, repeated ones once."""
    depth = 0
    found: list[str] = []
    for closing, name, empty in re.findall(r"<(/?)([A-Za-z]+)[^>]*?(/?)>", document.partition("?>")[2]):
        if closing:
            depth -= 1
            continue
        if depth == 1 and name not in found[-1:]:
            found.append(name)
        depth += 0 if empty else 1
    return found


def test_all_names_in_the_order_of_their_bytes(s3: Clients, bucket: str) -> None:
    client = s3()
    for page in (client.list_objects(Bucket=bucket), client.list_objects_v2(Bucket=bucket)):
        assert keys(page) == IN_ORDER
        assert page["IsTruncated"] is False
        assert (page["Name"], page["Prefix"], page["MaxKeys"]) == (bucket, "", 1000)
        row = page["Contents"][0]
        assert (row["Size"], row["StorageClass"]) == (1, "STANDARD")
        head = client.head_object(Bucket=bucket, Key="a")
        assert (row["ETag"], row["LastModified"]) == (head["ETag"], head["LastModified"])
        assert re.fullmatch(r'"[0-9a-f]{32}"', row["ETag"])
    assert client.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"]
    assert "Owner" not in client.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert client.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == len(NAMES)


def test_groups_stand_for_what_they_hold(s3: Clients, bucket: str) -> None:
    client = s3()
    page = client.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert (keys(page), groups(page)) == (["a", "a b+c", "d-1", "d-2", "z\xe9"], ["b/", "c/"])
    assert (page["KeyCount"], page["Delimiter"]) == (7, "/")
    page = client.list_objects(Bucket=bucket, Delimiter="/", Prefix="c/")
    assert (keys(page), groups(page), page["Prefix"]) == (["c/y"], ["c/x/"], "c/")
    assert groups(client.list_objects(Bucket=bucket, Delimiter="-")) == ["d-"]
    assert groups(client.list_objects(Bucket=bucket, Delimiter="nowhere")) == []
    page = client.list_objects(Bucket=bucket, Delimiter="")
    assert "Delimiter" not in page
    assert keys(page) == IN_ORDER


@pytest.mark.parametrize("delimiter", ["", "/", "-"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_object_versions"])
def test_pages_together_are_the_whole(s3: Clients, bucket: str, operation: str, size: int, delimiter: str) -> None:
    client = s3()
    rows = "Versions" if operation == "list_object_versions" else "Contents"
    whole = getattr(client, operation)(Bucket=bucket, Delimiter=delimiter)
    found: dict[str, list[Any]] = {rows: [], "CommonPrefixes": []}
    pages = list(
        client.get_paginator(operation).paginate(
            Bucket=bucket, Delimiter=delimiter, PaginationConfig={"PageSize": size}
        )
    )
    for page in pages:
        assert len(page.get(rows, [])) + len(page.get("CommonPrefixes", [])) <= size
        for kind, items in found.items():
            items += page.get(kind, [])
    assert found[rows] == whole.get(rows, [])
    assert found["CommonPrefixes"] == whole.get("CommonPrefixes", [])
    total = len(found[rows]) + len(found["CommonPrefixes"])
    assert len(pages) == -(-total // size), "no page is there for nothing"


def test_markers_and_tokens(s3: Clients, bucket: str) -> None:
    client = s3()
    page = client.list_objects(Bucket=bucket, MaxKeys=2)
    assert page["IsTruncated"] is True
    assert "NextMarker" not in page, "without a delimiter the last key is the marker"
    page = client.list_objects(Bucket=bucket, MaxKeys=4, Delimiter="/")
    assert page["NextMarker"] == "c/"
    page = client.list_objects(Bucket=bucket, Marker=page["NextMarker"], Delimiter="/")
    assert (page["Marker"], keys(page), groups(page)) == ("c/", ["d-1", "d-2", "z\xe9"], [])
    assert keys(client.list_objects(Bucket=bucket, Marker="b/2x")) == IN_ORDER[4:]
    page = client.list_objects_v2(Bucket=bucket, StartAfter="b/2x", MaxKeys=1)
    assert (keys(page), page["StartAfter"]) == (["b/3"], "b/2x")
    further = client.list_objects_v2(Bucket=bucket, StartAfter="a", ContinuationToken=page["NextContinuationToken"])
    assert keys(further) == IN_ORDER[5:]
    assert further["ContinuationToken"] == page["NextContinuationToken"]
    assert further["StartAfter"] == "a"
    assert client.list_objects_v2(Bucket=bucket, ContinuationToken="")["KeyCount"] == len(NAMES)


def test_no_entries_may_be_asked_for_and_no_more_than_a_thousand_come(s3: Clients, bucket: str) -> None:
    client = s3()
    for operation in (client.list_objects, client.list_objects_v2, client.list_object_versions):
        page = operation(Bucket=bucket, MaxKeys=0)
        assert (page["IsTruncated"], page["MaxKeys"], keys(page)) == (False, 0, [])
        assert operation(Bucket=bucket, MaxKeys=5000)["MaxKeys"] == 1000


@pytest.mark.parametrize(
    ("operation", "query", "message", "name"),
    [
        ("list_objects", "max-keys=blah", "Provided max-keys not an integer or within integer range", "max-keys"),
        ("list_objects", "max-keys=-1", "Argument maxKeys must be an integer between 0 and 2147483647", "max-keys"),
        ("list_objects", "max-keys=99999999999", "Provided max-keys not an integer or within integer range", ""),
        ("list_objects_v2", "continuation-token=AAAA", "The continuation token provided is incorrect", ""),
        ("list_objects_v2", "continuation-token=%C3%A9", "The continuation token provided is incorrect", ""),
        (
            "list_object_versions",
            "version-id-marker=null",
            "A version-id marker cannot be specified without a key marker.",
            "version-id-marker",
        ),
        ("list_object_versions", "key-marker=a&version-id-marker=x", "Invalid version id specified", ""),
        ("list_multipart_uploads", "max-uploads=x", "Provided max-uploads not an integer or within integer range", ""),
    ],
)
def test_what_cannot_be_meant_is_refused(
    s3: Clients, bucket: str, operation: str, query: str, message: str, name: str
) -> None:
    client = s3()

    def more(request: Any, **_: Any) -> None:
        request.url += ("&" if "?" in request.url else "?") + query

    client.meta.events.register_last("before-sign.s3", more)
    found = refused(getattr(client, operation), Bucket=bucket)
    assert (found.status, found.code, found.message) == (400, "InvalidArgument", message)
    if name:
        assert found.members["ArgumentName"] == name


def test_there_is_one_encoding(s3: Clients, bucket: str) -> None:
    found = refused(s3().list_objects, Bucket=bucket, EncodingType="base64")
    assert (found.code, found.message) == ("InvalidArgument", "Invalid Encoding Method specified in Request")


def test_what_is_not_there_is_no_bucket(s3: Clients) -> None:
    client = s3()
    for operation in ("list_objects", "list_objects_v2", "list_object_versions", "list_multipart_uploads"):
        found = refused(getattr(client, operation), Bucket="no-such-bucket")
        assert (found.status, found.code) == (404, "NoSuchBucket")
        assert found.members["BucketName"] == "no-such-bucket"


def test_names_are_encoded_where_that_is_asked_for_and_nowhere_else(s3: Clients, bucket: str) -> None:
    plain = ask(s3, "list_objects_v2", Bucket=bucket, Prefix="a b", EncodingType="")
    assert "<Key>a b+c</Key>" in plain
    coded = ask(s3, "list_objects", Bucket=bucket, Prefix="a b", Marker="a ", Delimiter="+", EncodingType="url")
    assert "<EncodingType>url</EncodingType>" in coded
    for part in ("<Prefix>a b</Prefix>", "<Marker>a%20</Marker>", "<Delimiter>%2B</Delimiter>"):
        assert part in coded
    for operation in (s3().list_objects, s3().list_objects_v2, s3().list_object_versions):
        page = operation(Bucket=bucket, Prefix="a b+\n", Delimiter="\n")
        assert (page["Prefix"], page["Delimiter"]) == ("a b+\n", "\n"), "boto3 asks for the encoding and undoes it"
    assert "<CommonPrefixes><Prefix>a%20b%2B</Prefix></CommonPrefixes>" in coded
    assert "<Key>b/1</Key>" in ask(s3, "list_objects", Bucket=bucket, EncodingType="url")


def test_names_that_xml_cannot_hold_are_listed(s3: Clients) -> None:
    """Controls have no place in XML 1.0, escaped or not: encoding-type is what it is for."""
    client = s3()
    client.create_bucket(Bucket="odd")
    names = sorted(["bell\x07", "line\nend", "cr\r", "<&>", "plus+", "per%25cent", "quote\"'", "\U0001f600"])
    for name in names:
        client.put_object(Bucket="odd", Key=name, Body=b"")
    assert keys(client.list_objects_v2(Bucket="odd")) == sorted(names, key=str.encode)
    assert keys(client.list_objects_v2(Bucket="odd", Delimiter="\n", Prefix="l")) == []
    assert groups(client.list_objects(Bucket="odd", Delimiter="\n", Prefix="l")) == ["line\n"]


def test_the_documents_are_as_s3_writes_them(s3: Clients, bucket: str) -> None:
    first = ask(s3, "list_objects", Bucket=bucket, MaxKeys=4, Delimiter="/", EncodingType="url")
    assert first.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/')
    assert elements(first) == [
        *("Name", "Prefix", "Marker", "NextMarker", "MaxKeys", "Delimiter", "EncodingType", "IsTruncated"),
        *("Contents", "CommonPrefixes"),
    ]
    second = ask(s3, "list_objects_v2", Bucket=bucket, MaxKeys=4, Delimiter="/", EncodingType="")
    assert elements(second) == [
        *("Name", "Prefix", "NextContinuationToken", "KeyCount", "MaxKeys", "Delimiter", "IsTruncated"),
        *("Contents", "CommonPrefixes"),
    ]
    row = re.search(r"<Contents>(.*?)</Contents>", second)
    assert row
    assert re.fullmatch(
        r"<Key>a</Key><LastModified>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z</LastModified>"
        r'<ETag>(?:"|&quot;)[0-9a-f]{32}(?:"|&quot;)</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass>',
        row[1],
    )
    versions = ask(s3, "list_object_versions", Bucket=bucket, MaxKeys=1, EncodingType="")
    assert elements(versions) == [
        *("Name", "Prefix", "KeyMarker", "VersionIdMarker", "NextKeyMarker", "NextVersionIdMarker"),
        *("MaxKeys", "IsTruncated", "Version"),
    ]
    assert "<VersionId>null</VersionId><IsLatest>true</IsLatest>" in versions


def test_a_list_needs_a_key_for_its_prefix(s3: Clients, bucket: str) -> None:
    client = s3(profile=Profile(prefixes=(f"/{bucket}/b/",)))
    assert keys(client.list_objects_v2(Bucket=bucket, Prefix="b/")) == ["b/1", "b/2", "b/3"]
    for prefix in ("", "b", "c/"):
        found = refused(client.list_objects_v2, Bucket=bucket, Prefix=prefix)
        assert (found.status, found.code) == (403, "AccessDenied")


def test_a_presigned_list_has_one_use_where_the_key_says_so(s3: Clients, bucket: str) -> None:
    client = s3(profile=Profile(single_use=("list",)), signature_version="s3v4")
    url = client.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket, "MaxKeys": 1})
    assert s3.gate.ask("GET", url).status == 200
    assert s3.gate.ask("GET", url).code == "key_used"
    bad = client.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket, "ContinuationToken": "x"})
    assert s3.gate.ask("GET", bad).status == 400
    assert s3.gate.ask("GET", bad).status == 400, "a refusal uses nothing"


def test_unfinished_uploads_are_listed(s3: Clients) -> None:
    client = s3()
    client.create_bucket(Bucket="unfinished")
    started = [client.create_multipart_upload(Bucket="unfinished", Key=name) for name in ("a", "a", "b/1", "b/2", "c")]
    page = client.list_multipart_uploads(Bucket="unfinished")
    assert [row["Key"] for row in page["Uploads"]] == ["a", "a", "b/1", "b/2", "c"]
    assert {row["UploadId"] for row in page["Uploads"]} == {row["UploadId"] for row in started}
    row = page["Uploads"][0]
    assert row["StorageClass"] == "STANDARD"
    assert row["Initiator"] == row["Owner"]
    assert (page["Bucket"], page["MaxUploads"], page["IsTruncated"]) == ("unfinished", 1000, False)
    grouped = client.list_multipart_uploads(Bucket="unfinished", Delimiter="/")
    assert (groups(grouped), len(grouped["Uploads"])) == (["b/"], 3)
    found, pages = [], 0
    for page in client.get_paginator("list_multipart_uploads").paginate(
        Bucket="unfinished", PaginationConfig={"PageSize": 2}
    ):
        pages += 1
        found += [(row["Key"], row["UploadId"]) for row in page["Uploads"]]
    assert (len(set(found)), pages) == (5, 3)
    behind = client.list_multipart_uploads(Bucket="unfinished", KeyMarker="a")
    assert [row["Key"] for row in behind["Uploads"]] == ["b/1", "b/2", "c"]
    for name in ("b/1",):
        upload_id = next(row["UploadId"] for row in behind["Uploads"] if row["Key"] == name)
        client.abort_multipart_upload(Bucket="unfinished", Key=name, UploadId=upload_id)
    assert len(client.list_multipart_uploads(Bucket="unfinished")["Uploads"]) == 4


def test_the_bucket_may_be_in_the_host(s3: Clients, bucket: str) -> None:
    url = s3().generate_presigned_url("list_objects_v2", Params={"Bucket": bucket})
    assert urlsplit(url).path == f"/{bucket}"
    port = urlsplit(s3.gate.base).port
    client = s3(endpoint=f"http://localhost:{port}", s3={"addressing_style": "virtual"})
    url = client.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket, "MaxKeys": 1})
    assert urlsplit(url).netloc == f"{bucket}.localhost:{port}"
    answer = s3.gate.ask("GET", url, headers={"Host": urlsplit(url).netloc})
    assert answer.status == 200, answer.body
    assert b"<Key>a</Key>" in answer.body
