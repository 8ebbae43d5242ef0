"""What is signed here is what Google's own library signs, and opens as that does."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from google.cloud.storage._signing import generate_signed_url_v2

from tests.grants.gcs.stranger import (
    EMAIL,
    ENDPOINT,
    LIFE,
    NAME,
    admitted,
    arriving,
    client,
    parameters,
    policy_fields,
    posted,
    private_key,
    refusal,
    secret,
    signed,
    signed_list,
)
from valetstore.grants.gcs.sign import PAYLOAD, START, Key, post_form, sign_v2, sign_v4, v2_signs
from valetstore.grants.presign import FILENAME, Request
from valetstore.grants.sigv4 import moment_of

ACCOUNT = Key(EMAIL, private_key())
HMAC = Key(secret().access_id, secret().secret.encode())
PATH = f"/photos/{NAME}"

CASES: list[tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]] = [
    ("GET", (), ()),
    ("DELETE", (), ()),
    ("PUT", (("content-type", "image/png"), ("x-goog-meta-a", "b c")), ()),
    ("GET", (), (("response-content-disposition", "attachment; filename=a b+c"), ("x-valet-uses", "1"))),
]


@pytest.mark.parametrize(("method", "headers", "added"), CASES)
def test_version_4_is_byte_for_byte_the_librarys(method: str, headers: Any, added: Any) -> None:
    theirs = signed(method, headers=dict(headers), query_parameters=dict(added))
    now = moment_of(parameters(theirs)["X-Goog-Date"])
    assert now is not None
    assert sign_v4(ACCOUNT, Request(method, ENDPOINT, PATH, headers, added), now=now, expires=600) == theirs


@pytest.mark.parametrize(("method", "headers", "added"), [*CASES[:3], ("GET", (), CASES[3][2][:1])])
def test_version_2_is_byte_for_byte_the_librarys(method: str, headers: Any, added: Any) -> None:
    end, sent = int(time.time()) + 600, dict(headers)
    content_type = sent.pop("content-type", None)
    theirs = generate_signed_url_v2(
        client()._credentials,
        "/photos/a%20b.jpg",
        end,
        api_access_endpoint=ENDPOINT,
        method=method,
        content_type=content_type,
        headers=sent,
        query_parameters=dict(added) or None,
    )
    assert sign_v2(ACCOUNT, Request(method, ENDPOINT, "/photos/a b.jpg", headers, added), expires_at=end) == theirs


@pytest.mark.parametrize("key", [ACCOUNT, HMAC])
def test_both_kinds_of_keys_sign_what_opens(key: Key) -> None:
    now = int(time.time())
    for request in (
        Request("GET", ENDPOINT, PATH),
        Request("PUT", ENDPOINT, PATH, (("x-goog-meta-a", "b"),)),
        Request("POST", ENDPOINT, PATH, (START,)),
        Request("GET", ENDPOINT, "/photos", (), (("prefix", "a b/"),)),
    ):
        for url in (sign_v4(key, request, now=now, expires=60), sign_v2(key, request, expires_at=now + 60)):
            admitted(arriving(request.method, url, request.headers))
    assert str(secret().secret) not in repr(key)


def test_a_known_payload_is_a_header() -> None:
    request = Request("PUT", ENDPOINT, PATH, payload="ab" * 32)
    url = sign_v4(ACCOUNT, request, now=int(time.time()), expires=60)
    assert admitted(arriving("PUT", url, {PAYLOAD: "ab" * 32})).sha256 == bytes.fromhex("ab" * 32)
    assert refusal(arriving("PUT", url)).code == "signature_mismatch"


@pytest.mark.parametrize("key", [ACCOUNT, HMAC])
def test_a_form_opens_what_it_names(key: Key) -> None:
    made = post_form(
        key,
        ENDPOINT,
        "photos",
        f"up/{FILENAME}",
        now=int(time.time()),
        expires=60,
        conditions=[["content-length-range", 1, 9]],
        fields={"content-type": "image/png", "x-valet-uses": "1"},
    )
    assert made.url == f"{ENDPOINT}/photos"
    grant = admitted(posted(made.fields))
    assert (grant.length_max, grant.uses) == (9, 1)
    assert refusal(posted(made.fields | {"key": "down/cat.jpg"})).code == "path_not_allowed"


def test_a_form_has_the_fields_of_the_librarys() -> None:
    theirs = policy_fields(fields={"content-type": "image/png"})
    ours = post_form(
        ACCOUNT,
        ENDPOINT,
        "photos",
        "cat.jpg",
        now=int(time.time()),
        expires=int(LIFE.total_seconds()),
        fields={"content-type": "image/png"},
    ).fields
    assert ours.keys() == theirs.keys()
    assert rows_of(ours) == rows_of(theirs)


def rows_of(fields: Mapping[str, str]) -> list[str]:
    """The fields that a policy has conditions for."""
    return sorted(name for row in json.loads(base64.b64decode(fields["policy"]))["conditions"] for name in row)


def test_version_2_knows_what_it_signs() -> None:
    assert v2_signs("x-goog-meta-a")
    assert v2_signs("content-type")
    assert not v2_signs("cache-control")
    assert "prefix" in parameters(signed_list("v2", query_parameters={"prefix": "a/"}))
