"""Signed headers of Signature Version 4: every operation as botocore sends it, and every fault in S3's own words."""

import hashlib
import math
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.grants.s3.stranger import (
    HOST,
    URL,
    arriving,
    caught,
    identity,
    judge,
    made_up_secret,
    prove_headers,
    ring,
    signed,
    text_of,
)
from valetstore.errors import Denied
from valetstore.grants.grant import Profile
from valetstore.grants.s3.rules import Rules
from valetstore.grants.sigv4 import moment_of
from valetstore.inbound import Inbound

HEADER_FAULT = "AuthorizationHeaderMalformed"
BEGINNING = "The authorization header is malformed; "


def refusal(inbound: Inbound, **more: Any) -> Denied:
    """What is said of signed headers that are refused."""
    with pytest.raises(Denied) as caught_:
        prove_headers(inbound, **more)
    return caught_.value


def said(denied: Denied) -> tuple[str, str, int]:
    """S3's code, sentence and status."""
    assert denied.said is not None
    return denied.said.code, denied.said.message, denied.said.status


def members(denied: Denied) -> dict[str, str]:
    """The further members of its error document."""
    assert denied.said is not None
    return dict(denied.said.members)


# What opens

PLACE = {"Bucket": "photos", "Key": "a b+\u00fc~(1)/c.jpg"}
PARTS = {"Parts": [{"ETag": '"x"', "PartNumber": 1}]}
CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_object", PLACE),
    ("get_object", PLACE | {"Range": "bytes=0-1", "IfMatch": '"x"'}),
    ("head_object", PLACE),
    ("put_object", PLACE | {"Body": b"x" * 20, "Metadata": {"who": "ann"}, "ContentType": "image/png"}),
    ("delete_object", PLACE),
    ("delete_objects", {"Bucket": "photos", "Delete": {"Objects": [{"Key": "a"}]}}),
    ("copy_object", PLACE | {"CopySource": "photos/\u00fc 1.jpg"}),
    ("create_multipart_upload", PLACE),
    ("upload_part", PLACE | {"PartNumber": 1, "UploadId": "abc", "Body": b"x"}),
    ("complete_multipart_upload", PLACE | {"UploadId": "abc", "MultipartUpload": PARTS}),
    ("abort_multipart_upload", PLACE | {"UploadId": "abc"}),
    ("list_parts", PLACE | {"UploadId": "abc"}),
    ("get_object_attributes", PLACE | {"ObjectAttributes": ["ETag", "ObjectSize"]}),
    ("list_objects", {"Bucket": "photos", "Prefix": "a b/", "Delimiter": "/"}),
    ("list_objects_v2", {"Bucket": "photos", "StartAfter": "\u00fc+"}),
    ("list_object_versions", {"Bucket": "photos"}),
    ("list_multipart_uploads", {"Bucket": "photos"}),
    ("list_buckets", {}),
    ("create_bucket", {"Bucket": "photos"}),
    ("delete_bucket", {"Bucket": "photos"}),
    ("head_bucket", {"Bucket": "photos"}),
    ("get_bucket_location", {"Bucket": "photos"}),
    ("put_bucket_cors", {"Bucket": "photos", "CORSConfiguration": CORS}),
]


@pytest.mark.parametrize(("operation", "arguments"), CALLS, ids=[call for call, _ in CALLS])
def test_every_operation_as_botocore_sends_it_opens(operation: str, arguments: dict[str, Any]) -> None:
    proven = prove_headers(caught(lambda made: getattr(made, operation)(**arguments)))
    assert (proven.key.name, proven.exact, len(proven.mac)) == ("web", False, 32)


def test_headers_are_valid_for_fifteen_minutes() -> None:
    headers = signed()
    issued = moment_of(headers["X-Amz-Date"])
    assert issued is not None
    proven = prove_headers(arriving("GET", URL, headers))
    assert (proven.issued_at, proven.not_after) == (issued, math.nextafter(issued + 900, math.inf))


def test_the_date_may_be_an_http_date() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    inbound = arriving("GET", URL, _signed_with_date(now))
    assert prove_headers(inbound).issued_at == int(now.timestamp())


def _signed_with_date(now: datetime) -> dict[str, str]:
    """Signed with Date where others send X-Amz-Date."""
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    request = AWSRequest(method="GET", url=URL, headers={"Date": format_datetime(now, usegmt=True)})
    request.context["timestamp"] = stamp
    request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    signer = S3SigV4Auth(identity(), "s3", "us-east-1")
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    request.headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"
    )
    return {"Host": HOST} | {name: text_of(value) for name, value in request.headers.items()}


