"""The parts of an upload become one object: the same steps in every dialect that takes uploads in parts.

Rule 1: it is published once where its use was counted, whoever asks for it how often; the key that began it and the one
that completes it are both in force then.
Rule 2: the use of a limited key was counted when the upload began; a crash here never gives it back.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from valetstore.conditions import Conditions
from valetstore.edge.call import Call
from valetstore.edge.upload_terms import Begun, check_in_force, ending_of
from valetstore.errors import Denied
from valetstore.replay.lease import Lease
from valetstore.storage.promise import Metadata, ObjectInfo, Part

log = logging.getLogger(__name__)

Check = Callable[[Mapping[str, bytes]], None]
"""What the digests of the whole must be. Raises `digest_mismatch`."""


def _unchecked(_digests: Mapping[str, bytes]) -> None:
    """Nothing was promised."""


class Whole(NamedTuple):
    """What the parts become. `digests` are those that `check` asks for, beyond what follows from the parts."""

    parts: Sequence[Part]
    metadata: Metadata
    conditions: Conditions = Conditions()
    create_only: bool = False
    digests: frozenset[str] = frozenset()
    check: Check = _unchecked


async def publish_whole(call: Call, found: Begun, whole: Whole) -> ObjectInfo:
    """The object, durable under its name; the upload is over then.

    Raises `upload_not_found`, `part_invalid`, `key_used` (completed, or being completed, by another request),
    `exists`, `precondition_failed`, `key_revoked`, and what `check` raises; the parts are still there then.
    """
    services, admission, upload_id = call.services, call.admission, found.started.id
    async with Lease(services.gateway.replay, ending_of(found), time.time) as lease:
        upload, info = await lease.during(
            services.uploads.assemble(admission, upload_id, whole.parts, whole.metadata, whole.digests)
        )
        try:
            whole.check(await upload.finish())
            await services.uploads.find(admission, upload_id)  # given up, or completed, while it was put together
            await lease.committing()
            last = partial(_last, call, found)
            await upload.publish(whole.conditions, create_only=whole.create_only, last=last)
            await lease.commit()
        finally:
            await upload.abort()
    await _spend(call, found)
    await forget(call)
    return info


async def present_info(call: Call) -> ObjectInfo | None:
    """The object that stands there now; None where there is none."""
    try:
        opened = await call.services.store.open(call.admission)
    except Denied as denied:
        if denied.code != "not_found":
            raise
        return None
    opened.close()
    return opened.info


async def forget(call: Call) -> None:
    """The object is there; what is left of its upload goes. Where that fails, it is collected with the abandoned."""
    try:
        await call.services.uploads.end(call.admission, call.admission.intent.upload)
    except Denied as denied:
        log.warning("a completed upload's parts could not be removed: %s %s", denied.code, denied.evidence)


async def give_up(call: Call, found: Begun) -> None:
    """The upload is over and published nothing; the use of a limited key comes back.

    Raises `conflict` where it is being completed, `upload_not_found` where it was.
    """
    services, admission, upload_id = call.services, call.admission, found.started.id
    try:
        async with Lease(services.gateway.replay, ending_of(found), time.time) as lease:
            await lease.committing()
            call.on_admitted()
            services.recheck(admission)
            await services.uploads.end(admission, upload_id)
            await lease.commit()
    except Denied as denied:
        if denied.code != "key_used":
            raise
        if denied.detail:
            raise Denied("conflict", "The upload is being completed.") from None
        # Over: published a moment ago, or cut at that. No use comes back, but what is left of it may go.
        await services.uploads.end(admission, upload_id)
        raise Denied("upload_not_found", reason="its one use is spent") from None
    if found.terms.reservation is not None:
        await services.gateway.replay.release(found.terms.reservation)


def _last(call: Call, found: Begun) -> None:
    """After the last wait: both keys are in force."""
    call.services.recheck(call.admission)
    check_in_force(call, found, time.time())


async def _spend(call: Call, found: Begun) -> None:
    """The use that was reserved at the beginning is committed; its window opens, where it has one."""
    if found.terms.reservation is None:
        return
    try:
        await call.services.gateway.replay.commit(found.terms.reservation, time.time())
    except Denied as denied:
        # It was counted when it was reserved: an owner that was started since, or a day, has forgotten only the rest.
        log.debug("the use of an upload in parts was spent already: %s", denied.code)
