"""Bodies that say nothing: requests that have none, or one that nobody reads."""

import time

from valetstore.edge.call import Call
from valetstore.edge.receive import BodySource, ask_for_body, receive
from valetstore.errors import Denied
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease


class _Nowhere:
    """A `Sink` of nothing."""

    async def write(self, data: bytes) -> None:
        pass


async def pass_over(call: Call, bytes_max: int = 0) -> None:
    """Read a body of at most so many bytes, and forget it. Raises `parameter_invalid`, and what `receive` raises."""
    services, source = call.services, BodySource(call.exchange, None)
    free = Lease(services.gateway.replay, None, time.time)
    ask_for_body(call.exchange, call.inbound)
    try:
        await receive(call.exchange, source, BodyRules(0, bytes_max, ()), _Nowhere(), free, services.config.limits)
    except Denied as denied:
        if denied.code != "too_large":
            raise
        said = f"This request's body has at most {bytes_max} bytes." if bytes_max else "This request has no body."
        raise Denied("parameter_invalid", said) from None
