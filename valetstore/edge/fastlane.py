"""The fast lane: downloads of small objects, answered where their bytes arrive, before aiohttp's parser sees them.

Uploads of small objects have a room of their own (`lane_uploads.py`).

What decides is what decides in the general way: `Gateway` judges, the store opens, `Reply` and `Story` speak. What
falls away is what had been done before: parsing, verifying, opening, writing the head.

Rule 1: only what the parser has read before is not given to it. A request's fields must be, byte by byte, those of a
request that came the general way and was admitted; its line must be of the plainest kind.
Rule 2: whatever is not to be answered with a whole small object goes the general way, as if it had not been looked at:
refusals, conditions, ranges, origins, budgets, objects that are not in memory. Nothing was counted or told by then.
Rule 3: a head that comes again is answered as it was, where the object is as it was. Time, revocation, the object's
state, and an address that is another one are asked each time; another key ring, other settings, TLS or host, and
nothing is remembered.
Rule 4: while a use is being logged, the connection holds what comes next back.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import msgspec
from aiohttp.http_parser import RawRequestMessage

from valetstore.audit import Audit
from valetstore.config import Limits
from valetstore.edge.arrival import Arrivals
from valetstore.edge.cors import Cors
from valetstore.edge.downloading import Reader
from valetstore.edge.exchange import Exchange
from valetstore.edge.glances import Glances
from valetstore.edge.lane_memory import HEAD_BYTES_MAX, Client, Known, LaneMemory, Page, page_of, target_of
from valetstore.edge.lane_speaker import Speaker, Turn
from valetstore.edge.lane_uploads import LaneUploads
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.refusals import Refusals
from valetstore.edge.replies import Header
from valetstore.edge.request_id import new_request_id
from valetstore.edge.template import Asker, is_plain
from valetstore.edge.uploading import Planner
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission, Grant
from valetstore.inbound import Inbound
from valetstore.metrics import Metrics
from valetstore.replay.promise import Told
from valetstore.storage.disk import DiskStore
from valetstore.storage.small import Small

log = logging.getLogger(__name__)

WAYS: Final = ("head", "page", "fields", "upload")
"""What was known of a request that the lane answered: all, all but its key, or all but its first line; an upload's
line and body are never known.
"""

_METHODS: Final = {b"G": b"GET", b"H": b"HEAD"}
"""By how a request line begins."""


class _Arriving(NamedTuple):
    message: RawRequestMessage
    protocol: GatewayProtocol


class FastLane:
    """See `protocol.Lane`. One for a handler: settings that change bring a new one, which knows nothing yet."""

    def __init__(
        self,
        *,
        arrivals: Arrivals,
        gateway: Gateway,
        store: DiskStore,
        connections: Callable[[], int],
        cors: Cors,
        refusals: Refusals,
        readers: Mapping[str, Reader],
        planners: Mapping[str, Planner],
        audit: Audit,
        metrics: Metrics,
        hsts: list[Header],
        limits: Limits,
        bytes_max: int,
        served: dict[str, int],
    ) -> None:
        """`served` counts the answers, by what was known of their requests: see WAYS; `connections` says how many are
        open; `readers` and `planners` have the dialects whose downloads it answers by their fields, and whose uploads
        it takes, by their schemes. Other dialects' answers are learned, not made.
        """
        self._arrivals = arrivals
        self._gateway = gateway
        self._store = store
        self._glances = Glances(store, connections)
        self._audit = audit
        self._metrics = metrics
        for_uploads = bytes_max // 16
        self._memory = LaneMemory(gateway, bytes_max - for_uploads)
        self._readers = readers
        self._speaker = Speaker(audit, metrics, cors, hsts, limits, readers)
        self._served = served
        self._uploads = LaneUploads(gateway, store, self._speaker, refusals, planners, for_uploads, served)

    # --- answering ---------------------------------------------------------------------------------

    def take(self, connection: GatewayProtocol, data: bytes) -> bool:
        """See `protocol.Lane`."""
        if connection.has_unsent or (self._audit.required and not self._audit.accepting):
            return False
        if data.startswith(b"PUT "):
            return self._uploads.take(connection, data)
        known = self._memory.known(data)
        if known is not None:
            if self._again(connection, known):
                return True
            self._memory.forget(data)
        # The parser has bounds of its own, and says so.
        if len(data) > HEAD_BYTES_MAX or self._memory.is_large(data):
            return False
        page = page_of(data)
        if page is not None:
            known = self._memory.page(page.text)
            if known is not None and self._memory.is_valid(known):
                return self._by_page(connection, data, page, known)
        return self._by_fields(connection, data)

    def _by_fields(self, connection: GatewayProtocol, data: bytes) -> bool:
        """Another line over fields that are known: read and judged like any, and answered from memory."""
        end = data.find(b"\r\n")
        fields = self._memory.fields(data[end:])
        method = _METHODS.get(data[:1], b"")
        target = target_of(data, method, end) if fields is not None and method else b""
        if fields is None or not target:
            return False
        began = time.monotonic()
        message = fields.message._replace(method=method.decode(), path=target.decode())
        try:
            if fields.origin == connection.origin:
                inbound = fields.inbound.asking(message.method, target, time.time())
            else:
                inbound = self._arrivals.inbound(_Arriving(message, connection))
            admission = self._gateway.admit_at_once(inbound, self._readers, is_new=self._memory.is_new(data))
            if admission is None or not self._is_made(admission):
                return False
            small = self._small(connection, admission)
        except Denied:
            return False
        if small is None or small.body is None:
            return False
        self._answer(Turn(connection, data, self._speaker.begin(connection, message, began), admission, small))
        return True

    def _again(self, connection: GatewayProtocol, known: Known) -> bool:
        """Whether this head could be answered as it was."""
        gateway = self._gateway
        if not self._memory.is_valid(known):
            return False
        began = time.monotonic()
        try:
            if known.origin == connection.origin:
                inbound, client, term, asker = known.inbound, known.client, known.term, known.asker
                inbound.now = time.time()  # nobody else has it: it is kept for this
            else:
                elsewhere = self._from_elsewhere(connection, known, known.message)
                if elsewhere is None:
                    return False
                (inbound, client), term = elsewhere, None
                asker = msgspec.structs.replace(known.asker, address=client.address)
            gateway.admit_again(known.admission, inbound, client.group, term)
            small = self._small(connection, known.admission)
        except Denied:
            return False
        if small is None or small.body is None or (small.info is not known.info and small.info != known.info):
            return False
        return self._repeat(connection, known, known.admission, inbound, asker, small.body, began)

    def _from_elsewhere(
        self, connection: GatewayProtocol, known: Known, message: RawRequestMessage
    ) -> tuple[Inbound, Client] | None:
        """The same fields on a connection from another address; None where more than the address is another one.

        Raises Denied.
        """
        inbound = self._arrivals.inbound(_Arriving(message, connection))
        client = Client.of(inbound)
        # What is signed may go by these, and so does what is answered and told.
        same = inbound.tls == known.inbound.tls and inbound.host == known.inbound.host
        return (inbound, client) if same and bool(client.address) == bool(known.client.address) else None

    def _by_page(self, connection: GatewayProtocol, data: bytes, page: Page, known: Known) -> bool:
        """The same head with another key: verified and judged like any, and answered as the one before."""
        began = time.monotonic()
        former, client = known.inbound, known.client
        try:
            if known.origin == connection.origin:
                inbound = former.asking(former.method, page.target, time.time())
            else:
                message = known.message._replace(path=page.target.decode())
                elsewhere = self._from_elsewhere(connection, known, message)
                if elsewhere is None:
                    return self._by_fields(connection, data)
                inbound, client = elsewhere
            credential = page.credential(known.credential)
            # Of keys that nobody has met most do not come again: they are verified, and left alone.
            intent, was_once = known.admission.intent, known.admission.use is not None
            is_new = was_once or self._memory.is_new(data)
            admission = self._gateway.admit_as(inbound, credential, intent, client.group, is_new=is_new)
            small = None if admission is None else self._small(connection, admission)
        except Denied:
            return False
        if admission is None or small is None or small.body is None:
            return False
        is_same = small.info is known.info or small.info == known.info
        if not is_same or not _is_alike(admission.grant, known.admission.grant):
            if not self._is_made(admission):
                return False
            self._answer(self._turn(connection, data, known.message, admission, small, began))
            return True
        asker = Asker.of(client.address, admission.grant)
        if admission.use is None:
            if was_once:  # it may come again, and so may the next
                self._memory.keep_page(page.text, known._replace(admission=admission))
            if self._memory.is_worth(data) and self._gateway.is_lasting(inbound):
                self._memory.keep(data, known.by(admission, connection.origin, client, asker))
            return self._repeat(connection, known, admission, inbound, asker, small.body, began)
        told = partial(self._told_of_page, connection, data, known, admission, asker, small, began)
        self._claim(connection, admission, told)
        return True

    def _is_made(self, admission: Admission) -> bool:
        """Whether its answer can be made here, where none is ready."""
        reader = self._readers.get(admission.grant.scheme)
        return reader is not None and reader.is_whole(admission)

    def _small(self, connection: GatewayProtocol, admission: Admission) -> Small | None:
        """The object as this request has to see it."""
        # What a TLS record holds may be younger than the bytes that it came behind; and who was held back is not asking
        # in the part of a turn in which all others ask.
        alone = connection.origin[1] or connection.is_belated
        return self._store.small(admission) if alone else self._glances.small(admission)

    def _turn(
        self,
        connection: GatewayProtocol,
        data: bytes,
        message: RawRequestMessage,
        admission: Admission,
        small: Small,
        began: float,
    ) -> Turn:
        message = message._replace(path=admission.inbound.target.decode())
        return Turn(connection, data, self._speaker.begin(connection, message, began), admission, small)

    def _told_of_page(
        self,
        connection: GatewayProtocol,
        data: bytes,
        known: Known,
        admission: Admission,
        asker: Asker,
        small: Small,
        began: float,
        denied: Denied | None,
    ) -> None:
        """As `_told`; where it went well, the answer is the one of the page, unless it has to be the last one."""
        if denied is None and small.body is not None and not connection.is_closing:
            try:
                self._gateway.recheck(admission, time.time())
                if self._repeat(connection, known, admission, admission.inbound, asker, small.body, began):
                    return
            except Denied as revoked:
                denied = revoked
            except Exception:  # whoever told must hear of none
                log.exception("a download failed while it was answered")
                connection.cut()
                connection.go_on(keep_alive=False)
                return
        self._told(self._turn(connection, data, known.message, admission, small, began), denied)

    def _repeat(
        self,
        connection: GatewayProtocol,
        known: Known,
        admission: Admission,
        inbound: Inbound,
        asker: Asker,
        body: bytes,
        began: float,
    ) -> bool:
        """Whether the client was there to be answered as before."""
        request_id, answer = new_request_id(), known.answer
        try:
            answer.say(connection, request_id, body, inbound.now)
        except ConnectionError:
            return False  # the general way tells the audit who was not there any more
        self._served["head" if admission is known.admission else "page"] += 1
        if not connection.writing_paused:
            answer.tell(self._audit, self._metrics, request_id, asker, inbound.now, began)
            connection.go_on()
            return True
        exchange, story = self._speaker.begin(connection, known.message, began)
        exchange.status, exchange.bytes_out, exchange.head_sent_at = 200, answer.body_bytes, time.monotonic()
        story.request_id = request_id
        story.arrived(inbound)
        story.learned(admission)
        story.admitted()
        self._speaker.drain(connection, exchange, story)
        return True

    def _answer(self, turn: Turn) -> None:
        """Answer what was admitted now; once its use is durable, where it has a limited number."""
        if turn.admission.use is None:
            self._speak(turn)
            return
        self._claim(turn.connection, turn.admission, partial(self._told, turn))

    def _claim(self, connection: GatewayProtocol, admission: Admission, told: Told) -> None:
        connection.hold()
        try:
            if self._gateway.claim_soon(admission, told):
                told(None)
        except Denied as denied:
            told(denied)

    def _told(self, turn: Turn, denied: Denied | None) -> None:
        """The use is taken, or not: what is to be refused, the general way refuses."""
        if denied is None:
            try:
                self._gateway.recheck(turn.admission, time.time())
            except Denied as revoked:
                denied = revoked
        if denied is None:
            self._speak(turn)
            return
        connection, (_, story) = turn.connection, turn.begun
        connection.end()
        if connection.transport is not None:
            connection.give_back(turn.data)
            return
        story.arrived(turn.admission.inbound)
        story.learned(turn.admission)
        story.refused(denied)
        story.over()

    def _speak(self, turn: Turn) -> None:
        exchange = self._speaker.speak(turn)
        if exchange.shown is not None:
            self._served["fields"] += 1
            self._memory.note(turn.data, exchange)

    def learn(self, data: bytes, exchange: Exchange) -> None:
        """See `protocol.Lane`."""
        if exchange.stored is not None:
            self._uploads.learn(data, exchange, exchange.stored)
        else:
            self._memory.learn(data, exchange)


def _is_alike(grant: Grant, former: Grant) -> bool:
    """Whether answers and audit lines of both differ in nothing but the key's identity and its subject."""
    same = grant.response == former.response and grant.signing_key == former.signing_key and grant.ctx is None
    return same and (is_plain(grant.subject) if former.subject else not grant.subject)
