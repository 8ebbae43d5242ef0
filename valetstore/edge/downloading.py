"""One download from its admission to its first byte: the same steps for a GET or HEAD in every dialect.

Rule 1: conditions come before the use of a key; the use is the last step before the first byte.
"""

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from valetstore.conditions import Conditions, Outcome
from valetstore.edge.pace import Pace
from valetstore.edge.ranges import Span
from valetstore.edge.replies import Header, Reply
from valetstore.edge.served import not_modified_headers
from valetstore.edge.stream import ObjectBody
from valetstore.edge.uploading import Services
from valetstore.errors import Denied
from valetstore.grants.grant import Admission, Grant
from valetstore.storage.promise import ObjectInfo, OpenObject


class Chosen(NamedTuple):
    """What of an object is sent, and under which headers: `span` is None for the whole."""

    headers: list[Header]
    span: Span | None


Choose = Callable[[OpenObject], Awaitable[Chosen]]
"""A dialect's reading of its request, once the object is open. Raises `range_not_satisfiable`, `parameter_invalid`."""

Conditional = Conditions | Callable[[ObjectInfo], Conditions]
"""A read's conditions, or how they follow from the state that is there where a dialect has its own names for states."""


class Reader(Protocol):
    """A dialect whose answer to a GET or HEAD of a whole object follows from the object's state and the grant."""

    def is_whole(self, admission: Admission) -> bool:
        """Whether an admitted request reads a whole object, if its headers ask for no part and set no condition."""

    def whole(self, info: ObjectInfo, grant: Grant, request_id: str) -> list[Header]:
        """The head of the answer but for its length and what all dialects' answers have."""


async def hand_out(services: Services, admission: Admission, conditional: Conditional, choose: Choose) -> Reply:
    """The reply to a GET or HEAD. Raises `not_found`, `precondition_failed`, and what `choose` and the claim raise."""
    opened = await services.store.open(admission)
    try:
        reply = await _opened(services, admission, opened, conditional, choose)
    except BaseException:
        opened.close()
        raise
    if not isinstance(reply.body, ObjectBody):
        opened.close()
    return reply


async def _opened(
    services: Services, admission: Admission, opened: OpenObject, conditional: Conditional, choose: Choose
) -> Reply:
    info = opened.info
    conditions = conditional if isinstance(conditional, Conditions) else conditional(info)
    match conditions.judge(info.etag, info.modified, is_read=True):
        case Outcome.FAILED:
            raise Denied("precondition_failed")
        case Outcome.NOT_MODIFIED:
            return Reply(304, not_modified_headers(info, admission.grant))
    headers, span = await choose(opened)
    status, start, length = 200, 0, info.size
    if span is not None:
        status, start, length = 206, span.start, span.length
        headers = [*headers, ("Content-Range", span.content_range)]
    shown = info if span is None else None
    if admission.inbound.method == "HEAD":
        return Reply(status, headers, described_bytes=length, shown=shown)
    await services.gateway.claim(admission, time.time)
    limits = services.config.limits
    pace = Pace(limits.download_bytes_per_second_min, limits.rate_grace_seconds, time.monotonic())
    return Reply(status, headers, ObjectBody(opened, start, length, pace), shown=shown)
