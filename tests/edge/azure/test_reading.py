"""Get Blob, its properties and its metadata, as requests: ranges, digests, versions, what cannot be asked for."""

import base64
import hashlib
import re
from typing import Any, Final

import pytest

from tests.edge.azure.conftest import Account, Accounts, error_of, refused
from tests.gate import Answer
from valetstore.edge.azure.heads import version_id
from valetstore.storage.checksums import new
from valetstore.storage.promise import Metadata, ObjectInfo

BODY: Final = bytes(range(256)) * 64
MIB: Final = 2**20


def md5(data: bytes) -> str:
    """As Content-MD5 has it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def crc64(data: bytes) -> str:
    """As x-ms-content-crc64 has it: lowest byte first."""
    found = new("crc64nvme")
    found.update(data)
    return base64.b64encode(found.digest()[::-1]).decode()


@pytest.fixture(scope="module")
def stored(account: Account) -> Answer:
    """A blob with some of everything."""
    told = account.put("blob", BODY, {"x-ms-meta-owner": "me", "x-ms-blob-content-type": "text/plain"})
    assert told.status == 201, told
    return told


def test_azures_crc64_is_the_one_of_nvme_lowest_byte_first() -> None:
    """Published with Azure's client for C++."""
    assert crc64(b"Hello Azure!") == "DtjZpL9/o8c="
    assert crc64(b"") == "AAAAAAAAAAA="


@pytest.mark.usefixtures("stored")
def test_the_whole_has_its_md5_and_all_that_is_known_of_it(account: Account) -> None:
    """GET and HEAD alike."""
    whole = account.ask("GET", "blob", headers={"x-ms-version": "2021-12-02", "x-ms-client-request-id": "mine"})
    assert (whole.status, whole.body) == (200, BODY)
    head = account.ask("HEAD", "blob", headers={"x-ms-range": "bytes=0-9"})
    assert (head.status, head.headers["content-length"]) == (200, str(len(BODY)))
    for found in (whole.headers, head.headers):
        assert found["content-md5"] == md5(BODY)
        assert found["x-ms-blob-type"] == "BlockBlob"
        assert found["x-ms-meta-owner"] == "me"
        assert found["content-type"] == "text/plain"
        assert found["x-ms-creation-time"] == found["last-modified"]
        assert (found["x-ms-lease-status"], found["x-ms-lease-state"]) == ("unlocked", "available")
        assert found["x-ms-server-encrypted"] == "false"
        assert found["accept-ranges"] == "bytes"
        assert found["x-content-type-options"] == "nosniff"
        assert found["x-ms-request-id"] == found["x-request-id"]
        assert "x-ms-blob-content-md5" not in found
    assert (whole.headers["x-ms-version"], whole.headers["x-ms-client-request-id"]) == ("2021-12-02", "mine")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("headers", "start", "end"),
    [
        ({"x-ms-range": "bytes=0-9"}, 0, 10),
        ({"Range": "bytes=5-"}, 5, len(BODY)),
        ({"x-ms-range": "bytes=0-99999999"}, 0, len(BODY)),
        ({"x-ms-range": "bytes=1-2", "Range": "bytes=7-8"}, 1, 3),
    ],
)
def test_a_range_is_a_206_even_where_it_is_all_there_is(
    account: Account, headers: dict[str, str], start: int, end: int
) -> None:
    """x-ms-range counts rather than Range; the MD5 of the whole goes along under a name of its own."""
    found = account.ask("GET", "blob", headers=headers)
    assert (found.status, found.body) == (206, BODY[start:end])
    assert found.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BODY)}"
    assert found.headers["x-ms-blob-content-md5"] == md5(BODY)
    assert "content-md5" not in found.headers


