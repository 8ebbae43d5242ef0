"""PostObject: browsers' uploads under a policy, against the real gateway."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.edge.s3.conftest import Clients, Credentials
from tests.gate import Answer, Gate
from valetstore.grants.grant import Profile

BUCKET: Final = "photos"
BOUNDARY: Final = "----FormBoundary7MA4YWxk"
Pairs = Sequence[tuple[str, str]]


@pytest.fixture(scope="module", autouse=True)
def bucket(s3: Clients) -> None:
    """Everything here goes into one bucket."""
    s3().create_bucket(Bucket=BUCKET)


def encoded(fields: Pairs | Mapping[str, str], data: bytes | None = b"bytes", filename: str = "a.png") -> bytes:
    """A form as browsers write it; without a file where `data` is None."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in pairs]
    if data is not None:
        head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
        parts += [f"--{BOUNDARY}\r\n{head}".encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def post(
    gate: Gate,
    fields: Pairs | Mapping[str, str],
    data: bytes | None = b"bytes",
    filename: str = "a.png",
    bucket: str = BUCKET,
    **headers: str,
) -> Answer:
    """Send a form."""
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gate.ask("POST", f"/{bucket}", encoded(fields, data, filename), kind | named)


def signed(
    s3: Clients,
    key: str = "u/${filename}",
    fields: Mapping[str, str] | None = None,
    conditions: list[Any] | None = None,
    version: str = "s3v4",
    **options: Any,
) -> dict[str, str]:
    """A form's fields as boto3 makes them; each given field is a condition as well."""
    client = s3(signature_version=version, **options)
    rows = [{name: value} for name, value in (fields or {}).items()] + (conditions or [])
    made: dict[str, str] = client.generate_presigned_post(BUCKET, key, dict(fields or {}), rows, 300)["fields"]
    return made


def policy_form(
    credentials: Credentials,
    fields: Mapping[str, str],
    conditions: list[Any],
    document: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """A form signed here by version 2, as independent suites sign theirs: any policy at all."""
    end = datetime.fromtimestamp(time.time() + 6000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    whole = {"expiration": end, "conditions": conditions} | dict(document or {})
    policy = base64.b64encode(json.dumps({k: v for k, v in whole.items() if v is not None}).encode())
    mac = base64.b64encode(hmac.digest(credentials.secret_access_key.encode(), policy, "sha1")).decode()
    own = {"AWSAccessKeyId": credentials.access_key_id, "signature": mac, "policy": policy.decode()}
    return {**fields, **own}


def kept(s3: Clients, key: str) -> Any:
    """The object and its bytes."""
    found = s3().get_object(Bucket=BUCKET, Key=key)
    found["Bytes"] = found["Body"].read()
    return found


def s3_error(answer: Answer) -> tuple[int, str, str]:
    """Status, code and sentence."""
    code = re.search(rb"<Code>(.*?)</Code>", answer.body)
    message = re.search(rb"<Message>(.*?)</Message>", answer.body, re.DOTALL)
    assert code, answer
    assert message, answer
    return answer.status, code[1].decode(), message[1].decode().replace("&quot;", '"')


def member(answer: Answer, name: str) -> str:
    """One member of an XML answer."""
    found = re.search(rf"<{name}>(.*?)</{name}>".encode(), answer.body)
    assert found, answer.body
    return found[1].decode()


# --- what applications do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_form_of_boto3s_uploads(s3: Clients, version: str) -> None:
    """Both versions; 204, the entity tag is the MD5, and nothing is in the answer's body."""
    answer = post(s3.gate, signed(s3, version=version), b"hello", f"{version}.txt")
    tag = f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert (answer.status, answer.body, answer.headers["etag"]) == (204, b"", tag)
    assert answer.headers["location"] == f"{s3.gate.base}/{BUCKET}/u/{version}.txt"
    found = kept(s3, f"u/{version}.txt")
    assert (found["Bytes"], found["ETag"], found["ContentType"]) == (b"hello", tag, "binary/octet-stream")


def test_the_usual_form_with_a_length_a_type_and_a_status_works_unchanged(s3: Clients) -> None:
    """content-length-range, starts-with $Content-Type, success_action_status 201: what generate_presigned_post is
    used for.
    """
    conditions = [["content-length-range", 1, 1000], ["starts-with", "$Content-Type", "image/"]]
    fields = signed(s3, "u/${filename}", {"success_action_status": "201"}, conditions)
    fields["Content-Type"] = "image/png"
    answer = post(s3.gate, fields, b"png", "grüße & co.png")
    tag = hashlib.md5(b"png").hexdigest()
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/xml"
    location = f"{s3.gate.base}/{BUCKET}/u/gr%C3%BC%C3%9Fe%20%26%20co.png"
    assert answer.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<PostResponse><Location>{location}</Location><Bucket>{BUCKET}</Bucket><Key>u/grüße &amp; co.png</Key>"
        f'<ETag>"{tag}"</ETag></PostResponse>'
    )
    assert kept(s3, "u/grüße & co.png")["ContentType"] == "image/png"


def test_fields_are_kept_as_headers_are(s3: Clients) -> None:
    """Metadata, representation headers, an ACL that changes nothing."""
    fields = {
        "acl": "private",
        "Cache-Control": "max-age=5",
        "Content-Disposition": 'attachment; filename="x.txt"',
        "Content-Encoding": "identity",
        "Content-Type": "text/plain",
        "Expires": "Wed, 21 Oct 2026 07:28:00 GMT",
        "x-amz-meta-Owner": "erin",
        "x-amz-meta-text": "grüße",
        "x-amz-storage-class": "STANDARD",
        "tagging": "",
    }
    assert post(s3.gate, signed(s3, "kept", fields)).status == 204
    found = kept(s3, "kept")
    assert found["Metadata"]["owner"] == "erin"
    assert found["Metadata"]["text"].encode("latin-1").decode() == "grüße"
    assert (found["CacheControl"], found["ContentEncoding"]) == ("max-age=5", "identity")
    assert (found["ContentType"], found["ContentDisposition"]) == ("text/plain", 'attachment; filename="x.txt"')


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"success_action_status": "200"}, 200),
        ({"success_action_status": "201"}, 201),
        ({"success_action_status": "204"}, 204),
        ({"success_action_status": "404"}, 204),
        ({"success_action_status": ""}, 204),
        ({"success_action_redirect": "javascript:alert(1)", "success_action_status": "200"}, 200),
        ({"success_action_redirect": "/here"}, 204),
        ({"success_action_redirect": "https://"}, 204),
        ({"success_action_redirect": "http://[::1"}, 204),
        ({"success_action_redirect": "https://a\\@b/"}, 204),
        ({"redirect": "ftp://example.com/"}, 204),
    ],
)
def test_the_status_is_the_forms_choice(s3: Clients, fields: dict[str, str], status: int) -> None:
    """200, 201, else 204; a URL that no browser may be sent to is passed over."""
    answer = post(s3.gate, signed(s3, "status", fields))
    assert answer.status == status
    assert answer.headers["location"].startswith(s3.gate.base)


