"""Put Block: a part of a blob by a name of its own, kept until a block list commits it or somebody discards it.

Rule 1: a block takes no use of a limited key, and needs one that is left: the commit takes it.
Rule 2: a block is proven as a blob's body is. What the whole must be is judged when it is committed. Here a block may
not be larger than the whole, and what waits not than WAITING_WHOLES of them, so that nobody fills a disk.
"""

import base64
from collections.abc import Collection, Hashable, Mapping
from functools import partial
from typing import Final

import msgspec

from valetstore.conditions import NONE
from valetstore.edge.azure.digests import Promised, crc64_header, md5_header
from valetstore.edge.azure.heads import conditions_of, refuse_unserved, refuse_versions
from valetstore.edge.azure.voice import header_invalid
from valetstore.edge.call import Call
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Reply
from valetstore.edge.room import Room
from valetstore.edge.uploading import Incoming, refuse_early, take_in
from valetstore.errors import Denied
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import CRC64NVME, MD5, Metadata

ID_BYTES_MAX: Final = 64
"""A block's id, decoded: Azure's limit."""
WAITING_WHOLES: Final = 2
"""So many times the whole's maximum may wait: a client that begins anew after it was cut has other blocks' ids, and
those of before wait beside them until they are collected."""

_ROOM: Final = Room()
_TOO_MANY: Final = "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."


async def put_block(call: Call) -> Reply:
    """PUT ?comp=block&blockid=: in place of one that waits and has the same id."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    refuse_versions(inbound)
    if conditions_of(inbound) != NONE:
        raise Denied("parameter_invalid", "A block has no state yet.").saying("ConditionHeadersNotSupported")
    label = block_id(inbound.parameter("blockid"))
    length = admission.intent.length
    if length == 0:
        raise header_invalid("Content-Length", "0", "A block has at least one byte.")
    proof = Promised(inbound, is_blob=False)
    whole = BodyRules.of(admission, services.config.limits.upload_bytes_max)
    rules = msgspec.structs.replace(whole, length_min=1)
    most = WAITING_WHOLES * whole.length_max
    await refuse_early(services.store, admission, NONE)
    digests: dict[str, bytes] = {}

    def describe(found: Mapping[str, bytes], _trailers: Mapping[str, str]) -> Metadata:
        proof.check(found)
        digests.update(found)
        return Metadata(md5_etag=True)

    async def stored(but: Collection[Hashable]) -> int:
        return (await services.uploads.blocks.waiting(admission, [str(name) for name in but])).size

    incoming = Incoming(
        BodySource(call.exchange, length, admission.body),
        rules,
        partial(
            services.uploads.blocks.begin,
            admission,
            label,
            length,
            rules.hashes | proof.hashes | {MD5, CRC64NVME},
            most,
        ),
        describe,
    )
    try:
        async with _ROOM.held(admission.key, label, length or 0, most, stored):
            await take_in(services, call.exchange, admission, incoming, call.on_admitted)
    except Denied as denied:
        raise _as_azure(denied) from None
    # Azure tells the CRC of every block, whatever it was proven by.
    told = [*md5_header("Content-MD5", digests[MD5]), crc64_header(digests[CRC64NVME])]
    return Reply(201, [*told, ("x-ms-request-server-encrypted", "false")])


def block_id(text: str | None) -> str:
    """A block's id as it was sent. Raises `parameter_invalid` (MissingRequiredQueryParameter, InvalidBlockId)."""
    if text is None:
        raise Denied("parameter_invalid", "`blockid` is missing.").saying(
            "MissingRequiredQueryParameter", QueryParameterName="blockid"
        )
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or text beyond ASCII
        raw = b""
    # Blocks are told apart by this text: of those that decode to the same bytes only one is taken.
    if not 1 <= len(raw) <= ID_BYTES_MAX or base64.b64encode(raw).decode() != text:
        raise Denied("parameter_invalid", f"A block's id is the base64 of 1 to {ID_BYTES_MAX} bytes.").saying(
            "InvalidBlockId"
        )
    return text


def _as_azure(denied: Denied) -> Denied:
    """What the store says of a block that cannot be put beside the others."""
    if denied.code != "part_invalid":
        return denied
    if "count_max" in denied.evidence:
        return denied.saying("BlockCountExceedsLimit", _TOO_MANY, 409)
    return denied.saying("InvalidBlobOrBlock")
