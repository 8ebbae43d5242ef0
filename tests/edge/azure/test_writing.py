"""Put Blob, Set Blob Metadata, Set Blob Properties, Delete Blob as requests: what is proven, kept and refused."""

import base64
import hashlib
from typing import Any, Final

import pytest

from tests.edge.azure.conftest import Account, error_of, refused
from tests.edge.azure.test_reading import crc64, md5
from tests.edge.wire import Wire, head

BODY: Final = b"123456789"
NO_LEASE: Final = "5f9a7d3c-0000-0000-0000-000000000000"


def test_the_answer_tells_what_was_kept(account: Account) -> None:
    """ETag, MD5, the CRC64 that was proven, the version, when."""
    found = account.put("told", BODY, {"x-ms-content-crc64": crc64(BODY), "x-ms-blob-content-md5": md5(BODY)})
    assert (found.status, found.body) == (201, b"")
    digest = hashlib.md5(BODY, usedforsecurity=False)
    assert found.headers["etag"] == f'"{digest.hexdigest()}"'
    assert found.headers["content-md5"] == base64.b64encode(digest.digest()).decode()
    assert found.headers["x-ms-content-crc64"] == crc64(BODY)
    assert found.headers["x-ms-request-server-encrypted"] == "false"
    assert found.headers["last-modified"].endswith("GMT")
    assert found.headers["x-ms-version-id"] == account.ask("HEAD", "told").headers["x-ms-version-id"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-MD5": md5(b"other")}, "Md5Mismatch"),
        ({"x-ms-blob-content-md5": md5(b"other")}, "Md5Mismatch"),
        ({"x-ms-content-crc64": crc64(b"other")}, "Crc64Mismatch"),
        # Highest byte first is another CRC.
        ({"x-ms-content-crc64": base64.b64encode(base64.b64decode(crc64(BODY))[::-1]).decode()}, "Crc64Mismatch"),
        ({"Content-MD5": "short"}, "InvalidMd5"),
        ({"Content-MD5": md5(BODY)[:-2] + "B="}, "InvalidMd5"),
        ({"x-ms-blob-content-md5": md5(BODY) + "\n".strip() + "="}, "InvalidMd5"),
        ({"x-ms-content-crc64": "AAAA"}, "InvalidHeaderValue"),
        # Each is right: Azure takes one of them.
        ({"x-ms-content-crc64": crc64(BODY), "Content-MD5": md5(BODY)}, "BothCrc64AndMd5HeaderPresent"),
    ],
)
def test_a_digest_that_does_not_hold_or_is_none_keeps_nothing(
    account: Account, headers: dict[str, str], code: str
) -> None:
    """400, and the blob is not there."""
    assert refused(account.put("unproven", BODY, headers)) == (400, code)
    assert account.ask("GET", "unproven").status == 404


def test_a_mismatch_tells_both_digests(account: Account) -> None:
    """What was said and what it is."""
    members = error_of(account.put("unproven", BODY, {"Content-MD5": md5(b"other")}))
    assert (members["UserSpecifiedMd5"], members["ServerCalculatedMd5"]) == (md5(b"other"), md5(BODY))
    members = error_of(account.put("unproven", BODY, {"x-ms-content-crc64": crc64(b"other")}))
    assert (members["UserSpecifiedCrc"], members["ServerCalculatedCrc"]) == (crc64(b"other"), crc64(BODY))


def test_headers_with_the_prefix_count_before_those_without(account: Account) -> None:
    """Both describe the blob; of Content-Disposition only the one with the prefix does."""
    plain = {"Content-Type": "text/a", "Content-Language": "aa", "Cache-Control": "no-cache"}
    prefixed = {"x-ms-blob-content-type": "text/b", "x-ms-blob-content-language": "bb"}
    account.put("heads", BODY, plain | prefixed | {"Content-Disposition": "inline"})
    found = account.ask("HEAD", "heads").headers
    assert (found["content-type"], found["content-language"], found["cache-control"]) == ("text/b", "bb", "no-cache")
    assert "content-disposition" not in found
    account.put("heads", BODY, {"x-ms-blob-content-disposition": "inline; filename=x"})
    assert account.ask("HEAD", "heads").headers["content-disposition"] == "inline; filename=x"


