"""Get Blob, Get Blob Properties, Get Blob Metadata."""

import base64
from collections.abc import Mapping
from typing import Final

from valetstore.conditions import Outcome, if_range_holds
from valetstore.edge.azure.digests import content_md5, md5_header
from valetstore.edge.azure.heads import (
    META_PREFIX,
    asked_version,
    blob_headers,
    check_version,
    conditions_of,
    refuse_unreadable,
    version_id,
)
from valetstore.edge.azure.voice import header_invalid
from valetstore.edge.call import Call
from valetstore.edge.downloading import Chosen, hand_out
from valetstore.edge.ranges import Span, requested_span
from valetstore.edge.replies import Header, Reply
from valetstore.edge.served import sendable, validators
from valetstore.errors import Denied
from valetstore.inbound import Inbound
from valetstore.storage.checksums import new
from valetstore.storage.promise import CRC64NVME, MD5, OpenObject

RANGE_BYTES_MAX: Final = 4 * 2**20
"""The longest range that its digest is told of: Azure's limit."""
_PIECE_BYTES: Final = 2**18
_DIGESTS: Final[Mapping[str, str]] = {
    "x-ms-range-get-content-md5": MD5,
    "x-ms-range-get-content-crc64": CRC64NVME,
}
_TOLD_IN: Final[Mapping[str, str]] = {MD5: "Content-MD5", CRC64NVME: "x-ms-content-crc64"}


async def get_blob(call: Call) -> Reply:
    """A blob or a range of it. `x-ms-range` counts rather than Range."""
    inbound = call.inbound
    refuse_unreadable(inbound)
    asked_version(inbound)
    algorithm = _asked_digest(inbound)

    async def choose(opened: OpenObject) -> Chosen:
        info = opened.info
        check_version(inbound, info)
        span = _span(inbound, opened)
        headers = blob_headers(info, call.admission.grant)
        whole = content_md5(info)
        if span is None:
            return Chosen([*headers, *md5_header("Content-MD5", whole)], None)
        headers += md5_header("x-ms-blob-content-md5", whole)
        if algorithm:
            headers.append(await _digest_header(algorithm, opened, span))
        return Chosen(headers, span)

    return _told(await hand_out(call.services, call.admission, conditions_of(inbound), choose))


async def get_blob_properties(call: Call) -> Reply:
    """HEAD: all that is known of a blob. A range is no part of the question."""
    inbound = call.inbound
    refuse_unreadable(inbound)
    asked_version(inbound)

    async def choose(opened: OpenObject) -> Chosen:
        check_version(inbound, opened.info)
        headers = blob_headers(opened.info, call.admission.grant)
        return Chosen([*headers, *md5_header("Content-MD5", content_md5(opened.info))], None)

    return _told(await hand_out(call.services, call.admission, conditions_of(inbound), choose))


async def get_blob_metadata(call: Call) -> Reply:
    """Its metadata alone, in headers, by GET or HEAD. Like a HEAD it shows no byte, and uses up nothing."""
    inbound = call.inbound
    refuse_unreadable(inbound)
    conditions = conditions_of(inbound)
    opened = await call.services.store.open(call.admission)
    opened.close()
    info = opened.info
    check_version(inbound, info)
    call.services.recheck(call.admission)
    match conditions.judge(info.etag, info.modified, is_read=True):
        case Outcome.FAILED:
            raise Denied("precondition_failed")
        case Outcome.NOT_MODIFIED:
            return _told(Reply(304, validators(info)))
    user = [(META_PREFIX + name, sendable(value)) for name, value in info.metadata.user.items()]
    return Reply(200, [*validators(info), ("x-ms-version-id", version_id(info)), ("Cache-Control", "private"), *user])


def _told(reply: Reply) -> Reply:
    """Azure gives a reason in the header of a 304 too."""
    if reply.status == 304:
        reply.headers.append(("x-ms-error-code", "ConditionNotMet"))
    return reply


def _span(inbound: Inbound, opened: OpenObject) -> Span | None:
    info = opened.info
    asked = inbound.header("x-ms-range")
    if asked is None and if_range_holds(inbound, info.etag, info.modified):
        asked = inbound.header("range")
    return requested_span(asked, info.size)


# --- the digest of a range ---------------------------------------------------------------------------------------


def _asked_digest(inbound: Inbound) -> str:
    """The digest that a range is to be sent with; "" for none. Raises `parameter_invalid`."""
    asked = [name for name in _DIGESTS if (inbound.header(name) or "false").strip().lower() != "false"]
    for name in asked:
        value = inbound.header(name) or ""
        if value.strip().lower() != "true":
            raise header_invalid(name, value)
    if not asked:
        return ""
    if len(asked) > 1:
        raise header_invalid(asked[0], "true", "One digest of a range is told, not two.")
    if inbound.header("x-ms-range") is None and inbound.header("range") is None:
        raise header_invalid(asked[0], "true", "There is no range whose digest could be told.")
    return _DIGESTS[asked[0]]


async def _digest_header(algorithm: str, opened: OpenObject, span: Span) -> Header:
    """Of the bytes that are sent. Raises `parameter_invalid` where they are too many."""
    if span.length > RANGE_BYTES_MAX:
        said = f"The digest is told of ranges of at most {RANGE_BYTES_MAX} bytes."
        raise Denied("parameter_invalid", said).saying("OutOfRangeInput", said)
    hashing = new(algorithm)
    at, end = span.start, span.start + span.length
    while at < end:
        piece = await opened.read(at, min(_PIECE_BYTES, end - at))
        if not piece:
            raise Denied("storage_error", reason="an object is shorter than it says")
        hashing.update(piece)
        at += len(piece)
    # Azure sends a CRC lowest byte first.
    digest = hashing.digest() if algorithm == MD5 else hashing.digest()[::-1]
    return _TOLD_IN[algorithm], base64.b64encode(digest).decode()
