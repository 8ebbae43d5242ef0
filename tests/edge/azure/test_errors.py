"""Refusals as Azure puts them: status, header, code, sentence and members, for all that can be refused."""

from ipaddress import ip_address
from typing import Any, Final
from xml.etree.ElementTree import fromstring

import pytest

from valetstore.edge.azure import voice
from valetstore.edge.azure.codes import ROWS, SENTENCES
from valetstore.edge.replies import Reply
from valetstore.errors import REFUSALS, Denied
from valetstore.inbound import Inbound

EXPECTED: Final = {
    "request_malformed": (400, "InvalidInput"),
    "target_invalid": (400, "InvalidUri"),
    "object_key_invalid": (400, "InvalidResourceName"),
    "parameter_invalid": (400, "InvalidInput"),
    "method_not_allowed": (405, "UnsupportedHttpVerb"),
    "headers_too_large": (400, "OutOfRangeInput"),
    "request_timeout": (500, "OperationTimedOut"),
    "cors_not_allowed": (403, "CorsPreflightFailure"),
    "not_implemented": (501, "NotImplemented"),
    "key_missing": (401, "NoAuthenticationInformation"),
    "key_ambiguous": (400, "InvalidAuthenticationInfo"),
    "key_malformed": (403, "AuthenticationFailed"),
    "signature_mismatch": (403, "AuthenticationFailed"),
    "key_not_yet_valid": (403, "AuthenticationFailed"),
    "key_expired": (403, "AuthenticationFailed"),
    "key_revoked": (403, "AuthenticationFailed"),
    "key_used": (403, "AuthorizationFailure"),
    "replay_unavailable": (503, "ServerBusy"),
    "revocation_unavailable": (503, "ServerBusy"),
    "operation_not_allowed": (403, "AuthorizationPermissionMismatch"),
    "path_not_allowed": (403, "AuthorizationFailure"),
    "source_not_allowed": (403, "AuthorizationSourceIPMismatch"),
    "https_required": (403, "AuthorizationProtocolMismatch"),
    "header_required": (403, "AuthorizationFailure"),
    "ttl_too_long": (403, "AuthorizationFailure"),
    "type_not_allowed": (403, "AuthorizationFailure"),
    "too_small": (400, "OutOfRangeInput"),
    "too_large": (413, "RequestBodyTooLarge"),
    "rate_limited": (503, "ServerBusy"),
    "not_found": (404, "BlobNotFound"),
    "exists": (403, "UnauthorizedBlobOverwrite"),
    "precondition_failed": (412, "ConditionNotMet"),
    "range_not_satisfiable": (416, "InvalidRange"),
    "bucket_not_found": (404, "ContainerNotFound"),
    "bucket_exists": (409, "ContainerAlreadyExists"),
    "upload_not_found": (404, "ResourceNotFound"),
    "part_invalid": (400, "InvalidBlockList"),
    "conflict": (409, "ResourceTypeMismatch"),
    "digest_mismatch": (400, "InvalidInput"),
    "body_incomplete": (400, "InvalidInput"),
    "metadata_too_large": (400, "MetadataTooLarge"),
    "storage_full": (507, "InsufficientStorage"),
    "storage_unavailable": (503, "ServerBusy"),
    "storage_error": (500, "InternalError"),
    "overloaded": (503, "ServerBusy"),
    "internal_error": (500, "InternalError"),
}
EXPLAINED: Final = ("key_malformed", "signature_mismatch", "key_not_yet_valid", "key_expired", "key_revoked")


def inbound(target: str = "/acct/things/a", method: str = "GET", peer: str = "", **headers: str) -> Inbound:
    """A request as voice sees it; underscores in header names stand for hyphens."""
    fields = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    fields = (*fields, (b"host", b"127.0.0.1:8080"))
    address = ip_address(peer) if peer else None
    return Inbound(method, target.encode(), fields, now=1_800_000_000.125, peer=address)


def said(denied: Denied, request: Inbound | None = None) -> tuple[Reply, dict[str, str]]:
    """The reply to a refusal, and the members of its document."""
    reply = voice.refusal(denied, request or inbound(), "1f")
    assert isinstance(reply.body, bytes)
    return reply, {child.tag: child.text or "" for child in fromstring(reply.body)}


