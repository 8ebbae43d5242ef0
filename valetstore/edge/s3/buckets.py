"""Buckets as things of their own: ListBuckets, CreateBucket, DeleteBucket, HeadBucket, and what is said about one.

Rule 1: a gateway has one owner: whose key may make a bucket finds one that is there to be its own.
Rule 2: a list of buckets shows those that the key opens a part of, and no other.
"""

import re
import time
from typing import Final

from valetstore.edge.call import Call
from valetstore.edge.changing import changing
from valetstore.edge.nodes import OWNER, argument_invalid, instant
from valetstore.edge.replies import Reply
from valetstore.edge.s3.bodies import empty, small
from valetstore.edge.s3.heads import refuse_unserved, unserved_header
from valetstore.edge.xml import Node, malformed, parsed, xml_reply
from valetstore.errors import Denied
from valetstore.grants.grant import Intent
from valetstore.objectkey import split_path
from valetstore.storage.promise import BucketInfo

DEFAULT_REGION: Final = "us-east-1"
"""The region that S3 has no name for in GetBucketLocation; a gateway without a region of its own is there too."""

_CONFIGURATION_BYTES_MAX: Final = 4096
_BUCKETS_MAX: Final = 10_000

# S3's rules for new names: labels of small letters, digits and hyphens, joined by dots, that begin and end with a
# letter or digit; 3 to 63 characters; no IPv4 address; no beginning or end that S3 keeps for itself.
_NAME: Final = re.compile(r"(?=.{3,63}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9]+(\.[0-9]+){3}", re.ASCII)
_BEGINNINGS: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


async def list_buckets(call: Call) -> Reply:
    """The buckets that the key opens a part of, by name, a page at a time."""
    inbound = call.inbound
    prefix, after = inbound.parameter("prefix") or "", inbound.parameter("continuation-token") or ""
    limit = _buckets_limit(inbound.parameter("max-buckets"))
    region = inbound.parameter("bucket-region")
    found = await call.services.store.buckets.all(call.admission)
    shown = [info for info in found if info.name.startswith(prefix) and info.name > after and _opens(call, info)]
    if region is not None and region != region_of(call):
        shown = []
    await call.services.gateway.claim(call.admission, time.time)
    page = shown[:limit]
    with_region = region_of(call) if limit < _BUCKETS_MAX or prefix or region else None
    buckets: list[Node] = [
        ("Bucket", [("Name", info.name), ("CreationDate", instant(info.created_ns)), ("BucketRegion", with_region)])
        for info in page
    ]
    return xml_reply(
        "ListAllMyBucketsResult",
        [
            ("Owner", OWNER),
            ("Buckets", buckets),
            ("ContinuationToken", page[-1].name if len(shown) > len(page) else None),
            ("Prefix", prefix or None),
        ],
    )


async def create_bucket(call: Call) -> Reply:
    """Make a bucket; in us-east-1 S3 answers 200 where it is its caller's already, elsewhere 409."""
    inbound, bucket = call.inbound, bucket_of(call)
    refuse_unserved(inbound)
    ownership = inbound.header("x-amz-object-ownership")
    if ownership not in (None, "BucketOwnerEnforced"):
        raise unserved_header("x-amz-object-ownership", "There are no ACLs: BucketOwnerEnforced is what holds.")
    check_new_name(bucket)
    if body := await _configuration(call):
        _check_configuration(body)
    async with changing(call):
        created = await call.services.store.buckets.create(call.admission)
        if not created and region_of(call) != DEFAULT_REGION:
            raise Denied("bucket_exists").saying("BucketAlreadyOwnedByYou", BucketName=bucket)
    return Reply(200, [("Location", f"/{bucket}")])


async def delete_bucket(call: Call) -> Reply:
    """Remove an empty bucket; its unfinished uploads are given up."""
    refuse_unserved(call.inbound)
    await call.services.store.buckets.one(call.admission)
    async with changing(call):
        try:
            await call.services.store.buckets.delete(call.admission)
        except Denied as denied:
            if denied.code == "conflict":
                raise denied.saying("BucketNotEmpty", BucketName=bucket_of(call)) from None
            raise
    return Reply(204)


async def head_bucket(call: Call) -> Reply:
    """Whether it is there."""
    await call.services.store.buckets.one(call.admission)
    headers = [("x-amz-bucket-region", region_of(call)), ("x-amz-access-point-alias", "false")]
    return Reply(200, [*headers, ("Content-Type", "application/xml")])


async def get_bucket_location(call: Call) -> Reply:
    """Its region."""
    await call.services.store.buckets.one(call.admission)
    await call.services.gateway.claim(call.admission, time.time)
    region = region_of(call)
    return xml_reply("LocationConstraint", "" if region == DEFAULT_REGION else region)


async def get_bucket_versioning(call: Call) -> Reply:
    """No bucket has versions, and S3's way to say so is to say nothing."""
    await call.services.store.buckets.one(call.admission)
    await call.services.gateway.claim(call.admission, time.time)
    return xml_reply("VersioningConfiguration", ())


def bucket_of(call: Call) -> str:
    """The bucket that the request is about."""
    return split_path(call.admission.intent.path)[0]


def region_of(call: Call) -> str:
    """The region that all buckets are in."""
    return call.services.config.s3.region or DEFAULT_REGION


def check_new_name(bucket: str) -> None:
    """Raise `parameter_invalid` (InvalidBucketName) unless S3 would let a bucket have this name."""
    if (
        not _NAME.fullmatch(bucket)
        or _ADDRESS.fullmatch(bucket)
        or bucket.startswith(_BEGINNINGS)
        or bucket.endswith(_ENDS)
    ):
        raise Denied("parameter_invalid", "S3 lets no bucket have this name.").saying(
            "InvalidBucketName", BucketName=bucket
        )


def _opens(call: Call, info: BucketInfo) -> bool:
    """Whether the key opens some of a bucket."""
    admission = call.admission
    try:
        place = Intent("list", f"/{info.name}/", action=admission.intent.action, partly=True)
        call.services.gateway.extend(admission, place)
    except Denied:
        return False
    return True


def _buckets_limit(text: str | None) -> int:
    if not text:
        return _BUCKETS_MAX
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= _BUCKETS_MAX):
        said = f"Argument max-buckets must be an integer between 1 and {_BUCKETS_MAX}"
        raise argument_invalid(said, "max-buckets", text)
    return int(text)


async def _configuration(call: Call) -> bytes:
    """The body; many clients send none, and say nothing of its length then."""
    call.on_admitted()
    if call.inbound.header("content-length") is None and call.inbound.header("transfer-encoding") is None:
        await empty(call)
        return b""
    return await small(call, _CONFIGURATION_BYTES_MAX)


def _check_configuration(body: bytes) -> None:
    """A gateway is one place: which of S3's places was asked for changes nothing, as long as one can be read."""
    tree = parsed(body, "CreateBucketConfiguration")
    for element in tree:
        if element.tag == "LocationConstraint" and len(element):
            raise malformed("a location is text")
        if element.tag in ("Location", "Bucket"):
            raise Denied("not_implemented", "There are no directory buckets.").saying("NotImplemented")