@pytest.mark.parametrize(
    ("name", "url", "beginning", "fragment"),
    [
        ("success_action_redirect", "https://example.com/done", "https://example.com/done?", ""),
        ("redirect", "http://example.com/done?a=1&b=%20", "http://example.com/done?a=1&b=%20&", ""),
        ("success_action_redirect", "https://example.com/ü#top", "https://example.com/%C3%BC?", "top"),
    ],
)
def test_a_browser_is_sent_on(s3: Clients, name: str, url: str, beginning: str, fragment: str) -> None:
    """303 with bucket, key and entity tag added to the query; it wins over a status."""
    answer = post(s3.gate, signed(s3, "r/${filename}", {name: url, "success_action_status": "201"}), b"x", "ä&b.png")
    assert (answer.status, answer.body) == (303, b"")
    location = answer.headers["location"]
    assert location.startswith(beginning)
    parts = urlsplit(location)
    assert parts.fragment == fragment
    added = {key: values[-1] for key, values in parse_qs(parts.query).items() if key in ("bucket", "key", "etag")}
    assert added == {"bucket": BUCKET, "key": "r/ä&b.png", "etag": f'"{hashlib.md5(b"x").hexdigest()}"'}
    assert "etag=%22" in location


def test_a_bucket_may_be_in_the_host(s3: Clients) -> None:
    """Virtual-host style: the form goes to `/`."""
    fields = signed(s3, "v/${filename}", {"success_action_status": "201"})
    host = f"{BUCKET}.localhost:{s3.gate.address[1]}"
    answer = post(s3.gate, fields, b"x", bucket="", Host=host)
    assert (answer.status, member(answer, "Location")) == (201, f"http://{host}/v/a.png")
    assert kept(s3, "v/a.png")["Bytes"] == b"x"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("chunked", [False, True])