@pytest.mark.usefixtures("stored")
def test_a_range_beyond_the_blob_is_416_with_its_size(account: Account) -> None:
    """InvalidRange; of an empty blob every range is."""
    found = account.ask("GET", "blob", headers={"x-ms-range": f"bytes={len(BODY)}-"})
    assert refused(found) == (416, "InvalidRange")
    assert found.headers["content-range"] == f"bytes */{len(BODY)}"
    account.put("nothing")
    found = account.ask("GET", "nothing", headers={"x-ms-range": "bytes=0-33554431"})
    assert refused(found) == (416, "InvalidRange")
    assert found.headers["content-range"] == "bytes */0"


@pytest.mark.usefixtures("stored")
def test_the_digest_of_a_range_is_told_where_it_is_asked_for(account: Account) -> None:
    """Its MD5 or its CRC64."""
    asked = {"x-ms-range": "bytes=1-100"}
    found = account.ask("GET", "blob", headers=asked | {"x-ms-range-get-content-md5": "true"})
    assert (found.status, found.headers["content-md5"]) == (206, md5(BODY[1:101]))
    assert found.headers["x-ms-blob-content-md5"] == md5(BODY)
    found = account.ask("GET", "blob", headers=asked | {"x-ms-range-get-content-crc64": "True"})
    assert (found.status, found.headers["x-ms-content-crc64"]) == (206, crc64(BODY[1:101]))
    assert "content-md5" not in found.headers
    found = account.ask("GET", "blob", headers=asked | {"x-ms-range-get-content-crc64": "false"})
    assert found.status == 206


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-ms-range-get-content-md5": "true"},
        {"x-ms-range": "bytes=1-2", "x-ms-range-get-content-md5": "yes"},
        {"x-ms-range": "bytes=1-2", "x-ms-range-get-content-md5": "true", "x-ms-range-get-content-crc64": "true"},
    ],
)
def test_a_digest_that_cannot_be_told_is_refused(account: Account, headers: dict[str, str]) -> None:
    """Of no range; in a word that is no truth; two of them."""
    found = account.ask("GET", "blob", headers=headers)
    assert refused(found) == (400, "InvalidHeaderValue")
    assert error_of(found)["HeaderName"] == "x-ms-range-get-content-md5"


def test_the_digest_of_a_range_is_told_up_to_4_mib(account: Account) -> None:
    """As much as the SDK asks for at once when it validates; beyond, it is refused."""
    body = bytes(4 * MIB + 1)
    account.put("large", body)
    asked = {"x-ms-range-get-content-md5": "true"}
    found = account.ask("GET", "large", headers=asked | {"x-ms-range": f"bytes=0-{4 * MIB - 1}"})
    assert (found.status, found.headers["content-md5"]) == (206, md5(body[1:]))
    found = account.ask("GET", "large", headers=asked | {"x-ms-range": f"bytes=0-{4 * MIB}"})
    assert refused(found) == (400, "OutOfRangeInput")


def test_two_states_of_one_moment_are_two_versions() -> None:
    """A file system's clock may stand still while both are written; the time is told to the millisecond."""
    ids = {version_id(ObjectInfo(1, etag, 1_800_000_000_123_999_999, Metadata())) for etag in ('"1"', '"2"')}
    assert len(ids) == 2
    assert all(re.fullmatch(r"2027-01-15T08:00:00\.123[0-9]{4}Z", found) for found in ids), ids


