"""Objects as S3's clients put, get, describe and delete them; and what a presigned URL is worth."""

import datetime
import hashlib
import http.client
import socket
import time
from typing import Any, Final
from xml.etree.ElementTree import fromstring

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.edge.s3.conftest import Clients
from tests.edge.s3.signed import ask, error_of, presigned, refused
from tests.gate import Gate
from valetstore.grants.grant import Profile

BODY: Final = b"0123456789"
ETAG: Final = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
V4: Final[dict[str, Any]] = {"signature_version": "s3v4"}


@pytest.fixture(scope="module")
def client(s3: Clients) -> Any:
    """A client that may do everything, and an object `ten` of ten bytes."""
    made = s3(**V4)
    made.put_object(Bucket="things", Key="ten", Body=BODY, ContentType="text/plain", Metadata={"Colour": "blue"})
    return made


def status_of(response: Any) -> int:
    """The HTTP status of what boto3 returned."""
    return int(response["ResponseMetadata"]["HTTPStatusCode"])


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    """Status and code as an SDK tells them."""
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


# --- put, get, head, delete ----------------------------------------------------------------------------------------


def test_an_object_comes_back_as_it_was_put(client: Any) -> None:
    """Bytes, type, headers and metadata; the entity tag is the MD5."""
    put = client.put_object(
        Bucket="things",
        Key="whole/ä b+c.bin",
        Body=BODY,
        ContentType="application/x-ten",
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="ten.bin"',
        ContentEncoding="identity",
        ContentLanguage="de",
        Metadata={"Colour": "blue", "two-words": "a, b"},
    )
    assert put["ETag"] == ETAG
    got = client.get_object(Bucket="things", Key="whole/ä b+c.bin")
    assert got["Body"].read() == BODY
    head = client.head_object(Bucket="things", Key="whole/ä b+c.bin")
    for answer in (got, head):
        assert answer["ETag"] == ETAG
        assert answer["ContentLength"] == 10
        assert answer["ContentType"] == "application/x-ten"
        assert answer["CacheControl"] == "max-age=60"
        assert answer["ContentDisposition"] == 'attachment; filename="ten.bin"'
        assert answer["ContentEncoding"] == "identity"
        assert answer["ContentLanguage"] == "de"
        assert answer["Metadata"] == {"colour": "blue", "two-words": "a, b"}
        assert answer["AcceptRanges"] == "bytes"
        assert abs(answer["LastModified"].timestamp() - time.time()) < 60
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-content-type-options"] == "nosniff"


def test_an_object_without_a_type_has_s3s(client: Any, s3: Clients) -> None:
    """binary/octet-stream; and the framing of its body is not how it is coded."""
    assert ask(s3, "PUT", "/things/untyped", b"", {"Content-Encoding": "aws-chunked"}).status == 200
    head = client.head_object(Bucket="things", Key="untyped")
    assert head["ContentType"] == "binary/octet-stream"
    assert "ContentEncoding" not in head
    assert ask(s3, "PUT", "/things/untyped", b"", {"Content-Encoding": "aws-chunked,gzip"}).status == 200
    assert client.head_object(Bucket="things", Key="untyped")["ContentEncoding"] == "gzip"


def test_what_is_served_cannot_run_as_a_page_of_this_host(client: Any) -> None:
    """Whatever type its uploader, or a signed parameter, gave it."""
    client.put_object(Bucket="things", Key="page", Body=b"<script>", ContentType="text/html")
    for overrides in ({}, {"ResponseContentType": "image/svg+xml", "ResponseContentDisposition": "inline"}):
        got = client.get_object(Bucket="things", Key="page", **overrides)
        assert got["ContentDisposition"].startswith("attachment")
        assert "sandbox" in got["ResponseMetadata"]["HTTPHeaders"]["content-security-policy"]


def test_metadata_has_s3s_limit(client: Any, s3: Clients) -> None:
    """2 KB of names and values; beyond it nothing is kept."""
    fits = {"x-amz-meta-a": "v" * 2047}
    assert ask(s3, "PUT", "/things/meta", BODY, fits).status == 200
    answer = ask(s3, "PUT", "/things/meta", b"", {"x-amz-meta-ab": "v" * 2047})
    members = error_of(answer)
    assert (answer.status, members["Code"], members["MaxSizeAllowed"]) == (400, "MetadataTooLarge", "2048")
    assert members["Size"] == "2049"
    assert client.head_object(Bucket="things", Key="meta")["Metadata"] == {"a": "v" * 2047}


