"""Uploads of small objects, taken where their bytes arrive: one whole PUT in one piece, over fields that are known.

One piece is what the parser takes at once (`framing.PIECE_BYTES`): more was never learned from.

What decides is what decides in the general way: `Gateway` judges, the dialect plans, the store keeps, `Reply` and
`Story` speak. What falls away are the parser, and the tasks that wait for what is here already.

Rule 1: only what the parser has read before is not given to it: see `fastlane`.
Rule 2: whatever is refused before its bytes are handed to the store goes the general way, as if it had not been looked
at, and so does what has a limited use, a condition, a budget, a body of another length than the one that was announced.
Rule 3: from then on the connection holds back what comes next, and the answer is given here, whatever it is.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from aiohttp.http_parser import RawRequestMessage

from valetstore.edge.bounded import Bounded
from valetstore.edge.exchange import Exchange
from valetstore.edge.framing import PIECE_BYTES
from valetstore.edge.lane_memory import target_of
from valetstore.edge.lane_speaker import Speaker
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.refusals import Refusals
from valetstore.edge.replies import Reply
from valetstore.edge.seam import HEAD_ENDS
from valetstore.edge.story import Story
from valetstore.edge.uploading import Plan, Planner, Stored
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.objectkey import RESERVED_BUCKET
from valetstore.storage.disk import DiskStore
from valetstore.storage.promise import Completed, Metadata
from valetstore.storage.upload import DiskUpload

log = logging.getLogger(__name__)

HEAD_BYTES_MAX: Final = 4_096

_ENTRY_BYTES: Final = 8_192
_TEXT_FACTOR: Final = 8
"""What one remembered block of fields takes, reckoned high."""
_RESERVED: Final = f"/{RESERVED_BUCKET}/".encode()
"""Before the gateway's own paths, whatever bucket a Host may name."""
_NOT_KNOWN: Final = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"authorization", b"cookie"})
"""Fields that ask for more than one answer, say that the body is framed in another way, or come once."""


_Terms = tuple[str, int, int | None, bytes | None, bool]
"""The scheme of a grant, and all that it says of a body."""
_PLANS_MAX: Final = 4
"""Remembered with one block of fields."""


class Fields(NamedTuple):
    """The fields of an upload that was kept: as it came, from `origin`, as the parser made it, its body's length,
    and what it asked for with which terms of a grant.
    """

    inbound: Inbound
    origin: tuple[str, bool]
    message: RawRequestMessage
    length: int
    plans: dict[_Terms, Plan]

    def plan(self, planner: Planner, admission: Admission) -> Plan:
        """What such a request asks for. Raises Denied."""
        grant = admission.grant
        terms = grant.scheme, grant.length_min, grant.length_max, grant.sha256, grant.create_only
        plan = self.plans.get(terms)
        if plan is None:
            plan = planner.plan(admission)
            if len(self.plans) < _PLANS_MAX:
                self.plans[terms] = plan
        return plan


class _Turn(NamedTuple):
    """One upload on its way."""

    connection: GatewayProtocol
    exchange: Exchange
    story: Story
    admission: Admission
    planner: Planner
    upload: DiskUpload


