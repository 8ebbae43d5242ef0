"""Refusals as S3 puts them: status, code, sentence and members, for all that can be refused."""

import json
from datetime import UTC, datetime
from typing import Any, Final, cast

import pytest

from tests.edge.s3.conftest import Clients
from tests.edge.s3.signed import ask, error_of, presigned, refused, signing_at
from tests.gate import Gate
from valetstore.edge.dialect import Dialects
from valetstore.edge.s3 import S3Calls, voice
from valetstore.edge.s3.codes import ROWS, SENTENCES
from valetstore.edge.uploading import Services
from valetstore.errors import REFUSALS, Denied
from valetstore.grants.grant import Profile
from valetstore.grants.s3 import Rules
from valetstore.inbound import Inbound

EXPECTED: Final = {
    "request_malformed": (400, "BadRequest"),
    "target_invalid": (400, "InvalidURI"),
    "object_key_invalid": (400, "InvalidURI"),
    "parameter_invalid": (400, "InvalidArgument"),
    "method_not_allowed": (405, "MethodNotAllowed"),
    "headers_too_large": (400, "RequestHeaderSectionTooLarge"),
    "request_timeout": (400, "RequestTimeout"),
    "cors_not_allowed": (403, "AccessForbidden"),
    "not_implemented": (501, "NotImplemented"),
    "key_missing": (403, "AccessDenied"),
    "key_ambiguous": (400, "InvalidArgument"),
    "key_malformed": (400, "InvalidArgument"),
    "signature_mismatch": (403, "SignatureDoesNotMatch"),
    "key_not_yet_valid": (403, "AccessDenied"),
    "key_expired": (403, "AccessDenied"),
    "key_revoked": (403, "AccessDenied"),
    "key_used": (403, "AccessDenied"),
    "replay_unavailable": (503, "ServiceUnavailable"),
    "revocation_unavailable": (503, "ServiceUnavailable"),
    "operation_not_allowed": (403, "AccessDenied"),
    "path_not_allowed": (403, "AccessDenied"),
    "source_not_allowed": (403, "AccessDenied"),
    "https_required": (403, "AccessDenied"),
    "header_required": (403, "AccessDenied"),
    "ttl_too_long": (403, "AccessDenied"),
    "type_not_allowed": (403, "AccessDenied"),
    "too_small": (400, "EntityTooSmall"),
    "too_large": (400, "EntityTooLarge"),
    "rate_limited": (503, "SlowDown"),
    "not_found": (404, "NoSuchKey"),
    "exists": (412, "PreconditionFailed"),
    "precondition_failed": (412, "PreconditionFailed"),
    "range_not_satisfiable": (416, "InvalidRange"),
    "bucket_not_found": (404, "NoSuchBucket"),
    "bucket_exists": (409, "BucketAlreadyOwnedByYou"),
    "upload_not_found": (404, "NoSuchUpload"),
    "part_invalid": (400, "InvalidPart"),
    "conflict": (409, "OperationAborted"),
    "digest_mismatch": (400, "BadDigest"),
    "body_incomplete": (400, "IncompleteBody"),
    "metadata_too_large": (400, "MetadataTooLarge"),
    "storage_full": (507, "StorageFull"),
    "storage_unavailable": (503, "ServiceUnavailable"),
    "storage_error": (500, "InternalError"),
    "overloaded": (503, "SlowDown"),
    "internal_error": (500, "InternalError"),
}


def inbound(target: str = "/things/a", method: str = "GET", **headers: str) -> Inbound:
    """A request as voice sees it; underscores in header names stand for hyphens."""
    fields = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Inbound(method, target.encode(), (*fields, (b"host", b"127.0.0.1:8080")), now=1_800_000_000.5)


def test_every_refusal_there_is_has_a_row() -> None:
    """A code without one would leave as an error of the gateway's."""
    assert ROWS.keys() == REFUSALS.keys() == EXPECTED.keys()
    assert {row.code for row in ROWS.values()} <= SENTENCES.keys()


@pytest.mark.parametrize("code", EXPECTED)
def test_each_refusal_has_s3s_status_and_code_and_ours_beside_it(code: str) -> None:
    """And a sentence, whoever's it is; nobody is asked for a Bearer key."""
    reply = voice.refusal(Denied(code), inbound(), "1f", Rules())
    body = bytes(reply.body if isinstance(reply.body, bytes) else b"").decode()
    status, said = EXPECTED[code]
    assert reply.status == status
    assert f"<Error><Code>{said}</Code><Message>" in body
    assert "<Message></Message>" not in body
    headers = dict(reply.headers)
    assert headers["X-Valet-Error"] == code
    assert "WWW-Authenticate" not in headers
    if status == 503:
        assert "Retry-After" in headers


