"""Parts of an upload: from a body, or from another object.

Rule 1: a part is proven as an object's body is. What the whole must be is judged when it is completed; only that the
parts may not exceed its maximum is judged here, so that nobody fills a disk with what can never be completed.
"""

import re
from collections.abc import Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

import msgspec

from valetstore.conditions import Conditions
from valetstore.edge.call import Call
from valetstore.edge.nodes import argument_invalid, instant
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Header, Reply
from valetstore.edge.room import Room
from valetstore.edge.s3 import bodies
from valetstore.edge.s3.checksums import PREFIX, Declared, declared, member_of, text_of
from valetstore.edge.s3.copying import open_source
from valetstore.edge.s3.heads import refuse_unserved
from valetstore.edge.s3.multipart_checksums import mismatched_types
from valetstore.edge.s3.multipart_manifest import NUMBER_SENTENCE
from valetstore.edge.s3.waiting import answered_in_time
from valetstore.edge.upload_terms import Begun, begun, check_in_force
from valetstore.edge.uploading import Incoming, take_in
from valetstore.edge.xml import Node, xml_reply
from valetstore.encoding import wire_int
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import MD5, Metadata, OpenObject, Stretch
from valetstore.storage.uploads import PARTS_MAX, Started

_ROOM: Final = Room()

_RANGE: Final = "x-amz-copy-source-range"
_BOTH_ENDS: Final = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


async def upload_part(call: Call) -> Reply:
    """PUT ?partNumber&uploadId: a part by its number, in place of one of the same number."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    number = part_number(call)
    length = bodies.announced(admission)
    promised = declared(inbound)
    found = await begun(call)
    check_in_force(call, found, inbound.now)
    _check_kind(found.started, promised)
    whole = BodyRules.of(admission, services.config.limits.upload_bytes_max)
    rules = msgspec.structs.replace(whole, length_min=0)
    digests = digests_of(found.started) | promised.digests | rules.hashes

    def describe(computed: Mapping[str, bytes], trailers: Mapping[str, str]) -> Metadata:
        promised.check(computed, trailers)
        return Metadata(md5_etag=True)

    async with _held(call, found, number, length):
        incoming = Incoming(
            BodySource(call.exchange, length, admission.body),
            rules,
            partial(services.uploads.begin_part, admission, found.started.id, number, length, digests),
            describe,
        )
        stored = await take_in(services, call.exchange, admission, incoming, call.on_admitted)
    headers: list[Header] = [("ETag", stored.info.etag)]
    algorithm = found.started.algorithm or promised.algorithm
    if algorithm:
        headers.append((PREFIX + algorithm, text_of(stored.info.digests[algorithm])))
    return Reply(200, headers)


async def upload_part_copy(call: Call) -> Reply:
    """PUT ?partNumber&uploadId with x-amz-copy-source: a part whose bytes are another object's, or a range of them."""
    refuse_unserved(call.inbound)
    await bodies.empty(call)
    number = part_number(call)
    found = await begun(call)
    check_in_force(call, found, call.inbound.now)
    opened = await open_source(call)
    try:
        stretch = _stretch(call, opened.info.size)
    except BaseException:
        opened.close()
        raise
    return await answered_in_time(call, _copied(call, found, number, opened, stretch))


def _stretch(call: Call, size: int) -> Stretch | None:
    """x-amz-copy-source-range: both ends, within the object. None for all of it. Raises `parameter_invalid`."""
    text = call.inbound.header(_RANGE)
    if text is None:
        return None
    match = _BOTH_ENDS.fullmatch(text)
    if match is None or int(match[2]) < int(match[1]):
        said = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
        raise argument_invalid(f"{said}zero-based offsets of the first and last bytes to copy", _RANGE, text)
    first, last = int(match[1]), int(match[2])
    if last >= size:
        raise argument_invalid(f"Range specified is not valid for source object of size: {size}", _RANGE, text)
    return Stretch(first, last - first + 1)


async def _copied(call: Call, found: Begun, number: int, opened: OpenObject, stretch: Stretch | None) -> Reply:
    services, admission, started = call.services, call.admission, found.started
    size = opened.info.size if stretch is None else stretch.length
    whole = BodyRules.of(admission, services.config.limits.upload_bytes_max)
    try:
        whole.check_so_far(size)
        async with _held(call, found, number, size):
            call.on_admitted()
            upload = await services.uploads.copy_part(
                admission, started.id, number, opened, stretch, digests_of(started)
            )
            try:
                await upload.finish()
                info = await upload.seal(Metadata(md5_etag=True))
                await upload.publish(Conditions(), create_only=False, last=partial(services.recheck, admission))
            finally:
                await upload.abort()
    finally:
        opened.close()
    members: list[Node] = [("LastModified", instant(info.modified_ns)), ("ETag", info.etag)]
    if started.algorithm:
        members.append((member_of(started.algorithm), text_of(info.digests[started.algorithm])))
    return xml_reply("CopyPartResult", members)


def _held(call: Call, found: Begun, number: int, size: int) -> AbstractAsyncContextManager[None]:
    """Room for this part beside those that are stored and those that arrive."""

    async def stored(but: Collection[Hashable]) -> int:
        parts, _ = await call.services.uploads.parts(call.admission, found.started.id, 0, PARTS_MAX)
        return sum(part.size for part in parts if part.number not in but)

    return _ROOM.held(found.started.id, number, size, found.terms.length_max, stored)


def part_number(call: Call) -> int:
    """Raises `parameter_invalid`."""
    text = call.inbound.parameter("partNumber") or ""
    try:
        number = wire_int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= PARTS_MAX:
        raise argument_invalid(NUMBER_SENTENCE, "partNumber", text)
    return number


def digests_of(started: Started) -> frozenset[str]:
    """What a part of this upload is hashed with in any case."""
    return frozenset({MD5, started.algorithm} if started.algorithm else {MD5})


def _check_kind(started: Started, promised: Declared) -> None:
    """A part vouches for itself as the upload was begun to. A whole's CRC is had from parts that say nothing, too."""
    if not started.algorithm or promised.algorithm == started.algorithm:
        return
    if promised.algorithm or started.composite:
        raise mismatched_types(started.algorithm, promised.algorithm or "null")
