"""PutObject and DeleteObject."""

from functools import partial

import msgspec

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.assembling import present_info
from valetstore.edge.call import Call
from valetstore.edge.gcs.generations import Wanted, bound_to, check_generation, wanted_by
from valetstore.edge.gcs.heads import (
    KEPT_DIGESTS,
    conditions_of,
    metadata_of,
    promised_hashes,
    refuse_unserved,
    unserved,
    written_headers,
)
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Reply
from valetstore.edge.uploading import Incoming, refuse_early, take_in
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.policy.body import BodyRules


async def put_object(call: Call) -> Reply:
    """One body as one object; its MD5 is its entity tag. A body in HTTP's own chunks needs no length."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    if inbound.header("content-range") is not None:
        # RFC 9110 section 14.4: what would replace the whole by a part is refused. `curl -C` sends it.
        raise unserved("A part of an object is uploaded in a resumable session; this is no session URI.")
    rules = body_rules(inbound, admission, services.config.limits.upload_bytes_max)
    metadata = metadata_of(inbound)
    conditions = await write_conditions(call)
    await refuse_early(services.store, admission, conditions)
    length = admission.intent.length
    incoming = Incoming(
        BodySource(call.exchange, length, admission.body),
        rules,
        partial(services.store.begin, admission, length, rules.hashes | KEPT_DIGESTS),
        lambda _digests, _trailers: metadata,
        conditions,
        admission.grant.create_only,
    )
    stored = await take_in(services, call.exchange, admission, incoming, call.on_admitted)
    return Reply(200, written_headers(stored.info))


async def delete_object(call: Call) -> Reply:
    """204; `not_found` where there is none."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    async with services.lease(admission) as lease:
        # A delete that cannot succeed must not reach `committing`.
        info = await present_info(call)
        if info is None:
            raise Denied("not_found")
        check_generation(inbound, info)
        conditions = wanted_by(inbound).for_write(info, conditions_of(inbound))
        if inbound.parameter("generation"):
            conditions = bound_to(info, conditions)
        if conditions.judge(info.etag, info.modified, is_read=False) is Outcome.FAILED:
            raise Denied("precondition_failed")
        await lease.committing()
        call.on_admitted()
        if not await services.store.delete(admission, conditions, partial(services.recheck, admission)):
            raise Denied("not_found")
        await lease.commit()
    return Reply(204)


async def write_conditions(call: Call) -> Conditions:
    """HTTP's and Google's conditions of a write. Raises `precondition_failed`, `parameter_invalid`."""
    wanted, conditions = wanted_by(call.inbound), conditions_of(call.inbound)
    if wanted == Wanted():
        return conditions
    return wanted.for_write(await present_info(call), conditions)


def body_rules(inbound: Inbound, admission: Admission, upload_bytes_max: int) -> BodyRules:
    """What the body must be: as for any upload, and as x-goog-hash says. Raises `too_large`, `parameter_invalid`."""
    hashes = promised_hashes(inbound)
    rules = BodyRules.of(admission, upload_bytes_max)
    further = tuple((name, value) for name, value in hashes.items() if (name, value) not in rules.digests)
    return msgspec.structs.replace(rules, digests=rules.digests + further)
