"""Signed URLs of version 4: what Google's library and an HMAC key sign opens, and every fault in Google's own words."""

import hashlib
import math
import sys
import time
from typing import Any

import msgspec
import pytest

from tests.grants.gcs.stranger import (
    EMAIL,
    ENDPOINT,
    HOST,
    NAME,
    admitted,
    arriving,
    hmac_url,
    members,
    parameters,
    private_key,
    records,
    refusal,
    ring,
    said,
    signed,
    signed_list,
    with_parameters,
)
from valetstore.gateway import use_of
from valetstore.grants.gcs import Gcs, Rules
from valetstore.grants.gcs.session import EARLY_SECONDS
from valetstore.grants.grant import Profile, Scope
from valetstore.grants.networks import parse_networks
from valetstore.grants.sigv4 import moment_of
from valetstore.inbound import Inbound
from valetstore.keys.material import public_pem
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of

MALFORMED = "Your request has a malformed header."
NAMES = ["cat.jpg", NAME, "a//b", "100%/\u65e5\u672c.txt", "q?x=1&y#z", "a;b:c@d!'*$,=[]", "\U0001f431/~tilde_-."]


# What opens


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_what_googles_library_signs_opens(method: str, name: str) -> None:
    grant = admitted(arriving(method, signed(method, name)))
    assert grant.scopes[0] == (Scope(f"/photos/{name}"),)
    assert (grant.scheme, grant.signing_key, len(grant.identity)) == ("gcs", "account", 16)


def test_headers_that_are_signed_are_sent_as_they_were_signed() -> None:
    headers = {"x-goog-meta-who": "ann  and   bob", "Cache-Control": "no-store", "X-Goog-Storage-Class": "NEARLINE"}
    url = signed("PUT", content_type="image/png", content_md5="rL0Y20zC+Fzt72VPzMSk2A==", headers=dict(headers))
    sent = headers | {"Content-Type": "image/png", "Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A=="}
    admitted(arriving("PUT", url, sent))
    for name in sent:
        without = {other: value for other, value in sent.items() if other != name}
        assert refusal(arriving("PUT", url, without)).code == "signature_mismatch"
        assert refusal(arriving("PUT", url, sent | {name: "other"})).code == "signature_mismatch"


def test_a_key_for_get_answers_head_and_never_the_reverse() -> None:
    admitted(arriving("HEAD", signed("GET")))
    assert refusal(arriving("GET", signed("HEAD"))).code == "signature_mismatch"


def test_a_port_may_be_left_out_of_what_was_signed() -> None:
    """Google's published vectors sign `host:localhost` for a URL at `localhost:8080`."""
    admitted(arriving("GET", signed(headers={"host": "127.0.0.1"}), {"Host": HOST}))
    assert refusal(arriving("GET", signed(), {"Host": "127.0.0.2:9000"})).code == "signature_mismatch"


def test_a_public_host_may_be_what_was_signed() -> None:
    url, rules = signed(endpoint="http://files.test"), Rules(public_host="files.test")
    admitted(arriving("GET", url, {"Host": "10.0.0.7:8420"}), rules=rules)


def test_a_bucket_may_be_in_the_host() -> None:
    url = signed(endpoint="http://files.example.com", virtual_hosted_style=True)
    assert url.startswith("http://photos.files.example.com/a%20b")
    assert admitted(arriving("GET", url)).scopes[0] == (Scope(f"/photos/{NAME}"),)
    # Below a domain that nobody has named, the first segment of the path is the bucket.
    assert refusal(arriving("GET", url), rules=Rules()).code == "object_key_invalid"


def test_a_list_is_for_its_prefix() -> None:
    grant = admitted(arriving("GET", signed_list(query_parameters={"prefix": "a b/", "max-keys": "5"})))
    assert (grant.scopes[0], grant.operations) == ((Scope("/photos/a b/", is_prefix=True),), frozenset({"list"}))
    url = with_parameters(signed_list(query_parameters={"prefix": "a/"}), {"prefix": "b/"})
    assert refusal(arriving("GET", url)).code == "signature_mismatch"


def test_overrides_are_the_downloads_headers() -> None:
    url = signed(response_disposition="attachment; filename=x y.jpg", response_type="image/png", generation="7")
    assert set(admitted(arriving("GET", url)).response) == {
        ("content-disposition", "attachment; filename=x y.jpg"),
        ("content-type", "image/png"),
    }
    added = with_parameters(signed(), {"response-content-type": "text/html"})
    assert refusal(arriving("GET", added)).code == "signature_mismatch"


