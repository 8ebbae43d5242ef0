"""Checksums that uploaders vouch for: checked wherever they come, kept, and told to who asks."""

import base64
import hashlib
import zlib
from typing import Any, Final

import pytest
from awscrt import checksums as crt
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.s3.conftest import Clients
from tests.edge.s3.signed import ask, error_of, presigned, refused
from tests.gate import Gate
from valetstore.edge.s3.checksums import ALGORITHMS, Declared, asked_kind, declared
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.promise import Checksum

BODY: Final = b"bytes that somebody vouches for"


def of(algorithm: str, data: bytes) -> str:
    """A checksum as S3 writes it, by other code than the gateway's."""
    if algorithm in ("sha1", "sha256"):
        raw = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    else:
        run, size = {"crc32": (zlib.crc32, 4), "crc32c": (crt.crc32c, 4), "crc64nvme": (crt.crc64nvme, 8)}[algorithm]
        raw = run(data).to_bytes(size, "big")
    return base64.b64encode(raw).decode()


def inbound(**headers: str) -> Inbound:
    """A PUT with these headers; underscores stand for hyphens."""
    fields = tuple((name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items())
    return Inbound("PUT", b"/b/k", fields, now=1_800_000_000)


# --- what a request declares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_is_declared_by_header_or_trailer(algorithm: str) -> None:
    """Either way it names what the body has to be hashed with."""
    value = of(algorithm, BODY)
    header = declared(inbound(**{f"x-amz-checksum-{algorithm}": value, "x_amz_sdk_checksum_algorithm": algorithm}))
    assert header == Declared(algorithm, base64.b64decode(value))
    trailer = declared(inbound(x_amz_trailer=f"x-amz-checksum-{algorithm}"))
    assert trailer == Declared(algorithm)
    digests = {algorithm: base64.b64decode(value)}
    assert header.digests == trailer.digests == {algorithm}
    assert header.check(digests, {}) == Checksum(algorithm, value)
    assert trailer.check(digests, {f"x-amz-checksum-{algorithm}": value}) == Checksum(algorithm, value)


def test_who_declares_nothing_has_nothing_checked() -> None:
    """Headers that are about checksums are none."""
    said = inbound(x_amz_checksum_algorithm="CRC32", x_amz_checksum_mode="ENABLED", x_amz_checksum_type="COMPOSITE")
    assert declared(said) == Declared()
    assert declared(inbound(x_amz_sdk_checksum_algorithm="MD5")) == Declared()
    assert Declared().check({}, {}) is None


@pytest.mark.parametrize(
    ("headers", "code", "sentence"),
    [
        (
            {"x_amz_checksum_crc32": "AAAAAA==", "x_amz_checksum_sha1": "x"},
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ),
        (
            {"x_amz_checksum_crc32": "AAAAAA==", "x_amz_trailer": "x-amz-checksum-crc32"},
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header",
        ),
        ({"x_amz_checksum_crc32": "AAAA"}, "InvalidRequest", "Value for x-amz-checksum-crc32 header is invalid."),
        ({"x_amz_checksum_sha256": "\xff"}, "InvalidRequest", "Value for x-amz-checksum-sha256 header is invalid."),
        ({"x_amz_checksum_crc32c": ""}, "InvalidRequest", "Value for x-amz-checksum-crc32c header is invalid."),
        (
            {"x_amz_sdk_checksum_algorithm": "CRC32"},
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
        ),
        (
            {"x_amz_sdk_checksum_algorithm": "SHA1", "x_amz_checksum_crc32": "AAAAAA=="},
            "InvalidRequest",
            "Value for x-amz-sdk-checksum-algorithm header is invalid.",
        ),
        (
            {"x_amz_sdk_checksum_algorithm": "CRC7", "x_amz_checksum_crc32": "AAAAAA=="},
            "InvalidRequest",
            "Value for x-amz-sdk-checksum-algorithm header is invalid.",
        ),
        (
            {"x_amz_checksum_crc7": "AA=="},
            "InvalidRequest",
            "The algorithm type you specified in x-amz-checksum- header is invalid.",
        ),
        (
            {"x_amz_trailer": "x-amz-meta-late"},
            "InvalidRequest",
            "The value specified in the x-amz-trailer header is not supported",
        ),
        ({"content_md5": ""}, "InvalidDigest", ""),
        ({"content_md5": "YWJj"}, "InvalidDigest", ""),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_body(headers: dict[str, str], code: str, sentence: str) -> None:
    """In S3's words."""
    with pytest.raises(Denied) as caught:
        declared(inbound(**headers))
    assert caught.value.code == "parameter_invalid"
    said = caught.value.said
    assert said
    assert (said.code, said.message) == (code, sentence)


@given(st.sampled_from(sorted(ALGORITHMS)), st.text(max_size=50))
def test_no_value_is_taken_that_is_not_the_checksum_itself(algorithm: str, text: str) -> None:
    """Whatever a trailer says: it is the body's checksum in base64, or it is refused."""
    digests = {algorithm: base64.b64decode(of(algorithm, BODY))}
    with pytest.raises(Denied) as caught:
        Declared(algorithm).check(digests, {f"x-amz-checksum-{algorithm}": text})
    assert caught.value.code in {"parameter_invalid", "digest_mismatch"}


def test_a_trailer_that_was_announced_must_come() -> None:
    """Else a body could leave its proof out."""
    with pytest.raises(Denied) as caught:
        Declared("crc32").check({"crc32": bytes(4)}, {})
    assert caught.value.said
    assert caught.value.said.code == "MalformedTrailerError"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ("", False)),
        ({"x_amz_checksum_algorithm": "CRC32"}, ("crc32", True)),
        ({"x_amz_checksum_algorithm": "SHA256"}, ("sha256", True)),
        ({"x_amz_checksum_algorithm": "CRC64NVME"}, ("crc64nvme", False)),
        ({"x_amz_checksum_algorithm": "CRC32C", "x_amz_checksum_type": "FULL_OBJECT"}, ("crc32c", False)),
        ({"x_amz_checksum_algorithm": "CRC32C", "x_amz_checksum_type": "COMPOSITE"}, ("crc32c", True)),
    ],
)
def test_an_upload_in_parts_has_a_kind_of_checksum(headers: dict[str, str], expected: tuple[str, bool]) -> None:
    """The defaults are S3's."""
    assert asked_kind(inbound(**headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_checksum_type": "COMPOSITE"},
        {"x_amz_checksum_algorithm": "SHA1", "x_amz_checksum_type": "FULL_OBJECT"},
        {"x_amz_checksum_algorithm": "CRC64NVME", "x_amz_checksum_type": "COMPOSITE"},
        {"x_amz_checksum_algorithm": "CRC32", "x_amz_checksum_type": "HALF"},
        {"x_amz_checksum_algorithm": "MD5"},
    ],
)
def test_kinds_that_there_cannot_be_are_refused(headers: dict[str, str]) -> None:
    """Only a CRC of the whole follows from those of the parts."""
    with pytest.raises(Denied) as caught:
        asked_kind(inbound(**headers))
    assert caught.value.said
    assert caught.value.said.code == "InvalidRequest"