def test_a_version_is_the_present_state_or_none(account: Account) -> None:
    """Named by its time; once the blob is replaced, the earlier one is gone. There are no snapshots."""
    first = account.put("versions", b"1").headers["x-ms-version-id"]
    head = account.ask("HEAD", "versions").headers
    assert (head["x-ms-version-id"], head["x-ms-is-current-version"]) == (first, "true")
    assert account.ask("GET", "versions", versionid=first).body == b"1"
    second = account.put("versions", b"2").headers["x-ms-version-id"]
    assert second != first
    asked: list[tuple[str, dict[str, Any]]] = [("GET", {}), ("GET", {"comp": "metadata"}), ("DELETE", {})]
    for method, parameters in asked:
        assert refused(account.ask(method, "versions", versionid=first, **parameters)) == (404, "BlobNotFound")
        found = account.ask(method, "versions", snapshot=second, **parameters)
        assert refused(found) == (404, "BlobNotFound")
    assert account.ask("HEAD", "versions", versionid=first).headers["x-ms-error-code"] == "BlobNotFound"
    twice = account.at("versions", account.container_sas()) + f"&versionid={second}&versionid={first}"
    assert account.gate.ask("GET", twice).status == 400
    assert account.ask("GET", "versions", versionid=second).body == b"2"
    assert account.ask("DELETE", "versions", versionid=second).status == 202
    assert refused(account.ask("GET", "versions")) == (404, "BlobNotFound")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_metadata_is_told_alone(account: Account, method: str) -> None:
    """No body, no type; its conditions hold."""
    found = account.ask(method, "blob", comp="metadata")
    assert (found.status, found.body, found.headers["content-length"]) == (200, b"", "0")
    assert found.headers["x-ms-meta-owner"] == "me"
    assert "content-type" not in found.headers
    etag = found.headers["etag"]
    assert account.ask(method, "blob", headers={"If-Match": '"x"'}, comp="metadata").status == 412
    assert account.ask(method, "blob", headers={"If-None-Match": etag}, comp="metadata").status == 304


@pytest.mark.usefixtures("stored")
def test_a_304_says_why(account: Account) -> None:
    """In a header; entity tags may come without their quotes."""
    etag = account.ask("HEAD", "blob").headers["etag"]
    for tag in (etag, etag.strip('"')):
        found = account.ask("GET", "blob", headers={"If-None-Match": tag})
        assert (found.status, found.headers["x-ms-error-code"]) == (304, "ConditionNotMet")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-ms-lease-id": "5f9a7d3c-0000-0000-0000-000000000000"}, 412, "LeaseNotPresentWithBlobOperation"),
        ({"x-ms-if-tags": "\"a\" = 'b'"}, 400, "ConditionHeadersNotSupported"),
        ({"x-ms-encryption-key": "AAAA"}, 409, "BlobDoesNotUseCustomerSpecifiedEncryption"),
        ({"x-ms-structured-body": "XSM/1.0; properties=crc64"}, 501, "NotImplemented"),
        ({"If-Match": "a b"}, 400, "InvalidInput"),
    ],
)
def test_what_cannot_be_had_is_refused_and_not_passed_over(
    account: Account, headers: dict[str, str], status: int, code: str
) -> None:
    """A lease, a condition on tags, a customer's key, a framed body."""
    assert refused(account.ask("GET", "blob", headers=headers)) == (status, code)
    found = account.ask("HEAD", "blob", headers=headers)
    assert (found.status, found.headers["x-ms-error-code"], found.body) == (status, code, b"")


def test_signed_headers_of_a_download_are_served(account: Account) -> None:
    """rscc, rscd, rsce, rscl, rsct."""
    account.put("override", b"<p>")
    sas = account.sas(
        "override",
        "r",
        cache_control="no-cache",
        content_disposition="attachment; filename=b.txt",
        content_language="en",
        content_type="text/plain",
    )
    found = account.ask("GET", "override", sas=sas).headers
    assert found["cache-control"] == "no-cache"
    assert found["content-disposition"] == "attachment; filename=b.txt"
    assert found["content-language"] == "en"
    assert found["content-type"] == "text/plain"


def test_what_was_put_by_another_dialect_is_read(azure: Accounts) -> None:
    """One store: a blob that a native key has put has no MD5 to tell, and is read all the same."""
    gate, account = azure.gate, azure()
    assert gate.ask("PUT", gate.sign("PUT", "/things/native"), b"native").status == 201
    found = account.ask("GET", "native")
    assert (found.status, found.body) == (200, b"native")
    assert "content-md5" not in found.headers
    assert gate.ask("GET", gate.sign("GET", "/things/native")).body == b"native"
    assert account.ask("PUT", "native", headers={"x-ms-meta-a": "1"}, comp="metadata").status == 200
    assert account.ask("GET", "native").headers["x-ms-meta-a"] == "1"
