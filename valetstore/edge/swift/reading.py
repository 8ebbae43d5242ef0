"""GET and HEAD of an object: the whole, or a range of it."""

from valetstore.conditions import if_range_holds
from valetstore.edge.call import Call
from valetstore.edge.downloading import Chosen, hand_out
from valetstore.edge.ranges import requested_span
from valetstore.edge.replies import Reply
from valetstore.edge.swift.heads import conditions_of, object_headers
from valetstore.storage.promise import OpenObject


async def get_object(call: Call) -> Reply:
    """GET and HEAD alike; a Range says nothing to a HEAD (RFC 9110 section 14.2)."""
    inbound = call.inbound

    async def choose(opened: OpenObject) -> Chosen:
        info, span = opened.info, None
        if inbound.method != "HEAD" and if_range_holds(inbound, info.etag, info.modified):
            span = requested_span(inbound.header("range"), info.size)
        return Chosen(object_headers(info, call.admission.grant, inbound, call.admission.key.name), span)

    return await hand_out(call.services, call.admission, conditions_of(inbound), choose)
