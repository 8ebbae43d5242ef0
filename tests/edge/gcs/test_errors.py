"""Refusals as Google puts them: status, code, sentence and details, for all that can be refused."""

import re
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.edge.gcs.conftest import Account, Accounts, refused
from tests.gate import Gate
from valetstore.edge.dialect import Dialects
from valetstore.edge.gcs import GcsCalls, voice
from valetstore.edge.gcs.codes import ROWS, SENTENCES
from valetstore.edge.uploading import Services
from valetstore.errors import REFUSALS, Denied
from valetstore.grants.gcs import Rules
from valetstore.inbound import Inbound

EXPECTED: Final = {
    "request_malformed": (400, "BadRequest"),
    "target_invalid": (400, "InvalidURI"),
    "object_key_invalid": (400, "InvalidURI"),
    "parameter_invalid": (400, "InvalidArgument"),
    "method_not_allowed": (405, "MethodNotAllowed"),
    "headers_too_large": (431, "RequestHeaderSectionTooLarge"),
    "request_timeout": (408, "RequestTimeout"),
    "cors_not_allowed": (403, "AccessDenied"),
    "not_implemented": (501, "NotImplemented"),
    "key_missing": (403, "AccessDenied"),
    "key_ambiguous": (400, "InvalidArgument"),
    "key_malformed": (400, "InvalidArgument"),
    "signature_mismatch": (403, "SignatureDoesNotMatch"),
    "key_not_yet_valid": (403, "AccessDenied"),
    "key_expired": (400, "ExpiredToken"),
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
    "rate_limited": (429, "SlowDown"),
    "not_found": (404, "NoSuchKey"),
    "exists": (412, "PreconditionFailed"),
    "precondition_failed": (412, "PreconditionFailed"),
    "range_not_satisfiable": (416, "InvalidRange"),
    "bucket_not_found": (404, "NoSuchBucket"),
    "bucket_exists": (409, "BucketAlreadyOwnedByYou"),
    "upload_not_found": (410, "NoSuchUpload"),
    "part_invalid": (400, "InvalidArgument"),
    "conflict": (409, "Conflict"),
    "digest_mismatch": (400, "BadDigest"),
    "body_incomplete": (400, "IncompleteBody"),
    "metadata_too_large": (400, "MetadataTooLarge"),
    "storage_full": (507, "InsufficientStorage"),
    "storage_unavailable": (503, "ServiceUnavailable"),
    "storage_error": (500, "InternalError"),
    "overloaded": (503, "ServiceUnavailable"),
    "internal_error": (500, "InternalError"),
}


def asking(target: str = "/things/a", method: str = "GET", *headers: tuple[bytes, bytes]) -> Inbound:
    """A request."""
    return Inbound(method, target.encode(), headers, now=1_800_000_000.0)


def test_every_refusal_has_a_row() -> None:
    assert EXPECTED.keys() == REFUSALS.keys() == ROWS.keys()
    assert set(ROWS.values()) <= SENTENCES.keys()


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_google_s_document(code: str) -> None:
    reply = voice.refusal(Denied(code, 'It is <so> & "so".'), asking(), "0123456789abcdef")
    status, theirs = EXPECTED[code]
    headers = dict(reply.headers)
    assert reply.status == status
    assert headers["Content-Type"] == "application/xml; charset=UTF-8"
    assert headers["X-Valet-Error"] == code
    assert headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in headers
    assert ("Retry-After" in headers) is (status in (429, 503))
    text = cast(bytes, reply.body).decode()
    start = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{theirs}</Code><Message>{SENTENCES[theirs][1]}</Message>"
    )
    assert text.startswith(start)
    assert "It is &lt;so&gt; &amp;" in text
    assert text.endswith("<RequestId>0123456789abcdef</RequestId></Error>")


def test_who_refuses_may_choose_the_words() -> None:
    denied = Denied("parameter_invalid", "Ours.").saying("InvalidArgument", "Theirs.", 409, ParameterName="p")
    said = voice.saying_of(denied, asking())
    assert (said.code, said.message, said.status) == ("InvalidArgument", "Theirs.", 409)
    assert dict(said.members)["ParameterName"] == "p"


@pytest.mark.parametrize(
    "target",
    [
        "/things/a?X-Goog-Algorithm=x",
        "/things/a?x-goog-signature=x",
        "/things/a?X-GOOG-CREDENTIAL=x",
        "/things/a?GoogleAccessId=x&Expires=1&Signature=x",
        "/things/a?upload_id=x",
    ],
)
def test_a_key_of_google_s_is_known_in_any_state(target: str) -> None:
    assert voice.carries(asking(target))
    assert not voice.hints(asking(target))


@pytest.mark.parametrize(
    "target",
    [
        "/things/a",
        "/things/a?X-Amz-Algorithm=x",
        "/things/a?AWSAccessKeyId=x&Expires=1&Signature=x",
        "/things/a?Key-Pair-Id=x&Expires=1&Signature=x",
        "/things/a?valet=x&upload_id=x",
        "/things/a?sig=x&sv=2020-01-01",
        "/things/a?%ff",
    ],
)
def test_a_key_of_another_dialect_is_not(target: str) -> None:
    assert not voice.carries(asking(target))


def test_a_client_of_google_s_is_known_by_its_headers() -> None:
    assert voice.hints(asking("/things/a", "GET", (b"X-Goog-Api-Client", b"gl-python/3")))
    assert not voice.hints(asking("/things/a", "GET", (b"X-Amz-Date", b"x")))


