"""Set Blob Metadata, Set Blob Properties: the same bytes under another description.

Rule 1: what is described is a whole object of its own, published as any other: nobody sees half of a change, and the
state that it was made of must still stand there.
Rule 2: what the key asks of an upload (length, type, create-only) it asks of this: the blob is written anew.
"""

import base64
from collections.abc import Callable
from functools import partial
from hmac import compare_digest
from typing import Final

import msgspec

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.azure.bodies import no_body
from valetstore.edge.azure.digests import promised_md5
from valetstore.edge.azure.heads import (
    changed_headers,
    metadata_headers,
    metadata_of,
    refuse_unserved,
    refuse_versions,
    write_conditions,
)
from valetstore.edge.call import Call
from valetstore.edge.replies import Reply
from valetstore.edge.served import described
from valetstore.errors import Denied
from valetstore.grants.grant import Intent
from valetstore.policy.body import BodyRules
from valetstore.policy.request import enforce_content
from valetstore.storage.promise import MD5, Checksum, Metadata, ObjectInfo, OpenObject, Upload
from valetstore.storage.uploads import Chosen

_TRIES: Final = 4
"""How often a change is made anew where the blob was replaced under it."""

Describe = Callable[[ObjectInfo], Metadata]


async def set_blob_metadata(call: Call) -> Reply:
    """All of its metadata anew: what is not sent is gone."""
    user = metadata_headers(call.inbound)
    info = await _rewritten(call, partial(_with_user, user))
    return Reply(200, changed_headers(info))


async def set_blob_properties(call: Call) -> Reply:
    """Its type and the headers it is served with, all anew; its metadata stays."""
    new = metadata_of(call.inbound)
    promised = promised_md5(call.inbound, "x-ms-blob-content-md5")
    info = await _rewritten(call, partial(_with_headers, new, promised))
    return Reply(200, changed_headers(info))


def _with_user(user: dict[str, str], info: ObjectInfo) -> Metadata:
    return msgspec.structs.replace(info.metadata, user=described(None, {}, user).user)


def _with_headers(new: Metadata, promised: bytes | None, info: ObjectInfo) -> Metadata:
    headers = new.headers
    # No header of Azure's has it, so none can have meant to take it away.
    if "expires" in info.metadata.headers:
        headers = headers | {"expires": info.metadata.headers["expires"]}
    checksum = _vouched(promised, info)
    return msgspec.structs.replace(info.metadata, content_type=new.content_type, headers=headers, checksum=checksum)


def _vouched(promised: bytes | None, info: ObjectInfo) -> Checksum | None:
    """What is said of the whole's MD5 from now on. Raises `digest_mismatch` where it is known to be another."""
    checksum = info.metadata.checksum
    known = info.digests.get(MD5) if not info.parts else None
    if known is None:
        # As Azure has it: it is the client's word, new or withdrawn.
        if promised is not None:
            return Checksum(MD5, base64.b64encode(promised).decode())
        return None if checksum is not None and checksum.algorithm == MD5 else checksum
    if promised is not None and not compare_digest(promised, known):
        raise Denied("digest_mismatch", "Its md5 differs.", digest=MD5, computed=known.hex())
    return checksum


async def _rewritten(call: Call, describe: Describe) -> ObjectInfo:
    """The blob's bytes, described anew. Raises `precondition_failed`, `exists`, `not_found`, `conflict`."""
    inbound = call.inbound
    refuse_unserved(inbound)
    refuse_versions(inbound)
    conditions = write_conditions(inbound)
    if call.admission.grant.create_only:
        raise Denied("exists", "The key may not change what is there.")
    await no_body(call)
    for _ in range(_TRIES):
        opened = await call.services.store.open(call.admission)
        try:
            _check(conditions, opened.info)
            return await _once(call, opened, describe)
        except Denied as denied:
            if denied.code != "precondition_failed" or not _is_replaced(denied):
                raise
        finally:
            opened.close()
    raise Denied("storage_unavailable", "The blob is being replaced all the time.")


def _check(conditions: Conditions, info: ObjectInfo) -> None:
    if conditions.judge(info.etag, info.modified, is_read=False) is not Outcome.PROCEED:
        raise Denied("precondition_failed", judged=True)


def _is_replaced(denied: Denied) -> bool:
    """Whether it is our own condition that failed: somebody was quicker, and nothing was changed."""
    return "judged" not in denied.evidence


async def _once(call: Call, opened: OpenObject, describe: Describe) -> ObjectInfo:
    services, admission, info = call.services, call.admission, opened.info
    # The entity tag changes with the description: one that is the MD5 of the bytes could not.
    metadata = msgspec.structs.replace(describe(info), own_etag=True)
    BodyRules.of(admission, services.config.limits.upload_bytes_max).check_so_far(info.size)
    key = admission.key
    wanted = Intent("write", key.path, key, length=info.size, content_type=metadata.content_type)
    enforce_content(admission.grant, wanted, call.inbound)
    async with services.lease(admission) as lease:
        call.on_admitted()
        upload, new = await lease.during(_copied(call, opened, metadata))
        try:
            await lease.committing()
            last = partial(services.recheck, admission)
            await upload.publish(Conditions(if_match=(info.etag,)), create_only=False, last=last)
            await lease.commit()
        finally:
            await upload.abort()
    return new


async def _copied(call: Call, opened: OpenObject, metadata: Metadata) -> tuple[Upload, ObjectInfo]:
    """The same bytes, durable and under no name; of the same parts, so that its blocks can be named again."""
    chosen, at = [], 0
    for part in await opened.part_table():
        chosen.append(Chosen(part, at))
        at += part.size
    info, services = opened.info, call.services
    # A table that was lost, with the file that it was kept in, makes nothing: then the bytes are one piece.
    if info.parts and (len(chosen), at) == (info.parts, info.size):
        return await services.uploads.blocks.assemble(call.admission, chosen, opened, metadata)
    known = frozenset({MD5}) & info.digests.keys()
    upload = await services.store.copy(call.admission, opened, None, known)
    try:
        await upload.finish()
        return upload, await upload.seal(metadata)
    except BaseException:
        await upload.abort()
        raise
