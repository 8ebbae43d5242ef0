"""Refusals as CloudFront puts them: status, code and body, for all that can be refused."""

from typing import cast

import pytest

from tests.edge.cloudfront.conftest import CloudFront, as_header, refused
from tests.gate import Gate
from tests.grants.cloudfront import stranger
from valetstore.edge.cloudfront import CloudFrontCalls, voice
from valetstore.edge.dialect import Dialects
from valetstore.edge.s3 import S3Calls
from valetstore.edge.uploading import Services
from valetstore.errors import REFUSALS, Denied
from valetstore.grants import s3
from valetstore.grants.cloudfront import Rules
from valetstore.inbound import Inbound

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def inbound(target: str = "/photos/cat.jpg", **headers: str) -> Inbound:
    """A request as voice sees it."""
    fields = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return Inbound("GET", target.encode(), (*fields, (b"host", b"127.0.0.1:8080")), now=1_800_000_000)


def test_every_refusal_there_is_has_a_row() -> None:
    assert voice.ROWS.keys() == REFUSALS.keys()


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_is_a_short_document_with_our_code_beside_it(code: str) -> None:
    reply = voice.refusal(Denied(code), inbound(), "1f")
    body = bytes(cast(bytes, reply.body)).decode()
    row = voice.ROWS[code]
    assert reply.status == row.status
    assert body.startswith(f"{HEAD}<Error><Code>{row.code}</Code><Message>")
    assert "<Message></Message>" not in body
    headers = dict(reply.headers)
    assert headers["Content-Type"] == "text/xml"
    assert headers["X-Valet-Error"] == code
    assert headers["X-Amz-Cf-Id"] == "1f"
    assert headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in headers
    assert ("Retry-After" in headers) is (row.status == 503)


def test_a_key_is_refused_as_403_whatever_is_wrong_with_it() -> None:
    keys = {code for code in REFUSALS if code.startswith(("key_", "signature_"))} - {"key_ambiguous"}
    assert {voice.ROWS[code].status for code in keys} == {403}


def test_what_is_said_wins_over_the_table() -> None:
    said = voice.saying_of(Denied("key_malformed").saying("MissingKey", "Missing it", 403), inbound())
    assert said[:3] == ("MissingKey", "Missing it", 403)
    said = voice.saying_of(Denied("key_malformed", "What is it?").saying("Odd"), inbound())
    assert said[:3] == ("Odd", "The key is not well-formed. What is it?", 403)


def test_text_is_escaped() -> None:
    reply = voice.refusal(Denied("not_found"), inbound("/photos/a%3Cb%26"), "1f")
    assert b"<Key>a&lt;b&amp;</Key>" in cast(bytes, reply.body)


@pytest.mark.parametrize(
    ("target", "headers", "spoken"),
    [
        ("/b/k?Key-Pair-Id=K&Signature=S&Expires=1", {}, "cloudfront"),
        ("/b/k?Policy=P&Signature=S", {}, "cloudfront"),
        ("/b/k", {"cookie": "CloudFront-Policy=x"}, "cloudfront"),
        ("/b/k", {"cookie": "CloudFront-Hash-Algorithm=SHA1"}, None),
        ("/b/k?valet=x", {"cookie": "CloudFront-Policy=x"}, None),
        ("/b/k", {"cookie": "CloudFront-Policy=x", "authorization": "Bearer x"}, None),
        ("/b/k?X-Amz-Signature=x", {"cookie": "CloudFront-Policy=x"}, "s3"),
        ("/b/k?AWSAccessKeyId=A&Signature=B&Expires=1", {}, "s3"),
        ("/b/k?%zz&Key-Pair-Id=K", {}, None),
        ("/_valet/healthz?Key-Pair-Id=K", {}, None),
        ("/b/k", {}, None),
    ],
)
def test_cloudfront_is_spoken_to_who_brings_its_key(target: str, headers: dict[str, str], spoken: str | None) -> None:
    services = cast(Services, None)
    dialects = Dialects(S3Calls(services, s3.Rules()), (CloudFrontCalls(services, Rules()),))
    found = dialects.spoken(inbound(target, **headers))
    assert (found.name if found else None) == spoken


def test_a_form_is_another_dialects_whatever_cookies_a_browser_adds() -> None:
    headers = {"cookie": "CloudFront-Policy=x", "content-type": "multipart/form-data; boundary=x"}
    fields = tuple((name.encode(), value.encode()) for name, value in headers.items())
    posted = Inbound("POST", b"/photos", fields, now=1_800_000_000)
    assert not CloudFrontCalls(cast(Services, None), Rules()).hints(posted)
    assert CloudFrontCalls(cast(Services, None), Rules()).hints(inbound(cookie="CloudFront-Policy=x"))


def test_refusals_reach_the_client(cloudfront: CloudFront, gate: Gate) -> None:
    cloudfront.put("/photos/cat.jpg", b"x")
    url = cloudfront.canned("/photos/cat.jpg")
    wrong = gate.ask("GET", url.replace("cat.jpg", "dog.jpg"))
    assert wrong.body.decode() == f"{HEAD}<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    assert (wrong.status, wrong.code) == (403, "signature_mismatch")
    for changed, code, said in (
        (
            "/photos/cat.jpg?Policy=e30_&Signature=x",
            "MissingKey",
            "Missing Key-Pair-Id query parameter or cookie value",
        ),
        (url.replace("Key-Pair-Id=", "Key-Pair-Id=!"), "InvalidKey", "Unknown Key"),
        (url.replace("Signature=", "Signature=!"), "MalformedSignature", "Could not unencode Signature"),
    ):
        answer = gate.ask("GET", changed)
        assert refused(answer) == (403, code)
        assert f"<Message>{said}</Message></Error>".encode() in answer.body
    malformed = stranger.custom({"Statement": []}) | {"Key-Pair-Id": cloudfront.key_pair()}
    answer = gate.ask("GET", stranger.url_with("/photos/cat.jpg", malformed))
    assert refused(answer) == (403, "MalformedPolicy")
    half = {name: value for name, value in cloudfront.cookies().items() if name != "CloudFront-Key-Pair-Id"}
    assert refused(gate.ask("GET", "/photos/cat.jpg", headers=as_header(half))) == (403, "MissingKey")
    assert refused(gate.ask("GET", f"{url}&Expires=1")) == (400, "BadRequest")
    assert refused(gate.ask("GET", f"{url}&valet=a.b.c")) == (400, "BadRequest")
    head = gate.ask("HEAD", url.replace("cat.jpg", "dog.jpg"))
    assert (head.status, head.body, head.code) == (403, b"", "signature_mismatch")
    # Who brings no key at all is nobody's client.
    assert gate.ask("GET", "/photos/cat.jpg").headers["content-type"] == "application/problem+json"
