"""Block lists: the document that a commit names blocks with, and Get Block List, which says what blocks there are."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from valetstore.edge.azure.blocks import block_id
from valetstore.edge.azure.heads import asked_version, check_version, refuse_leases
from valetstore.edge.azure.voice import HEAD, parameter_invalid
from valetstore.edge.call import Call
from valetstore.edge.replies import Header, Reply
from valetstore.edge.served import validators
from valetstore.edge.xml import Node, parsed, xml_reply
from valetstore.errors import Denied
from valetstore.storage.promise import OpenObject, Part
from valetstore.storage.uploads import BLOCKS_MAX

LIST_BYTES_MAX: Final = 8 * 2**20
"""50,000 blocks fit, with the longest ids there are, indented."""
_TAGS_MAX: Final = 2 * BLOCKS_MAX + 16

LATEST: Final = "Latest"
COMMITTED: Final = "Committed"
UNCOMMITTED: Final = "Uncommitted"
_KINDS: Final = ("committed", "uncommitted", "all")


class Named(NamedTuple):
    """One entry of a block list: where the block is looked for (LATEST, ...), and its id."""

    where: str
    label: str


def block_list(body: bytes) -> list[Named]:
    """The entries of a block list in order. Raises `parameter_invalid` (InvalidXmlDocument, BlockListTooLong, ...)."""
    try:
        tree = parsed(body, "BlockList", _TAGS_MAX)
    except Denied as denied:
        raise denied.saying("InvalidXmlDocument") from None
    if len(tree) > BLOCKS_MAX:
        raise Denied("parameter_invalid", f"A blob has at most {BLOCKS_MAX} blocks.").saying("BlockListTooLong")
    named = []
    for element in tree:
        if element.tag not in (LATEST, COMMITTED, UNCOMMITTED) or len(element):
            raise Denied("parameter_invalid", "It is a list of Latest, Committed and Uncommitted.").saying(
                "InvalidXmlDocument"
            )
        named.append(Named(element.tag, block_id((element.text or "").strip())))
    return named


async def get_block_list(call: Call) -> Reply:
    """GET ?comp=blocklist: ids and sizes, of the blob's own blocks in its order, of those that wait in theirs.

    A blob that did not come in blocks has none.
    """
    inbound, blocks = call.inbound, call.services.uploads.blocks
    refuse_leases(inbound)
    asked_version(inbound)
    kind = inbound.parameter("blocklisttype") or "committed"
    if kind not in _KINDS:
        raise parameter_invalid("blocklisttype", kind, f"It is one of {', '.join(_KINDS)}.")
    present = await present_of(call)
    try:
        if present is not None:
            check_version(inbound, present.info)
        elif not (await blocks.waiting(call.admission)).blocks:
            raise Denied("not_found")
        committed = await present.part_table() if present is not None and kind != "uncommitted" else ()
    finally:
        if present is not None:
            present.close()
    waiting = await blocks.staged(call.admission) if kind != "committed" else []
    members: list[Node] = []
    if kind != "uncommitted":
        members.append(("CommittedBlocks", _rows(committed)))
    if kind != "committed":
        members.append(("UncommittedBlocks", _rows(waiting)))
    headers: list[Header] = []
    if present is not None:
        headers = [*validators(present.info), ("x-ms-blob-content-length", str(present.info.size))]
    reply = partial(xml_reply, "BlockList", members, headers=headers, namespace=False, head=HEAD)
    made = await asyncio.to_thread(reply)  # long ones take long
    await call.services.gateway.claim(call.admission, time.time)
    return made


def _rows(parts: Sequence[Part]) -> list[Node]:
    return [("Block", [("Name", part.label), ("Size", part.size)]) for part in parts if part.label]


async def present_of(call: Call) -> OpenObject | None:
    """The blob that stands there now; None where there is none."""
    try:
        return await call.services.store.open(call.admission)
    except Denied as denied:
        if denied.code != "not_found":
            raise
        return None