def test_curl_uploads_a_large_file(s3: Clients, tmp_path: Path, chunked: bool) -> None:
    """With Expect: 100-continue and its own boundary; in HTTP's chunks as well."""
    path = tmp_path / "large.bin"
    data = os.urandom(3_000_000)
    path.write_bytes(data)
    fields = signed(s3, "c/${filename}", {"Content-Type": "application/zip"})
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect: 100-continue"]
    command += ["-H", "Transfer-Encoding: chunked"] if chunked else []
    for name, value in fields.items():
        command += ["--form-string", f"{name}={value}"]
    done = subprocess.run(
        [*command, "-F", f"file=@{path}", f"{s3.gate.base}/{BUCKET}"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "204", done.stderr
    found = kept(s3, "c/large.bin")
    assert found["Bytes"] == data
    assert found["ContentType"] == "application/zip"


# --- lengths, checksums, single use -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "code", "limit"),
    [(9, "EntityTooSmall", "MinSizeAllowed"), (21, "EntityTooLarge", "MaxSizeAllowed"), (10, "", ""), (20, "", "")],
)
def test_the_file_has_the_length_that_the_policy_allows(s3: Clients, size: int, code: str, limit: str) -> None:
    """Of its own bytes, both ends included; nothing is kept of one that has not."""
    fields = signed(s3, f"l/{size}", conditions=[["content-length-range", 10, "20"]])
    answer = post(s3.gate, fields, b"x" * size)
    if not code:
        assert answer.status == 204
        return
    assert s3_error(answer)[:2] == (400, code)
    assert member(answer, limit) == ("20" if size > 20 else "10")
    assert member(answer, "ProposedSize") == str(size)
    assert "Contents" not in s3().list_objects_v2(Bucket=BUCKET, Prefix=f"l/{size}")


def test_a_file_that_is_too_large_is_refused_before_it_is_there(s3: Clients) -> None:
    """At the first byte too many, however much is announced."""
    fields = signed(s3, "l/huge", conditions=[["content-length-range", 0, 1000]])
    form = encoded(fields, b"x" * 100_000)
    head = f"POST /{BUCKET} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    answer = s3.gate.raw(head.encode() + form[: len(form) // 2])
    assert b"EntityTooLarge" in answer


def test_a_limit_of_the_signing_key_narrows_the_policy(s3: Clients) -> None:
    """Length, types, prefixes: the profile holds for forms as well."""
    profile = Profile(length_bytes_max=10, types=("image/*",), prefixes=("/photos/in/",))
    client = s3(profile=profile)

    def of(key: str, kind: str, data: bytes) -> tuple[int, str]:
        fields = client.generate_presigned_post(BUCKET, key, {"Content-Type": kind}, [{"Content-Type": kind}])
        answer = post(s3.gate, fields["fields"], data)
        return answer.status, answer.code or ""

    assert of("in/a", "image/png", b"x" * 10) == (204, "")
    assert of("in/a", "image/png", b"x" * 11) == (400, "too_large")
    assert of("in/a", "text/html", b"x") == (403, "type_not_allowed")
    assert of("out/a", "image/png", b"x") == (403, "path_not_allowed")


def test_checksums_among_the_fields_are_checked_and_kept(s3: Clients) -> None:
    """CRC32 and Content-MD5 of the file, not of the form."""
    right = base64.b64encode(zlib.crc32(b"data").to_bytes(4)).decode()
    md5 = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    fields = signed(s3, "sum", {"x-amz-checksum-crc32": right, "Content-MD5": md5})
    answer = post(s3.gate, fields, b"data")
    assert (answer.status, answer.headers["x-amz-checksum-crc32"]) == (204, right)
    head = s3().head_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == right
    assert s3_error(post(s3.gate, fields, b"date"))[:2] == (400, "BadDigest")
    assert kept(s3, "sum")["Bytes"] == b"data"


def test_a_form_of_a_single_use_key_uploads_once(s3: Clients) -> None:
    """What was refused or cut short used nothing."""
    client = s3(profile=Profile(single_use=("write",)))
    made = client.generate_presigned_post(BUCKET, "once/${filename}", None, [["content-length-range", 0, 10]])["fields"]
    assert post(s3.gate, made, b"x" * 11).code == "too_large"
    whole = encoded(made)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert s3.gate.ask("POST", f"/{BUCKET}", whole[:-10], kind).code == "body_incomplete"
    assert post(s3.gate, made).status == 204
    assert post(s3.gate, made, filename="b.png").code == "key_used"
    assert "Contents" not in s3().list_objects_v2(Bucket=BUCKET, Prefix="once/b")


def test_a_form_may_only_create(s3: Clients) -> None:
    """By the profile, by a condition of ours, by the request's own If-None-Match."""
    client = s3(profile=Profile(create_only=True))
    made = client.generate_presigned_post(BUCKET, "new")["fields"]
    assert post(s3.gate, made).status == 204
    assert s3_error(post(s3.gate, made))[:2] == (412, "PreconditionFailed")
    ours = signed(s3, "new", {"x-valet-create": "true"})
    assert post(s3.gate, ours).code == "exists"
    assert post(s3.gate, signed(s3, "new"), If_None_Match="*").code == "precondition_failed"
    assert kept(s3, "new")["Bytes"] == b"bytes"


def test_a_form_that_is_cut_short_leaves_nothing(s3: Clients) -> None:
    """Whether the connection ends or the closing boundary is missing."""
    fields = signed(s3, "cut")
    whole = encoded(fields, b"x" * 1000)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    for missing in (5, 40, 500):
        answer = s3.gate.ask("POST", f"/{BUCKET}", whole[:-missing], kind)
        assert s3_error(answer)[:2] == (400, "IncompleteBody")
    with socket.create_connection(s3.gate.address, timeout=5) as sock:
        head = f"POST /{BUCKET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(whole)}\r\n"
        sock.sendall(f"{head}Content-Type: {kind['Content-Type']}\r\n\r\n".encode() + whole[:-500])
    assert "Contents" not in s3().list_objects_v2(Bucket=BUCKET, Prefix="cut")


def test_a_client_that_stalls_in_the_file_is_let_go(start: Callable[..., Gate]) -> None:
    """In S3's words, and nothing is kept."""
    slow = start("[limits]\nrate-grace-seconds = 1\n")
    clients = Clients(slow)
    clients().create_bucket(Bucket=BUCKET)
    whole = encoded(signed(clients, "slow"), b"x" * 1000)
    with socket.create_connection(slow.address, timeout=10) as sock:
        head = f"POST /{BUCKET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(whole)}\r\n"
        sock.sendall(f"{head}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode() + whole[:-500])
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert (answer.status, answer.headers["X-Valet-Error"]) == (400, "request_timeout")
    assert "Contents" not in clients().list_objects_v2(Bucket=BUCKET)


def test_many_forms_may_come_on_one_connection(s3: Clients) -> None:
    """What follows the file is read to its end, so the next request begins where it should."""
    connection = s3.gate.connection()
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    try:
        for number in range(3):
            form = encoded(signed(s3, f"k/{number}"), b"x" * 50_000)
            tail = f'Content-Disposition: form-data; name="submit"\r\n\r\nUpload\r\n--{BOUNDARY}--\r\n'
            form = form.removesuffix(b"--\r\n") + b"\r\n" + tail.encode()
            connection.request("POST", f"/{BUCKET}", form, kind)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 204
    finally:
        connection.close()


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"acl": "everybody"}, 400, "InvalidArgument"),
        ({"tagging": "<Tagging/>"}, 501, "NotImplemented"),
        ({"x-amz-meta-a": "b", "X-Amz-Meta-A": "c"}, 400, "InvalidArgument"),
        ({"x-amz-storage-class": "GLACIER"}, 400, "InvalidStorageClass"),
        ({"x-amz-server-side-encryption": "AES256"}, 501, "NotImplemented"),
        ({"x-amz-website-redirect-location": "/x"}, 501, "NotImplemented"),
        ({"x-amz-meta-a b": "x"}, 400, "InvalidArgument"),
        ({"x-amz-meta-a": "x\r\nSet-Cookie: y"}, 400, "InvalidArgument"),
        ({"Content-Type": "text/plain\x00"}, 400, "InvalidArgument"),
        ({"x-amz-meta-a": "x" * 2049}, 400, "MetadataTooLarge"),
        ({"x-amz-checksum-crc32": "AAAA"}, 400, "InvalidRequest"),
        ({"Content-MD5": "x"}, 400, "InvalidDigest"),
    ],
)
def test_a_field_that_means_what_is_not_done_is_refused(
    s3: Clients, fields: dict[str, str], status: int, code: str
) -> None:
    """Never passed over, though the policy names it."""
    assert s3_error(post(s3.gate, signed(s3, "refused", fields)))[:2] == (status, code)