# --- on the wire -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [name.upper() for name in ALGORITHMS])
def test_a_checksum_is_checked_kept_and_returned(s3: Clients, algorithm: str) -> None:
    """By an SDK: with the upload, with its answer, and with a download that asks; not with one that does not."""
    client = s3()
    member, key = f"Checksum{algorithm}", f"sum-{algorithm}"
    put = client.put_object(Bucket="things", Key=key, Body=BODY, ChecksumAlgorithm=algorithm)
    assert put[member] == of(algorithm.lower(), BODY)
    assert put["ChecksumType"] == "FULL_OBJECT"
    assert put["ETag"] == f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
    head = client.head_object(Bucket="things", Key=key, ChecksumMode="ENABLED")
    assert (head[member], head["ChecksumType"]) == (put[member], "FULL_OBJECT")
    got = client.get_object(Bucket="things", Key=key, ChecksumMode="ENABLED")
    assert (got["Body"].read(), got[member]) == (BODY, put[member])
    part = client.get_object(Bucket="things", Key=key, ChecksumMode="ENABLED", Range="bytes=0-3")
    assert member not in part
    silent = ask(s3, "GET", f"/things/{key}")
    assert not [name for name in silent.headers if name.startswith("x-amz-checksum")]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_wrong_checksum_keeps_nothing(s3: Clients, algorithm: str) -> None:
    """BadDigest, naming the algorithm."""
    answer = ask(s3, "PUT", "/things/wrong", BODY, {f"x-amz-checksum-{algorithm}": of(algorithm, b"other")})
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "BadDigest")
    assert members["Message"] == f"The {algorithm.upper()} you specified did not match the calculated checksum."
    assert ask(s3, "GET", "/things/wrong").status == 404


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_checksum_of_an_empty_body_is_called_by_its_name(s3: Clients, algorithm: str) -> None:
    """SDKs put it into URLs that they sign before there is a body; an empty body is right all the same."""
    headers = {f"x-amz-checksum-{algorithm}": of(algorithm, b"")}
    assert "WHEN_REQUIRED" in error_of(ask(s3, "PUT", "/things/trap", BODY, headers))["Message"]
    assert ask(s3, "PUT", "/things/trap", b"", headers).status == 200


