"""Delete Blob."""

from functools import partial

import msgspec

from valetstore.conditions import Outcome
from valetstore.edge.azure.bodies import no_body
from valetstore.edge.azure.heads import asked_version, check_version, refuse_unserved, write_conditions
from valetstore.edge.call import Call
from valetstore.edge.replies import Reply
from valetstore.errors import Denied


async def delete_blob(call: Call) -> Reply:
    """202, or `not_found`: unlike S3, Azure says whether there was one.

    There are no snapshots, so `x-ms-delete-snapshots: include` asks for nothing more, and `only` for nothing at all.
    """
    inbound, admission, services = call.inbound, call.admission, call.services
    refuse_unserved(inbound)
    version = asked_version(inbound)
    conditions = write_conditions(inbound)
    if (inbound.header("x-ms-delete-snapshots") or "").lower() == "only":
        raise Denied("not_implemented", "There are no snapshots here that could be deleted without their blob.").saying(
            "NotImplemented"
        )
    await no_body(call)
    async with services.lease(admission) as lease:
        opened = await services.store.open(admission)
        opened.close()
        check_version(inbound, opened.info)
        if conditions.judge(opened.info.etag, opened.info.modified, is_read=False) is not Outcome.PROCEED:
            raise Denied("precondition_failed")
        if version is not None:
            # One state was meant: another that comes only now is not touched.
            conditions = msgspec.structs.replace(conditions, if_match=(opened.info.etag,))
        await lease.committing()
        call.on_admitted()
        deleted = await services.store.delete(admission, conditions, partial(services.recheck, admission))
        if not deleted:
            raise Denied("not_found")
        await lease.commit()
    return Reply(202, [("x-ms-delete-type-permanent", "true")])
