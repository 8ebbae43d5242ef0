"""Where a request of S3's or Google's points: path style (`/bucket/key`) or virtual-host style (`bucket.host`, `/key`).

Rule 1: a bucket is taken from the Host below a domain that the operator has named, and below the vendors' own: whoever
holds a key that was signed for `uploads.storage.googleapis.com/photos/x` may send that Host here, and must not find the
bucket `photos`. Any other Host is the gateway itself.
Rule 2: the name is the path decoded once. Neither vendor normalises paths, and neither does anyone here.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.objectkey import RESERVED_BUCKET, check_bucket, split_path

_VENDORS: Final = ("amazonaws.com", "amazonaws.com.cn", "googleapis.com")
# The last `s3` or `storage` counts: names of buckets may have dots, and these words, in them.
_VENDORS_HOST: Final = re.compile(
    r"(?:(.+)\.)?(?:s3(?:[.-][a-z0-9]+)*\.amazonaws\.com(?:\.cn)?|(?:commondata)?storage\.googleapis\.com)", re.ASCII
)


class Hosting:
    """The hosts that requests come to, for the rules of a dialect, which have these two members.

    `hosts` are the domains below which a bucket may be a label of the Host (`photos.files.example.com`), lower-case and
    without a port. `public_host` is the authority of the URL that clients use, "" where that is not known.
    """

    hosts: tuple[str, ...]
    public_host: str

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """The hosts, the longest first: `a.b.example.com` may itself be one beside `example.com`."""
        return tuple(sorted(self.hosts, key=len, reverse=True))

    @cached_property
    def public_name(self) -> str:
        """The public host in lower case, without its port."""
        return self.public_host.partition(":")[0].lower()


class Address(NamedTuple):
    """A bucket ("" for the service itself) and the name of an object in it ("" for the bucket).

    `virtual` says that the bucket was in the Host: signatures of version 2 put it before the path.
    """

    bucket: str
    name: str
    virtual: bool = False

    @property
    def path(self) -> str:
        """As scopes are compared: `/`, `/bucket/` or `/bucket/name`."""
        return f"/{self.bucket}/{self.name}" if self.bucket else "/"


def address_of(inbound: Inbound, hosting: Hosting) -> Address:
    """Where the request points. Raises `object_key_invalid`, `target_invalid`."""
    bucket = bucket_in_host(inbound.host, hosting)
    address = Address(bucket, inbound.path[1:], virtual=True) if bucket else Address(*split_path(inbound.path))
    if address.bucket == RESERVED_BUCKET:
        raise Denied("operation_not_allowed", "These paths are the gateway's own.").saying("AccessDenied")
    if address.bucket:
        _check_bucket(address.bucket)
    elif address.name:
        raise Denied("object_key_invalid", "The path names no bucket.").saying("InvalidBucketName")
    return address


def bucket_in_host(host: str, hosting: Hosting) -> str:
    """The bucket that a Host names below one of the operator's domains, or a vendor's; "" where it names none."""
    lower = host.lower()
    name, _, port = lower.rpartition(":")
    if not port.isdigit():
        name = lower
    if name == hosting.public_name:
        return ""
    for domain in hosting.domains:
        if name == domain:
            return ""
        if name.endswith(f".{domain}"):
            return name.removesuffix(f".{domain}")
    if name.endswith(_VENDORS) and (found := _VENDORS_HOST.fullmatch(name)):
        return found[1] or ""
    return ""


def hosts_signed(inbound: Inbound, hosting: Hosting) -> Iterator[bytes]:
    """What Host may have been when it was signed: each names the same bucket as the one that this request goes by.

    The one that arrived comes first. Google's own signers leave a port away that is in the URL, proxies write it anew.
    """
    counts = inbound.host
    if (sent := inbound.header("host")) == counts:
        yield _bytes(counts)
    name, _, port = counts.rpartition(":")
    bare = name if port.isdigit() else counts
    default = f"{bare}:443" if inbound.tls else f"{bare}:80"
    bucket = bucket_in_host(counts, hosting)
    for host in (sent, counts, bare, default, hosting.public_host):
        # A proxy's Host, or the public one, must not move the name of an object into that of a bucket.
        if host == counts or (host and bucket_in_host(host, hosting) == bucket):
            yield _bytes(host)


def _bytes(host: str) -> bytes:
    """As in a header. What cannot stand there was not signed either."""
    return host.encode("latin-1", "replace")


def _check_bucket(bucket: str) -> None:
    try:
        check_bucket(bucket)
    except Denied as denied:
        raise denied.saying("InvalidBucketName", "The specified bucket is not valid.", BucketName=bucket) from None
