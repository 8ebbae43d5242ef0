"""POST policies: forms that Google's library and an HMAC key have signed, judged field by field."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.grants.gcs.stranger import (
    EMAIL,
    ENDPOINT,
    admitted,
    arriving,
    hmac_key,
    members,
    policy_fields,
    posted,
    private_key,
    refusal,
    ring,
    said,
    secret,
)
from valetstore.grants.gcs import Gcs, Rules
from valetstore.grants.gcs.session import EARLY_SECONDS
from valetstore.grants.grant import Profile, Scope
from valetstore.grants.recognise import recognise
from valetstore.grants.s3 import S3


def encoded(conditions: list[object], end: datetime | None = None) -> str:
    """A policy."""
    moment = end or datetime.now(UTC) + timedelta(minutes=5)
    text = json.dumps({"expiration": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "conditions": conditions})
    return base64.b64encode(text.encode()).decode()


def rsa(text: str) -> bytes:
    """The tests' service account's signature."""
    return private_key().sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())


def v2_fields(policy: str) -> dict[str, str]:
    """A form of version 2."""
    return {
        "key": "cat.jpg",
        "GoogleAccessId": EMAIL,
        "policy": policy,
        "signature": base64.b64encode(rsa(policy)).decode(),
    }


ROWS: list[object] = [{"bucket": "photos"}, ["starts-with", "$key", ""]]


# What opens


def test_a_form_of_googles_library_opens_its_object() -> None:
    for name in ("cat.jpg", "a b/\u00fc+.jpg"):
        inbound = posted(policy_fields(name, fields={"x-goog-meta-who": "\u00fc", "content-type": "image/png"}))
        assert admitted(inbound).scopes[0] == (Scope(f"/photos/{name}"),)
        intent = Gcs().intent(inbound)
        assert (intent.operation, intent.action, intent.content_type) == ("write", "PostObject", "image/png")


def test_its_end_has_microseconds() -> None:
    fields = policy_fields()
    text = json.loads(base64.b64decode(fields["policy"]))["expiration"]
    assert "." in text
    end = datetime.fromisoformat(text).timestamp()
    admitted(posted(fields, now=end - 0.001))
    denied = refusal(posted(fields, now=end + 0.001))
    assert (denied.code, said(denied)[2]) == ("key_expired", 403)


def test_a_length_range_is_the_grants() -> None:
    grant = admitted(posted(policy_fields(conditions=[["content-length-range", 5, 10]])))
    assert (grant.length_min, grant.length_max) == (5, 10)


def test_a_name_may_be_the_clients() -> None:
    policy = encoded(ROWS)
    fields = v2_fields(policy) | {"key": "up/${filename}"}
    assert admitted(posted(fields, filename="C:\\cat.jpg")).scopes[0] == (Scope("/photos/up/cat.jpg"),)


def test_a_bucket_may_be_in_the_host() -> None:
    inbound = posted(policy_fields(), path="/")
    moved = arriving("POST", f"{ENDPOINT}/", {"Host": "photos.files.example.com"}, form=inbound.form)
    assert admitted(moved).scopes[0] == (Scope("/photos/cat.jpg"),)


def test_an_hmac_key_signs_too() -> None:
    now = datetime.now(UTC)
    day = f"{now:%Y%m%d}"
    own = {
        "x-goog-algorithm": "GOOG4-HMAC-SHA256",
        "x-goog-credential": f"{secret().access_id}/{day}/auto/storage/goog4_request",
        "x-goog-date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    policy = encoded([*ROWS, *({name: value} for name, value in own.items())])
    mac = hmac.new(hmac_key(day, "auto"), policy.encode(), hashlib.sha256).hexdigest()
    fields = {"key": "cat.jpg"} | own | {"policy": policy, "x-goog-signature": mac}
    assert admitted(posted(fields)).signing_key == "hmac"
    assert refusal(posted(fields | {"x-goog-signature": "ab" * 32})).code == "signature_mismatch"


def test_version_2_opens_and_a_setting_refuses_it() -> None:
    policy = encoded(ROWS)
    assert admitted(posted(v2_fields(policy))).signing_key == "account"
    assert refusal(posted(v2_fields(policy)), rules=Rules(v2=False)).code == "key_malformed"
    mac = hmac.new(secret().secret.encode(), policy.encode(), hashlib.sha1).digest()
    fields = v2_fields(policy) | {
        "GoogleAccessId": secret().access_id,
        "signature": base64.b64encode(mac).decode(),
    }
    assert admitted(posted(fields)).signing_key == "hmac"


# What is refused


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": "other.jpg"}, "path_not_allowed"),
        ({"x-goog-meta-more": "1"}, "header_required"),
        ({"acl": "public-read"}, "header_required"),
        ({"content-type": "text/html"}, "header_required"),
        ({"x-goog-date": "20200101T000000Z"}, "key_malformed"),
        ({"x-goog-algorithm": "GOOG4-HMAC-SHA256"}, "signature_mismatch"),
        ({"x-goog-credential": f"{EMAIL}/x/auto/storage/goog4_request"}, "key_malformed"),
        ({"x-goog-signature": "ab" * 256}, "signature_mismatch"),
        ({"policy": encoded(ROWS)}, "signature_mismatch"),
        ({"policy": "", "x-goog-signature": ""}, "parameter_invalid"),
        ({"x-valet-uses": "1"}, "header_required"),
    ],
)
def test_a_changed_form_is_refused(change: dict[str, str], code: str) -> None:
    fields = policy_fields(fields={"content-type": "image/png"})
    admitted(posted(fields))
    assert refusal(posted(fields | change)).code == code


@pytest.mark.parametrize("name", ["x-goog-algorithm", "x-goog-credential", "x-goog-date", "policy", "x-goog-signature"])
def test_a_missing_field_is_named(name: str) -> None:
    fields = policy_fields()
    del fields[name]
    denied = refusal(posted(fields))
    assert (denied.code, said(denied)[0]) == ("parameter_invalid", "InvalidArgument")
    assert members(denied)["ArgumentName"] == name


def test_what_the_signature_needs_no_condition_for() -> None:
    admitted(posted(policy_fields(fields={"x-ignore-me": "1"}) | {"x-ignore-more": "2"}))


def test_a_field_is_there_once() -> None:
    fields = policy_fields()
    form = (*((name.lower(), value) for name, value in fields.items()), ("key", "cat.jpg"), ("file", "x"))
    assert refusal(posted(fields, form=form)).code == "parameter_invalid"


def test_another_bucket_is_not_the_policys() -> None:
    assert refusal(posted(policy_fields(), path="/other/")).code == "path_not_allowed"


def test_a_form_opens_no_object_and_no_other_method() -> None:
    inbound = posted(policy_fields())
    (credential,) = Gcs().recognises(inbound)
    put = arriving("PUT", f"{ENDPOINT}/photos/cat.jpg", form=inbound.form)
    assert refusal(put).code == "operation_not_allowed"
    assert credential.carrier == "form"


def test_a_week_from_its_date_is_the_longest() -> None:
    now = datetime.now(UTC)
    own = {
        "x-goog-algorithm": "GOOG4-RSA-SHA256",
        "x-goog-credential": f"{EMAIL}/{now:%Y%m%d}/auto/storage/goog4_request",
        "x-goog-date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    policy = encoded([*ROWS, *({name: value} for name, value in own.items())], now + timedelta(days=30))
    fields = {"key": "cat.jpg"} | own | {"policy": policy, "x-goog-signature": rsa(policy).hex()}
    begun = int(now.timestamp())
    admitted(posted(fields, now=begun + 604_800))
    assert refusal(posted(fields, now=begun + 604_801)).code == "key_expired"
    assert refusal(posted(fields, now=begun - EARLY_SECONDS - 1)).code == "key_not_yet_valid"


def test_conditions_of_our_own_are_fields_that_the_policy_names() -> None:
    fields = policy_fields(fields={"x-valet-uses": "1", "x-valet-create": "true"})
    grant = admitted(posted(fields))
    assert (grant.uses, grant.create_only) == (1, True)


def test_a_profile_narrows_every_form() -> None:
    inbound = posted(policy_fields(fields={"content-type": "text/plain"}))
    for profile, code in (
        (Profile(operations=("read",)), "operation_not_allowed"),
        (Profile(types=("image/*",)), "type_not_allowed"),
        (Profile(prefixes=("/other/",)), "path_not_allowed"),
        (Profile(ttl_seconds_max=60), "ttl_too_long"),
    ):
        assert refusal(inbound, ring(profile)).code == code
    assert admitted(inbound, ring(Profile(single_use=("write",)))).uses_for("write") == 1


def test_a_policy_is_the_dialects_whose_fields_it_has() -> None:
    schemes = (S3(), Gcs())
    for fields in (policy_fields(), v2_fields(encoded(ROWS))):
        assert recognise(posted(fields), schemes).scheme.name == "gcs"
    amazon = {"AWSAccessKeyId": "VK", "policy": "x", "signature": "x", "key": "x"}
    assert recognise(posted(amazon), schemes).scheme.name == "s3"