def test_an_hmac_key_signs_too() -> None:
    grant = admitted(arriving("GET", hmac_url()))
    assert grant.signing_key == "hmac"
    admitted(arriving("PUT", hmac_url("PUT", x_goog_meta_a="b"), {"x-goog-meta-a": "b"}))
    assert refusal(arriving("PUT", hmac_url())).code == "signature_mismatch"


def test_names_of_parameters_have_no_case() -> None:
    """floci-gcp and others write them in lower case; they are signed as they were written."""
    url = hmac_url()
    shouted = url.replace("X-Goog-Signature", "x-goog-signature")
    admitted(arriving("GET", shouted))
    assert len(Gcs().recognises(arriving("GET", url.lower()))) == 1


def test_a_signing_key_can_be_rotated() -> None:
    """Two keys of one service account: what either signed opens, and each by its own name."""
    older = record_of("older", "RSA", Profile(), kid=EMAIL, public_key=public_pem(private_key(1)), scheme="gcs")
    keys = KeyRing([older, *records(Profile())])
    assert admitted(arriving("GET", signed()), keys).signing_key == "account"
    assert refusal(arriving("GET", signed()), KeyRing([older])).code == "signature_mismatch"


# Time


def test_the_last_second_is_valid() -> None:
    url = signed(expiration=60)
    issued = moment_of(parameters(url)["X-Goog-Date"])
    assert issued is not None
    grant = admitted(arriving("GET", url, now=issued + 60))
    assert (grant.issued_at, grant.not_after) == (issued, math.nextafter(issued + 60, math.inf))
    assert refusal(arriving("GET", url, now=issued + 60.001)).code == "key_expired"


def test_what_is_no_date_is_not_remembered() -> None:
    """Dates are read once and kept, and anybody may send thousands of texts as long as a request line."""
    text = "2" * 8000 + "Z"
    before = sys.getrefcount(text)
    assert moment_of(text) is None
    assert sys.getrefcount(text) == before


def test_a_date_may_be_a_quarter_of_an_hour_ahead() -> None:
    url = signed()
    issued = moment_of(parameters(url)["X-Goog-Date"])
    assert issued is not None
    admitted(arriving("GET", url, now=issued - EARLY_SECONDS))
    assert refusal(arriving("GET", url, now=issued - EARLY_SECONDS - 1)).code == "key_not_yet_valid"


# Shape

FAULTS: list[tuple[dict[str, str | None], str]] = [
    ({"X-Goog-Algorithm": None}, "X-Goog-Algorithm"),
    ({"X-Goog-Algorithm": "AWS4-HMAC-SHA256"}, "X-Goog-Algorithm"),
    ({"X-Goog-Algorithm": "none"}, "X-Goog-Algorithm"),
    ({"X-Goog-Credential": None}, "X-Goog-Credential"),
    ({"X-Goog-Credential": EMAIL}, "X-Goog-Credential"),
    ({"X-Goog-Credential": f"{EMAIL}/20200101/auto/storage/goog4_request"}, "X-Goog-Credential"),
    ({"X-Goog-Credential": f"{EMAIL}/20200101/auto/s3/aws4_request"}, "X-Goog-Credential"),
    ({"X-Goog-Credential": "/20200101/auto/storage/goog4_request"}, "X-Goog-Credential"),
    ({"X-Goog-Date": None}, "X-Goog-Date"),
    ({"X-Goog-Date": "2026-01-01T00:00:00Z"}, "X-Goog-Date"),
    ({"X-Goog-Date": "20261332T000000Z"}, "X-Goog-Date"),
    ({"X-Goog-Expires": None}, "X-Goog-Expires"),
    ({"X-Goog-Expires": "0"}, "X-Goog-Expires"),
    ({"X-Goog-Expires": "-1"}, "X-Goog-Expires"),
    ({"X-Goog-Expires": "604801"}, "X-Goog-Expires"),
    ({"X-Goog-Expires": "NaN"}, "X-Goog-Expires"),
    ({"X-Goog-Expires": "1_0"}, "X-Goog-Expires"),
    ({"X-Goog-SignedHeaders": None}, "X-Goog-SignedHeaders"),
    ({"X-Goog-SignedHeaders": "x-a"}, "X-Goog-SignedHeaders"),
    ({"X-Goog-SignedHeaders": "host;"}, "X-Goog-SignedHeaders"),
    ({"X-Goog-Signature": None}, "X-Goog-Signature"),
]


@pytest.mark.parametrize(("changes", "parameter"), FAULTS)
def test_every_fault_of_shape_names_its_parameter(changes: dict[str, str | None], parameter: str) -> None:
    denied = refusal(arriving("GET", with_parameters(signed(), changes)))
    assert (denied.code, *said(denied)) == ("key_malformed", "MalformedSecurityHeader", MALFORMED, 400)
    assert members(denied)["ParameterName"] == parameter
    assert members(denied)["Details"]


