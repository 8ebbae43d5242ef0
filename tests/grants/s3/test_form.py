"""POST forms: what botocore's policies open, and what else must be refused, before any byte of a file is read."""

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from valetstore.errors import Denied
from valetstore.grants.grant import Grant, Profile
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import S3, Rules
from valetstore.grants.s3.session import mint
from valetstore.grants.sigv4 import moment_of
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, new_access_key_id, new_secret_access_key
from valetstore.policy.request import enforce

NOW = int(time.time())
HOST = "files.example.com"
RULES = Rules(hosts=(HOST,))
AKID, SECRET = new_access_key_id(), new_secret_access_key()
RING = KeyRing([record_of("web", HMAC, Profile(), kid=AKID, secret=SECRET.encode(), scheme="s3")])
BUCKET = "photos"
DAY = 86_400

Fields = dict[str, str]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK signs by the clock, and a long run of tests may have begun more than its tolerance ago."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", int(time.time()))


def client(version: str, token: str | None = None, akid: str = AKID, secret: str = SECRET) -> Any:
    """A boto3 client that signs forms by this version: `s3v4` or `s3`."""
    return boto3.client(
        "s3",
        aws_access_key_id=akid,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name="us-east-1",
        endpoint_url=f"http://{HOST}",
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )


def form(
    version: str = "s3v4",
    key: str = "user/${filename}",
    *,
    fields: Mapping[str, str] | None = None,
    conditions: list[Any] | None = None,
    expires: int = 3600,
) -> Fields:
    """The fields of a form as boto3 signs it."""
    given = dict(fields or {})
    rows = [{name: value} for name, value in given.items()] if conditions is None else conditions
    made: Fields = client(version).generate_presigned_post(BUCKET, key, given, rows, expires)["fields"]
    return made


