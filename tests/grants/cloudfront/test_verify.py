"""What CloudFront's signers make opens; each fault has CloudFront's own answer."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.grants.cloudfront.stranger import (
    EC_ID,
    HOST,
    NOW,
    RSA_ID,
    URL,
    after,
    arriving,
    as_cookies,
    canned,
    custom,
    encoded,
    is_let_in,
    judge,
    policy,
    refusal,
    ring,
    signature,
    source,
    url_with,
)
from valetstore.errors import Denied
from valetstore.grants.cloudfront import CloudFront, Rules
from valetstore.grants.cloudfront.encoded import decode
from valetstore.grants.cloudfront.policy import canned_text
from valetstore.grants.grant import Profile
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of

STRICT = Rules(sha1=False)
KINDS = [(RSA_ID, None), (RSA_ID, "SHA1"), (RSA_ID, "SHA256"), (EC_ID, None), (EC_ID, "SHA1"), (EC_ID, "SHA256")]


def said(denied: Denied) -> tuple[str, str, int]:
    """CloudFront's code, sentence and status."""
    assert denied.said is not None
    return denied.said.code, denied.said.message, denied.said.status


# What opens


def test_the_published_example_holds_part_by_part() -> None:
    """Its key's modulus begins with a zero bit, and its exponent is 3."""
    folder = os.environ.get("VALETSTORE_VECTORS")
    if not folder:
        pytest.skip("VALETSTORE_VECTORS is not set")
    vectors: dict[str, Any] = json.loads((Path(folder) / "cloudfront.json").read_text())
    record = record_of(
        "aws", "RSA", Profile(), kid=vectors["key_pair_id"], public_key=vectors["public_key_pem"], scheme="cloudfront"
    )
    keys = KeyRing([record])
    for case in vectors["cases"]:
        ends = case["expires"]
        assert canned_text("http://example.com/a", ends).decode() == case["policy"]
        head = f"GET {case['url'].removeprefix('http://example.com')} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode()
        scheme = CloudFront()
        inbound = Inbound.from_raw(head, now=ends - 1)
        grant = scheme.verify(inbound, recognise(inbound, [scheme]), keys).grant
        assert (grant.not_after, grant.signing_key) == (ends, "aws")
        assert grant.scopes[0][0].path == "/a"
        assert len(decode(case["signature"])) == 256
        changed = Inbound.from_raw(head.replace(b"Expires=1257894000", b"Expires=1257894001"), now=ends - 1)
        with pytest.raises(Denied):
            scheme.verify(changed, recognise(changed, [scheme]), keys)


@pytest.mark.parametrize(("kid", "hashed"), KINDS)
def test_every_kind_of_key_opens_in_urls_and_cookies(kid: str, hashed: str | None) -> None:
    for members in (canned(hashed=hashed, kid=kid), custom(policy(f"https://{HOST}/photos/*"), hashed=hashed, kid=kid)):
        by_url = judge(arriving(url_with(URL, members)))
        by_cookies = judge(arriving(URL, cookies=as_cookies(members)))
        assert by_url.identity == by_cookies.identity
        assert by_url.operations == frozenset({"read"})
        assert (by_url.not_after, by_url.issued_at) == (NOW + 60, None)
        assert is_let_in(arriving(url_with(URL, members), "HEAD"))


def test_a_key_on_p256_that_says_no_hash_may_have_signed_either() -> None:
    """Signers older than Hash-Algorithm took one or the other; those of RSA all took SHA-1."""
    text = json.dumps(policy(URL)).encode()
    for kid, hashed, opens in ((EC_ID, "SHA1", True), (EC_ID, "SHA256", True), (RSA_ID, "SHA256", False)):
        members = {"Policy": encoded(text), "Signature": encoded(signature(text, hashed, kid)), "Key-Pair-Id": kid}
        if opens:
            assert is_let_in(arriving(url_with(URL, members)))
        else:
            assert refusal(arriving(url_with(URL, members))).code == "signature_mismatch"


@pytest.mark.parametrize("kid", [RSA_ID, EC_ID])
def test_a_hash_that_is_named_is_the_one_that_was_signed(kid: str) -> None:
    for hashed, claimed in (("SHA1", "SHA256"), ("SHA256", "SHA1")):
        members = canned(hashed=hashed, kid=kid) | {"Hash-Algorithm": claimed}
        assert refusal(arriving(url_with(URL, members))).code == "signature_mismatch"


def test_a_setting_refuses_sha1() -> None:
    for kid, hashed in KINDS:
        inbound = arriving(url_with(URL, canned(hashed=hashed, kid=kid)))
        if hashed == "SHA256":
            assert is_let_in(inbound, STRICT)
        elif (kid, hashed) == (EC_ID, None):
            assert refusal(inbound, STRICT).code == "signature_mismatch"
        else:
            assert refusal(inbound, STRICT).code == "key_malformed"
            assert said(refusal(inbound, STRICT))[::2] == ("AccessDenied", 403)
    text = json.dumps(policy(URL)).encode()
    newer = {"Policy": encoded(text), "Signature": encoded(signature(text, "SHA256", EC_ID)), "Key-Pair-Id": EC_ID}
    assert is_let_in(arriving(url_with(URL, newer)), STRICT)


