"""GetObject and HeadObject: the whole, or a range of it."""

from valetstore.conditions import Conditions, if_range_holds
from valetstore.edge.call import Call
from valetstore.edge.downloading import Chosen, hand_out
from valetstore.edge.gcs.generations import check_generation, wanted_by
from valetstore.edge.gcs.heads import conditions_of, object_headers, refuse_unreadable
from valetstore.edge.ranges import requested_span
from valetstore.edge.replies import Reply
from valetstore.storage.promise import ObjectInfo, OpenObject


async def get_object(call: Call) -> Reply:
    """GET and HEAD alike; a HEAD describes the whole (RFC 9110 section 14.2)."""
    inbound = call.inbound
    refuse_unreadable(inbound)
    wanted, plain = wanted_by(inbound), conditions_of(inbound)

    def conditions(info: ObjectInfo) -> Conditions:
        check_generation(inbound, info)
        return wanted.for_read(info, plain)

    async def choose(opened: OpenObject) -> Chosen:
        info, span = opened.info, None
        if inbound.method != "HEAD" and if_range_holds(inbound, info.etag, info.modified):
            span = requested_span(inbound.header("range"), info.size)
        return Chosen(object_headers(info, call.admission.grant), span)

    return await hand_out(call.services, call.admission, conditions, choose)