def received(
    fields: Mapping[str, str] | list[tuple[str, str]],
    *,
    bucket: str = BUCKET,
    filename: str = "a.png",
    now: float | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> Inbound:
    """The request with its form read, as the edge makes it: lower-case names, the file's name last."""
    pairs = list(fields.items()) if isinstance(fields, Mapping) else fields
    read = (*((name.lower(), value) for name, value in pairs), ("file", filename))
    raw = tuple((n.encode(), v.encode()) for n, v in {"host": HOST, **(headers or {})}.items())
    return Inbound("POST", f"/{bucket}{query}".encode(), raw, now=NOW if now is None else now, form=read)


def judged(inbound: Inbound, rules: Rules = RULES, keys: KeyRing = RING) -> Grant:
    """The grant within its signing key's limits, enforced as the gateway does; raises Denied."""
    scheme = S3(rules)
    credential = recognise(inbound, [scheme])
    intent = scheme.intent(inbound)
    proof = scheme.verify(inbound, credential, keys)
    grant = proof.grant.narrowed_by(proof.limits)
    enforce(grant, intent, inbound)
    return grant


def refusal(inbound: Inbound, rules: Rules = RULES, keys: KeyRing = RING) -> Denied:
    """The refusal of it."""
    with pytest.raises(Denied) as denied:
        judged(inbound, rules, keys)
    return denied.value


def said(denied: Denied) -> tuple[str, str]:
    """Code and sentence in S3's words."""
    assert denied.said
    return denied.said.code, denied.said.message


def signed_v2(conditions: list[Any], fields: Mapping[str, str], end: str | None = None) -> Fields:
    """A form signed here by version 2, for policies that boto3 would not write."""
    expiration = end or datetime.fromtimestamp(NOW + 600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    policy = base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode())
    mac = base64.b64encode(hmac.digest(SECRET.encode(), policy, "sha1")).decode()
    return {**fields, "AWSAccessKeyId": AKID, "policy": policy.decode(), "signature": mac}


OPEN: list[Any] = [{"bucket": BUCKET}, ["starts-with", "$key", ""]]


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_what_boto3_signs_opens(version: str) -> None:
    """One write of the object that the key names with the client's file name in it."""
    extra = {"acl": "private", "Content-Type": "image/png", "success_action_status": "201", "x-amz-meta-Tag": "x"}
    inbound = received(form(version, fields=extra))
    intent = S3(RULES).intent(inbound)
    assert (intent.operation, intent.path, intent.action) == ("write", "/photos/user/a.png", "PostObject")
    assert (intent.content_type, intent.length) == ("image/png", None)
    grant = judged(inbound)
    assert [str(scope) for group in grant.scopes for scope in group] == ["/photos/user/a.png"]
    assert grant.operations == {"write"}


def test_the_parts_of_a_version_4_signature_are_botocores() -> None:
    """Policy, scope, key and signature, one by one."""
    fields = form()
    akid, date, region, service, end = fields["x-amz-credential"].split("/")
    assert (akid, region, service, end) == (AKID, "us-east-1", "s3", "aws4_request")
    key = ("AWS4" + SECRET).encode()
    for part in (date, region, service, end):
        key = hmac.digest(key, part.encode(), "sha256")
    assert hmac.digest(key, fields["policy"].encode(), "sha256").hex() == fields["x-amz-signature"]
    document = json.loads(base64.b64decode(fields["policy"]))
    assert {"bucket": BUCKET} in document["conditions"]
    assert judged(received(fields)).issued_at == moment_of(fields["x-amz-date"])


def test_amazons_documented_example_is_signed_alike() -> None:
    """The browser form of the API reference: its policy's bytes, its key of that day and its signature."""
    policy = (
        "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6IC"
        "JzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6"
        "ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy"
        "5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAi"
        "aW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLW"
        "VuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7Ingt"
        "YW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KIC"
        "AgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAw"
        "WiIgfQ0KICBdDQp9"
    )
    secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    example = record_of("example", HMAC, Profile(), kid="AKIAIOSFODNN7EXAMPLE", secret=secret, scheme="s3")
    fields = {
        "key": "user/user1/${filename}",
        "acl": "public-read",
        "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
        "Content-Type": "image/jpeg",
        "x-amz-meta-uuid": "14365123651274",
        "x-amz-server-side-encryption": "AES256",
        "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Date": "20151229T000000Z",
        "x-amz-meta-tag": "",
        "Policy": policy,
        "X-Amz-Signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
    }
    now = datetime(2015, 12, 29, 1, tzinfo=UTC).timestamp()
    assert judged(received(fields, bucket="sigv4examplebucket", now=now), keys=KeyRing([example]))


def test_the_length_range_and_the_end_of_the_policy_bind_the_grant() -> None:
    """And the last moment still opens."""
    fields = form(conditions=[["content-length-range", 10, 1000]], expires=600)
    grant = judged(received(fields))
    assert (grant.length_min, grant.length_max) == (10, 1000)
    document = json.loads(base64.b64decode(fields["policy"]))
    end = datetime.fromisoformat(document["expiration"]).timestamp()
    assert judged(received(fields, now=end))
    expired = ("AccessDenied", "Invalid according to Policy: Policy expired.")
    assert said(refusal(received(fields, now=end + 0.01))) == expired


def test_a_version_4_form_is_good_for_a_week_and_not_only_for_an_hour() -> None:
    """A day's form is used in the evening; a year's one for a week."""
    fields = form(expires=365 * DAY)
    begun = moment_of(fields["x-amz-date"]) or 0
    assert judged(received(fields, now=begun + DAY))
    assert judged(received(fields, now=begun + 7 * DAY))
    assert refusal(received(fields, now=begun + 7 * DAY + 0.01)).code == "key_expired"
    assert judged(received(form("s3", expires=365 * DAY), now=NOW + 30 * DAY))


def test_a_form_from_the_future_is_refused() -> None:
    """Else the week could be put off."""
    assert refusal(received(form(), now=NOW - 1000)).code == "key_not_yet_valid"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_every_field_of_the_signature_is_needed(version: str) -> None:
    """S3 names the one that is missing."""
    whole = form(version)
    v4 = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "policy", "x-amz-signature"]
    names = ["key", *(v4 if version == "s3v4" else ["AWSAccessKeyId", "policy", "signature"])]
    for name in names:
        fields = {field: value for field, value in whole.items() if field != name}
        wanted = f"Bucket POST must contain a field named '{name}'."
        wanted += "  If it is specified, please check the order of the fields."
        assert said(refusal(received(fields))) == ("InvalidArgument", wanted)


def test_a_form_without_a_signature_has_no_key() -> None:
    """Anonymous uploads are nobody's wish here."""
    assert refusal(received({"key": "a"})).code == "key_missing"


