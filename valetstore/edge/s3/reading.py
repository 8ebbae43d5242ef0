"""GetObject and HeadObject: the whole, a range of it, or one of the parts that it was uploaded in."""

from typing import Final, NamedTuple

from valetstore.conditions import if_range_holds
from valetstore.edge.call import Call
from valetstore.edge.downloading import Chosen, hand_out
from valetstore.edge.nodes import argument_invalid
from valetstore.edge.ranges import Span, requested_span
from valetstore.edge.replies import Header, Reply
from valetstore.edge.s3.heads import object_headers, part_checksum, read_conditions, refuse_unreadable, refuse_versions
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.promise import OpenObject, Part
from valetstore.storage.uploads import PARTS_MAX

PARTS_COUNT: Final = "x-amz-mp-parts-count"


class _Piece(NamedTuple):
    """A part of an object: its bytes (None: all of it), the part as it was uploaded, and of how many.

    None and 0 where the object was not uploaded in parts.
    """

    span: Span | None
    part: Part | None = None
    parts: int = 0


async def get_object(call: Call) -> Reply:
    """GET and HEAD alike. Unlike HTTP, S3 lets a Range say how much a HEAD describes."""
    inbound = call.inbound
    refuse_versions(inbound)
    refuse_unreadable(inbound)
    number = _part_number(inbound)

    async def choose(opened: OpenObject) -> Chosen:
        info, further = opened.info, list[Header]()
        if number is not None:
            span, part, parts = await _part(opened, number)
            if part is not None:
                further += [(PARTS_COUNT, str(parts)), *part_checksum(info, part, inbound)]
        elif if_range_holds(inbound, info.etag, info.modified):
            span = requested_span(inbound.header("range"), info.size)
        else:
            span = None
        is_whole = (span is None or span.length == info.size) and not further
        headers = object_headers(info, call.admission.grant, inbound, is_whole=is_whole)
        return Chosen(headers + further, span)

    return await hand_out(call.services, call.admission, read_conditions(inbound), choose)


head_object = get_object


def _part_number(inbound: Inbound) -> int | None:
    text = inbound.parameter("partNumber")
    if text is None:
        return None
    if inbound.header("range") is not None:
        said = "Cannot specify both Range header and partNumber query parameter"
        raise Denied("parameter_invalid", said).saying("InvalidRequest", said)
    try:
        number = wire_int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= PARTS_MAX:
        said = f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive"
        raise argument_invalid(said, "partNumber", text)
    return number


async def _part(opened: OpenObject, number: int) -> _Piece:
    """The part in this place: S3 counts on, where numbers were left out. One piece is its own first part."""
    size = opened.info.size
    table = await opened.part_table()
    if not table and number == 1:
        return _Piece(Span(0, size, size) if size else None)
    start = 0
    for place, part in enumerate(table, 1):
        if place == number:
            return _Piece(Span(start, part.size, size) if part.size else None, part, len(table))
        start += part.size
    raise Denied("part_invalid", f"There is no part {number}.").saying(
        "InvalidPart", PartNumberRequested=str(number), ActualPartCount=str(len(table) or 1)
    )