def test_a_delete_is_done_whether_or_not_there_was_anything(client: Any) -> None:
    """204 both times; in a bucket that does not exist it is 404."""
    client.put_object(Bucket="things", Key="short-lived", Body=b"x")
    for _ in range(2):
        answer = client.delete_object(Bucket="things", Key="short-lived")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError) as caught:
        client.delete_object(Bucket="no-such-bucket", Key="k")
    assert code_of(caught) == (404, "NoSuchBucket")


def test_a_body_without_a_length_is_refused(s3: Clients, gate: Gate) -> None:
    """411, before anything is read; one in HTTP's own chunks says itself where it ends, as `curl -T -` sends it."""
    url = presigned(s3(**V4), "put_object", "no-length")
    answer = gate.raw(f"PUT {url.removeprefix(gate.base)} HTTP/1.1\r\nHost: {gate.base[7:]}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert b"<Code>MissingContentLength</Code><Message>You must provide the Content-Length HTTP header." in answer
    assert gate.ask("PUT", url, iter([b"x", b"yz"])).status == 200
    assert s3().get_object(Bucket="things", Key="no-length")["Body"].read() == b"xyz"


def test_a_body_that_ends_early_keeps_nothing(s3: Clients, gate: Gate, client: Any) -> None:
    """The object from before is still there."""
    client.put_object(Bucket="things", Key="cut", Body=b"before")
    target = presigned(client, "put_object", "cut").removeprefix(gate.base)
    head = f"PUT {target} HTTP/1.1\r\nHost: {gate.base.partition('//')[2]}\r\nContent-Length: 100\r\n\r\n"
    gate.raw(head.encode() + b"only this", seconds=0.5)
    assert client.get_object(Bucket="things", Key="cut")["Body"].read() == b"before"


def test_a_bucket_may_be_in_the_host(s3: Clients, gate: Gate, client: Any) -> None:
    """Below a domain that the operator has named (`localhost` is one); refusals name bucket and key all the same."""
    port = gate.address[1]
    virtual = s3(endpoint=f"http://localhost:{port}", s3={"addressing_style": "virtual"}, **V4)
    for name, status in (("ten", 200), ("not/there", 404)):
        url = presigned(virtual, "get_object", name)
        assert url.startswith(f"http://things.localhost:{port}/{name}?")
        answer = gate.ask("GET", url, headers={"Host": f"things.localhost:{port}"})
        assert answer.status == status
    assert error_of(answer)["Key"] == "not/there"


# --- conditions, ranges, parts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"IfMatch": ETAG}, 200),
        ({"IfMatch": ETAG.strip('"')}, 200),
        ({"IfMatch": '"other"'}, 412),
        ({"IfNoneMatch": ETAG}, 304),
        ({"IfNoneMatch": '"other"'}, 200),
        ({"IfModifiedSince": "2020-01-01"}, 200),
        ({"IfUnmodifiedSince": "2020-01-01"}, 412),
        ({"IfMatch": ETAG, "IfUnmodifiedSince": "2020-01-01"}, 200),
        ({"IfNoneMatch": ETAG, "IfModifiedSince": "2020-01-01"}, 304),
    ],
)
def test_reads_have_conditions(client: Any, conditions: dict[str, str], status: int) -> None:
    """GET and HEAD alike, in the order of RFC 9110."""
    for operation in (client.get_object, client.head_object):
        if status == 200:
            assert operation(Bucket="things", Key="ten", **conditions)["ETag"] == ETAG
        else:
            with pytest.raises(ClientError) as caught:
                operation(Bucket="things", Key="ten", **conditions)
            assert code_of(caught)[0] == status


def test_a_condition_that_fails_is_named(client: Any, s3: Clients) -> None:
    """And a 304 has no body at all."""
    members = error_of(ask(s3, "GET", "/things/ten", headers={"If-Match": '"x"'}))
    assert (members["Code"], members["Condition"]) == ("PreconditionFailed", "If-Match")
    assert members["Message"] == "At least one of the pre-conditions you specified did not hold"
    answer = ask(s3, "GET", "/things/ten", headers={"If-None-Match": ETAG})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", ETAG)