def test_no_other_key_opens_a_form() -> None:
    """A presigned `POST /bucket` signs none of the fields: it must not stand for a policy."""
    url = client("s3").generate_presigned_url("list_objects", {"Bucket": BUCKET}, 300)
    query = "?" + url.partition("?")[2]
    assert refusal(received({"key": "a"}, query=query)).code == "key_missing"
    assert refusal(received(form(), query=query)).code == "key_ambiguous"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize(
    ("place", "query"),
    [(BUCKET, "?delete"), (BUCKET, "?%64elete"), (f"{BUCKET}/a", "?uploads"), (f"{BUCKET}%2Fa", "?uploadId=x")],
)
def test_a_policy_allows_its_form_and_no_other_post(version: str, place: str, query: str) -> None:
    """It signs neither path nor query: as a key for deletes it would open the whole bucket."""
    denied = refusal(received(form(version), bucket=place, query=query))
    assert (denied.code, said(denied)[0]) == ("operation_not_allowed", "AccessDenied")


def test_forms_of_both_versions_at_once_are_refused() -> None:
    """Two parties might go by different ones."""
    assert refusal(received(form("s3v4") | form("s3"))).code == "key_ambiguous"


def test_a_field_given_twice_is_refused() -> None:
    """The policy might judge one and the store keep the other."""
    fields = [*form().items(), ("KEY", "other")]
    assert refusal(received(fields)).code == "parameter_invalid"
    assert judged(received([*form().items(), ("x-ignore-a", "1"), ("x-ignore-a", "2")]))
    named = form(conditions=[["starts-with", "$x-ignore-a", ""]])
    assert judged(received([*named.items(), ("x-ignore-a", "1"), ("x-ignore-a", "2")]))


def test_a_setting_refuses_version_2() -> None:
    """As it does for URLs."""
    without = Rules(sigv2=False)
    assert said(refusal(received(form("s3")), without))[0] == "InvalidRequest"
    assert judged(received(form("s3v4")), without)


def test_the_signature_is_over_the_text_that_was_submitted() -> None:
    """Not over what it decodes to, nor for another key; S3 shows the text as the string to sign."""
    for version, name in (("s3", "signature"), ("s3v4", "x-amz-signature")):
        fields = form(version)
        for changed in (fields["policy"] + "=", fields["policy"].replace("=", ""), "e30="):
            if changed != fields["policy"]:
                denied = refusal(received(fields | {"policy": changed}))
                assert denied.said
                members = dict(denied.said.members)
                assert denied.said.code == "SignatureDoesNotMatch"
                assert members["StringToSign"] == changed
                assert members["SignatureProvided"] == fields[name]
                assert "CanonicalRequest" not in members
        assert said(refusal(received(fields | {name: fields[name].upper() + "x"})))[0] == "SignatureDoesNotMatch"
    raw = base64.b64decode(form("s3")["policy"])
    over_raw = base64.b64encode(hmac.digest(SECRET.encode(), raw, hashlib.sha1)).decode()
    assert refusal(received(form("s3") | {"signature": over_raw})).code == "signature_mismatch"


def test_an_unknown_access_key_is_named() -> None:
    """By both versions."""
    stranger = new_access_key_id()
    v4 = form("s3v4")
    v4["x-amz-credential"] = v4["x-amz-credential"].replace(AKID, stranger)
    for fields in (v4, form("s3") | {"AWSAccessKeyId": stranger}):
        assert said(refusal(received(fields)))[0] == "InvalidAccessKeyId"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
        ("x-amz-credential", "nobody"),
        ("x-amz-credential", "{akid}/20260101/us-east-1/s3/aws4_request"),
        ("x-amz-credential", "{akid}/20260101/eu-west-1/s3/aws4_request"),
        ("x-amz-credential", "{akid}/20260101/us-east-1/ec2/aws4_request"),
        ("x-amz-date", "2026-01-01"),
        ("x-amz-date", "20260231T000000Z"),
    ],
)
def test_what_a_version_4_form_says_of_itself_must_be_well_formed(name: str, value: str) -> None:
    """400 InvalidArgument, before the signature is looked at."""
    value = value.replace("{akid}", AKID)  # not in the test's name: it is another in each run
    assert said(refusal(received(form() | {name: value})))[0] == "InvalidArgument"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_session_signs_forms_within_its_signing_key(version: str) -> None:
    """Its token is a field that the policy names."""
    made = mint(AKID, SECRET.encode(), NOW + 100, ["write"], ["/photos/user/"])
    session = client(version, made.session_token, made.access_key_id, made.secret_access_key)
    fields = session.generate_presigned_post(BUCKET, "user/${filename}", ExpiresIn=3600)["fields"]
    assert judged(received(fields)).not_after == NOW + 100
    elsewhere = session.generate_presigned_post(BUCKET, "other/a", ExpiresIn=3600)["fields"]
    assert refusal(received(elsewhere)).code == "path_not_allowed"
    assert said(refusal(received(fields | {"x-amz-security-token": "x"})))[0] == "InvalidToken"