@pytest.mark.parametrize("written", ["X-Goog-Expires=600", "x-goog-expires=1", "%58-Goog-Signature=ab"])
def test_a_parameter_is_given_once(written: str) -> None:
    denied = refusal(arriving("GET", f"{signed()}&{written}"))
    assert (denied.code, said(denied)[0]) == ("key_malformed", "MalformedSecurityHeader")


def test_a_signed_header_that_did_not_come_is_named() -> None:
    denied = refusal(arriving("PUT", signed("PUT", content_type="image/png")))
    assert (denied.code, *said(denied)) == ("signature_mismatch", "MalformedSecurityHeader", MALFORMED, 400)
    assert members(denied)["ParameterName"] == "content-type"


# Who and what


def test_a_wrong_signature_shows_what_was_signed_and_nothing_secret() -> None:
    url = signed()
    right = parameters(url)["X-Goog-Signature"]
    denied = refusal(arriving("GET", with_parameters(url, {"X-Goog-Signature": "ab" * 256})))
    assert (denied.code, said(denied)[0], said(denied)[2]) == ("signature_mismatch", "SignatureDoesNotMatch", 403)
    shown = members(denied)
    assert shown["StringToSign"].startswith("GOOG4-RSA-SHA256\n")
    assert shown["CanonicalRequest"].startswith("GET\n/photos/")
    assert hashlib.sha256(shown["CanonicalRequest"].encode()).hexdigest() == shown["StringToSign"].split("\n")[-1]
    assert right not in repr((denied.evidence, denied.said, denied.detail))


@pytest.mark.parametrize("signature", ["", "ab", "AB" * 256, "ab" * 256, "xy" * 256, "ab" * 5000])
def test_no_other_signature_opens(signature: str) -> None:
    url = with_parameters(signed(), {"X-Goog-Signature": signature})
    assert refusal(arriving("GET", url)).code in ("signature_mismatch", "key_malformed")


def test_an_unknown_signer_and_a_wrong_signature_are_answered_alike() -> None:
    url = signed()
    unknown = refusal(arriving("GET", url.replace("signer%40", "nobody%40")))
    wrong = refusal(arriving("GET", with_parameters(url, {"X-Goog-Signature": "ab" * 256})))
    assert unknown.said is not None
    assert wrong.said is not None
    assert (unknown.code, unknown.text, said(unknown)) == (wrong.code, wrong.text, said(wrong))
    assert members(unknown).keys() == members(wrong).keys()


def test_the_algorithm_belongs_to_the_signing_key() -> None:
    """A service account's public key is no HMAC secret, whatever a URL says."""
    url = with_parameters(signed(), {"X-Goog-Algorithm": "GOOG4-HMAC-SHA256"})
    assert refusal(arriving("GET", url)).code == "signature_mismatch"
    url = with_parameters(hmac_url(), {"X-Goog-Algorithm": "GOOG4-RSA-SHA256"})
    assert refusal(arriving("GET", url)).code == "signature_mismatch"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-goog-meta-further", "1"),
        ("X-Goog-Acl", "public-read"),
        ("x-goog-if-generation-match", "0"),
        ("x-goog-content-length-range", "0,1"),
        ("x-goog-content-sha256", "ab" * 32),
    ],
)
def test_an_unsigned_header_of_googles_is_refused(name: str, value: str) -> None:
    denied = refusal(arriving("PUT", signed("PUT"), {name: value}))
    assert (denied.code, *said(denied)) == ("header_required", "AccessDenied", "Access denied.", 403)
    assert name.lower() in members(denied)["Details"]


def test_what_says_only_who_sends_need_not_be_signed() -> None:
    sent = {"x-goog-api-client": "gl-python/3", "x-goog-gcs-idempotency-token": "1", "User-Agent": "x"}
    admitted(arriving("PUT", signed("PUT"), sent))


# What signed headers ask