def test_writes_have_conditions(client: Any) -> None:
    """If-None-Match: * creates, If-Match replaces what is known; If-Match on nothing is 404."""
    create = {"Bucket": "things", "Key": "guarded", "Body": b"1", "IfNoneMatch": "*"}
    first = client.put_object(**create)
    with pytest.raises(ClientError) as caught:
        client.put_object(**create)
    assert code_of(caught) == (412, "PreconditionFailed")
    assert caught.value.response["Error"]["Condition"] == "If-None-Match"
    second = client.put_object(Bucket="things", Key="guarded", Body=b"2", IfMatch=first["ETag"])
    for wrong in (first["ETag"], '"x"'):
        with pytest.raises(ClientError) as caught:
            client.put_object(Bucket="things", Key="guarded", Body=b"3", IfMatch=wrong)
        assert code_of(caught) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="things", Key="not-there", Body=b"3", IfMatch=wrong)
    assert code_of(caught) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as caught:
        client.delete_object(Bucket="things", Key="guarded", IfMatch='"x"')
    assert code_of(caught) == (412, "PreconditionFailed")
    client.delete_object(Bucket="things", Key="guarded", IfMatch=second["ETag"])
    assert status_of(client.delete_object(Bucket="things", Key="guarded", IfMatch=second["ETag"])) == 204


def test_if_none_match_takes_any_entity_tag(client: Any) -> None:
    """S3 itself knows only `*`."""
    tag = client.put_object(Bucket="things", Key="one-of", Body=b"1")["ETag"]
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="things", Key="one-of", Body=b"2", IfNoneMatch=tag)
    assert code_of(caught) == (412, "PreconditionFailed")
    client.put_object(Bucket="things", Key="one-of", Body=b"2", IfNoneMatch='"x"')
    assert client.get_object(Bucket="things", Key="one-of")["Body"].read() == b"2"


def test_a_delete_may_ask_for_a_size_and_a_date(client: Any) -> None:
    client.put_object(Bucket="things", Key="sized", Body=b"four")
    modified = client.head_object(Bucket="things", Key="sized")["LastModified"]
    for wrong in ({"IfMatchSize": 5}, {"IfMatchLastModifiedTime": modified - datetime.timedelta(days=1)}):
        with pytest.raises(ClientError) as caught:
            client.delete_object(Bucket="things", Key="sized", **wrong)
        assert code_of(caught) == (412, "PreconditionFailed")
    right = {"IfMatchSize": 4, "IfMatchLastModifiedTime": modified}
    assert status_of(client.delete_object(Bucket="things", Key="sized", **right)) == 204
    assert status_of(client.delete_object(Bucket="things", Key="sized", IfMatchSize=9)) == 204
    with pytest.raises(ClientError) as caught:
        client.head_object(Bucket="things", Key="sized")
    assert code_of(caught)[0] == 404


