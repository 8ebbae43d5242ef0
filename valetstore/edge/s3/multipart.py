"""Uploads in parts: they are begun, given up, and their parts listed. (`multipart_parts`, `multipart_complete`.)

Rule 1: a limited key's use is reserved and durable before its upload is there; giving the upload up brings it back,
as long as the owner that reserved it runs, for a day. After that, and where the upload is collected, it is spent.
"""

from typing import Final

import msgspec

from valetstore.conditions import Conditions
from valetstore.edge.assembling import give_up
from valetstore.edge.call import Call
from valetstore.edge.nodes import OWNER, argument_invalid, coding_of, instant
from valetstore.edge.replies import Reply
from valetstore.edge.s3 import bodies
from valetstore.edge.s3.checksums import asked_kind
from valetstore.edge.s3.heads import metadata_of, refuse_unserved
from valetstore.edge.s3.multipart_checksums import headers_of, kind_of, part_node
from valetstore.edge.upload_terms import begun, terms_of
from valetstore.edge.uploading import refuse_early
from valetstore.edge.xml import Node, xml_reply
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.storage.promise import Part
from valetstore.storage.uploads import Started

LISTED_MAX: Final = 1_000
"""Parts in one answer: S3's limit."""


async def create_multipart_upload(call: Call) -> Reply:
    """POST ?uploads. The answer's id is what parts are sent to."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    algorithm, composite = asked_kind(inbound)
    described = Started(
        metadata=metadata_of(inbound),
        signing_key=admission.grant.signing_key,
        algorithm=algorithm,
        composite=composite,
    )
    await bodies.empty(call)
    await refuse_early(services.store, admission, Conditions())
    async with services.lease(admission) as lease:
        await lease.committing()
        call.on_admitted()
        started = await services.uploads.start(
            admission, msgspec.structs.replace(described, terms=terms_of(call, lease.reservation))
        )
        lease.hand_over()
    bucket, name = admission.key
    members: list[Node] = [("Bucket", bucket), ("Key", name), ("UploadId", started.id)]
    return xml_reply("InitiateMultipartUploadResult", members, headers=headers_of(started))


async def abort_multipart_upload(call: Call) -> Reply:
    """DELETE ?uploadId. The use of a limited key comes back."""
    refuse_unserved(call.inbound)
    await bodies.empty(call)
    try:
        await give_up(call, await begun(call))
    except Denied as denied:
        raise (denied.saying("OperationAborted") if denied.code == "conflict" else denied) from None
    return Reply(204)


async def list_parts(call: Call) -> Reply:
    """GET ?uploadId: the parts, in order of their numbers."""
    admission = call.admission
    limit = min(_number(call, "max-parts", LISTED_MAX), LISTED_MAX)
    after = _number(call, "part-number-marker", 0)
    found = await begun(call)
    started = found.started
    parts, more = await call.services.uploads.parts(admission, started.id, after, limit) if limit else ([], False)
    bucket, name = admission.key
    last = parts[-1].number if parts else after
    encoding, coded = coding_of(call.inbound)
    algorithm = started.algorithm.upper() or None
    members: list[Node] = [
        ("Bucket", bucket),
        ("EncodingType", encoding),
        ("Key", coded(name)),
        ("UploadId", started.id),
        ("Initiator", OWNER),
        ("Owner", OWNER),
        ("StorageClass", "STANDARD"),
        ("ChecksumAlgorithm", algorithm),
        ("ChecksumType", kind_of(started) if algorithm else None),
        ("PartNumberMarker", after),
        ("NextPartNumberMarker", last),
        ("MaxParts", limit),
        ("IsTruncated", more),
        *(("Part", _part_nodes(part, started.algorithm)) for part in parts),
    ]
    return xml_reply("ListPartsResult", members)


def _part_nodes(part: Part, algorithm: str) -> list[Node]:
    return [
        ("PartNumber", part.number),
        ("LastModified", instant(part.modified_ns)),
        ("ETag", part.etag),
        ("Size", part.size),
        part_node(part, algorithm),
    ]


def _number(call: Call, name: str, default: int) -> int:
    text = call.inbound.parameter(name)
    if text is None or text == "":
        return default
    try:
        number = wire_int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 2**31 - 1:
        raise argument_invalid(f"Argument {name} must be an integer between 0 and 2147483647", name, text)
    return number