def put(**headers: str) -> Inbound:
    """A PUT with these headers signed and sent (`_` for `-`)."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return arriving("PUT", signed("PUT", headers=dict(named)), named)


def test_a_length_range_is_the_grants() -> None:
    grant = admitted(put(x_goog_content_length_range="5,10"))
    assert (grant.length_min, grant.length_max) == (5, 10)
    for length, code in ((4, "too_small"), (11, "too_large")):
        url = signed("PUT", headers={"x-goog-content-length-range": "5,10"})
        sent = {"x-goog-content-length-range": "5,10", "Content-Length": str(length)}
        assert refusal(arriving("PUT", url, sent)).code == code


@pytest.mark.parametrize("value", ["5", "10,5", "-1,5", "a,b", "1,2,3", "", "1 2"])
def test_a_length_range_has_two_ends(value: str) -> None:
    denied = refusal(put(x_goog_content_length_range=value))
    assert (denied.code, said(denied)[0], said(denied)[2]) == ("parameter_invalid", "InvalidArgument", 400)


def test_generation_zero_only_makes_anew() -> None:
    assert admitted(put(x_goog_if_generation_match="0")).create_only
    assert not admitted(put(x_goog_if_generation_match="7")).create_only
    assert not admitted(arriving("PUT", signed("PUT"))).create_only


def test_a_signed_hash_is_the_bodys() -> None:
    digest = hashlib.sha256(b"hello")
    assert admitted(put(x_goog_content_sha256=digest.hexdigest())).sha256 == digest.digest()
    assert admitted(put(x_goog_content_sha256="UNSIGNED-PAYLOAD")).sha256 is None
    assert refusal(put(x_goog_content_sha256="ab")).code == "parameter_invalid"


# Conditions of our own


@pytest.mark.parametrize(
    ("name", "value", "field", "wanted"),
    [
        ("x-valet-uses", "2", "uses", 2),
        ("x-valet-length", "1-9", "length_max", 9),
        ("x-valet-type", "image/*", "types", (("image/*",),)),
        ("x-valet-ip", "203.0.113.0/24", "networks", (parse_networks("203.0.113.0/24"),)),
        ("x-valet-create", "true", "create_only", True),
    ],
)
def test_conditions_are_signed_in_the_query(name: str, value: str, field: str, wanted: object) -> None:
    url = signed("PUT", query_parameters={name: value})
    inbound = arriving("PUT", url, {"content-type": "image/png", "content-length": "5"})
    proof = Gcs().verify(inbound, Gcs().recognises(inbound)[0], ring())
    assert getattr(proof.grant, field) == wanted
    assert refusal(arriving("PUT", with_parameters(url, {name: None}))).code == "signature_mismatch"


def test_conditions_that_are_not_understood_refuse() -> None:
    assert refusal(arriving("GET", signed(query_parameters={"x-valet-future": "1"}))).code == "key_malformed"
    headers = {"x-valet-uses": "1"}
    assert refusal(arriving("GET", signed(headers=dict(headers)), headers)).code == "parameter_invalid"


# The signing key's profile


def later(profile: Profile, method: str = "PUT", **more: Any) -> str:
    """Why a URL of a signing key with this profile is refused."""
    headers = {"content-length": "50", "content-type": "text/plain"}
    return refusal(arriving(method, signed(method), headers, **more), ring(profile)).code


def test_a_profile_narrows_every_key() -> None:
    assert later(Profile(operations=("read",))) == "operation_not_allowed"
    assert later(Profile(prefixes=("/other/",))) == "path_not_allowed"
    assert later(Profile(ttl_seconds_max=60)) == "ttl_too_long"
    assert later(Profile(length_bytes_max=10)) == "too_large"
    assert later(Profile(length_bytes_min=100)) == "too_small"
    assert later(Profile(types=("image/*",))) == "type_not_allowed"
    assert later(Profile(networks=("203.0.113.0/24",))) == "source_not_allowed"
    assert later(Profile(https=True)) == "https_required"
    assert admitted(arriving("PUT", signed("PUT")), ring(Profile(create_only=True))).create_only


def test_a_retired_signing_key_opens_nothing() -> None:
    assert refusal(arriving("GET", signed()), ring(retires_at=int(time.time()) - 1)).code == "key_revoked"


def test_a_single_use_is_one_of_the_url_and_not_of_its_text() -> None:
    keys = ring(Profile(single_use=("read",), uses=3))
    url = signed()
    other = arriving("GET", url.replace("%2B", "%2b", 1))
    uses = []
    for inbound in (arriving("GET", url), other):
        grant = admitted(inbound, keys)
        uses.append(use_of(grant, Gcs().intent(inbound), inbound))
    assert uses[0] is not None
    assert uses[1] is not None
    assert (uses[0].identity, uses[0].allowed) == (uses[1].identity, 1)


def test_the_identity_is_of_the_signing_key_and_the_signature() -> None:
    url = signed()
    mine = admitted(arriving("GET", url)).identity
    again = [msgspec.structs.replace(one, id="ab" * 16) for one in records(Profile())[:1]]
    assert admitted(arriving("GET", url), KeyRing(again)).identity != mine
    assert admitted(arriving("GET", signed(name="other"))).identity != mine


def test_the_endpoint_is_that_of_the_tests() -> None:
    assert signed().startswith(ENDPOINT)