# Time, place, method


def test_an_end_is_exact_and_a_beginning_is_not_on_or_before() -> None:
    members = custom(policy(URL, NOW + 60, **after(NOW)))
    url = url_with(URL, members)
    assert refusal(arriving(url, now=NOW)).code == "key_not_yet_valid"
    assert is_let_in(arriving(url, now=NOW + 0.001))
    assert is_let_in(arriving(url, now=NOW + 59.999))
    assert refusal(arriving(url, now=NOW + 60)).code == "key_expired"
    plain = url_with(URL, canned())
    assert is_let_in(arriving(plain, now=NOW + 59.999))
    assert refusal(arriving(plain, now=NOW + 60)).code == "key_expired"


def test_time_is_told_before_the_path_and_nothing_before_the_signature() -> None:
    """The order of the gate's checks; of a forged key nothing is told but that."""
    elsewhere = custom(policy("https://elsewhere/*", NOW - 1, **source("198.51.100.1")))
    assert refusal(arriving(url_with(URL, elsewhere))).code == "key_expired"
    forged = elsewhere | {"Signature": encoded(bytes(256))}
    assert refusal(arriving(url_with(URL, forged))).code == "signature_mismatch"


@pytest.mark.parametrize(
    ("network", "peer", "opens"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7/32", "192.0.2.8", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("0.0.0.0/0", "2001:db8::1", True),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8::1", True),
    ],
)
def test_a_policy_may_name_a_network(network: str, peer: str, opens: bool) -> None:
    inbound = arriving(url_with(URL, custom(policy(URL, **source(network)))), peer=peer)
    if opens:
        judge(inbound)
    else:
        assert refusal(inbound).code == "source_not_allowed"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_keys_of_cloudfront_read(method: str) -> None:
    for members in (canned(), custom(policy("*"))):
        assert refusal(arriving(url_with(URL, members), method)).code == "operation_not_allowed"
        assert refusal(arriving(URL, method, cookies=as_cookies(members))).code == "key_missing"


def test_a_path_that_names_no_object_is_refused() -> None:
    for path in ("/", "/photos", "/photos/", "/_valet/healthz"):
        assert refusal(arriving(url_with(f"https://{HOST}{path}", custom(policy("*"))))).code == "object_key_invalid"


def test_response_parameters_change_nothing() -> None:
    url = f"{URL}?response-content-type=text/html"
    assert judge(arriving(url_with(url, canned(url)))).response == ()


# Who a key is


def test_a_key_is_its_signature_or_for_p256_its_policy() -> None:
    """The second form of an ECDSA signature is the same key; a policy opens many objects as one key."""
    text = json.dumps(policy(f"https://{HOST}/photos/*")).encode()
    der = signature(text, "SHA256", EC_ID)
    r, s = decode_dss_signature(der)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    identities = {
        judge(
            arriving(
                url_with(
                    f"https://{HOST}/photos/{name}",
                    {"Policy": encoded(text), "Signature": encoded(form), "Key-Pair-Id": EC_ID},
                )
            )
        ).identity
        for form in (der, encode_dss_signature(r, order - s), signature(text, "SHA1", EC_ID))
        for name in ("cat.jpg", "dog.jpg")
    }
    assert len(identities) == 1
    members = custom(text)
    of_rsa = {judge(arriving(url_with(f"https://{HOST}/photos/{name}", members))).identity for name in ("a", "b")}
    assert len(of_rsa) == 1
    assert of_rsa.isdisjoint(identities)


def test_a_profile_narrows() -> None:
    """As for keys of every dialect; what needs the daemon is tested there."""
    url = url_with(URL, canned())
    for profile, code in (
        (Profile(prefixes=("/other/",)), "path_not_allowed"),
        (Profile(networks=("198.51.100.0/24",)), "source_not_allowed"),
        (Profile(ttl_seconds_max=59), "ttl_too_long"),
        (Profile(operations=("write",)), "operation_not_allowed"),
    ):
        assert refusal(arriving(url), keys=ring(profile)).code == code
    plain = f"http://{HOST}/photos/cat.jpg"
    assert refusal(arriving(url_with(plain, canned(plain))), keys=ring(Profile(https=True))).code == "https_required"
    for profile in (Profile(https=True), Profile(ttl_seconds_max=60), Profile(prefixes=("/photos/",))):
        assert judge(arriving(url), keys=ring(profile)).not_after == NOW + 60


def test_what_a_retired_signing_key_signed_is_refused() -> None:
    records = [msgspec.structs.replace(key.record, retires_at=NOW) for key in ring()]
    assert refusal(arriving(url_with(URL, canned())), keys=KeyRing(records)).code == "key_revoked"
