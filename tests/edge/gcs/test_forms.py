"""Browsers' uploads under Google's policy documents, against the real gateway."""

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.edge.gcs.conftest import BUCKET, Account, Accounts, crc32c_of, document, md5_of, refused
from tests.gate import Answer
from valetstore.grants.grant import Profile

BOUNDARY: Final = "----FormBoundary7MA4YWxk"
DATA: Final = b"picture"


def signed(
    user: Account, name: str, fields: Mapping[str, str] | None = None, conditions: list[Any] | None = None
) -> dict[str, str]:
    """A form's fields as the SDK makes them; each given field is a condition as well."""
    policy = user.client().generate_signed_post_policy_v4(
        BUCKET,
        name,
        expiration=datetime.timedelta(minutes=5),
        conditions=conditions,
        fields=dict(fields or {}),
        credentials=user.credentials,
    )
    made: dict[str, str] = policy["fields"]
    return made


def post(
    user: Account,
    fields: Mapping[str, str],
    data: bytes | None = DATA,
    filename: str = "a.png",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if data is not None:
        head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
        parts += [f"--{BOUNDARY}\r\n{head}".encode(), data, b"\r\n"]
    body = b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return user.gate.ask("POST", f"/{BUCKET}", body, {**kind, **(headers or {})})


def test_a_form_uploads_its_file(google: Accounts) -> None:
    user = google()
    fields = {"Content-Type": "image/png", "x-goog-meta-a": "b", "Cache-Control": "max-age=9"}
    answer = post(user, signed(user, "form/one", fields))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["etag"] == f'"{hashlib.md5(DATA).hexdigest()}"'
    assert answer.headers["location"] == f"{user.gate.base}/{BUCKET}/form/one"
    got = user.ask("GET", "form/one")
    assert got.body == DATA
    assert got.headers["content-type"] == "image/png"
    assert got.headers["x-goog-meta-a"] == "b"
    assert got.headers["cache-control"] == "max-age=9"
    assert got.headers["x-goog-generation"] == answer.headers["x-goog-generation"]


def test_the_answer_is_as_the_form_asks(google: Accounts) -> None:
    user = google()
    assert post(user, signed(user, "form/200", {"success_action_status": "200"})).status == 200
    answer = post(user, signed(user, "form/201", {"success_action_status": "201"}))
    assert answer.status == 201
    members = {element.tag: element.text for element in document(answer)}
    assert (members["Bucket"], members["Key"]) == (BUCKET, "form/201")
    assert answer.body.startswith(b"<?xml version='1.0' encoding='UTF-8'?><PostResponse>")
    url = "https://app.example.test/done?x=1"
    answer = post(user, signed(user, "form/303", {"success_action_redirect": url}))
    assert answer.status == 303
    assert answer.headers["location"].startswith(f"{url}&bucket={BUCKET}&key=form%2F303&etag=")


def test_the_length_range_is_of_the_file(google: Accounts) -> None:
    user = google()
    fields = signed(user, "form/length", conditions=[["content-length-range", 3, 5]])
    refused(post(user, fields, b"123456"), "EntityTooLarge", 400, "too_large")
    refused(post(user, fields, b"12"), "EntityTooSmall", 400, "too_small")
    assert post(user, fields, b"1234").status == 204
    assert user.body("form/length") == b"1234"


def test_hashes_in_fields_are_of_the_file(google: Accounts) -> None:
    user = google()
    good, bad = f"crc32c={crc32c_of(DATA)},md5={md5_of(DATA)}", f"crc32c={crc32c_of(b'x')}"
    assert post(user, signed(user, "form/hash", {"x-goog-hash": good})).status == 204
    refused(post(user, signed(user, "form/bad", {"x-goog-hash": bad})), "BadDigest", 400, "digest_mismatch")
    refused(user.ask("GET", "form/bad"), "NoSuchKey", 404, "not_found")


def test_a_form_may_only_make(google: Accounts) -> None:
    user = google()
    fields = signed(user, "form/new", {"x-goog-if-generation-match": "0"})
    assert post(user, fields).status == 204
    refused(post(user, fields), "PreconditionFailed", 412, "exists")
    narrow = google(Profile(create_only=True))
    refused(post(narrow, signed(narrow, "form/new")), "PreconditionFailed", 412, "exists")


@pytest.mark.parametrize("condition", [{"If-None-Match": "*"}, {"x-goog-if-generation-match": "0"}])
def test_conditions_in_the_head_of_a_form_hold(google: Accounts, condition: dict[str, str]) -> None:
    user = google()
    fields = signed(user, f"form/{min(condition)}")
    assert post(user, fields, b"one", headers=condition).status == 204
    assert post(user, fields, b"two", headers=condition).status == 412
    assert post(user, fields, b"three").status == 204


def test_a_form_s_profile_holds(google: Accounts) -> None:
    once = google(Profile(single_use=("write",), length_bytes_max=10, types=("image/*",)))
    image = {"Content-Type": "image/png"}
    fields = signed(once, "form/once", image)
    refused(post(once, fields, b"x" * 11), "EntityTooLarge", 400, "too_large")
    assert post(once, fields).status == 204
    refused(post(once, fields), "AccessDenied", 403, "key_used")
    refused(post(once, signed(once, "form/t", {"Content-Type": "text/html"})), "AccessDenied", 403, "type_not_allowed")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"key": "elsewhere"}, 403, "AccessDenied"),
        ({"acl": "public-read"}, 403, "AccessDenied"),
        ({"x-goog-signature": "00" * 256}, 403, "SignatureDoesNotMatch"),
        ({"x-goog-algorithm": "GOOG4-ROT13"}, 400, ""),
        ({"policy": "e30="}, 403, "SignatureDoesNotMatch"),
    ],
)
def test_a_form_that_is_not_the_signed_one_is_refused(
    google: Accounts, change: dict[str, str], status: int, code: str
) -> None:
    user = google()
    answer = post(user, signed(user, "form/changed") | change)
    assert answer.status == status, answer.body
    assert answer.body.startswith(b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>" + code.encode())


def test_a_form_needs_a_file(google: Accounts) -> None:
    answer = post(google(), signed(google(), "form/none"), None)
    assert (answer.status, answer.code) == (400, "parameter_invalid")


def test_what_a_field_asks_and_is_not_done_is_refused(google: Accounts) -> None:
    user = google()
    answer = post(user, signed(user, "form/unserved", {"x-goog-custom-time": "2026-01-01T00:00:00Z"}))
    refused(answer, "NotImplemented", 501, "not_implemented")
    answer = post(user, signed(user, "form/unserved", {"acl": "everybody"}))
    refused(answer, "InvalidArgument", 400, "parameter_invalid")
