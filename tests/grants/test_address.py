"""Which bucket a Host names: the same object is meant as the one that was signed for, whoever chooses the Host."""

import pytest

from valetstore.grants.address import address_of, bucket_in_host
from valetstore.grants.gcs import Rules
from valetstore.inbound import Inbound

RULES = Rules(hosts=("files.example.com",), public_host="gate.files.example.com:8420")


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("photos.files.example.com", "photos"),
        ("photos.files.example.com:8420", "photos"),
        ("files.example.com", ""),
        ("gate.files.example.com:8420", ""),
        ("elsewhere.example.com", ""),
        ("127.0.0.1:8420", ""),
        ("", ""),
    ],
)
def test_below_the_operators_domains_a_label_is_a_bucket(host: str, bucket: str) -> None:
    assert bucket_in_host(host, RULES) == bucket


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("uploads.storage.googleapis.com", "uploads"),
        ("Uploads.Storage.GoogleAPIs.com:443", "uploads"),
        ("my.dotted.name.storage.googleapis.com", "my.dotted.name"),
        ("uploads.commondatastorage.googleapis.com", "uploads"),
        ("storage.googleapis.com", ""),
        ("uploads.s3.amazonaws.com", "uploads"),
        ("uploads.s3.eu-central-1.amazonaws.com", "uploads"),
        ("uploads.s3-us-west-2.amazonaws.com", "uploads"),
        ("uploads.s3.dualstack.us-east-1.amazonaws.com", "uploads"),
        ("uploads.s3-accelerate.amazonaws.com", "uploads"),
        ("uploads.s3.cn-north-1.amazonaws.com.cn", "uploads"),
        ("my.s3.name.s3.us-east-1.amazonaws.com", "my.s3.name"),
        ("s3.amazonaws.com", ""),
        ("s3.eu-central-1.amazonaws.com", ""),
        ("ec2.amazonaws.com", ""),
        ("uploads.evilstorage.googleapis.com", ""),
        ("uploads.storage.googleapis.com.example.com", ""),
    ],
)
def test_below_a_vendors_own_domain_it_is_one_too(host: str, bucket: str) -> None:
    """A URL that was signed for a bucket in the vendor's Host means that bucket here, too, and no folder of another."""
    assert bucket_in_host(host, RULES) == bucket


def test_a_key_that_was_signed_for_a_bucket_at_its_vendor_names_that_bucket() -> None:
    inbound = Inbound("GET", b"/photos/x", ((b"host", b"uploads.storage.googleapis.com"),), now=0)
    assert address_of(inbound, RULES) == ("uploads", "photos/x", True)


@pytest.mark.parametrize("part", ["a.s3", ".s3-a", "s3-", "-a", ".s3", "storage."])
def test_no_host_takes_long_to_read(part: str) -> None:
    """A Host is read before anything is proven. What goes through it again and again would not come to an end here."""
    host = (part * 255)[:240]
    for end in ("!.amazonaws.com", ".amazonaws.com.cn", "_.googleapis.com"):
        bucket_in_host(host + end, RULES)
