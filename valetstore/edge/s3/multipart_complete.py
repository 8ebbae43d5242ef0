"""An upload in parts becomes an object: once, whoever asks for it how often.

Rule 1: what the creating key asked and what the completing key asks holds of the whole, and both must be in force when
it is published.
Rule 2: a client that lost the answer asks again: as long as the object is the one of this upload and these parts, it
has the same answer.
Rule 3: the use of a limited key was counted at the create; a crash here never gives it back.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.assembling import Whole, forget, present_info, publish_whole
from valetstore.edge.call import Call
from valetstore.edge.replies import Reply
from valetstore.edge.s3 import bodies
from valetstore.edge.s3.checksums import Declared, kind_of, member_of
from valetstore.edge.s3.heads import refuse_unserved, write_conditions
from valetstore.edge.s3.multipart_checksums import check_promised, invalid, whole_of
from valetstore.edge.s3.multipart_manifest import Named, chosen, manifest
from valetstore.edge.s3.waiting import answered_in_time
from valetstore.edge.upload_terms import Begun, begun, check_whole
from valetstore.edge.xml import Node, xml_reply
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.policy.body import promised_digests
from valetstore.storage.promise import MD5, ObjectInfo, Part
from valetstore.storage.uploads import PARTS_MAX

MANIFEST_BYTES_MAX: Final = 4 * 2**20
"""10,000 parts with a checksum of any kind fit, indented."""

OTHERS_SECONDS: Final = 10.0
"""How long one that is being put together by another request is waited for."""
PUBLISH_SECONDS: Final = 2.0
"""The same where its use is spent: it is being published, was cut at that, or is over."""
_LOOK_AGAIN_SECONDS: Final = 0.4

# What one meets that has been, or is being, completed by another request.
_MAYBE_DONE: Final = frozenset({"upload_not_found", "part_invalid", "key_used", "exists", "precondition_failed"})


async def complete_multipart_upload(call: Call) -> Reply:
    """POST ?uploadId: the named parts become the object."""
    inbound = call.inbound
    refuse_unserved(inbound)
    conditions = write_conditions(inbound)
    # The checksums among its headers are those of the object.
    promised = Declared(md5=dict(promised_digests(inbound)).get(MD5))
    body = await bodies.small(call, MANIFEST_BYTES_MAX, promised)
    named = await asyncio.to_thread(manifest, body)  # long ones take long
    call.on_admitted()
    return await answered_in_time(call, _completed(call, named, conditions))


async def _completed(call: Call, named: Sequence[Named], conditions: Conditions) -> Reply:
    began = time.monotonic()
    while True:
        present = await present_info(call)
        if present is not None and _is_made_of(present, call, named):
            await forget(call)
            return _result(call, present)
        try:
            return _result(call, await _publish(call, named, conditions, present))
        except Denied as denied:
            if denied.code not in _MAYBE_DONE:
                raise
            failed = denied
        present = await present_info(call)
        if present is not None and _is_made_of(present, call, named):
            return _result(call, present)
        if failed.code != "key_used":
            raise failed
        waited = time.monotonic() - began
        if failed.detail and waited > OTHERS_SECONDS:
            raise Denied("conflict", "The upload is being completed.").saying("OperationAborted")
        if not failed.detail and waited > PUBLISH_SECONDS:
            raise Denied("upload_not_found", reason="its one use is spent")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _publish(
    call: Call, named: Sequence[Named], conditions: Conditions, present: ObjectInfo | None
) -> ObjectInfo:
    admission, found = call.admission, await begun(call)
    started = found.started
    parts = await asyncio.to_thread(chosen, started, named, {part.number: part for part in await _uploaded(call)})
    whole = await asyncio.to_thread(whole_of, started, parts)
    _check(call, found, parts)
    check_promised(call.inbound, started, whole)
    create_only = found.terms.create_only or admission.grant.create_only
    _refuse_early(conditions, present, create_only=create_only)
    metadata = msgspec.structs.replace(started.metadata, checksum=whole, upload=started.id)
    return await publish_whole(call, found, Whole(parts, metadata, conditions, create_only))


def _check(call: Call, found: Begun, parts: Sequence[Part]) -> None:
    size = sum(part.size for part in parts)
    check_whole(call, found, size)
    announced = call.inbound.header("x-amz-mp-object-size")
    if announced is not None:
        with contextlib.suppress(ValueError):
            if wire_int(announced) == size:
                return
        raise invalid("The provided 'x-amz-mp-object-size' header value does not match what was computed.")


def _refuse_early(conditions: Conditions, present: ObjectInfo | None, *, create_only: bool) -> None:
    """What the publish would refuse is refused before the parts are put together."""
    if create_only and present is not None:
        raise Denied("exists")
    if present is None and conditions.if_match is not None:
        raise Denied("not_found").saying("NoSuchKey")
    etag, modified = (present.etag, present.modified) if present else (None, None)
    if conditions.judge(etag, modified, is_read=False) is Outcome.FAILED:
        raise Denied("precondition_failed")


async def _uploaded(call: Call) -> list[Part]:
    upload_id = call.admission.intent.upload
    parts, _ = await call.services.uploads.parts(call.admission, upload_id, 0, PARTS_MAX)
    return parts


def _is_made_of(info: ObjectInfo, call: Call, named: Sequence[Named]) -> bool:
    """Whether an object came by this upload, and of these parts."""
    if info.metadata.upload != call.admission.intent.upload or info.parts != len(named):
        return False
    try:
        over = hashlib.md5(b"".join(bytes.fromhex(entry.etag) for entry in named), usedforsecurity=False)
    except ValueError:
        return False
    return info.etag == f'"{over.hexdigest()}-{len(named)}"'


def _result(call: Call, info: ObjectInfo) -> Reply:
    bucket, name = call.admission.key
    scheme = "https" if call.inbound.tls else "http"
    members: list[Node] = [
        ("Location", f"{scheme}://{call.inbound.host}{_path_of(call, bucket, name)}"),
        ("Bucket", bucket),
        ("Key", name),
        ("ETag", info.etag),
    ]
    checksum = info.metadata.checksum
    if checksum is not None:
        members += [(member_of(checksum.algorithm), checksum.value), ("ChecksumType", kind_of(checksum))]
    return xml_reply("CompleteMultipartUploadResult", members)


def _path_of(call: Call, bucket: str, name: str) -> str:
    """As it was asked for: with the bucket, or with the bucket in the host."""
    encoded = quote(name, safe="/~")
    return f"/{bucket}/{encoded}" if call.inbound.path == f"/{bucket}/{name}" else f"/{encoded}"
