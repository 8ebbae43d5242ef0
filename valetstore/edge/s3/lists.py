"""Lists of a bucket: ListObjects in both versions, ListObjectVersions, ListMultipartUploads.

Source: S3's API reference, of which the elements and their order are.
"""

import time
from typing import Final

from valetstore.edge.call import Call
from valetstore.edge.nodes import OWNER, argument_invalid, instant
from valetstore.edge.pages import Asked, asked_of, common_prefixes, named_by, page_of, token_of
from valetstore.edge.replies import Reply
from valetstore.edge.xml import Node, xml_reply
from valetstore.storage.promise import Listed
from valetstore.storage.uploads import Started

_NULL: Final = "null"


async def list_objects(call: Call) -> Reply:
    """A page of a bucket, the first version: it goes on behind a `marker`."""
    asked = asked_of(call)
    marker = call.inbound.parameter("marker") or ""
    page = await page_of(call, asked, marker)
    next_marker = asked.coded(page.next_after) if page.next_after is not None and asked.delimiter else None
    return xml_reply(
        "ListBucketResult",
        [
            ("Name", asked.bucket),
            # As it is: here alone botocore does not decode it, and public suites of S3's behaviour compare it so.
            ("Prefix", asked.prefix),
            ("Marker", asked.coded(marker)),
            ("NextMarker", next_marker),
            *asked.shared(),
            ("IsTruncated", page.next_after is not None),
            *(("Contents", _contents(row, asked, with_owner=True)) for row in page.rows),
            *common_prefixes(page.prefixes, asked),
        ],
    )


async def list_objects_v2(call: Call) -> Reply:
    """A page of a bucket, the second version: it goes on with a token."""
    inbound = call.inbound
    list_type = inbound.parameter("list-type") or ""
    if list_type != "2":
        raise argument_invalid("Invalid List Type specified in Request", "list-type", list_type)
    asked = asked_of(call)
    token, start_after = inbound.parameter("continuation-token"), inbound.parameter("start-after")
    page = await page_of(call, asked, named_by(token) if token else start_after or "")
    with_owner = (inbound.parameter("fetch-owner") or "").lower() == "true"
    return xml_reply(
        "ListBucketResult",
        [
            ("Name", asked.bucket),
            ("Prefix", asked.coded(asked.prefix)),
            ("ContinuationToken", token),
            ("NextContinuationToken", token_of(page.next_after) if page.next_after is not None else None),
            ("StartAfter", asked.coded(start_after) if start_after else None),
            ("KeyCount", len(page.rows) + len(page.prefixes)),
            *asked.shared(),
            ("IsTruncated", page.next_after is not None),
            *(("Contents", _contents(row, asked, with_owner=with_owner)) for row in page.rows),
            *common_prefixes(page.prefixes, asked),
        ],
    )


async def list_object_versions(call: Call) -> Reply:
    """A page of a bucket whose objects have one version each, `null`: S3's answer without versioning."""
    asked = asked_of(call)
    inbound = call.inbound
    marker, version = inbound.parameter("key-marker") or "", inbound.parameter("version-id-marker")
    if version is not None and not marker:
        said = "A version-id marker cannot be specified without a key marker."
        raise argument_invalid(said, "version-id-marker", version)
    if version not in (None, "", _NULL):
        raise argument_invalid("Invalid version id specified", "version-id-marker", str(version))
    page = await page_of(call, asked, marker)
    next_marker, next_version = None, None
    if page.next_after is not None:
        next_marker = asked.coded(page.next_after)
        next_version = None if page.next_after in page.prefixes[-1:] else _NULL
    return xml_reply(
        "ListVersionsResult",
        [
            ("Name", asked.bucket),
            ("Prefix", asked.coded(asked.prefix)),
            ("KeyMarker", asked.coded(marker)),
            ("VersionIdMarker", version or ""),
            ("NextKeyMarker", next_marker),
            ("NextVersionIdMarker", next_version),
            *asked.shared(),
            ("IsTruncated", page.next_after is not None),
            *(("Version", _contents(row, asked, with_owner=True, version=_NULL)) for row in page.rows),
            *common_prefixes(page.prefixes, asked),
        ],
    )


async def list_multipart_uploads(call: Call) -> Reply:
    """A page of a bucket's uploads that are neither completed nor given up."""
    asked = asked_of(call, limit_name="max-uploads")
    inbound = call.inbound
    marker, id_marker = inbound.parameter("key-marker") or "", inbound.parameter("upload-id-marker") or ""
    # Without an id the marker stands for all uploads of its name; without a name the id says nothing.
    after = (marker, id_marker) if marker else ("", "")
    await call.services.store.buckets.one(call.admission)
    page = await call.services.uploads.page(call.admission, asked.prefix, after, asked.limit, asked.delimiter)
    await call.services.gateway.claim(call.admission, time.time)
    next_name, next_id = page.next_after or (None, None)
    return xml_reply(
        "ListMultipartUploadsResult",
        [
            ("Bucket", asked.bucket),
            ("KeyMarker", asked.coded(marker)),
            ("UploadIdMarker", id_marker),
            ("NextKeyMarker", asked.coded(next_name) if next_name is not None else None),
            ("NextUploadIdMarker", next_id),
            ("Prefix", asked.coded(asked.prefix)),
            *asked.shared(limit_name="MaxUploads"),
            ("IsTruncated", page.next_after is not None),
            *(_upload(row, asked) for row in page.rows),
            *common_prefixes(page.prefixes, asked),
        ],
    )


def _upload(row: Started, asked: Asked) -> Node:
    """One upload as a row of the list."""
    checksum = row.algorithm.upper() or None
    members: list[Node] = [
        ("Key", asked.coded(row.name)),
        ("UploadId", row.id),
        ("Initiator", OWNER),
        ("Owner", OWNER),
        ("StorageClass", "STANDARD"),
        ("Initiated", instant(row.created_ns)),
        ("ChecksumAlgorithm", checksum),
        ("ChecksumType", ("COMPOSITE" if row.composite else "FULL_OBJECT") if checksum else None),
    ]
    return ("Upload", members)


def _contents(row: Listed, asked: Asked, *, with_owner: bool, version: str | None = None) -> list[Node]:
    return [
        ("Key", asked.coded(row.name)),
        ("VersionId", version),
        ("IsLatest", True if version is not None else None),
        ("LastModified", instant(row.modified_ns)),
        ("ETag", row.etag),
        ("Size", row.size),
        ("Owner", OWNER if with_owner else None),
        ("StorageClass", "STANDARD"),
    ]