def test_a_bucket_that_is_not_there_is_named(s3: Clients) -> None:
    """As it is for a PUT, where the gateway may not make it."""
    client = s3()
    fields = client.generate_presigned_post("no-such-bucket", "k")["fields"]
    answer = post(s3.gate, fields, bucket="no-such-bucket")
    assert answer.status in (204, 404)
    if answer.status == 404:
        assert s3_error(answer)[1] == "NoSuchBucket"


def test_errors_of_a_form_are_s3s_documents(s3: Clients) -> None:
    """With a request id, and a message that a developer can act upon."""
    fields = signed(s3)
    assert s3_error(post(s3.gate, fields | {"x-amz-meta-a": "b"})) == (
        403,
        "AccessDenied",
        "Invalid according to Policy: Extra input fields: x-amz-meta-a",
    )
    answer = post(s3.gate, fields | {"key": "elsewhere/a"})
    assert s3_error(answer) == (
        403,
        "AccessDenied",
        'Invalid according to Policy: Policy Condition failed: ["starts-with", "$key", "u/"]',
    )
    assert member(answer, "RequestId") == answer.headers["x-amz-request-id"]
    wrong = post(s3.gate, fields | {"x-amz-signature": "0" * 64})
    assert s3_error(wrong)[1] == "SignatureDoesNotMatch"
    assert member(wrong, "StringToSign") == fields["policy"]
    assert s3_error(post(s3.gate, signed(s3, "k" * 1025)))[:2] == (400, "KeyTooLongError")
    assert s3_error(post(s3.gate, signed(s3, "a/../b")))[:2] == (400, "InvalidArgument")
    assert s3_error(post(s3.gate, fields, None))[2] == "POST requires exactly one file upload per request."


