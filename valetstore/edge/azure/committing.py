"""Put Block List: blocks become a blob.

Rule 1: a commit is one write of the whole blob: its use, its length, its type, its conditions are judged here, and
decided with the publish. What fails leaves the blob and the blocks that wait as they are.
Rule 2: blocks of the present blob are those of the state that is replaced: where another came meanwhile, all is looked
up again.
Rule 3: a client that lost the answer commits again: the latest blocks of these names are the blob's own then.
"""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.azure.block_list import COMMITTED, LATEST, LIST_BYTES_MAX, Named, block_list, present_of
from valetstore.edge.azure.bodies import small
from valetstore.edge.azure.digests import Promised, md5_header, promised_md5
from valetstore.edge.azure.discarding import discard_blocks
from valetstore.edge.azure.heads import (
    changed_headers,
    metadata_of,
    refuse_unserved,
    refuse_versions,
    with_md5,
    write_conditions,
)
from valetstore.edge.call import Call
from valetstore.edge.replies import Reply
from valetstore.errors import Denied
from valetstore.grants.grant import Intent
from valetstore.policy.request import enforce_content
from valetstore.storage.promise import MD5, Checksum, Metadata, ObjectInfo, OpenObject, Part
from valetstore.storage.uploads import Chosen

_TRIES: Final = 5
"""How often all is looked up again where others write the same blob."""

# What one meets whose blob or blocks have changed since they were looked up.
_CHANGED: Final = frozenset({"part_invalid", "upload_not_found", "storage_unavailable"})


async def put_block_list(call: Call) -> Reply:
    """PUT ?comp=blocklist: the named blocks, in this order, are the blob from now on."""
    inbound = call.inbound
    refuse_unserved(inbound)
    refuse_versions(inbound)
    conditions = write_conditions(inbound)
    metadata = _described(call)
    proof = Promised(inbound, is_blob=False)
    call.on_admitted()
    body = await small(call, LIST_BYTES_MAX)
    named = await asyncio.to_thread(block_list, body)  # long ones take long
    info = await _committed(call, named, metadata, conditions)
    told = md5_header("Content-MD5", hashlib.md5(body, usedforsecurity=False).digest())
    return Reply(201, [*changed_headers(info), *told, *proof.told()])


def _described(call: Call) -> Metadata:
    """What is kept of the head. An MD5 of the whole is its uploader's word: Azure keeps it and checks nothing."""
    metadata = with_md5(metadata_of(call.inbound))
    md5 = promised_md5(call.inbound, "x-ms-blob-content-md5")
    if md5 is None:
        return metadata
    return msgspec.structs.replace(metadata, checksum=Checksum(MD5, base64.b64encode(md5).decode()))


async def _committed(call: Call, named: Sequence[Named], metadata: Metadata, conditions: Conditions) -> ObjectInfo:
    for left in reversed(range(_TRIES)):
        present = await present_of(call)
        try:
            info = await _commit(call, named, metadata, conditions, present)
        except _Replaced:
            continue
        except Denied as denied:
            if not left or not await _may_have_changed(call, denied, present):
                raise (Denied("part_invalid") if denied.code == "upload_not_found" else denied) from None
            continue
        finally:
            if present is not None:
                present.close()
        await discard_blocks(call)
        return info
    raise Denied("storage_unavailable", "Others write this blob all the time.")


async def _may_have_changed(call: Call, denied: Denied, present: OpenObject | None) -> bool:
    """Whether this was refused for what others have changed since it was looked up."""
    if denied.code not in _CHANGED or denied.evidence.get("unsure"):
        return False
    if denied.said is None:
        return True
    # A block that is missing may be one that waited, and has become a part of the blob since that was looked up.
    now = await present_of(call)
    if now is not None:
        now.close()
    return _state_of(now) != _state_of(present)


def _state_of(present: OpenObject | None) -> tuple[str, int] | None:
    return None if present is None else (present.info.etag, present.info.modified_ns)