def test_the_trap_in_a_presigned_url_is_named(s3: Clients, gate: Gate) -> None:
    """As the JavaScript SDK makes one: the checksum is a signed parameter, and the client sends no such header."""
    client = s3(signature_version="s3v4")

    def hoist(request: Any, **_: Any) -> None:
        request.params |= {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32"}

    client.meta.events.register("before-sign.s3", hoist)
    url = presigned(client, "put_object", "hoisted")
    assert "x-amz-checksum-crc32=AAAAAA" in url
    answer = gate.ask("PUT", url, BODY)
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "BadDigest")
    assert "requestChecksumCalculation" in members["Message"]


def test_content_md5_is_checked(s3: Clients) -> None:
    """Right, wrong, and no MD5 at all."""
    right = base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    assert ask(s3, "PUT", "/things/md5", BODY, {"Content-MD5": right}).status == 200
    members = error_of(ask(s3, "PUT", "/things/md5", BODY, {"Content-MD5": wrong}))
    assert (members["Code"], members["ExpectedDigest"]) == ("BadDigest", base64.b64decode(wrong).hex())
    assert members["CalculatedDigest"] == right
    assert members["Message"] == "The Content-MD5 you specified did not match what we received."
    assert refused(ask(s3, "PUT", "/things/md5", BODY, {"Content-MD5": "YWJj"})) == (400, "InvalidDigest")


def test_the_signed_hash_of_the_body_is_checked(s3: Clients) -> None:
    """The signature holds, the body is another's."""
    promised = hashlib.sha256(b"other").hexdigest()
    answer = ask(s3, "PUT", "/things/sha", BODY, {"X-Amz-Content-SHA256": promised})
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "XAmzContentSHA256Mismatch")
    assert members["ClientComputedContentSHA256"] == promised
    assert members["S3ComputedContentSHA256"] == hashlib.sha256(BODY).hexdigest()
    # Before Content-MD5, which need not have been signed.
    both = {"X-Amz-Content-SHA256": promised, "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert refused(ask(s3, "PUT", "/things/sha", BODY, both)) == (400, "XAmzContentSHA256Mismatch")


def test_an_sdk_is_told_what_was_wrong(s3: Clients) -> None:
    """As its own exception, with the code."""
    client: Any = s3()
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="things", Key="k", Body=BODY, ChecksumSHA256=of("sha256", b"x"))
    assert caught.value.response["Error"]["Code"] == "BadDigest"