def test_the_components_need_no_space_between_them_and_have_no_order() -> None:
    headers = signed()
    kind, _, rest = headers["Authorization"].partition(" ")
    headers["Authorization"] = f"{kind} {','.join(reversed(rest.split(', ')))}"
    prove_headers(arriving("GET", URL, headers))


def test_other_headers_need_not_be_signed() -> None:
    prove_headers(arriving("GET", URL, {**signed(), "X-Other": "1", "Accept": "*/*"}))


# Shape


def changed(**parts: str | None) -> dict[str, str]:
    """Signed headers with a component of Authorization changed, or taken away."""
    headers = signed()
    kind, _, rest = headers["Authorization"].partition(" ")
    found: dict[str, str | None] = {}
    for part in rest.split(", "):
        name, _, value = part.partition("=")
        found[name] = value
    found |= parts
    listed = ", ".join(f"{name}={value}" for name, value in found.items() if value is not None)
    return headers | {"Authorization": f"{kind} {listed}"}


COMPONENTS = BEGINNING + "the authorization header requires three components: Credential, SignedHeaders, and Signature."
MALFORMED = BEGINNING + 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
FAULTS: list[tuple[dict[str, str | None], str]] = [
    ({"Credential": None}, COMPONENTS),
    ({"SignedHeaders": None}, COMPONENTS),
    ({"Signature": None}, COMPONENTS),
    ({"Further": "x"}, COMPONENTS),
    ({"Credential": ""}, BEGINNING + "missing Credential."),
    ({"SignedHeaders": ""}, BEGINNING + "missing SignedHeaders."),
    ({"Signature": ""}, BEGINNING + "missing Signature."),
    ({"Credential": "x"}, MALFORMED),
    ({"Credential": "AKID/20261121/us-east-1/s3"}, MALFORMED),
    (
        {"Credential": "AKID/nodate/us-east-1/s3/aws4_request"},
        BEGINNING + 'incorrect date format "nodate". This date in the credential must be in the format "yyyyMMdd".',
    ),
    (
        {"Credential": "AKID/20261121/eu-west-1/s3/aws4_request"},
        BEGINNING + "the region 'eu-west-1' is wrong; expecting 'us-east-1'",
    ),
    (
        {"Credential": "AKID/20261121/us-east-1/ec2/aws4_request"},
        BEGINNING + 'incorrect service "ec2". This endpoint belongs to "s3".',
    ),
    (
        {"Credential": "AKID/20261121/us-east-1/s3/aws3_request"},
        BEGINNING + 'incorrect terminal "aws3_request". This endpoint uses "aws4_request".',
    ),
]


@pytest.mark.parametrize(("parts", "sentence"), FAULTS)
def test_every_fault_of_shape_has_the_sentence_of_s3(parts: dict[str, str | None], sentence: str) -> None:
    denied = refusal(arriving("GET", URL, changed(**parts)))
    assert (denied.code, *said(denied)) == ("key_malformed", HEADER_FAULT, sentence, 400)


def test_a_component_given_twice_is_malformed() -> None:
    headers = signed()
    headers["Authorization"] += ", Signature=0"
    sentence = BEGINNING + 'the authorization component "Signature=0" is malformed.'
    assert said(refusal(arriving("GET", URL, headers))) == (HEADER_FAULT, sentence, 400)


def test_a_wrong_region_names_the_right_one() -> None:
    inbound = arriving("GET", URL, signed(region="eu-west-1"))
    assert members(refusal(inbound)) == {"Region": "us-east-1"}
    prove_headers(inbound, Rules(region=""))


def test_the_day_of_the_credential_is_that_of_the_date() -> None:
    headers = signed() | {"X-Amz-Date": "20200101T000000Z"}
    code, message, status = said(refusal(arriving("GET", URL, headers)))
    assert (code, status) == (HEADER_FAULT, 400)
    assert message.startswith(BEGINNING + "Invalid credential date")


@pytest.mark.parametrize("date", [None, "", "yesterday", "20261121", "20261121T162318Z, 20261121T162318Z"])
def test_a_date_is_needed(date: str | None) -> None:
    headers = signed()
    del headers["X-Amz-Date"]
    if date is not None:
        headers["X-Amz-Date"] = date
    message = "AWS authentication requires a valid Date or x-amz-date header"
    assert said(refusal(arriving("GET", URL, headers))) == ("AccessDenied", message, 403)


