"""GetObjectAttributes: what is known of an object, without its bytes."""

import time
from collections.abc import Sequence
from typing import Final

from valetstore.edge.call import Call
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.replies import Reply
from valetstore.edge.s3.checksums import kind_of, known, member_of, text_of
from valetstore.edge.s3.heads import refuse_unreadable, refuse_versions, values_of
from valetstore.edge.xml import Node, xml_reply
from valetstore.encoding import http_date, wire_int
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.promise import Checksum, ObjectInfo, OpenObject, Part

NAMES: Final = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
"""In the order of S3's document."""
PARTS_LISTED_MAX: Final = 1_000
_HEADER: Final = "x-amz-object-attributes"
_INTEGER_MAX: Final = 2**31 - 1


async def get_object_attributes(call: Call) -> Reply:
    """GET ?attributes: those that the header names."""
    inbound = call.inbound
    refuse_versions(inbound)
    refuse_unreadable(inbound)
    named = _named(inbound)
    after = _number(inbound, "x-amz-part-number-marker", 0)
    limit = min(_number(inbound, "x-amz-max-parts", PARTS_LISTED_MAX), PARTS_LISTED_MAX)
    opened = await call.services.store.open(call.admission)
    try:
        info = opened.info
        members: list[Node] = []
        for name in NAMES:
            if name in named:
                members += await _attribute(name, opened, after, limit)
    finally:
        opened.close()
    await call.services.gateway.claim(call.admission, time.time)
    return xml_reply("GetObjectAttributesResponse", members, headers=[("Last-Modified", http_date(info.modified))])


def _named(inbound: Inbound) -> frozenset[str]:
    named = values_of(inbound, _HEADER)
    if not named:
        said = f"The {_HEADER} header specifying the attributes to be retrieved is either missing or empty"
        raise Denied("parameter_invalid", said).saying("InvalidRequest", said)
    for name in named:
        if name not in NAMES:
            raise argument_invalid("Invalid attribute name specified.", _HEADER, name)
    return frozenset(named)


async def _attribute(name: str, opened: OpenObject, after: int, limit: int) -> list[Node]:
    info = opened.info
    checksum = known(info.metadata.checksum)
    match name:
        case "ETag":
            return [("ETag", info.etag.strip('"'))]
        case "Checksum" if checksum is not None:
            return [("Checksum", _checksum(checksum))]
        case "ObjectParts" if info.parts:
            return [("ObjectParts", _parts(info, await opened.part_table(), after, limit))]
        case "StorageClass":
            return [("StorageClass", "STANDARD")]
        case "ObjectSize":
            return [("ObjectSize", info.size)]
    return []


def _checksum(checksum: Checksum) -> list[Node]:
    return [(member_of(checksum.algorithm), checksum.value), ("ChecksumType", kind_of(checksum))]


def _parts(info: ObjectInfo, table: Sequence[Part], after: int, limit: int) -> list[Node]:
    """How many there are; and each, by pages, with its checksum where it has one."""
    checksum = known(info.metadata.checksum)
    members: list[Node] = [("PartsCount", info.parts)]
    algorithm = checksum.algorithm if checksum is not None else ""
    if len(table) != info.parts:  # the table was lost, with the file that it was kept in
        return members
    following = [part for part in table if part.number > after]
    page = following[:limit]
    members += [
        ("PartNumberMarker", after),
        ("NextPartNumberMarker", page[-1].number if page else after),
        ("MaxParts", limit),
        ("IsTruncated", len(following) > len(page)),
    ]
    for part in page:
        value = part.digests.get(algorithm)
        told: list[Node] = [] if value is None else [(member_of(algorithm), text_of(value))]
        members.append(("Part", [("PartNumber", part.number), ("Size", part.size), *told]))
    return members


def _number(inbound: Inbound, name: str, default: int) -> int:
    text = inbound.header(name)
    if text is None:
        return default
    try:
        number = wire_int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= _INTEGER_MAX:
        raise argument_invalid(f"Argument {name} must be an integer between 0 and {_INTEGER_MAX}", name, text)
    return number