# --- the edges that independent suites try ------------------------------------------------------------------------

FIELDS: Final = {"key": "foo.txt", "acl": "private", "Content-Type": "text/plain"}
CONDITIONS: Final[list[Any]] = [
    {"bucket": BUCKET},
    ["starts-with", "$key", "foo"],
    {"acl": "private"},
    ["starts-with", "$Content-Type", "text/plain"],
    ["content-length-range", 0, 1024],
]


def without(name: str) -> list[Any]:
    """The usual conditions but for those on one thing."""
    return [row for row in CONDITIONS if not (name in row or f"${name}" in row)]


@pytest.mark.parametrize(
    ("fields", "conditions", "document", "outcome"),
    [
        ({}, CONDITIONS, {}, (204, "")),
        ({"Content-Type": None}, without("Content-Type"), {}, (204, "")),
        ({"success_action_status": "201"}, [*CONDITIONS, ["eq", "$success_action_status", "201"]], {}, (201, "")),
        ({"success_action_status": "404"}, [*CONDITIONS, ["eq", "$success_action_status", "404"]], {}, (204, "")),
        ({"x-ignore-foo": "bar"}, CONDITIONS, {}, (204, "")),
        ({"x-amz-meta-foo": "barclamp"}, [*CONDITIONS, ["starts-with", "$x-amz-meta-foo", "bar"]], {}, (204, "")),
        ({"x-amz-meta-foo": "barclamp"}, [*CONDITIONS, ["eq", "$x-amz-meta-foo", ""]], {}, (403, "AccessDenied")),
        ({}, [*CONDITIONS, ["starts-with", "$x-amz-meta-foo", "bar"]], {}, (403, "AccessDenied")),
        ({}, without("bucket"), {}, (403, "AccessDenied")),
        ({}, without("acl"), {}, (403, "AccessDenied")),
        ({"key": None}, CONDITIONS, {}, (400, "InvalidArgument")),
        ({"signature": None}, CONDITIONS, {}, (400, "InvalidArgument")),
        ({"policy": None}, CONDITIONS, {}, (400, "InvalidArgument")),
        ({"AWSAccessKeyId": None}, CONDITIONS, {}, (400, "InvalidArgument")),
        ({"AWSAccessKeyId": "foo"}, CONDITIONS, {}, (403, "InvalidAccessKeyId")),
        ({"signature": "AAAA"}, CONDITIONS, {}, (403, "SignatureDoesNotMatch")),
        ({"key": "\\$foo.txt"}, [*without("key"), ["starts-with", "$key", "\\$foo"]], {}, (204, "")),
        ({}, CONDITIONS, {"expiration": None}, (400, "InvalidPolicyDocument")),
        ({}, CONDITIONS, {"expiration": None, "EXPIRATION": "2099-01-01T00:00:00Z"}, (400, "InvalidPolicyDocument")),
        ({}, CONDITIONS, {"expiration": "2099-01-01 00:00:00"}, (400, "InvalidPolicyDocument")),
        ({}, CONDITIONS, {"expiration": "2019-01-01T00:00:00Z"}, (403, "AccessDenied")),
        ({}, CONDITIONS, {"conditions": None}, (400, "InvalidPolicyDocument")),
        ({}, CONDITIONS, {"conditions": None, "CONDITIONS": CONDITIONS}, (400, "InvalidPolicyDocument")),
        ({}, [{}], {}, (400, "InvalidPolicyDocument")),
        ({}, [*CONDITIONS[:-1], ["content-length-range", 0]], {}, (400, "InvalidPolicyDocument")),
        ({}, [*CONDITIONS[:-1], ["content-length-range", -1, 0]], {}, (400, "InvalidPolicyDocument")),
        ({}, [*CONDITIONS[:-1], ["content-length-range", 0, 0]], {}, (400, "EntityTooLarge")),
        ({}, [*CONDITIONS[:-1], ["content-length-range", 512, 1000]], {}, (400, "EntityTooSmall")),
    ],
)
def test_the_edges_of_policies(
    s3: Clients,
    fields: dict[str, str | None],
    conditions: list[Any],
    document: dict[str, Any],
    outcome: tuple[int, str],
) -> None:
    """Cases of the kind that public suites of S3's behaviour have, each with its status and code."""
    made = policy_form(s3.credentials(), FIELDS, conditions, document)
    made |= {name: value for name, value in fields.items() if value is not None}
    for name in [name for name, value in fields.items() if value is None]:
        del made[name]
    answer = post(s3.gate, made, b"bar")
    if outcome[1]:
        assert s3_error(answer)[:2] == outcome
    else:
        assert answer.status == outcome[0]