def test_the_form_s_fields_say_whose_it_is() -> None:
    assert voice.carries(asking("/things", "POST").with_form((("x-goog-algorithm", "x"),)))
    assert not voice.carries(asking("/things", "POST").with_form((("x-amz-algorithm", "x"),)))


def test_the_dialect_is_found_by_its_key() -> None:
    calls = GcsCalls(cast(Services, None), Rules(hosts=("files.test",)))
    spoken = Dialects(calls, ()).spoken
    assert spoken(asking("/things/a?GoogleAccessId=x")) is calls
    assert spoken(asking("/things/a?valet=x")) is None
    assert calls.place(asking("/things/a/b")) == ("things", "a/b")
    in_host = Inbound("GET", b"/a/b", (), now=0.0, host="things.files.test:8080")
    assert calls.place(in_host) == ("things", "a/b")


# --- against the daemon ------------------------------------------------------------------------------------------


def changed(url: str, **parameters: str | None) -> str:
    """The URL with some parameters of its query changed, or without them."""
    parts = urlsplit(url)
    pairs = [(name, parameters.get(name.replace("-", "_"), value)) for name, value in parse_qsl(parts.query)]
    return parts._replace(query=urlencode([pair for pair in pairs if pair[1] is not None])).geturl()


def test_a_wrong_signature_is_told_what_was_to_be_signed(google: Accounts) -> None:
    user = google()
    url = user.url("GET", "a")
    members = refused(
        user.gate.ask("GET", changed(url, X_Goog_Signature="0" * 512)),
        "SignatureDoesNotMatch",
        403,
        "signature_mismatch",
    )
    assert members["StringToSign"].startswith("GOOG4-RSA-SHA256\n")
    assert members["CanonicalRequest"].startswith("GET\n/things/a\n")
    refused(user.gate.ask("PUT", url, b"x"), "SignatureDoesNotMatch", 403, "signature_mismatch")


def test_a_stranger_s_key_looks_like_a_wrong_signature(google: Accounts, gate: Gate) -> None:
    stranger = Account(gate, "nobody@gate.iam.gserviceaccount.com")
    for version in ("v2", "v4"):
        refused(stranger.ask("GET", "a", version=version), "SignatureDoesNotMatch", 403, "signature_mismatch")


def test_an_old_url_has_expired(google: Accounts) -> None:
    user = google()
    v4 = user.url("GET", "a", seconds=1)
    v2 = user.url("GET", "a", seconds=-5, version="v2")
    members = refused(user.gate.ask("GET", v2), "ExpiredToken", 400, "key_expired")
    assert members["Message"] == "Invalid argument."
    assert re.fullmatch(r"Request has expired: [0-9]{10}", members["Details"])
    stamp = parse_qsl(urlsplit(v4).query)
    assert dict(stamp)["X-Goog-Expires"] in ("0", "1")
    late = voice.saying_of(Denied("key_expired", expired_at=1_799_999_325.0), asking("/a/b?X-Goog-Signature=x"))
    assert dict(late.members)["Details"] == (
        "The provided token has expired. Request signature expired at: 2027-01-15T07:48:45+00:00"
    )


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"X_Goog_Date": "today"}, "X-Goog-Date"),
        ({"X_Goog_Expires": "soon"}, "X-Goog-Expires"),
        ({"X_Goog_Expires": "700000"}, "X-Goog-Expires"),
        ({"X_Goog_Algorithm": "GOOG4-ROT13"}, "X-Goog-Algorithm"),
        ({"X_Goog_Credential": "me"}, "X-Goog-Credential"),
    ],
)
def test_a_malformed_parameter_is_named(google: Accounts, parameters: dict[str, Any], name: str) -> None:
    user = google()
    answer = user.gate.ask("GET", changed(user.url("GET", "a"), **parameters))
    assert answer.status == 400
    members = refused(
        answer, str(answer.body.partition(b"<Code>")[2].partition(b"<")[0], "ascii"), 400, "key_malformed"
    )
    assert members["Code"] in ("MalformedSecurityHeader", "InvalidArgument")
    assert name.lower() in (members.get("ParameterName", "") + members["Details"]).lower()


def test_an_unsigned_header_of_google_s_is_refused(google: Accounts) -> None:
    answer = google().ask("PUT", "a", b"x", None, {"x-goog-meta-a": "b"})
    refused(answer, "AccessDenied", 403, "header_required")


def test_what_nobody_serves_is_said_in_google_s_words(google: Accounts, gate: Gate) -> None:
    user = google()
    for method, name, query in (
        ("GET", "a", {"acl": ""}),
        ("POST", "a", {"uploads": ""}),
        ("PUT", "", {"versioning": ""}),
        ("DELETE", "", {}),
        ("PUT", "", {}),
    ):
        url = user.url(method, name, query_parameters=query)
        refused(gate.ask(method, url), "NotImplemented", 501, "not_implemented")
    refused(gate.ask("PATCH", user.url("PATCH", "a")), "MethodNotAllowed", 405, "method_not_allowed")


def test_a_head_is_refused_without_a_body(google: Accounts) -> None:
    google().ask("PUT", "there", b"x")
    answer = google().ask("HEAD", "not-there")
    assert (answer.status, answer.code, answer.body) == (404, "not_found", b"")
    assert answer.headers["content-type"] == "application/xml; charset=UTF-8"


def test_two_keys_are_one_too_many(google: Accounts, gate: Gate) -> None:
    user = google()
    token = gate.sign("GET", "/things/a").partition("valet=")[2]
    answer = gate.ask("GET", user.url("GET", "a") + "&valet=" + token)
    assert (answer.status, answer.code) == (400, "key_ambiguous")