def test_every_refusal_there_is_has_a_row() -> None:
    """A code without one would leave as an error of the gateway's."""
    assert ROWS.keys() == REFUSALS.keys() == EXPECTED.keys()
    assert {row.code for row in ROWS.values()} <= SENTENCES.keys()


@pytest.mark.parametrize("code", EXPECTED)
def test_each_refusal_has_azures_status_and_code_and_ours_beside_it(code: str) -> None:
    """In the header, which is all that a HEAD tells, and in the document; a sentence, whoever's it is."""
    reply, members = said(Denied(code))
    status, theirs = EXPECTED[code]
    assert (reply.status, members["Code"]) == (status, theirs)
    assert not members["Message"].startswith("\n")
    headers = dict(reply.headers)
    assert (headers["x-ms-error-code"], headers["X-Valet-Error"]) == (theirs, code)
    assert headers["Cache-Control"] == "no-store"
    assert ("AuthenticationErrorDetail" in members) == (code in EXPLAINED)
    # A challenge where there was no key at all; a wrong one is told to nobody's login.
    assert ("WWW-Authenticate" in headers) == (status == 401)
    if status == 503:
        assert "Retry-After" in headers


def test_the_document_is_azures_to_the_byte() -> None:
    """One line for the sentence, one for the request, one for the time in ticks."""
    reply, _ = said(Denied("not_found"))
    assert reply.body == (
        b'<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code>'
        b"<Message>The specified blob does not exist.\nRequestId:1f\nTime:2027-01-15T08:00:00.1250000Z</Message>"
        b"</Error>"
    )
    assert dict(reply.headers)["Content-Type"] == "application/xml"


def test_what_is_said_wins_over_the_tables_and_lacks_nothing() -> None:
    """A code alone has its sentence and status from the table; one nobody knows has ours."""
    reply, members = said(Denied("parameter_invalid").saying("InvalidBlockId"))
    assert reply.status == 400
    assert members["Message"].startswith("The specified block ID is invalid.")
    reply, members = said(Denied("parameter_invalid").saying("Odd", "As {it} is {0.x}.", 418, Extra="<1>"))
    assert reply.status == 418
    assert members["Message"].startswith("As {it} is {0.x}.\n")
    assert members["Extra"] == "<1>"
    reply, members = said(Denied("not_found", "Gone.").saying("NewCode"))
    assert reply.status == 404
    assert members["Message"].startswith("There is no such object. Gone.\n")


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ({"x_ms_version": "2021-12-02"}, {"x-ms-version": "2021-12-02"}),
        ({"x_ms_version": "newest\u00fc"}, {"x-ms-version": voice.VERSION}),
        ({}, {"x-ms-version": "2019-02-02"}),
        ({"x_ms_client_request_id": "me 1"}, {"x-ms-client-request-id": "me 1", "x-ms-version": "2019-02-02"}),
        ({"x_ms_client_request_id": "x" * 1025}, {"x-ms-version": "2019-02-02"}),
        ({"x_ms_client_request_id": "\u00fc"}, {"x-ms-version": "2019-02-02"}),
    ],
)
def test_every_answer_tells_ids_and_the_version_that_was_asked_for(
    sent: dict[str, str], answered: dict[str, str]
) -> None:
    """By header, else by the signature's own; the client's id comes back where it can be one."""
    headers = dict(voice.common_headers(inbound("/acct/things/a?sv=2019-02-02", **sent), "1f"))
    assert headers == {"x-ms-request-id": "1f"} | answered


@pytest.mark.parametrize(
    ("query", "period"),
    [
        (
            "st=2027-01-15T09:00:00Z&se=2027-01-15T10:00:00Z",
            "Start [Fri, 15 Jan 2027 09:00:00 GMT] - Expiry [Fri, 15 Jan 2027 10:00:00 GMT]",
        ),
        ("se=2027-01-14", "Expiry [Thu, 14 Jan 2027 00:00:00 GMT]"),
        ("se=2027-01-14T01:02Z", "Expiry [Thu, 14 Jan 2027 01:02:00 GMT]"),
        ("se=2027-13-14", "Expiry [2027-13-14]"),
        ("se=%3Cnow%3E", "Expiry [<now>]"),
    ],
)
@pytest.mark.parametrize("code", ["key_expired", "key_not_yet_valid"])
def test_outside_its_time_a_key_is_told_when_it_holds_and_what_the_clock_says(
    code: str, query: str, period: str
) -> None:
    """What cannot be read as a date is shown as it came."""
    _, members = said(Denied(code), inbound(f"/acct/things/a?sv=2020-12-06&{query}"))
    assert members["AuthenticationErrorDetail"] == (
        f"Signature not valid in the specified time frame: {period} - Current [Fri, 15 Jan 2027 08:00:00 GMT]"
    )