@pytest.mark.parametrize("algorithm", ["AWS4-ECDSA-P256-SHA256", "AWS4-HMAC-SHA512"])
def test_other_algorithms_are_answered_and_not_verified(algorithm: str) -> None:
    headers = signed()
    headers["Authorization"] = headers["Authorization"].replace("AWS4-HMAC-SHA256", algorithm)
    with pytest.raises(Denied) as caught_:
        judge(arriving("GET", URL, headers))
    message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    assert said(caught_.value) == ("InvalidRequest", message, 400)


# Who and what


def test_an_unknown_access_key_and_a_wrong_signature_have_their_own_codes() -> None:
    stranger = Credentials("VKNOBODY", made_up_secret())
    denied = refusal(arriving("GET", URL, signed(credentials=stranger)))
    assert (denied.code, said(denied)[0]) == ("signature_mismatch", "InvalidAccessKeyId")
    wrong = Credentials(identity().access_key, made_up_secret())
    denied = refusal(arriving("GET", URL, signed(credentials=wrong)))
    assert (denied.code, said(denied)[0]) == ("signature_mismatch", "SignatureDoesNotMatch")
    assert "CanonicalRequest" in members(denied)


def test_headers_of_get_do_not_answer_head() -> None:
    """A presigned URL is handed on; signed headers come from who signed them, who can sign a HEAD."""
    assert said(refusal(arriving("HEAD", URL, signed("GET"))))[0] == "SignatureDoesNotMatch"


def test_host_has_to_be_signed() -> None:
    denied = refusal(arriving("GET", URL, changed(SignedHeaders="x-amz-date")))
    assert members(denied) == {"HeadersNotSigned": "host"}


def test_an_unsigned_amazon_header_is_refused() -> None:
    headers = signed("PUT") | {"x-amz-copy-source": "/secret/x", "x-amz-acl": "private"}
    denied = refusal(arriving("PUT", URL, headers))
    message = "There were headers present in the request which were not signed"
    assert (denied.code, *said(denied)) == ("header_required", "AccessDenied", message, 403)
    assert members(denied) == {"HeadersNotSigned": "x-amz-acl, x-amz-copy-source"}


def test_what_is_signed_without_being_a_signed_header_need_not_be_one() -> None:
    """The payload's line and the date are in what is signed anyway: changed, nothing holds."""

    class Bare(S3SigV4Auth):  # type: ignore[misc]
        def headers_to_sign(self, request: Any) -> Any:
            found = super().headers_to_sign(request)
            for name in ("x-amz-content-sha256", "x-amz-date"):
                del found[name]
            return found

    request = AWSRequest(method="PUT", url=URL, data=b"x")
    Bare(identity(), "s3", "us-east-1").add_auth(request)
    headers = {"Host": HOST} | {name: text_of(value) for name, value in request.headers.items()}
    assert "SignedHeaders=host," in headers["Authorization"]
    assert prove_headers(arriving("PUT", URL, headers)).sha256 == hashlib.sha256(b"x").digest()
    headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    assert said(refusal(arriving("PUT", URL, headers)))[0] == "SignatureDoesNotMatch"


# The body


def test_a_hash_has_to_be_the_bodys() -> None:
    promised = hashlib.sha256(b"hello")
    assert prove_headers(arriving("PUT", URL, _framed(promised.hexdigest()))).sha256 == promised.digest()
    assert prove_headers(arriving("PUT", URL, _framed("UNSIGNED-PAYLOAD"))).sha256 is None


@pytest.mark.parametrize("payload", ["nothing", "ab" * 31, "STREAMING", "streaming-unsigned-payload-trailer", ""])
def test_any_other_payload_is_refused(payload: str) -> None:
    denied = refusal(arriving("PUT", URL, signed("PUT") | {"X-Amz-Content-SHA256": payload}))
    code, message, status = said(denied)
    assert (denied.code, code, status) == ("parameter_invalid", "InvalidArgument", 400)
    assert message == (
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid "
        "sha256 value."
    )


def test_chunks_signed_with_ecdsa_are_not_implemented() -> None:
    payload = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
    assert said(refusal(arriving("PUT", URL, signed("PUT") | {"X-Amz-Content-SHA256": payload})))[2] == 501


def _generic(method: str, body: bytes, **headers: str) -> Inbound:
    """Generic V4, as old curl signs: the hash of the body, and no header that says so."""
    request = AWSRequest(method=method, url=URL, data=body)
    SigV4Auth(identity(), "s3", "us-east-1").add_auth(request)
    sent = {"Host": HOST} | {name: text_of(value) for name, value in request.headers.items()}
    assert "X-Amz-Content-SHA256" not in sent
    return arriving(method, URL, sent | headers)