@pytest.mark.parametrize(
    ("headers", "status", "code", "named"),
    [
        ({"x-ms-blob-type": "AppendBlob"}, 501, "NotImplemented", "x-ms-blob-type"),
        ({"x-ms-blob-type": "PageBlob"}, 501, "NotImplemented", "x-ms-blob-type"),
        ({"x-ms-blob-type": "blockblob"}, 400, "InvalidHeaderValue", "x-ms-blob-type"),
        ({"x-ms-access-tier": "Archive"}, 400, "InvalidHeaderValue", "x-ms-access-tier"),
        ({"x-ms-tags": "a=b"}, 501, "NotImplemented", "x-ms-tags"),
        ({"x-ms-encryption-scope": "s"}, 501, "NotImplemented", "x-ms-encryption-scope"),
        ({"x-ms-encryption-key": "AAAA"}, 501, "NotImplemented", "x-ms-encryption-key"),
        ({"x-ms-structured-body": "XSM/1.0; properties=crc64"}, 501, "NotImplemented", "x-ms-structured-body"),
        ({"Content-Range": "bytes 4-7/8"}, 501, "NotImplemented", "content-range"),
        ({"x-ms-legal-hold": "true"}, 501, "NotImplemented", "x-ms-legal-hold"),
        ({"x-ms-immutability-policy-mode": "locked"}, 501, "NotImplemented", "x-ms-immutability-policy-mode"),
        ({"x-ms-expiry-option": "RelativeToNow"}, 501, "NotImplemented", "x-ms-expiry-option"),
        ({"x-ms-copy-source": "http://a/b"}, 501, "NotImplemented", None),
        ({"x-ms-source-if-match": "*"}, 501, "NotImplemented", "x-ms-source-if-match"),
        ({"x-ms-lease-id": NO_LEASE}, 412, "LeaseNotPresentWithBlobOperation", None),
        ({"x-ms-if-tags": "\"a\" = 'b'"}, 400, "ConditionHeadersNotSupported", None),
        ({"x-ms-meta-": "a"}, 400, "EmptyMetadataKey", None),
        ({"x-ms-meta-1a": "a"}, 400, "InvalidMetadata", None),
        ({"x-ms-meta-a-b": "a"}, 400, "InvalidMetadata", None),
        ({"x-ms-meta-a": "a" * 3001}, 400, "MetadataTooLarge", None),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_not_passed_over(
    account: Account, headers: dict[str, str], status: int, code: str, named: str | None
) -> None:
    """Naming the header where it is one."""
    found = account.put("refused", BODY, headers)
    assert refused(found) == (status, code)
    assert error_of(found).get("HeaderName") == named
    assert account.ask("GET", "refused").status == 404


def test_what_asks_for_nothing_more_is_taken(account: Account) -> None:
    """The one tier there is, and no legal hold."""
    assert account.put("taken", BODY, {"x-ms-access-tier": "Hot", "x-ms-legal-hold": "false"}).status == 201


def test_a_put_says_what_kind_of_blob_it_is(account: Account) -> None:
    """MissingRequiredHeader, as Azure has it."""
    found = account.ask("PUT", "kindless", BODY)
    assert refused(found) == (400, "MissingRequiredHeader")
    assert error_of(found)["HeaderName"] == "x-ms-blob-type"


@pytest.mark.parametrize("name", ["snapshot", "versionid"])
@pytest.mark.parametrize("comp", ["", "metadata", "properties"])
def test_another_state_than_the_present_one_cannot_be_written(account: Account, name: str, comp: str) -> None:
    """InvalidQueryParameterValue; nothing changes."""
    account.put("stated", BODY)
    parameters = {name: "2026-11-21T16:23:18.1234567Z"} | ({"comp": comp} if comp else {})
    found = account.ask("PUT", "stated", headers={"x-ms-blob-type": "BlockBlob", "x-ms-meta-a": "1"}, **parameters)
    assert refused(found) == (400, "InvalidQueryParameterValue")
    assert error_of(found)["QueryParameterName"] == name
    assert "x-ms-meta-a" not in account.ask("HEAD", "stated").headers


@pytest.mark.parametrize(
    ("method", "parameters"), [("PUT", {"comp": "metadata"}), ("PUT", {"comp": "properties"}), ("DELETE", {})]
)
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-ms-lease-id": NO_LEASE}, 412, "LeaseNotPresentWithBlobOperation"),
        ({"x-ms-encryption-scope": "s"}, 501, "NotImplemented"),
        ({"If-Match": '"other"'}, 412, "ConditionNotMet"),
        ({"If-None-Match": "*"}, 412, "ConditionNotMet"),
        ({"If-Modified-Since": "Fri, 31 Dec 9999 23:59:59 GMT"}, 412, "ConditionNotMet"),
    ],
)
def test_changes_are_held_to_the_same(
    account: Account, method: str, parameters: dict[str, Any], headers: dict[str, str], status: int, code: str
) -> None:
    """Set Blob Metadata, Set Blob Properties, Delete Blob; the blob stays as it is."""
    before = account.put("same", BODY).headers["etag"]
    assert refused(account.ask(method, "same", headers=headers, **parameters)) == (status, code)
    assert account.ask("HEAD", "same").headers["etag"] == before


