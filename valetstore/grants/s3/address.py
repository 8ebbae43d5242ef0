"""Where an S3 request points: path style (`/bucket/key`) or virtual-host style (`bucket.host`, `/key`).

Rule 1: a bucket is taken from the Host only below a domain that the operator has named: any other Host is the
gateway itself.
Rule 2: the name is the path decoded once. S3 does not normalise paths, and neither does anyone here.
"""

from typing import NamedTuple

from valetstore.errors import Denied
from valetstore.grants.s3.rules import Rules
from valetstore.inbound import Inbound
from valetstore.objectkey import RESERVED_BUCKET, check_bucket, split_path


class Address(NamedTuple):
    """A bucket ("" for the service itself) and the name of an object in it ("" for the bucket).

    `virtual` says that the bucket was in the Host: signatures of SigV2 put it before the path.
    """

    bucket: str
    name: str
    virtual: bool = False

    @property
    def path(self) -> str:
        """As scopes are compared: `/`, `/bucket/` or `/bucket/name`."""
        return f"/{self.bucket}/{self.name}" if self.bucket else "/"


def address_of(inbound: Inbound, rules: Rules) -> Address:
    """Where the request points. Raises `object_key_invalid`, `target_invalid`."""
    bucket = bucket_in_host(inbound.host, rules)
    address = Address(bucket, inbound.path[1:], virtual=True) if bucket else Address(*split_path(inbound.path))
    if address.bucket == RESERVED_BUCKET:
        raise Denied("operation_not_allowed", "These paths are the gateway's own.").saying("AccessDenied")
    if address.bucket:
        _check_bucket(address.bucket)
    elif address.name:
        raise Denied("object_key_invalid", "The path names no bucket.").saying("InvalidBucketName")
    return address


def bucket_in_host(host: str, rules: Rules) -> str:
    """The bucket that a Host names below one of the operator's domains; "" where it names none."""
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
    if name == rules.public_name:
        return ""
    for domain in rules.domains:
        if name == domain:
            return ""
        if name.endswith(f".{domain}"):
            return name.removesuffix(f".{domain}")
    return ""


def _check_bucket(bucket: str) -> None:
    try:
        check_bucket(bucket)
    except Denied as denied:
        raise denied.saying("InvalidBucketName", "The specified bucket is not valid.", BucketName=bucket) from None
