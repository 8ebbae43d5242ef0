"""Lists of a bucket: ListObjects in both versions, ListObjectVersions, ListMultipartUploads.

Rule 1: a page ends at the last name or group that it shows, and says that there are more only where there are.
Rule 2: the key's use is claimed when the page is there, last of all.
Source: S3's API reference, of which the elements and their order are.
"""

import base64
import binascii
import time
from typing import Final, NamedTuple

import msgspec

from valetstore.edge.call import Call
from valetstore.edge.replies import Reply
from valetstore.edge.s3.heads import argument_invalid
from valetstore.edge.s3.nodes import OWNER, Coded, coding_of, instant
from valetstore.edge.xml import Node, xml_reply
from valetstore.objectkey import split_path
from valetstore.storage.promise import Listed, Page
from valetstore.storage.uploads import Started

ENTRIES_MAX: Final = 1000
"""As many as S3 shows on a page, whatever is asked for."""
_INTEGER_MAX: Final = 2**31 - 1
_NULL: Final = "null"


class _Asked(NamedTuple):
    """What all of these lists are asked for."""

    bucket: str
    prefix: str
    delimiter: str
    limit: int
    encoding: str | None
    coded: Coded

    def shared(self, *, limit_name: str = "MaxKeys") -> list[Node]:
        """How a document repeats it."""
        delimiter = self.coded(self.delimiter) if self.delimiter else None
        return [(limit_name, self.limit), ("Delimiter", delimiter), ("EncodingType", self.encoding)]


async def list_objects(call: Call) -> Reply:
    """A page of a bucket, the first version: it goes on behind a `marker`."""
    asked = _asked(call)
    marker = call.inbound.parameter("marker") or ""
    page = await _page(call, asked, marker)
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
            *_common_prefixes(page.prefixes, asked),
        ],
    )


async def list_objects_v2(call: Call) -> Reply:
    """A page of a bucket, the second version: it goes on with a token."""
    inbound = call.inbound
    list_type = inbound.parameter("list-type") or ""
    if list_type != "2":
        raise argument_invalid("Invalid List Type specified in Request", "list-type", list_type)
    asked = _asked(call)
    token, start_after = inbound.parameter("continuation-token"), inbound.parameter("start-after")
    page = await _page(call, asked, _named_by(token) if token else start_after or "")
    with_owner = (inbound.parameter("fetch-owner") or "").lower() == "true"
    return xml_reply(
        "ListBucketResult",
        [
            ("Name", asked.bucket),
            ("Prefix", asked.coded(asked.prefix)),
            ("ContinuationToken", token),
            ("NextContinuationToken", _token(page.next_after) if page.next_after is not None else None),
            ("StartAfter", asked.coded(start_after) if start_after else None),
            ("KeyCount", len(page.rows) + len(page.prefixes)),
            *asked.shared(),
            ("IsTruncated", page.next_after is not None),
            *(("Contents", _contents(row, asked, with_owner=with_owner)) for row in page.rows),
            *_common_prefixes(page.prefixes, asked),
        ],
    )


async def list_object_versions(call: Call) -> Reply:
    """A page of a bucket whose objects have one version each, `null`: S3's answer without versioning."""
    asked = _asked(call)
    inbound = call.inbound
    marker, version = inbound.parameter("key-marker") or "", inbound.parameter("version-id-marker")
    if version is not None and not marker:
        said = "A version-id marker cannot be specified without a key marker."
        raise argument_invalid(said, "version-id-marker", version)
    if version not in (None, "", _NULL):
        raise argument_invalid("Invalid version id specified", "version-id-marker", str(version))
    page = await _page(call, asked, marker)
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
            *_common_prefixes(page.prefixes, asked),
        ],
    )


async def list_multipart_uploads(call: Call) -> Reply:
    """A page of a bucket's uploads that are neither completed nor given up."""
    asked = _asked(call, limit_name="max-uploads")
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
            *_common_prefixes(page.prefixes, asked),
        ],
    )


def _upload(row: Started, asked: _Asked) -> Node:
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


# --- what was asked ------------------------------------------------------------------------------------------------


def _asked(call: Call, limit_name: str = "max-keys") -> _Asked:
    bucket, prefix = split_path(call.admission.intent.path)
    most = min(ENTRIES_MAX, call.services.config.limits.list_entries_max)
    encoding, coded = coding_of(call.inbound)
    limit = min(_count(call.inbound.parameter(limit_name), limit_name), most)
    return _Asked(bucket, prefix, call.inbound.parameter("delimiter") or "", limit, encoding, coded)


def _count(text: str | None, name: str) -> int:
    """A number of entries; ENTRIES_MAX where none is given. Raises `parameter_invalid`."""
    if not text:
        return ENTRIES_MAX
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10 and int(digits) <= _INTEGER_MAX):
        raise argument_invalid(f"Provided {name} not an integer or within integer range", name, text)
    if text.startswith("-") and int(digits):
        member = {"max-keys": "maxKeys", "max-uploads": "max-uploads"}[name]
        raise argument_invalid(f"Argument {member} must be an integer between 0 and {_INTEGER_MAX}", name, text)
    return int(digits)


def _token(name: str) -> str:
    """A name as what nobody takes for one."""
    return base64.urlsafe_b64encode(b"1" + name.encode()).decode()


def _named_by(token: str) -> str:
    """The name that a token of ours stands for. Raises `parameter_invalid`."""
    try:
        raw = base64.b64decode(token.encode(), b"-_", validate=True)
        if raw[:1] == b"1" and _token(name := raw[1:].decode()) == token:
            return name
    except (ValueError, binascii.Error):
        pass
    raise argument_invalid("The continuation token provided is incorrect", "continuation-token", token)


# --- the page, and how it is written -------------------------------------------------------------------------------


async def _page(call: Call, asked: _Asked, after: str) -> Page:
    """A page that is full, or the last one; and the key's use is claimed for it."""
    store, admission = call.services.store, call.admission
    page = await store.list(admission, asked.prefix, after, asked.limit, asked.delimiter)
    while page.next_after is not None and len(page.rows) + len(page.prefixes) < asked.limit:
        # What vanished while it was listed must not make a page end before its last name.
        room = asked.limit - len(page.rows) - len(page.prefixes)
        more = await store.list(admission, asked.prefix, page.next_after, room, asked.delimiter)
        page = msgspec.structs.replace(more, rows=page.rows + more.rows, prefixes=page.prefixes + more.prefixes)
    await call.services.gateway.claim(admission, time.time)
    return page


def _contents(row: Listed, asked: _Asked, *, with_owner: bool, version: str | None = None) -> list[Node]:
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


def _common_prefixes(prefixes: list[str], asked: _Asked) -> list[Node]:
    return [("CommonPrefixes", [("Prefix", asked.coded(prefix))]) for prefix in prefixes]