def test_no_body_may_be_signed_without_saying_so() -> None:
    prove_headers(_generic("GET", b""))


@pytest.mark.parametrize("headers", [{"content-length": "5"}, {"transfer-encoding": "chunked"}])
def test_a_body_needs_its_header(headers: dict[str, str]) -> None:
    denied = refusal(_generic("PUT", b"hello", **headers))
    message = "Missing required header for this request: x-amz-content-sha256"
    assert said(denied) == ("InvalidRequest", message, 400)


def test_framing_needs_its_decoded_length() -> None:
    denied = refusal(arriving("PUT", URL, _framed()))
    assert said(denied) == ("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)


def _framed(payload: str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", **headers: str) -> dict[str, str]:
    """Signed headers with this payload line."""

    class Signer(S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: Any) -> str:
            return payload

    request = AWSRequest(method="PUT", url=URL, headers=headers)
    Signer(identity(), "s3", "us-east-1").add_auth(request)
    return {"Host": HOST} | {name: text_of(value) for name, value in request.headers.items()}


def test_framing_is_proved_by_the_body() -> None:
    headers = _framed(**{"x-amz-decoded-content-length": "5", "x-amz-trailer": "x-amz-checksum-crc32"})
    proof = prove_headers(arriving("PUT", URL, headers)).body
    assert proof is not None
    assert proof.length == 5


def test_a_chunk_whose_signature_differs_is_told_the_request() -> None:
    headers = _framed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", **{"x-amz-decoded-content-length": "1"})
    proof = prove_headers(arriving("PUT", URL, headers)).body
    assert proof is not None
    with pytest.raises(Denied) as caught:
        proof.feed(b"1;chunk-signature=" + b"0" * 64 + b"\r\nx\r\n")
    assert caught.value.said is not None
    members = dict(caught.value.said.members)
    assert members["CanonicalRequest"].startswith("PUT\n")
    assert bytes.fromhex(members["CanonicalRequestBytes"]).decode() == members["CanonicalRequest"]


def test_a_signature_of_an_unsaid_body_that_differs_asks_for_the_header() -> None:
    headers = signed("GET")
    del headers["X-Amz-Content-SHA256"]
    denied = refusal(arriving("GET", URL, headers))
    said_of_it = "Missing required header for this request: x-amz-content-sha256"
    assert (denied.code, *said(denied)) == ("signature_mismatch", "InvalidRequest", said_of_it, 400)


@pytest.mark.parametrize("length", ["five", "-1", "5.0", ""])
def test_a_decoded_length_is_a_number(length: str) -> None:
    denied = refusal(arriving("PUT", URL, _framed(**{"x-amz-decoded-content-length": length})))
    assert said(denied) == ("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)


@pytest.mark.parametrize("trailer", ["x-amz-checksum-crc32,", "x-amz-checksum-crc32,,", "X-Amz-Checksum-Crc32"])
def test_commas_behind_the_trailers_count_for_nothing(trailer: str) -> None:
    """Only there: S3 refuses an empty name before another."""
    headers = _framed(**{"x-amz-decoded-content-length": "1", "x-amz-trailer": trailer})
    proof = prove_headers(arriving("PUT", URL, headers)).body
    assert proof is not None
    proof.feed(b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:jNxjhw==\r\n\r\n")
    assert proof.finish() == {"x-amz-checksum-crc32": "jNxjhw=="}


@pytest.mark.parametrize(
    "trailer",
    [
        "x-amz-meta-a",
        "etag",
        "x-amz-checksum-crc32, x-custom",
        ",x-amz-checksum-crc32",
        "x-amz-checksum-crc32, ,",
        ", x-amz-checksum-crc32, ,",
    ],
)
def test_only_checksums_come_as_trailers(trailer: str) -> None:
    headers = _framed(**{"x-amz-decoded-content-length": "5", "x-amz-trailer": trailer})
    assert said(refusal(arriving("PUT", URL, headers)))[0] == "InvalidRequest"


# What belongs to presigned URLs


def test_conditions_of_one_url_are_refused_beside_signed_headers() -> None:
    url = f"{URL}?x-valet-uses=1"
    denied = refusal(arriving("GET", url, signed(url=url)))
    assert (denied.code, said(denied)[0], said(denied)[2]) == ("parameter_invalid", "InvalidArgument", 400)
    assert "presign" in denied.text


def test_a_profile_with_single_use_refuses_signed_headers() -> None:
    keys = ring(Profile(single_use=("read",)))
    with pytest.raises(Denied) as caught_:
        judge(arriving("GET", URL, signed()), keys)
    assert caught_.value.code == "operation_not_allowed"
