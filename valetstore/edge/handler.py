"""One request from head to audit line: arrive, be judged, be answered, be told about."""

import asyncio
import logging

from valetstore.audit import Audit
from valetstore.edge.admin import Admin
from valetstore.edge.arrival import METHODS, Arrivals
from valetstore.edge.cors import Cors
from valetstore.edge.dialect import Dialects
from valetstore.edge.exchange import Answered, Exchange, Shown
from valetstore.edge.fastlane import FastLane
from valetstore.edge.forms import is_form, open_form
from valetstore.edge.objects import Objects
from valetstore.edge.protocol import LINGER_SECONDS
from valetstore.edge.refusals import Refusals
from valetstore.edge.release import Releases
from valetstore.edge.replies import Header, Reply
from valetstore.edge.request_id import new_request_id
from valetstore.edge.served import SAFETY
from valetstore.edge.service import Service
from valetstore.edge.story import Story
from valetstore.edge.transfers import Transfers
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission
from valetstore.grants.native import RELEASE_PATH, is_revocations
from valetstore.inbound import Inbound
from valetstore.metrics import Metrics

log = logging.getLogger(__name__)


class Handler:
    """What aiohttp's protocol calls for each request. Everything it needs is given to it once."""

    def __init__(
        self,
        *,
        arrivals: Arrivals,
        gateway: Gateway,
        objects: Objects,
        dialects: Dialects,
        service: Service,
        admin: Admin,
        releases: Releases,
        cors: Cors,
        audit: Audit,
        metrics: Metrics,
        transfers: Transfers,
        hsts_seconds: int,
        lane: FastLane | None = None,
    ) -> None:
        self.lane = lane
        self._arrivals = arrivals
        self._gateway = gateway
        self._objects = objects
        self._dialects = dialects
        self._refusals = Refusals(cors, dialects)
        self._service = service
        self._admin = admin
        self._releases = releases
        self._cors = cors
        self._audit = audit
        self._metrics = metrics
        self._transfers = transfers
        self._hsts = hsts_headers(hsts_seconds)

    async def __call__(self, exchange: Exchange) -> Answered:
        """Answer one request. Nothing but cancellation leaves this."""
        story = Story(self._audit, self._metrics, exchange, new_request_id())
        common: list[Header] = [("X-Request-Id", story.request_id), *SAFETY]
        try:
            reply = await self._reply(exchange, story, common)
            try:
                await self._send(reply, exchange, common)
            finally:
                reply.release()
            if exchange.failure is not None:
                story.refused(exchange.failure)
            elif story.admission is not None and exchange.keep_alive:
                admission = story.admission
                if reply.shown is not None:
                    exchange.shown = Shown(
                        admission.inbound, exchange.message, admission, reply.shown, story.request_id, story.retell
                    )
                elif admission.intent.operation == "write" and exchange.status in (200, 201):
                    exchange.stored = admission
            if not exchange.body_is_whole:
                await exchange.linger(LINGER_SECONDS)
        except (ConnectionError, Denied) as error:
            # Gone, or too slow with the answer half out: there is nobody to tell but the audit.
            exchange.abort()
            story.cut(error)
        except asyncio.CancelledError:
            story.cut(ConnectionAbortedError("the gateway has stopped"))
            raise
        except Exception as error:
            # The answer may be half out: another one now would be taken for the rest of it.
            log.exception("request %s failed while it was answered", story.request_id)
            exchange.abort()
            story.cut(error)
        finally:
            for let_go in exchange.at_end:
                let_go()
            if story.admission is not None:
                self._gateway.leave(story.admission)
            exchange.protocol.end()
            story.over()
        # Not `is_closing`: a client whose answer said keep-alive may be asking already.
        return Answered(exchange.keep_alive and not exchange.protocol.is_over)

    async def _send(self, reply: Reply, exchange: Exchange, common: list[Header]) -> None:
        if isinstance(reply.body, bytes):
            await reply.send(exchange, common)
        else:
            with self._transfers.moving("out"):
                await reply.send(exchange, common)

    async def _reply(self, exchange: Exchange, story: Story, common: list[Header]) -> Reply:
        """The reply, whatever happens but a lost connection."""
        inbound: Inbound | None = None
        try:
            inbound = self._arrivals.inbound(exchange)
            story.arrived(inbound)
            if inbound.tls:
                common += self._hsts
            common += self._cors.headers(inbound)
            return await self._answer(exchange, inbound, story)
        except Denied as denied:
            story.refused(denied)
            return self._refusals.reply(denied, inbound, story.request_id)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("request %s failed", story.request_id)
            fault = Denied("internal_error")
            story.refused(fault)
            return self._refusals.reply(fault, inbound, story.request_id)

    async def _answer(self, exchange: Exchange, inbound: Inbound, story: Story) -> Reply:
        if inbound.method not in METHODS:
            raise Denied("method_not_allowed")
        if inbound.method == "OPTIONS":
            return self._cors.preflight(inbound)
        unkeyed = self._service.unkeyed(inbound)
        if unkeyed is not None:
            return unkeyed
        if self._audit.required and not self._audit.accepting:
            raise Denied("storage_unavailable", "The audit cannot be written.")
        if inbound.raw_path == RELEASE_PATH.encode():
            reply = await self._releases.answer(exchange, inbound, story.proven)
        else:
            if is_form(inbound):
                self._gateway.check_source(inbound)
                exchange.form = await open_form(exchange, inbound)
                inbound = inbound.with_form(exchange.form.fields)
            admission = await self._gateway.admit(inbound)
            story.learned(admission)
            reply = await self._admitted(exchange, admission, story)
        story.admitted()
        return reply

    async def _admitted(self, exchange: Exchange, admission: Admission, story: Story) -> Reply:
        dialect = self._dialects.of(admission.grant.scheme)
        if dialect is not None:
            try:
                return await dialect.answer(exchange, admission, story.admitted, story.request_id)
            except Denied as denied:
                # A form's fields say whose key came, and they are not in the request as it arrived.
                raise denied.because(dialect=dialect.name) from None
        if admission.intent.operation == "admin" and is_revocations(admission.intent.path):
            return await self._admin.answer(exchange, admission, story.admitted)
        if admission.intent.key is None and admission.intent.operation != "list":
            return self._service.keyed(admission)
        return await self._objects.answer(exchange, admission, story.admitted)


def hsts_headers(seconds: int) -> list[Header]:
    """What answers over TLS carry; none for 0. `max-age=0` would tell browsers to forget what they were told."""
    return [("Strict-Transport-Security", f"max-age={seconds}")] if seconds else []
