"""Speaker: answers of the fast lane that are not ready: what `Handler` does with a reply, without a task of its own.

Rule 1: who tells of a use that is durable must hear of no error: what fails while an answer is written is the audit's
and the log's to hear.
Rule 2: a client that does not take its answer at once is waited for as in the general way.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from valetstore.audit import Audit
from valetstore.config import Limits
from valetstore.edge.cors import Cors
from valetstore.edge.downloading import Reader
from valetstore.edge.exchange import Exchange, Shown
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.replies import Header, Reply, date_now
from valetstore.edge.request_id import new_request_id
from valetstore.edge.served import SAFETY
from valetstore.edge.story import Story
from valetstore.edge.template import head_of
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.inbound import Inbound
from valetstore.metrics import Metrics
from valetstore.storage.small import Small

log = logging.getLogger(__name__)

VIEWS_MAX: Final = 8
"""Heads that are kept with one state of an object."""


class Turn(NamedTuple):
    """One request that is being answered."""

    connection: GatewayProtocol
    data: bytes
    begun: tuple[Exchange, Story]
    admission: Admission
    small: Small


class Speaker:
    """Writes answers and tells audit and metrics of them."""

    def __init__(
        self,
        audit: Audit,
        metrics: Metrics,
        cors: Cors,
        hsts: list[Header],
        limits: Limits,
        readers: Mapping[str, Reader],
    ) -> None:
        """`readers` has the dialects of the downloads that it answers, by their schemes."""
        self._audit = audit
        self._metrics = metrics
        self._cors = cors
        self._hsts = hsts
        self._limits = limits
        self._readers = readers
        self._draining: set[asyncio.Task[None]] = set()

    def begin(self, connection: GatewayProtocol, message: RawRequestMessage, began: float) -> tuple[Exchange, Story]:
        """A request is taken up; `began` is monotonic."""
        exchange = Exchange(message, EMPTY_PAYLOAD, connection)
        exchange.started = began
        return exchange, Story(self._audit, self._metrics, exchange, new_request_id())

    def speak(self, turn: Turn) -> Exchange:
        """Answer it; `shown` of the exchange is set unless that failed."""
        connection, (exchange, story), admission = turn.connection, turn.begun, turn.admission
        story.arrived(admission.inbound)
        story.learned(admission)
        story.admitted()

        def write() -> None:
            self._write(connection, exchange, story.request_id, admission, turn.small)
            info, message = turn.small.info, exchange.message
            exchange.shown = Shown(admission.inbound, message, admission, info, story.request_id, story.retell)

        self._answer(connection, exchange, story, write)
        return exchange

    def reply(
        self, connection: GatewayProtocol, exchange: Exchange, story: Story, inbound: Inbound, make: Callable[[], Reply]
    ) -> None:
        """Answer with what `make` returns: a reply whose body, if it has one, is bytes."""

        def write() -> None:
            make().write(exchange, [("X-Request-Id", story.request_id), *SAFETY, *self._further(inbound)])

        self._answer(connection, exchange, story, write)

    def _answer(self, connection: GatewayProtocol, exchange: Exchange, story: Story, write: Callable[[], None]) -> None:
        """Write the whole answer, and go on. Raises nothing that `write` raises: see Rule 1."""
        try:
            write()
        except Exception as error:
            if not isinstance(error, ConnectionError):
                log.exception("request %s failed while it was answered", story.request_id)
            exchange.abort()
            story.cut(error)
        else:
            if connection.writing_paused:
                self.drain(connection, exchange, story)
                return
        self._finish(connection, exchange, story)

    def _further(self, inbound: Inbound) -> list[Header]:
        """What all answers to such a request carry, beside its id and SAFETY."""
        return self._hsts + self._cors.headers(inbound) if inbound.tls else self._cors.headers(inbound)

    def drain(self, connection: GatewayProtocol, exchange: Exchange, story: Story) -> None:
        """Wait for a client that does not take its answer at once, and then go on."""
        connection.hold()
        task = asyncio.get_running_loop().create_task(self._drained(connection, exchange, story))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drained(self, connection: GatewayProtocol, exchange: Exchange, story: Story) -> None:
        limits = self._limits
        try:
            await connection.drained(limits.rate_grace_seconds, limits.download_bytes_per_second_min)
        except (ConnectionError, Denied) as error:
            exchange.abort()
            story.cut(error)
        finally:
            self._finish(connection, exchange, story)

    def _finish(self, connection: GatewayProtocol, exchange: Exchange, story: Story) -> None:
        connection.end()
        story.over()
        connection.go_on(keep_alive=exchange.keep_alive)

    def _write(
        self, connection: GatewayProtocol, exchange: Exchange, request_id: str, admission: Admission, small: Small
    ) -> None:
        """Head and body, whole. Raises ConnectionError."""
        inbound, grant, body = admission.inbound, admission.grant, small.body or b""
        common = self._further(inbound)
        # All that the head depends on, beside the object's state.
        place = (grant.scheme, inbound.method, grant.response, tuple(common))
        head = None if connection.is_closing else small.views.get(place)
        if head is not None:
            exchange.head = head.fill(request_id.encode(), date_now())
            exchange.write_head(exchange.head, body if inbound.method == "GET" else b"")
            exchange.status = 200
            exchange.bytes_out = len(body) if inbound.method == "GET" else 0
            return
        headers = self._readers[grant.scheme].whole(small.info, grant, request_id)
        if inbound.method == "HEAD":
            reply = Reply(200, headers, described_bytes=len(body))
        else:
            reply = Reply(200, headers, body)
        reply.write(exchange, [("X-Request-Id", request_id), *SAFETY, *common])
        if exchange.keep_alive and len(small.views) < VIEWS_MAX:
            small.views[place] = head_of(exchange.head, request_id)
