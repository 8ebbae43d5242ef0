"""What botocore's CloudFrontSigner makes opens, and ends when it says."""

import datetime
import math

import pytest
from botocore.signers import CloudFrontSigner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.grants.cloudfront.stranger import (
    HOST,
    NOW,
    RSA_ID,
    URL,
    arriving,
    is_let_in,
    judge,
    refusal,
    rsa_key,
)


def signer(kid: str = RSA_ID) -> CloudFrontSigner:
    """botocore's, with the tests' key."""
    return CloudFrontSigner(kid, lambda text: rsa_key().sign(text, padding.PKCS1v15(), hashes.SHA1()))


def moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


@pytest.mark.parametrize("url", [URL, f"{URL}?size=large", f"{URL}?", f"https://{HOST}/a/b%20c%2Bd~%27.txt?x=%20&y"])
def test_botocores_canned_urls_open(url: str) -> None:
    made = signer().generate_presigned_url(url, date_less_than=moment(NOW + 60))
    assert judge(arriving(made)).not_after == NOW + 60
    assert refusal(arriving(made, now=NOW + 60)).code == "key_expired"


@pytest.mark.parametrize(
    ("resource", "address", "opens_others"),
    [
        (f"https://{HOST}/photos/*", None, True),
        (URL, "192.0.2.7", False),
        ("http*://*/photos/c?t.jpg", "192.0.2.0/24", False),
    ],
)
def test_botocores_custom_urls_open(resource: str, address: str | None, opens_others: bool) -> None:
    text = signer().build_policy(resource, moment(NOW + 60), moment(NOW - 60), address)
    made = signer().generate_presigned_url(URL, policy=text)
    assert judge(arriving(made)).not_before == math.nextafter(NOW - 60, math.inf)
    assert refusal(arriving(made, now=NOW - 60)).code == "key_not_yet_valid"
    assert is_let_in(arriving(made.replace("cat.jpg", "dog.png"))) is opens_others
    if address is not None:
        assert refusal(arriving(made, peer="198.51.100.1")).code == "source_not_allowed"