@pytest.mark.parametrize(
    ("target", "theirs"),
    [
        ("/acct/things/a?ss=f&srt=o", "AuthorizationServiceMismatch"),
        ("/acct/things/a?ss=bf&srt=sc", "AuthorizationResourceTypeMismatch"),
        ("/acct/things?restype=container&ss=b&srt=so", "AuthorizationResourceTypeMismatch"),
        ("/acct?comp=list&ss=b&srt=co", "AuthorizationResourceTypeMismatch"),
        ("/acct/things/a?ss=b&srt=o", "AuthorizationPermissionMismatch"),
        ("/acct/things/a?sr=b", "AuthorizationPermissionMismatch"),
    ],
)
def test_an_account_signature_is_told_whether_service_resource_or_permission_is_missing(
    target: str, theirs: str
) -> None:
    """In this order."""
    assert said(Denied("operation_not_allowed"), inbound(target))[1]["Code"] == theirs


def test_a_source_that_is_not_allowed_is_told_its_address() -> None:
    """As the gateway sees it; where it has none, that."""
    _, members = said(Denied("source_not_allowed"), inbound(peer="192.0.2.7"))
    assert members["Message"].startswith(
        "This request is not authorized to perform this operation using this source IP 192.0.2.7.\n"
    )
    assert "source IP unknown." in said(Denied("source_not_allowed"))[1]["Message"]


@pytest.mark.parametrize("code", ["exists", "precondition_failed"])
@pytest.mark.parametrize("target", ["/acct/things/a", "/acct/things/a?comp=blocklist"])
def test_a_write_of_what_must_be_new_is_a_conflict(code: str, target: str) -> None:
    """Whoever refuses it: the key that may only create, or the condition."""
    asked = inbound(target, "PUT", if_none_match="*")
    reply, members = said(Denied(code), asked)
    assert (reply.status, members["Code"]) == (409, "BlobAlreadyExists")


@pytest.mark.parametrize(
    "request_of",
    [
        {"method": "GET", "if_none_match": "*"},
        {"method": "PUT", "if_none_match": '"0x1"'},
        {"target": "/acct/things/a?comp=metadata", "method": "PUT", "if_none_match": "*"},
    ],
)
def test_any_other_condition_that_fails_is_412(request_of: dict[str, Any]) -> None:
    """Reads, entity tags, changes of what is there."""
    assert said(Denied("precondition_failed"), inbound(**request_of))[0].status == 412


def test_a_digest_that_differs_is_told_with_what_was_sent_and_what_was_computed() -> None:
    """Base64 both; a CRC lowest byte first."""
    wrong = Denied("digest_mismatch", digest="md5", computed="00" * 15 + "01")
    _, members = said(wrong, inbound(content_md5="c2VudA=="))
    assert members["Code"] == "Md5Mismatch"
    assert (members["UserSpecifiedMd5"], members["ServerCalculatedMd5"]) == ("c2VudA==", "AAAAAAAAAAAAAAAAAAAAAQ==")
    wrong = Denied("digest_mismatch", digest="crc64nvme", computed="0100000000000000")
    _, members = said(wrong, inbound(x_ms_content_crc64="c2VudA=="))
    assert members["Code"] == "Crc64Mismatch"
    assert (members["UserSpecifiedCrc"], members["ServerCalculatedCrc"]) == ("c2VudA==", "AAAAAAAAAAE=")


def test_a_body_that_is_too_large_is_told_the_limit() -> None:
    """Where there is one to tell."""
    assert said(Denied("too_large", size_max=7))[1]["MaxLimit"] == "7"
    assert "MaxLimit" not in said(Denied("too_large"))[1]


@pytest.mark.parametrize("target", ["/acct/%ff", "/acct/a?%ff=1", "/?se=%ff"])
@pytest.mark.parametrize("code", ["target_invalid", "key_expired", "operation_not_allowed", "exists"])
def test_nothing_that_a_request_holds_keeps_a_refusal_from_being_written(code: str, target: str) -> None:
    """Neither a path nor a query that is no text."""
    assert said(Denied(code), inbound(target, "PUT"))[0].status >= 400