class LaneUploads:
    """Takes uploads by their keys' schemes. `bytes_max` is for the fields that it remembers, `served["upload"]` counts
    what was kept. For the event loop's thread.
    """

    def __init__(
        self,
        gateway: Gateway,
        store: DiskStore,
        speaker: Speaker,
        refusals: Refusals,
        planners: Mapping[str, Planner],
        bytes_max: int,
        served: dict[str, int],
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._speaker = speaker
        self._refusals = refusals
        self._planners = planners
        self._served = served
        self._fields: Bounded[Fields] = Bounded(bytes_max, _ENTRY_BYTES, _TEXT_FACTOR)
        self._refusing: set[asyncio.Task[None]] = set()

    def take(self, connection: GatewayProtocol, data: bytes) -> bool:
        """See `protocol.Lane`."""
        line_end, end = data.find(b"\r\n"), data.find(HEAD_ENDS, 0, HEAD_BYTES_MAX) + len(HEAD_ENDS)
        fields = self._fields.get(data[line_end:end]) if 0 < line_end < end else None
        if fields is None or len(data) - end != fields.length or fields.origin != connection.origin:
            return False
        target = target_of(data, b"PUT", line_end)
        if not target or target.startswith(_RESERVED):
            return False
        began = time.monotonic()
        try:
            inbound = fields.inbound.asking("PUT", target, time.time())
            admission = self._gateway.admit_at_once(inbound, self._planners, "write")
            if admission is None:
                return False
            planner = self._planners[admission.grant.scheme]
            if not planner.is_planned(admission):
                return False
            plan = fields.plan(planner, admission)
            if not plan.is_plain or plan.length != fields.length:
                return False
            upload = self._store.begin_at_once(admission, plan.length, plan.digests)
        except Denied:
            return False
        metadata = None if upload is None else _proven(upload, plan, data[end:])
        if upload is None or metadata is None:
            return False
        connection.hold()
        message = fields.message._replace(path=target.decode())
        exchange, story = self._speaker.begin(connection, message, began)
        exchange.bytes_in = fields.length
        story.arrived(inbound)
        story.learned(admission)
        story.admitted()
        turn = _Turn(connection, exchange, story, admission, planner, upload)
        upload.complete_soon(metadata, partial(self._recheck, admission), partial(self._told, turn))
        return True

    def _recheck(self, admission: Admission) -> None:
        """The last check before the name, in whatever thread gives it."""
        self._gateway.recheck(admission, time.time())

    def _told(self, turn: _Turn, completed: Completed | None, error: BaseException | None) -> None:
        """It has its name, or not."""
        if completed is None:
            task = asyncio.get_running_loop().create_task(self._refuse(turn, error))
            self._refusing.add(task)
            task.add_done_callback(self._refusing.discard)
            return
        self._served["upload"] += 1
        self._answer(turn, lambda: turn.planner.stored(Stored(*completed), turn.story.request_id))

    async def _refuse(self, turn: _Turn, error: BaseException | None) -> None:
        """Nothing was kept, or nobody knows."""
        await turn.upload.abort()
        if not isinstance(error, Denied):
            log.error("request %s failed", turn.story.request_id, exc_info=error)
            error = Denied("internal_error")
        try:
            await turn.planner.explain(error, turn.admission)
        except Denied as better:
            error = better
        denied = error.because(dialect=turn.admission.grant.scheme)
        turn.story.refused(denied)
        self._answer(turn, lambda: self._refusals.reply(denied, turn.admission.inbound, turn.story.request_id))

    def _answer(self, turn: _Turn, make: Callable[[], Reply]) -> None:
        self._speaker.reply(turn.connection, turn.exchange, turn.story, turn.admission.inbound, make)

    def learn(self, data: bytes, exchange: Exchange, admission: Admission) -> None:
        """An upload that came whole in `data` was admitted and kept in the general way."""
        planner, stored = self._planners.get(admission.grant.scheme), admission.inbound
        if planner is None or not planner.is_planned(admission):
            return
        message, line_end, end = exchange.message, data.find(b"\r\n"), data.find(HEAD_ENDS) + len(HEAD_ENDS)
        length = len(data) - end
        # The parser passes over empty lines before a request; and what it has read of HTTP/1.0 is not true of 1.1.
        if not 0 < line_end < end <= HEAD_BYTES_MAX or message.version != (1, 1) or message.method != "PUT":
            return
        if len(data) > PIECE_BYTES or stored.raw_values(b"content-length") != [b"%d" % length]:
            return
        if stored.form is None and stored.header_names.isdisjoint(_NOT_KNOWN):
            text = data[line_end:end]
            known = self._fields.get(text)
            if known is None or known.origin != exchange.protocol.origin:
                inbound = stored.asking("PUT", b"/", stored.now)  # no more of it than its fields
                place = Fields(inbound, exchange.protocol.origin, message._replace(path="/"), length, {})
                self._fields.put(text, place)


def _proven(upload: DiskUpload, plan: Plan, body: bytes) -> Metadata | None:
    """The body is in the upload and what was promised: what is kept with it. None where it is not, and nothing is."""
    try:
        plan.rules.check_so_far(len(body))
        digests = upload.take_whole(body)
        plan.rules.check_whole(len(body), digests)
        return plan.describe(digests, {})
    except Denied:
        upload.forget()
        return None
    except BaseException:
        upload.forget()
        raise
