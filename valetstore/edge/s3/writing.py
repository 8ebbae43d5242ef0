"""PutObject and DeleteObject."""

from collections.abc import Mapping
from functools import partial

import msgspec

from valetstore.conditions import NONE, Conditions, Outcome
from valetstore.config import Limits
from valetstore.edge.call import Call
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Reply
from valetstore.edge.s3.bodies import announced, is_open_ended
from valetstore.edge.s3.checksums import Declared, checksum_headers, declared
from valetstore.edge.s3.heads import (
    metadata_of,
    refuse_unserved,
    refuse_versions,
    unserved_header,
    write_conditions,
)
from valetstore.edge.s3.removing import MODIFIED, NOTHING, SIZE, wanted_by
from valetstore.edge.uploading import Plan, Stored, refuse_early, take_in
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import MD5, Metadata, ObjectInfo


async def put_object(call: Call) -> Reply:
    """One body as one object; its MD5 is its entity tag."""
    admission, services = call.admission, call.services
    plan = plan_of(admission, services.config.limits)
    await refuse_unmet(call, plan.conditions)
    source = BodySource(call.exchange, plan.length, admission.body)
    incoming = plan.incoming(services.store, admission, source)
    return stored_reply(await take_in(services, call.exchange, admission, incoming, call.on_admitted))


def plan_of(admission: Admission, limits: Limits) -> Plan:
    """What a PutObject asks for. Raises Denied."""
    inbound = admission.inbound
    refuse_unserved(inbound)
    if b"content-range" in inbound.header_names:
        # RFC 9110 section 14.4: what would replace the whole by a part is refused. `curl -C` sends it.
        raise unserved_header("content-range")
    promised = declared(inbound)
    length = None if is_open_ended(admission) else announced(admission)
    rules = BodyRules.of(admission, limits.upload_bytes_max)
    return Plan(
        length,
        rules,
        rules.hashes | promised.digests | {MD5},
        partial(_described, metadata_of(inbound), promised),
        write_conditions(inbound),
        admission.grant.create_only,
    )


def stored_reply(stored: Stored) -> Reply:
    """The answer to a PutObject."""
    return Reply(200, [("ETag", stored.info.etag), *checksum_headers(stored.info.metadata.checksum)])


def _described(
    metadata: Metadata, promised: Declared, digests: Mapping[str, bytes], trailers: Mapping[str, str]
) -> Metadata:
    checksum = promised.check(digests, trailers)
    return metadata if checksum is None else msgspec.structs.replace(metadata, checksum=checksum)


async def refuse_unmet(call: Call, conditions: Conditions) -> None:
    """Refuse now what the publish would refuse after the body. If-Match on no object is `not_found`, as S3 has it.

    Raises `exists`, `precondition_failed`, `not_found`.
    """
    try:
        await refuse_early(call.services.store, call.admission, conditions)
    except Denied as denied:
        if denied.evidence.get("missing") and conditions.if_match is not None:
            raise Denied("not_found") from None
        raise


async def delete_object(call: Call) -> Reply:
    """204 whether or not there was one, as S3 has it; conditions are for one that is there."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound, but=(SIZE, MODIFIED))
    refuse_versions(inbound)
    conditions, wanted = write_conditions(inbound), wanted_by(inbound)
    async with services.lease(admission) as lease:
        info = await _present(call)
        if info is not None and not (_proceeds(conditions, info) and wanted.is_met(info)):
            raise Denied("precondition_failed")
        await lease.committing()
        call.on_admitted()
        if wanted != NOTHING and info is not None:
            conditions = msgspec.structs.replace(conditions, if_match=(info.etag,))
        # An object that comes only now was not asked about: what has conditions does not touch it.
        if info is not None or (conditions == NONE and wanted == NOTHING):
            await services.store.delete(admission, conditions, partial(services.recheck, admission))
        await lease.commit()
    return Reply(204)


async def _present(call: Call) -> ObjectInfo | None:
    """The object, None where there is none. Raises `bucket_not_found`."""
    store = call.services.store
    try:
        opened = await store.open(call.admission)
    except Denied as denied:
        if denied.code != "not_found":
            raise
        await store.buckets.one(call.admission)
        return None
    opened.close()
    return opened.info


def _proceeds(conditions: Conditions, info: ObjectInfo) -> bool:
    return conditions.judge(info.etag, info.modified, is_read=False) is Outcome.PROCEED
