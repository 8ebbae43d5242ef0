"""PUT and DELETE of an object."""

from functools import partial

import msgspec

from valetstore.conditions import Outcome
from valetstore.edge.call import Call
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Reply
from valetstore.edge.served import validators
from valetstore.edge.swift.heads import conditions_of, metadata_of, promised_md5, refuse_unserved
from valetstore.edge.swift.voice import HTML, WORDS
from valetstore.edge.uploading import Incoming, refuse_early, take_in
from valetstore.errors import Denied
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import MD5


async def put_object(call: Call) -> Reply:
    """One body as one object; its MD5 is its entity tag. 201 whether or not one was replaced, as Swift has it."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    length = admission.intent.length
    if length is None and inbound.header("transfer-encoding") is None:
        raise Denied("parameter_invalid", "Content-Length is missing.").saying(
            WORDS, "Missing Content-Length header.", 411
        )
    rules = BodyRules.of(admission, services.config.limits.upload_bytes_max)
    rules = msgspec.structs.replace(rules, digests=(*rules.digests, *promised_md5(inbound)))
    metadata = metadata_of(inbound, admission.key.name)
    conditions = conditions_of(inbound)
    await refuse_early(services.store, admission, conditions)
    incoming = Incoming(
        BodySource(call.exchange, length),
        rules,
        partial(services.store.begin, admission, length, rules.hashes | {MD5}),
        lambda _digests, _trailers: metadata,
        conditions,
        admission.grant.create_only,
    )
    stored = await take_in(services, call.exchange, admission, incoming, call.on_admitted)
    return Reply(201, [HTML, *validators(stored.info)])


async def delete_object(call: Call) -> Reply:
    """204, or `not_found` where there is none."""
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    conditions = conditions_of(inbound)
    async with services.lease(admission) as lease:
        opened = await services.store.open(admission)
        opened.close()
        # A delete that cannot succeed must not reach `committing`.
        if conditions.judge(opened.info.etag, opened.info.modified, is_read=False) is Outcome.FAILED:
            raise Denied("precondition_failed")
        await lease.committing()
        call.on_admitted()
        if not await services.store.delete(admission, conditions, partial(services.recheck, admission)):
            raise Denied("not_found")
        await lease.commit()
    return Reply(204, [HTML])


async def post_object(call: Call) -> Reply:
    """New metadata for an object that is there. Objects keep theirs until they are replaced: not served.

    What a TempURL never allows is refused as Swift refuses it.
    """
    refuse_unserved(call.inbound)
    said = "An object's metadata is set by its upload and not changed later: upload it again."
    raise Denied("not_implemented", said)