# --- trailers, and bodies that are read whole --------------------------------------------------------------------


def framed(data: bytes, trailer: str = "", value: str = "") -> bytes:
    """A body in aws-chunked, unsigned, with a trailer."""
    end = f"{trailer}:{value}\r\n" if trailer else ""
    return b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(data), data, end.encode())


def with_trailer(algorithm: str, data: bytes) -> dict[str, str]:
    """The headers that announce one."""
    return {
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Trailer": f"x-amz-checksum-{algorithm}",
        "X-Amz-Decoded-Content-Length": str(len(data)),
        "Content-Encoding": "aws-chunked",
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_in_a_trailer_is_checked_and_kept(s3: Clients, algorithm: str) -> None:
    """Right: kept and returned. Wrong, or not there: nothing is kept."""
    name, key = f"x-amz-checksum-{algorithm}", f"/things/trailing-{algorithm}"
    headers = with_trailer(algorithm, BODY)
    for value in (of(algorithm, b"other"), ""):
        wrong = ask(s3, "PUT", key, framed(BODY, name if value else "", value), headers)
        assert refused(wrong) in {(400, "BadDigest"), (400, "MalformedTrailerError")}
        assert ask(s3, "GET", key).status == 404
    right = ask(s3, "PUT", key, framed(BODY, name, of(algorithm, BODY)), headers)
    assert (right.status, right.headers[name]) == (200, of(algorithm, BODY))
    got = ask(s3, "GET", key, headers={"x-amz-checksum-mode": "ENABLED"})
    assert (got.body, got.headers[name]) == (BODY, of(algorithm, BODY))
    assert "content-encoding" not in got.headers


DELETE: Final = b"<Delete><Object><Key>k</Key></Object></Delete>"


def test_a_body_that_is_read_whole_is_proven_first(s3: Clients) -> None:
    """Its digests, its signed hash and its framing, as of an object."""
    md5 = base64.b64encode(hashlib.md5(DELETE, usedforsecurity=False).digest()).decode()
    other = base64.b64encode(hashlib.md5(b"x", usedforsecurity=False).digest()).decode()
    sha256 = {"X-Amz-Content-SHA256": hashlib.sha256(b"x").hexdigest(), "Content-MD5": md5}
    cases = [
        ({"Content-MD5": other}, (400, "BadDigest")),
        ({"Content-MD5": "?"}, (400, "InvalidDigest")),
        ({"x-amz-checksum-crc32": of("crc32", b"x")}, (400, "BadDigest")),
        ({"x-amz-checksum-crc32": "?"}, (400, "InvalidRequest")),
        (sha256, (400, "XAmzContentSHA256Mismatch")),
    ]
    assert ask(s3, "PUT", "/things/k", b"x").status == 200
    for headers, expected in cases:
        assert refused(ask(s3, "POST", "/things?delete", DELETE, headers)) == expected, headers
    assert ask(s3, "GET", "/things/k").status == 200
    trailer = with_trailer("crc32", DELETE)
    wrong = framed(DELETE, "x-amz-checksum-crc32", of("crc32", b"x"))
    assert refused(ask(s3, "POST", "/things?delete", wrong, trailer)) == (400, "BadDigest")
    right = framed(DELETE, "x-amz-checksum-crc32", of("crc32", DELETE))
    assert ask(s3, "POST", "/things?delete", right, trailer).status == 200
    assert ask(s3, "POST", "/things?delete", DELETE, {"Content-MD5": md5}).status == 200


def test_a_body_that_is_read_whole_is_bounded(s3: Clients) -> None:
    """By what it announces, before it is asked for; and by what comes."""
    body = b"x" * (2**20 + 1)
    answer = ask(s3, "PUT", "/things?cors", body, {"x-amz-checksum-crc32": of("crc32", body)})
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "MaxMessageLengthExceeded")
    assert int(members["MaxMessageLengthBytes"]) <= 2**20
