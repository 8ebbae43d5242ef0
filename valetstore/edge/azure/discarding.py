"""Blocks that wait are discarded once their blob is written in whatever way: they were for the one before it."""

import logging

from valetstore.edge.call import Call
from valetstore.errors import Denied

log = logging.getLogger(__name__)


async def discard_blocks(call: Call) -> None:
    """The blob is there; blocks that still wait go. Where that fails, they are collected with the abandoned."""
    try:
        await call.services.uploads.blocks.discard(call.admission)
    except Denied as denied:
        log.warning("blocks of a blob that was written could not be discarded: %s %s", denied.code, denied.evidence)
