"""What is signed here is what botocore signs, and opens; what is explained is true."""

import datetime
import json

import pytest
from botocore.signers import CloudFrontSigner

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
    ec_key,
    encoded,
    judge,
    policy,
    ring,
    rsa_key,
    signature,
    source,
    url_with,
)
from valetstore.grants.cloudfront import Rules
from valetstore.grants.cloudfront import sign as our
from valetstore.grants.cloudfront.explain import facts_of
from valetstore.grants.facts import Facts
from valetstore.inbound import Inbound
from valetstore.keys.material import SignatureHash
from valetstore.keys.ring import KeyRing

RSA = our.Key(RSA_ID, "RSA", rsa_key())


def moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def test_urls_are_botocores_to_the_byte() -> None:
    botocores = CloudFrontSigner(RSA_ID, signature)
    url = our.url_of("https://cdn.example.com/", "/photos/a b+ü*.jpg")
    assert url == "https://cdn.example.com/photos/a%20b%2B%C3%BC%2A.jpg"
    made = our.with_key(url, our.canned(RSA, url, NOW + 60))
    assert made == botocores.generate_presigned_url(url, date_less_than=moment(NOW + 60))
    text = our.policy_text(f"{URL}*", ends=NOW + 60, starts=NOW, network="192.0.2.0/24")
    assert text.decode() == botocores.build_policy(f"{URL}*", moment(NOW + 60), moment(NOW), "192.0.2.0/24")
    made = our.with_key(f"{URL}?x=1", our.custom(RSA, text))
    assert made == botocores.generate_presigned_url(f"{URL}?x=1", policy=text.decode())


@pytest.mark.parametrize("hashed", ["sha1", "sha256"])
@pytest.mark.parametrize("kid", [RSA_ID, EC_ID])
def test_what_is_signed_opens(kid: str, hashed: SignatureHash) -> None:
    key = our.Key(kid, "RSA", rsa_key(), hashed) if kid == RSA_ID else our.Key(kid, "ECDSA", ec_key(), hashed)
    url = our.url_of(f"https://{HOST}", "/photos/50% *?#ü.jpg")
    for parameters in (our.canned(key, url, NOW + 60), our.custom(key, our.policy_text(url, ends=NOW + 60))):
        assert ("Hash-Algorithm" in parameters) is (hashed == "sha256")
        assert judge(arriving(our.with_key(url, parameters))).not_after == NOW + 60
        assert judge(arriving(url, cookies=our.cookies_of(parameters))).not_after == NOW + 60
    assert "PRIVATE" not in repr(key)


def facts(inbound: Inbound, rules: Rules | None = None, keys: KeyRing | None = None) -> Facts:
    found = facts_of(inbound, rules or Rules(), ring() if keys is None else keys)
    assert found is not None
    return found


def test_a_key_says_what_it_is() -> None:
    found = facts(arriving(url_with(URL, canned())))
    assert found[:3] == ("signed URL with a canned policy", RSA_ID, "query")
    assert (found.starts_at, found.expires_at, found.method, found.causes) == (None, NOW + 60, "", ())
    assert found.computed.startswith('{"Statement":[{"Resource":"https://cdn.example.com/photos/cat.jpg","Condition"')
    members = custom(policy(f"https://{HOST}/*", NOW + 9, **after(NOW), **source("192.0.2.0/24")), hashed="SHA256")
    found = facts(arriving(URL, cookies=as_cookies(members)))
    assert found[:3] == ("signed cookies with a custom policy", RSA_ID, "cookie")
    assert (found.starts_at, found.expires_at, found.networks) == (NOW, NOW + 9, ("192.0.2.0/24",))
    assert [fact[:2] for fact in found.said] == [("resource", f"https://{HOST}/*"), ("hash", "sha256")]
    assert not found.causes


def test_what_is_no_key_of_cloudfronts_has_no_facts() -> None:
    for url in (URL, f"{URL}?Key-Pair-Id=x", f"{URL}?AWSAccessKeyId=A&Signature=x&Expires=1"):
        assert facts_of(arriving(url), Rules(), ring()) is None


@pytest.mark.parametrize(
    ("signed", "asked", "cause"),
    [
        (f"http://{HOST}/photos/cat.jpg", URL, "It was signed for http, and asked for by https."),
        (URL, "https://cdn.example.com:8443/photos/cat.jpg", "without the port of cdn.example.com:8443"),
        (URL, f"{URL}?added=1", "It was signed without the query added=1."),
        (f"https://{HOST}/photos/ü", f"https://{HOST}/photos/%C3%BC", "a path that is not percent-encoded"),
        (f"https://{HOST}/photos/a%20b%21", f"https://{HOST}/photos/a%20b!", "percent-encoded in another way"),
    ],
)
def test_a_cause_is_named_where_it_can_be_found(signed: str, asked: str, cause: str) -> None:
    found = facts(arriving(url_with(asked, canned(signed))))
    assert len(found.causes) == 1
    assert cause in found.causes[0]


def test_the_wrong_hash_is_a_cause() -> None:
    text = json.dumps(policy(URL)).encode()
    unnamed = {"Policy": encoded(text), "Signature": encoded(signature(text, "SHA256")), "Key-Pair-Id": RSA_ID}
    assert facts(arriving(url_with(URL, unnamed))).causes == (
        "It signs SHA-256 and does not say so: Hash-Algorithm=SHA256 is missing.",
    )
    misnamed = canned(hashed="SHA1") | {"Hash-Algorithm": "SHA256"}
    assert facts(arriving(url_with(URL, misnamed))).causes == ("It signs SHA-1, and says that it signs SHA-256.",)
    assert "refused here" in facts(arriving(url_with(URL, canned())), Rules(sha1=False)).causes[0]


def test_a_resource_that_does_not_fit_and_an_unknown_signer_are_causes() -> None:
    elsewhere = facts(arriving(url_with(URL, custom(policy("https://x/*")))))
    assert elsewhere.causes == (f"Its resource https://x/* does not fit {URL}.",)
    relative = facts(arriving(url_with(URL, custom(policy("photos/*")))))
    assert relative.causes == (f"Its resource photos/* is not a whole URL, as {URL} is.",)
    assert facts(arriving(url_with(URL, canned())), keys=KeyRing()).causes == (
        f"No signing key here has the key pair id {RSA_ID}.",
    )