def test_the_document_is_s3s_to_the_byte() -> None:
    """No namespace, members between the sentence and Resource, text escaped."""
    reply = voice.refusal(Denied("not_found"), inbound("/things/a%3Cb%26%22c"), "1f", Rules())
    assert reply.body == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>"
        b'<Key>a&lt;b&amp;"c</Key><Resource>/things/a&lt;b&amp;"c</Resource>'
        b"<RequestId>1f</RequestId><HostId>valetstore</HostId></Error>"
    )


def test_what_is_said_wins_over_the_tables_and_lacks_nothing() -> None:
    """A code alone has its sentence and status from the table; one nobody knows has ours."""
    alone = voice.refusal(Denied("parameter_invalid").saying("MalformedXML"), inbound(), "1", Rules())
    assert alone.status == 400
    assert b"<Message>The XML you provided was not well-formed or did not validate" in bytes(alone.body)  # type: ignore[arg-type]
    whole = Denied("parameter_invalid").saying("Odd", "As it is.", 418, Extra="<1>")
    reply = voice.refusal(whole, inbound(), "1", Rules())
    assert reply.status == 418
    assert b"<Code>Odd</Code><Message>As it is.</Message><Extra>&lt;1&gt;</Extra>" in bytes(reply.body)  # type: ignore[arg-type]
    unknown = voice.refusal(Denied("not_found").saying("NewCode"), inbound(), "1", Rules())
    assert unknown.status == 404
    assert b"<Message>There is no such object.</Message>" in bytes(unknown.body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "headers", "is_s3"),
    [
        ("/b/k?X-Amz-Signature=0", {}, True),
        ("/b/k?x-amz-algorithm=AWS4-HMAC-SHA256", {}, True),
        ("/b/k?AWSAccessKeyId=A&Signature=B&Expires=1", {}, True),
        ("/b/k", {"authorization": "AWS4-HMAC-SHA256 Credential=A"}, True),
        ("/b/k", {"authorization": "AWS A:B"}, True),
        ("/b/k", {"x_amz_date": "20260101T000000Z"}, True),
        ("/b/k", {"amz_sdk_invocation_id": "1"}, True),
        ("/b/k?valet=eyJ", {"x_amz_date": "20260101T000000Z"}, False),
        ("/b/k", {"authorization": "Bearer eyJ", "x_amz_date": "1"}, False),
        ("/b/k?valet=eyJ&X-Amz-Signature=0", {}, True),
        ("/_valet/healthz", {"x_amz_date": "1"}, False),
        ("/_valet/healthz?X-Amz-Signature=0", {}, False),
        ("/b/k", {}, False),
        ("/b/k?Signature=1&Expires=2", {}, False),
        ("/b/k?%zz", {"x_amz_date": "1"}, True),
        ("/b/k?%zz", {}, False),
    ],
)
def test_s3_is_spoken_to_those_who_speak_it(target: str, headers: dict[str, str], is_s3: bool) -> None:
    """To whoever brings one of its keys, or what only its clients send; native keys get native answers."""
    spoken = Dialects(S3Calls(cast(Services, None), Rules()), ()).spoken(inbound(target, **headers))
    assert (spoken is not None) is is_s3


def test_a_name_that_is_too_long_says_how_long() -> None:
    """Other names that cannot be are an invalid URI; undecodable ones too."""
    reply = voice.refusal(Denied("object_key_invalid"), inbound("/b/" + "%C3%A4" * 513), "1", Rules())
    assert b"<Code>KeyTooLongError</Code>" in bytes(reply.body)  # type: ignore[arg-type]
    assert b"<Size>1026</Size><MaxSizeAllowed>1024</MaxSizeAllowed>" in bytes(reply.body)  # type: ignore[arg-type]
    for target in ("/b/" + "%41" * 1000, "/b/" + "%ff" * 1100, "/b/a/../c"):
        reply = voice.refusal(Denied("object_key_invalid"), inbound(target), "1", Rules())
        assert b"<Code>InvalidURI</Code>" in bytes(reply.body)  # type: ignore[arg-type]


# --- on the wire -------------------------------------------------------------------------------------------------