def test_names_of_fields_and_conditions_have_no_case(s3: Clients) -> None:
    """The file's included."""
    conditions = [
        {"bUcKeT": BUCKET},
        ["StArTs-WiTh", "$KeY", "foo"],
        {"AcL": "private"},
        ["StArTs-WiTh", "$CoNtEnT-TyPe", "text/plain"],
        ["content-length-range", 0, 1024],
    ]
    made = policy_form(s3.credentials(), {}, conditions)
    mixed = {"kEy": "foo.txt", "aCl": "private", "CoNtEnT-TyPe": "text/plain"}
    mixed |= {"aWSAccessKeyId": made["AWSAccessKeyId"], "sIgNaTuRe": made["signature"], "pOLICy": made["policy"]}
    assert post(s3.gate, mixed, b"bar").status == 204


def test_the_order_of_the_fields_does_not_matter_but_for_the_file(s3: Clients) -> None:
    """What comes after the file has not come."""
    fields = signed(s3, "order")
    assert post(s3.gate, list(reversed(fields.items()))).status == 204
    late = encoded([pair for pair in fields.items() if pair[0] != "key"])
    key = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="key"\r\n\r\norder\r\n--{BOUNDARY}--\r\n'
    late = late.removesuffix(f"--{BOUNDARY}--\r\n".encode()) + key.encode()
    answer = s3.gate.ask("POST", f"/{BUCKET}", late, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    assert s3_error(answer)[1] == "InvalidArgument"


def test_a_file_of_nothing_is_an_object(s3: Clients) -> None:
    """Zero bytes are a length."""
    assert post(s3.gate, signed(s3, "empty"), b"").status == 204
    assert kept(s3, "empty")["Bytes"] == b""


def test_a_form_deletes_nothing_and_begins_no_upload(s3: Clients) -> None:
    """The rest of its body could be a document that nobody signed."""
    s3().put_object(Bucket=BUCKET, Key="kept", Body=b"1")
    document = b"<Delete><Object><Key>kept</Key></Object></Delete>"
    digest = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()
    head = encoded(signed(s3), b"").partition(b'filename="a.png"')[0] + b'filename="a.png"\r\n\r\n'
    host, port = s3.gate.address
    for target in (f"/{BUCKET}?%64elete", f"/{BUCKET}%2Fother?uploads"):
        lines = [
            f"POST {target} HTTP/1.1",
            f"Host: {host}:{port}",
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
            f"Content-Length: {len(head) + len(document)}",
            f"Content-MD5: {digest}",
            f"x-amz-decoded-content-length: {len(document)}",
        ]
        with socket.create_connection((host, port), timeout=5) as sock:
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + head)
            answer = sock.recv(65536)
            sock.sendall(document)
        assert answer.startswith(b"HTTP/1.1 403 "), answer
        assert b"<Code>AccessDenied</Code>" in answer
    assert kept(s3, "kept")["Bytes"] == b"1"
    assert not [row for row in s3().list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) if row["Key"] == "other"]
