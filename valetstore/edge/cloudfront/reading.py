"""GetObject and HeadObject: the whole, or a range of it, as CloudFront hands on what is in its bucket."""

from typing import Final

from valetstore.conditions import Conditions, if_range_holds
from valetstore.edge.call import Call
from valetstore.edge.downloading import Chosen, hand_out
from valetstore.edge.ranges import requested_span
from valetstore.edge.replies import Reply
from valetstore.edge.served import download_headers
from valetstore.storage.promise import OpenObject

META_PREFIX: Final = "x-amz-meta-"
"""What user metadata has at the bucket behind CloudFront, and so here."""


async def get_object(call: Call) -> Reply:
    """GET and HEAD alike; a Range says nothing to a HEAD (RFC 9110 section 14.2)."""
    inbound = call.inbound

    async def choose(opened: OpenObject) -> Chosen:
        info, span = opened.info, None
        if inbound.method != "HEAD" and if_range_holds(inbound, info.etag, info.modified):
            span = requested_span(inbound.header("range"), info.size)
        return Chosen(download_headers(info, call.admission.grant, META_PREFIX), span)

    return await hand_out(call.services, call.admission, Conditions.of(inbound), choose)