def test_an_expired_url_says_for_how_long_it_held(s3: Clients, gate: Gate) -> None:
    """X-Amz-Expires as signed, when that was, and what time it is here."""
    client = s3(signature_version="s3v4")
    with signing_at(-100) as then:
        url = presigned(client, "get_object", "old", 60)
    members = error_of(gate.ask("GET", url))
    assert members["Code"] == "AccessDenied"
    assert members["Message"] == "Request has expired"
    assert members["X-Amz-Expires"] == "60"
    expired = datetime.strptime(members["Expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert expired == int(then.timestamp()) + 60
    assert "T" in members["ServerTime"]


def test_an_expired_v2_url_says_when(s3: Clients, gate: Gate) -> None:
    """It has no lifetime to tell, only an end."""
    url = presigned(s3(signature_version="s3"), "get_object", "old", -10)
    answer = gate.ask("GET", url)
    members = error_of(answer)
    assert (answer.status, members["Code"], members["Message"]) == (403, "AccessDenied", "Request has expired")
    assert "X-Amz-Expires" not in members
    assert members["Expires"] < members["ServerTime"]
    assert answer.code == "key_expired"


def test_a_url_of_the_future_is_not_valid_yet(s3: Clients, gate: Gate) -> None:
    """More than fifteen minutes ahead."""
    with signing_at(1000):
        url = presigned(s3(signature_version="s3v4"), "get_object", "new")
    answer = gate.ask("GET", url)
    members = error_of(answer)
    assert (answer.status, members["Code"], members["Message"]) == (403, "AccessDenied", "Request is not valid yet")


@pytest.mark.parametrize("seconds", [-1000, 1000])
def test_signed_headers_of_another_time_are_too_skewed(s3: Clients, seconds: int) -> None:
    """Either way; both clocks are told."""
    with signing_at(seconds) as then:
        answer = ask(s3, "GET", "/things/a")
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (403, "RequestTimeTooSkewed")
    assert members["Message"] == "The difference between the request time and the current time is too large."
    assert members["RequestTime"] == then.strftime("%Y%m%dT%H%M%SZ")
    assert members["MaxAllowedSkewMilliseconds"] == "900000"


def test_who_comes_without_a_key_is_denied(gate: Gate) -> None:
    """With S3's words where an SDK asks, in ours otherwise."""
    answer = gate.ask("GET", "/things/a", headers={"amz-sdk-invocation-id": "1"})
    members = error_of(answer)
    assert (answer.status, members["Code"], members["Message"]) == (403, "AccessDenied", "Access Denied")
    assert "www-authenticate" not in answer.headers
    assert json.loads(gate.ask("GET", "/things/a").body)["code"] == "key_missing"


def test_two_keys_in_one_request_are_refused(s3: Clients, gate: Gate) -> None:
    """As S3 says it; neither is looked at."""
    url = presigned(s3(signature_version="s3v4"), "get_object", "a")
    answer = gate.ask("GET", url, headers={"Authorization": "AWS4-HMAC-SHA256 x"})
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "InvalidArgument")
    assert members["Message"].startswith("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter")


def test_a_key_of_a_kind_that_s3_does_not_know_is_said_to_be_that(gate: Gate) -> None:
    """And not told back: it may be one of somewhere else."""
    headers = {"Authorization": "Basic c2VjcmV0OnNlY3JldA==", "x-amz-date": "20260101T000000Z"}
    answer = gate.ask("GET", "/things/a", headers=headers)
    members = error_of(answer)
    assert (answer.status, members["Code"]) == (400, "InvalidArgument")
    assert members["Message"] == "Unsupported Authorization Type"
    assert members["ArgumentName"] == "Authorization"
    assert b"c2VjcmV0" not in answer.body


def test_a_head_is_refused_without_a_body(s3: Clients, gate: Gate) -> None:
    """Its status is all there is to read."""
    url = presigned(s3(signature_version="s3v4"), "head_object", "nothing")
    answer = gate.ask("HEAD", url)
    assert (answer.status, answer.body, answer.code) == (404, b"", "bucket_not_found")


def test_missing_objects_buckets_and_operations_are_told_apart(s3: Clients) -> None:
    """And each names what is missing."""
    assert ask(s3, "PUT", "/things/present", b"x").status == 200
    no_key = error_of(ask(s3, "GET", "/things/no/key"))
    assert (no_key["Code"], no_key["Key"], no_key["Resource"]) == ("NoSuchKey", "no/key", "/things/no/key")
    no_bucket = error_of(ask(s3, "GET", "/no-such-bucket/k"))
    assert (no_bucket["Code"], no_bucket["BucketName"]) == ("NoSuchBucket", "no-such-bucket")
    answer = ask(s3, "POST", "/things/present")
    members = error_of(answer)
    assert (answer.status, members["Code"], members["Method"]) == (405, "MethodNotAllowed", "POST")
    assert members["ResourceType"] == "OBJECT"
    assert "allow" in answer.headers
    assert refused(ask(s3, "GET", "/things/present?acl")) == (501, "NotImplemented")
    assert refused(ask(s3, "POST", "/things/present?select&select-type=2")) == (501, "NotImplemented")
    assert refused(ask(s3, "GET", "/things/present?acl&uploadId=x")) == (400, "InvalidRequest")
    assert refused(ask(s3, "GET", "/things/present?versionId=abc")) == (404, "NoSuchVersion")
    assert refused(ask(s3, "GET", "/things/present?versionId=")) == (400, "InvalidArgument")
    assert ask(s3, "GET", "/things/present?versionId=null").body == b"x"


@pytest.mark.parametrize(
    ("headers", "expected", "named"),
    [
        ({"x-amz-acl": "everybody"}, (400, "InvalidArgument"), "everybody"),
        ({"x-amz-storage-class": "GLACIER"}, (400, "InvalidStorageClass"), "GLACIER"),
        ({"x-amz-server-side-encryption": "AES256"}, (501, "NotImplemented"), "x-amz-server-side-encryption"),
        ({"x-amz-tagging": "a=b"}, (501, "NotImplemented"), "x-amz-tagging"),
        ({"x-amz-website-redirect-location": "/x"}, (501, "NotImplemented"), "x-amz-website-redirect-location"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, (501, "NotImplemented"), "x-amz-object-lock-mode"),
        ({"x-amz-grant-read": "id=1"}, (501, "NotImplemented"), "x-amz-grant-read"),
        ({"x-amz-write-offset-bytes": "5"}, (501, "NotImplemented"), "x-amz-write-offset-bytes"),
        ({"Content-Range": "bytes 0-0/2"}, (501, "NotImplemented"), "content-range"),
        ({"x-amz-if-match-size": "1"}, (501, "NotImplemented"), "x-amz-if-match-size"),
    ],
)
def test_what_is_not_done_here_is_refused_and_not_passed_over(
    s3: Clients, headers: dict[str, str], expected: tuple[int, str], named: str
) -> None:
    """Nothing is stored by a request whose meaning was not honoured."""
    answer = ask(s3, "PUT", "/things/unserved", b"x", headers)
    assert refused(answer) == expected
    assert named in answer.body.decode()
    assert ask(s3, "GET", "/things/unserved").status == 404


@pytest.mark.parametrize("acl", ["private", "bucket-owner-full-control", "public-read", "public-read-write"])
def test_acls_are_taken_and_open_nothing(s3: Clients, gate: Gate, acl: str) -> None:
    """Many clients send one with every upload."""
    headers = {"x-amz-acl": acl, "x-amz-storage-class": "STANDARD", "x-amz-tagging": ""}
    assert ask(s3, "PUT", "/things/with-acl", b"x", headers).status == 200
    assert gate.ask("GET", "/things/with-acl").status == 401


def test_a_profiles_conditions_hold_for_what_its_key_signs(s3: Clients, gate: Gate) -> None:
    """Each with S3's code and our sentence."""
    cases: list[tuple[Profile, str, dict[str, Any], int, str, str]] = [
        (Profile(operations=("write",)), "get_object", {}, 403, "AccessDenied", "operation_not_allowed"),
        (Profile(prefixes=("/other/",)), "get_object", {}, 403, "AccessDenied", "path_not_allowed"),
        (Profile(networks=("192.0.2.0/24",)), "get_object", {}, 403, "AccessDenied", "source_not_allowed"),
        (Profile(https=True), "get_object", {}, 403, "AccessDenied", "https_required"),
        (Profile(ttl_seconds_max=10), "get_object", {}, 403, "AccessDenied", "ttl_too_long"),
        (
            Profile(types=("image/*",)),
            "put_object",
            {"Content-Type": "text/html"},
            403,
            "AccessDenied",
            "type_not_allowed",
        ),
        (Profile(types=("image/*",)), "put_object", {}, 403, "AccessDenied", "type_not_allowed"),
        (Profile(length_bytes_max=3), "put_object", {}, 400, "EntityTooLarge", "too_large"),
        (Profile(length_bytes_min=9), "put_object", {}, 400, "EntityTooSmall", "too_small"),
    ]
    for profile, operation, headers, status, said, code in cases:
        client = s3(profile=profile, signature_version="s3v4")
        method = "PUT" if operation == "put_object" else "GET"
        answer = gate.ask(method, presigned(client, operation, "held"), b"12345" if method == "PUT" else None, headers)
        members = error_of(answer)
        assert (answer.status, members["Code"], answer.code) == (status, said, code), (profile, answer)
    sized = error_of(gate.ask("PUT", presigned(client, "put_object", "held"), b"12345"))
    assert (sized["ProposedSize"], sized["MinSizeAllowed"]) == ("5", "9")


def test_too_many_requests_are_slowed_down(start: Any) -> None:
    """503 with S3's code, which its SDKs wait after, and when to come back."""
    one = Clients(start("[budgets]\naddress-requests-per-second = 0.01\naddress-burst = 2\n"))
    answers = [ask(one, "GET", "/things/a") for _ in range(4)]
    assert refused(answers[-1]) == (503, "SlowDown")
    assert int(answers[-1].headers["retry-after"]) > 1