@pytest.mark.parametrize("name", ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"])
def test_a_condition_that_cannot_be_read_deletes_nothing(s3: Clients, client: Any, name: str) -> None:
    client.put_object(Bucket="things", Key="unread", Body=b"x")
    assert refused(ask(s3, "DELETE", "/things/unread", headers={name: "odd"})) == (400, "InvalidArgument")
    assert client.get_object(Bucket="things", Key="unread")["Body"].read() == b"x"


@pytest.mark.parametrize(
    ("asked", "content_range", "body"),
    [
        ("bytes=2-4", "bytes 2-4/10", b"234"),
        ("bytes=7-", "bytes 7-9/10", b"789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=0-99", "bytes 0-9/10", BODY),
    ],
)
def test_a_range_is_served(client: Any, s3: Clients, asked: str, content_range: str, body: bytes) -> None:
    """And, in S3, described to a HEAD."""
    got = client.get_object(Bucket="things", Key="ten", Range=asked)
    assert (got["ContentRange"], got["Body"].read()) == (content_range, body)
    head = ask(s3, "HEAD", "/things/ten", headers={"Range": asked})
    assert (head.status, head.headers["content-range"]) == (206, content_range)
    assert head.headers["content-length"] == str(len(body))


def test_a_range_beyond_the_object_says_how_large_it_is(s3: Clients, client: Any) -> None:
    """416 with the range that was asked for."""
    answer = ask(s3, "GET", "/things/ten", headers={"Range": "bytes=10-"})
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (416, "InvalidRange")
    assert members["Message"] == "The requested range is not satisfiable"
    assert (members["RangeRequested"], members["ActualObjectSize"]) == ("bytes=10-", "10")


def test_an_object_in_one_piece_is_its_own_first_part(s3: Clients, client: Any) -> None:
    """There is no other part, and a range beside it is refused."""
    got = client.get_object(Bucket="things", Key="ten", PartNumber=1)
    assert (got["Body"].read(), got["ContentRange"]) == (BODY, "bytes 0-9/10")
    assert "PartsCount" not in got
    answer = ask(s3, "GET", "/things/ten?partNumber=2")
    members = error_of(answer)
    assert (answer.status, members["Code"], members["ActualPartCount"]) == (400, "InvalidPart", "1")
    for number in ("0", "10001", "one", "-1", ""):
        assert refused(ask(s3, "GET", f"/things/ten?partNumber={number}")) == (400, "InvalidArgument"), number
    for number in ("1", "0"):
        both = ask(s3, "GET", f"/things/ten?partNumber={number}", headers={"Range": "bytes=0-1"})
        assert refused(both) == (400, "InvalidRequest")


def test_the_parts_of_an_object_are_served_one_by_one(client: Any) -> None:
    """Each with its place in the whole, and how many there are."""
    sizes, key = (5 * 2**20, 5 * 2**20, 7), "three"
    upload = client.create_multipart_upload(Bucket="things", Key=key)["UploadId"]
    parts = []
    for number, size in enumerate(sizes, 1):
        sent = client.upload_part(
            Bucket="things", Key=key, UploadId=upload, PartNumber=number, Body=b"%d" % number * size
        )
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    client.complete_multipart_upload(Bucket="things", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    start = 0
    for number, size in enumerate(sizes, 1):
        head = client.head_object(Bucket="things", Key=key, PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (size, 3)
        got = client.get_object(Bucket="things", Key=key, PartNumber=number)
        assert got["ContentRange"] == f"bytes {start}-{start + size - 1}/{sum(sizes)}"
        assert got["Body"].read() == b"%d" % number * size
        start += size
    with pytest.raises(ClientError) as caught:
        client.get_object(Bucket="things", Key=key, PartNumber=4)
    assert code_of(caught) == (400, "InvalidPart")


# --- what an application signs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_a_download_url_says_how_the_file_is_to_be_called(s3: Clients, gate: Gate, client: Any, signature: str) -> None:
    """ResponseContentDisposition and its kin are signed; changed or added, they open nothing."""
    disposition = 'attachment; filename="r\u00e9sum\u00e9.txt"'
    asked: dict[str, Any] = {
        "ResponseContentDisposition": disposition,
        "ResponseContentType": "text/csv",
        "ResponseCacheControl": "no-store",
    }
    url = presigned(s3(signature_version=signature), "get_object", "ten", **asked)
    answer = gate.ask("GET", url)
    assert (answer.status, answer.body) == (200, BODY)
    assert "filename*=UTF-8''r%C3%A9sum%C3%A9.txt" in answer.headers["content-disposition"]
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("text/csv", "no-store")
    assert refused(gate.ask("GET", url.replace("csv", "xml")))[0] == 403
    plain = presigned(s3(signature_version=signature), "get_object", "ten")
    assert refused(gate.ask("GET", f"{plain}&response-content-type=text/html"))[0] == 403


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_an_upload_url_holds_its_content_type(s3: Clients, gate: Gate, client: Any, signature: str) -> None:
    """The type that was signed is the only one that may be sent."""
    url = presigned(s3(signature_version=signature), "put_object", "typed", ContentType="image/png")
    assert refused(gate.ask("PUT", url, b"x", {"Content-Type": "text/html"}))[0] in (400, 403)
    assert gate.ask("PUT", url, b"x", {"Content-Type": "image/png"}).status == 200
    assert client.head_object(Bucket="things", Key="typed")["ContentType"] == "image/png"


def test_metadata_in_a_presigned_url_is_kept(s3: Clients, gate: Gate, client: Any) -> None:
    """Hoisted into the query by the SDK, or sent as a signed header."""
    url = presigned(client, "put_object", "signed-meta", Metadata={"who": "ann"})
    sent = {} if "x-amz-meta-who=ann" in url.lower() else {"x-amz-meta-who": "ann"}
    assert gate.ask("PUT", url, b"x", sent).status == 200
    assert client.head_object(Bucket="things", Key="signed-meta")["Metadata"] == {"who": "ann"}


def test_a_presigned_url_is_for_its_request_alone(s3: Clients, gate: Gate, client: Any) -> None:
    """Another method, another name: the signature is not theirs. A HEAD is less than the GET it was signed for."""
    url = presigned(client, "get_object", "ten")
    assert gate.ask("HEAD", url).status == 200
    assert refused(gate.ask("PUT", url, b"x")) == (403, "SignatureDoesNotMatch")
    assert refused(gate.ask("DELETE", url)) == (403, "SignatureDoesNotMatch")
    assert refused(gate.ask("GET", url.replace("/ten?", "/page?"))) == (403, "SignatureDoesNotMatch")
    head = presigned(client, "head_object", "ten")
    assert refused(gate.ask("GET", head)) == (403, "SignatureDoesNotMatch")


# --- what a signing key's profile makes of it ----------------------------------------------------------------------


def test_a_single_use_download_opens_once(s3: Clients, gate: Gate, client: Any) -> None:
    """A HEAD, a failed condition and a bad range use nothing; the bytes do."""
    url = presigned(s3(profile=Profile(single_use=("read",)), **V4), "get_object", "ten")
    assert gate.ask("HEAD", url).status == 200
    assert refused(gate.ask("GET", url, headers={"If-Match": '"x"'})) == (412, "PreconditionFailed")
    assert refused(gate.ask("GET", url, headers={"Range": "bytes=99-"})) == (416, "InvalidRange")
    assert gate.ask("GET", url).body == BODY
    used = gate.ask("GET", url)
    assert (refused(used), used.code) == ((403, "AccessDenied"), "key_used")


def test_a_single_use_upload_is_used_by_its_success_alone(s3: Clients, gate: Gate, client: Any) -> None:
    """What was refused, or failed on the way, gave the use back."""
    url = presigned(s3(profile=Profile(single_use=("write",)), **V4), "put_object", "once")
    assert refused(gate.ask("PUT", url, b"x", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})) == (400, "BadDigest")
    assert gate.ask("PUT", url, b"x").status == 200
    used = gate.ask("PUT", url, b"y")
    assert (refused(used), used.code) == ((403, "AccessDenied"), "key_used")
    assert client.get_object(Bucket="things", Key="once")["Body"].read() == b"x"


def test_a_single_use_delete_deletes_once(s3: Clients, gate: Gate, client: Any) -> None:
    """Also where there was nothing to delete: the answer is the same."""
    url = presigned(s3(profile=Profile(single_use=("delete",)), **V4), "delete_object", "gone")
    assert gate.ask("DELETE", url).status == 204
    client.put_object(Bucket="things", Key="gone", Body=b"x")
    assert gate.ask("DELETE", url).code == "key_used"
    assert client.head_object(Bucket="things", Key="gone")["ContentLength"] == 1


def test_uses_are_counted(s3: Clients, gate: Gate, client: Any) -> None:
    """Two downloads, and no third."""
    url = presigned(s3(profile=Profile(uses=2), **V4), "get_object", "ten")
    assert [gate.ask("GET", url).status for _ in range(3)] == [200, 200, 403]


def test_signed_headers_of_a_single_use_key_are_refused(s3: Clients, client: Any) -> None:
    """They would be a new key with every request."""
    limited = s3(profile=Profile(single_use=("read",)))
    with pytest.raises(ClientError) as caught:
        limited.get_object(Bucket="things", Key="ten")
    assert code_of(caught) == (403, "AccessDenied")
    assert "presign" in caught.value.response["Error"]["Message"]


def test_create_only_never_replaces(s3: Clients, gate: Gate, client: Any) -> None:
    """By presigned URL (V2 as well, which cannot sign If-None-Match) and by signed headers."""
    client.put_object(Bucket="things", Key="standing", Body=b"first")
    profile = Profile(create_only=True)
    for signature in ("s3v4", "s3"):
        url = presigned(s3(profile=profile, signature_version=signature), "put_object", "standing")
        answer = gate.ask("PUT", url, b"second")
        assert refused(answer) == (412, "PreconditionFailed")
        assert error_of(answer)["Condition"] == "If-None-Match"
    with pytest.raises(ClientError) as caught:
        s3(profile=profile).put_object(Bucket="things", Key="standing", Body=b"second")
    assert code_of(caught) == (412, "PreconditionFailed")
    assert client.get_object(Bucket="things", Key="standing")["Body"].read() == b"first"


@pytest.mark.parametrize("how", ["create-only", "if-none-match"])
def test_of_two_uploads_at_once_one_creates(s3: Clients, gate: Gate, client: Any, how: str) -> None:
    """Both were let in while there was nothing; the one that is done second replaces nothing."""
    profile = Profile(create_only=how == "create-only")
    name, condition = f"raced-{how}", {"If-None-Match": "*"} if how == "if-none-match" else {}
    url = presigned(s3(profile=profile, **V4), "put_object", name)
    headers = {"Host": gate.base.partition("//")[2], "Content-Length": "5", "Expect": "100-continue", **condition}
    head = f"PUT {url.removeprefix(gate.base)} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    with socket.create_connection(gate.address, timeout=10) as late:
        late.sendall(head.encode() + b"\r\n")
        assert late.recv(100).startswith(b"HTTP/1.1 100 ")
        assert gate.ask("PUT", url, b"first", condition).status == 200
        late.sendall(b"later")
        assert late.recv(5000).startswith(b"HTTP/1.1 412 ")
    assert client.get_object(Bucket="things", Key=name)["Body"].read() == b"first"


def with_terms(client: Any, **terms: str) -> Any:
    """The client, adding `x-valet-*` to the query of all that it signs, as the documentation shows it."""

    def add(request: Any, **_: Any) -> None:
        request.params.update({f"x-valet-{name.replace('_', '-')}": value for name, value in terms.items()})

    client.meta.events.register("before-sign.s3", add)
    return client


def test_conditions_of_ones_own_can_be_signed_into_a_url(s3: Clients, gate: Gate, client: Any) -> None:
    """Single use, create-only, a length: for this URL, whatever the signing key's profile allows."""
    once = presigned(with_terms(s3(**V4), uses="1"), "get_object", "ten")
    assert "x-valet-uses=1" in once
    assert [gate.ask("GET", once).status for _ in range(2)] == [200, 403]
    without = once.replace("x-valet-uses=1&", "").replace("&x-valet-uses=1", "")
    assert "x-valet" not in without
    assert refused(gate.ask("GET", without)) == (403, "SignatureDoesNotMatch")
    short = presigned(with_terms(s3(**V4), length="0-3"), "put_object", "short")
    assert refused(gate.ask("PUT", short, b"four")) == (400, "EntityTooLarge")
    assert gate.ask("PUT", short, b"one").status == 200


# --- attributes ----------------------------------------------------------------------------------------------------


def test_the_attributes_that_are_asked_for_are_told(client: Any, s3: Clients) -> None:
    """Those and no others; the entity tag without its quotes."""
    client.put_object(Bucket="things", Key="known", Body=BODY, ChecksumAlgorithm="SHA256")
    asked = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    told = client.get_object_attributes(Bucket="things", Key="known", ObjectAttributes=asked)
    assert told["ETag"] == ETAG.strip('"')
    assert told["ObjectSize"] == 10
    assert told["StorageClass"] == "STANDARD"
    assert told["Checksum"]["ChecksumType"] == "FULL_OBJECT"
    assert told["Checksum"]["ChecksumSHA256"]
    assert "ObjectParts" not in told
    assert told["LastModified"] == client.head_object(Bucket="things", Key="known")["LastModified"]
    answer = ask(s3, "GET", "/things/known?attributes", headers={"x-amz-object-attributes": "ObjectSize"})
    assert [child.tag.rpartition("}")[2] for child in fromstring(answer.body)] == ["ObjectSize"]
    for headers, code in (({}, "InvalidRequest"), ({"x-amz-object-attributes": "Colour"}, "InvalidArgument")):
        assert refused(ask(s3, "GET", "/things/known?attributes", headers=headers)) == (400, code)


def test_the_parts_of_an_object_are_among_its_attributes(client: Any) -> None:
    """By pages, with their checksums."""
    key, part = "parts-known", b"p" * 5 * 2**20
    begun = client.create_multipart_upload(Bucket="things", Key=key, ChecksumAlgorithm="CRC32")
    parts = []
    for number in (1, 2):
        sent = client.upload_part(
            Bucket="things",
            Key=key,
            UploadId=begun["UploadId"],
            PartNumber=number,
            Body=part,
            ChecksumAlgorithm="CRC32",
        )
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
    client.complete_multipart_upload(
        Bucket="things", Key=key, UploadId=begun["UploadId"], MultipartUpload={"Parts": parts}
    )
    asked = {"Bucket": "things", "Key": key, "ObjectAttributes": ["ObjectParts", "Checksum"], "MaxParts": 1}
    first = client.get_object_attributes(**asked)
    assert first["Checksum"]["ChecksumType"] == "COMPOSITE"
    assert first["Checksum"]["ChecksumCRC32"].endswith("-2")
    assert first["ObjectParts"]["TotalPartsCount"] == 2
    assert first["ObjectParts"]["IsTruncated"] is True
    assert [row["PartNumber"] for row in first["ObjectParts"]["Parts"]] == [1]
    marker = first["ObjectParts"]["NextPartNumberMarker"]
    second = client.get_object_attributes(**asked, PartNumberMarker=marker)["ObjectParts"]
    assert second["IsTruncated"] is False
    assert second["Parts"] == [{"PartNumber": 2, "Size": len(part), "ChecksumCRC32": parts[1]["ChecksumCRC32"]}]


# --- whole files ---------------------------------------------------------------------------------------------------


def test_a_file_goes_up_and_down_by_the_transfer_manager(client: Any, tmp_path: Any) -> None:
    """Small in one piece, large in parts and by ranges."""
    config = TransferConfig(multipart_threshold=6 * 2**20, multipart_chunksize=5 * 2**20)
    for size in (0, 1000, 11 * 2**20):
        source, target = tmp_path / f"{size}.in", tmp_path / f"{size}.out"
        source.write_bytes(hashlib.sha256(str(size).encode()).digest() * (size // 32) + b"x" * (size % 32))
        client.upload_file(str(source), "things", f"file-{size}", Config=config)
        client.download_file("things", f"file-{size}", str(target), Config=config)
        assert target.read_bytes() == source.read_bytes()


def test_native_and_s3_keys_open_the_same_objects(client: Any, gate: Gate) -> None:
    """Metadata has each dialect's own prefix; the tag of a native upload is none that could be taken for an MD5."""
    native = gate.sign("GET", "/things/ten")
    answer = gate.ask("GET", native)
    assert (answer.body, answer.headers["x-valet-meta-colour"]) == (BODY, "blue")
    assert "x-amz-meta-colour" not in answer.headers
    assert gate.ask("PUT", gate.sign("PUT", "/things/native"), b"n", {"X-Valet-Meta-Who": "bob"}).status == 201
    head = client.head_object(Bucket="things", Key="native")
    assert head["Metadata"] == {"who": "bob"}
    assert head["ETag"].endswith('-v"')


def test_a_connection_serves_one_request_after_another(s3: Clients, gate: Gate, client: Any) -> None:
    """Also after refusals that came before a body was asked for."""
    url = presigned(client, "get_object", "ten")
    connection = gate.connection()
    seen = []
    for target in (url, url.replace("/ten?", "/nine?"), url):
        connection.request("GET", target.removeprefix(gate.base))
        response: http.client.HTTPResponse = connection.getresponse()
        seen.append((response.status, len(response.read())))
    connection.close()
    assert (seen[0], seen[2]) == ((200, 10), (200, 10))
    assert seen[1][0] == 403