def test_terms_of_ours_are_fields_that_the_policy_names() -> None:
    """Else anybody could send them; they only narrow."""
    fields = form(fields={"x-valet-create": "true"})
    assert judged(received(fields)).create_only
    denied = refusal(received(form() | {"x-valet-create": "true"}))
    assert said(denied) == ("AccessDenied", "Invalid according to Policy: Extra input fields: x-valet-create")


@pytest.mark.parametrize(
    ("key", "filename", "path"),
    [
        ("${filename}", "foo.txt", "/photos/foo.txt"),
        ("u/${filename}", "C:\\x\\y.png", "/photos/u/y.png"),
        ("u/${filename}", "../../etc/passwd", "/photos/u/passwd"),
        ("\\$foo.txt", "x", "/photos/\\$foo.txt"),
    ],
)
def test_the_file_name_is_put_in_before_the_policy_is_asked(key: str, filename: str, path: str) -> None:
    """What was allowed is what is stored."""
    fields = signed_v2([{"bucket": BUCKET}, ["starts-with", "$key", path.split("/")[2][:1]]], {"key": key})
    inbound = received(fields, filename=filename)
    assert judged(inbound)
    assert S3(RULES).intent(inbound).path == path


@pytest.mark.parametrize("filename", ["..", "a\x00b", "", "x" * 1025])
def test_a_file_name_that_makes_no_object_is_refused(filename: str) -> None:
    """It is a stranger's text."""
    for key in ("${filename}", "a/../${filename}"):
        inbound = received(signed_v2(OPEN, {"key": key}), filename=filename)
        assert refusal(inbound).code == "object_key_invalid"


def test_the_buckets_of_the_policy_and_of_the_request_are_one() -> None:
    """In path style and in the Host."""
    fields = form()
    assert refusal(received(fields, bucket="other")).code == "path_not_allowed"
    inbound = received(fields)
    virtual = Inbound("POST", b"/", ((b"host", f"{BUCKET}.{HOST}".encode()),), now=NOW, form=inbound.form)
    assert judged(virtual)


def test_a_post_that_is_no_form_is_told_so() -> None:
    """412, whoever asks."""
    inbound = Inbound("POST", b"/photos", ((b"authorization", b"AWS4-HMAC-SHA256 x"),), now=NOW)
    assert said(refusal(inbound))[0] == "PreconditionFailed"


@pytest.mark.parametrize("names", [("x-goog-signature", "policy"), ("googleaccessid", "signature", "policy")])
def test_forms_of_googles_are_not_taken_for_ours(names: tuple[str, ...]) -> None:
    """They share `policy` and `signature`."""
    assert S3(RULES).recognises(received(dict.fromkeys(("key", *names), "x"))) == []


@given(version=st.sampled_from(["s3", "s3v4"]), data=st.data())
def test_any_one_changed_field_is_refused(version: str, data: st.DataObject) -> None:
    """A value, a field more, a field less, another bucket: the policy named them all."""
    extra = {"acl": "private", "Content-Type": "image/png", "success_action_status": "201"}
    fields = form(version, "user/a", fields=extra)
    bucket = BUCKET
    match data.draw(st.sampled_from(["value", "drop", "add", "bucket"])):
        case "value":
            name = data.draw(st.sampled_from(sorted(fields)))
            fields[name] += data.draw(st.sampled_from(["x", "/", "=", " "]))
        case "drop":
            fields.pop(data.draw(st.sampled_from(sorted(fields))))
        case "add":
            fields[data.draw(st.sampled_from(["x-amz-meta-a", "redirect", "tagging", "expires", "utf8"]))] = "1"
        case _:
            bucket = data.draw(st.sampled_from(["photo", "photos1", "other"]))
    assert refusal(received(fields, bucket=bucket))