@pytest.mark.parametrize(
    ("method", "parameters"), [("PUT", {"comp": "metadata"}), ("PUT", {"comp": "properties"}), ("DELETE", {})]
)
def test_a_change_has_no_body(account: Account, method: str, parameters: dict[str, Any]) -> None:
    """One that comes is not dropped as if it had not been sent."""
    account.put("bodiless", BODY)
    assert refused(account.ask(method, "bodiless", b"body", **parameters)) == (413, "RequestBodyTooLarge")
    assert account.ask("HEAD", "bodiless").status == 200


def test_a_wrong_md5_is_not_said_of_a_blob(account: Account) -> None:
    """Set Blob Properties takes the right one, and refuses another."""
    account.put("vouched", BODY)
    found = account.ask("PUT", "vouched", headers={"x-ms-blob-content-md5": md5(b"other")}, comp="properties")
    assert refused(found) == (400, "Md5Mismatch")
    found = account.ask("PUT", "vouched", headers={"x-ms-blob-content-md5": md5(BODY)}, comp="properties")
    assert found.status == 200
    assert account.ask("HEAD", "vouched").headers["content-md5"] == md5(BODY)


def test_metadata_that_is_too_large_is_refused(account: Account) -> None:
    """On a change too."""
    account.put("meta", BODY, {"x-ms-meta-a": "1"})
    found = account.ask("PUT", "meta", headers={"x-ms-meta-a": "a" * 3001}, comp="metadata")
    assert refused(found) == (400, "MetadataTooLarge")
    assert account.ask("HEAD", "meta").headers["x-ms-meta-a"] == "1"


def test_snapshots_cannot_be_deleted_without_their_blob(account: Account) -> None:
    """There are none; `include` asks for no more than the blob."""
    account.put("snapped", BODY)
    found = account.ask("DELETE", "snapped", headers={"x-ms-delete-snapshots": "only"})
    assert refused(found) == (501, "NotImplemented")
    found = account.ask("DELETE", "snapped", headers={"x-ms-delete-snapshots": "include"})
    assert (found.status, found.body) == (202, b"")


def test_a_body_is_asked_for_only_once_it_is_let_in(account: Account) -> None:
    """100 Continue after the checks; what may not be replaced is refused before."""
    account.put("there", BODY)
    lines = ["Content-Length: 9", "Expect: 100-continue", "x-ms-blob-type: BlockBlob"]
    target = account.at("there", account.sas("there"))
    with Wire(account.gate.address) as wire:
        wire.send(head("PUT", target, *lines, "If-None-Match: *"))
        found = wire.answer("PUT")
        assert refused(found) == (409, "BlobAlreadyExists")
    with Wire(account.gate.address) as wire:
        wire.send(head("PUT", target, *lines))
        assert wire.answer("PUT").status == 100
        wire.send(BODY)
        assert wire.answer("PUT").status == 201


def test_a_body_that_ends_early_keeps_nothing(account: Account) -> None:
    """The blob that was there still is."""
    account.put("cut", BODY)
    with Wire(account.gate.address) as wire:
        wire.send(head("PUT", account.at("cut", account.sas("cut")), "Content-Length: 9", "x-ms-blob-type: BlockBlob"))
        wire.send(b"1234")
        wire.end_of_sending()
        wire.rest()
    assert account.ask("GET", "cut").body == BODY


def test_a_body_in_chunks_of_http_is_taken_without_a_length(account: Account) -> None:
    """Azure asks for one; here a stream is as good."""
    found = account.put("streamed", iter([b"1234", b"56789"]))
    assert found.status == 201
    assert account.ask("GET", "streamed").body == BODY