class _Replaced(Exception):  # noqa: N818 - not an error: look again
    """Another blob stands there now than the one whose blocks were taken."""


async def _commit(
    call: Call, named: Sequence[Named], metadata: Metadata, conditions: Conditions, present: OpenObject | None
) -> ObjectInfo:
    _refuse_early(call, conditions, present.info if present is not None else None)
    chosen = await _chosen(call, named, present)
    _check(call, sum(one.part.size for one in chosen))
    source = present if any(one.at is not None for one in chosen) else None
    if source is not None:
        # The conditions hold of the state whose blocks these are, so they hold as long as it is that.
        conditions = Conditions(if_match=(source.info.etag,))
    try:
        return await _publish(call, chosen, source, metadata, conditions)
    except Denied as denied:
        if source is None or denied.code != "precondition_failed":
            raise
        raise _Replaced from denied


async def _publish(
    call: Call, chosen: Sequence[Chosen], source: OpenObject | None, metadata: Metadata, conditions: Conditions
) -> ObjectInfo:
    services, admission = call.services, call.admission
    async with services.lease(admission) as lease:
        upload, info = await lease.during(services.uploads.blocks.assemble(admission, chosen, source, metadata))
        try:
            await lease.committing()
            last = partial(services.recheck, admission)
            await upload.publish(conditions, create_only=admission.grant.create_only, last=last)
            await lease.commit()
        finally:
            await upload.abort()
    return info


def _refuse_early(call: Call, conditions: Conditions, present: ObjectInfo | None) -> None:
    """Before many bytes are copied; the publish decides all the same."""
    if present is not None and call.admission.grant.create_only:
        raise Denied("exists")
    etag, modified = (present.etag, present.modified) if present is not None else (None, None)
    if conditions.judge(etag, modified, is_read=False) is not Outcome.PROCEED:
        raise Denied("precondition_failed", missing=present is None)


def _check(call: Call, size: int) -> None:
    """What the key and the gateway ask of the whole. Raises `too_large`, `too_small`, `type_not_allowed`."""
    admission, most = call.admission, call.services.config.limits.upload_bytes_max
    wanted = Intent("write", admission.key.path, admission.key, length=size, content_type=admission.intent.content_type)
    enforce_content(admission.grant, wanted, call.inbound)
    if size > most:
        raise Denied("too_large", f"At most {most} bytes.", size=size, size_max=most)


async def _chosen(call: Call, named: Sequence[Named], present: OpenObject | None) -> list[Chosen]:
    """Each entry's block. Raises `part_invalid` (InvalidBlockList) where there is none."""
    wanted = {entry.label for entry in named if entry.where != COMMITTED}
    staged = await call.services.uploads.blocks.staged(call.admission, wanted) if wanted else []
    waiting = {part.label: Chosen(part) for part in staged}
    theirs: dict[str, Chosen] = {}
    if present is not None and (len(waiting) < len(wanted) or any(entry.where == COMMITTED for entry in named)):
        theirs = _with_places(await present.part_table())
    return [_one(entry, waiting, theirs) for entry in named]


def _with_places(table: Sequence[Part]) -> dict[str, Chosen]:
    """The blocks of the present blob, and where each begins."""
    found: dict[str, Chosen] = {}
    at = 0
    for part in table:
        if part.label:
            found.setdefault(part.label, Chosen(part, at))
        at += part.size
    return found


def _one(entry: Named, waiting: dict[str, Chosen], theirs: dict[str, Chosen]) -> Chosen:
    if entry.where == COMMITTED:
        found = theirs.get(entry.label)
    else:
        found = waiting.get(entry.label)
        if found is None and entry.where == LATEST:
            found = theirs.get(entry.label)
    if found is None:
        raise Denied("part_invalid", f"There is no block {entry.label}.").saying("InvalidBlockList")
    return found
