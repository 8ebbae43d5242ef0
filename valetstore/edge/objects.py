"""The native operations: read, write, delete and list, each told as the steps of one request.

Rule 1: conditions come before the use of a key; the use is the last step before the first byte.
Rule 2: whatever is refused or fails on the way burns nothing and leaves nothing.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from valetstore.audit import rfc3339
from valetstore.conditions import Conditions, Outcome, if_range_holds
from valetstore.edge.downloading import Chosen, hand_out
from valetstore.edge.exchange import Exchange
from valetstore.edge.ranges import requested_span
from valetstore.edge.receive import BodySource
from valetstore.edge.replies import Header, Reply, json_reply
from valetstore.edge.served import download_headers, metadata_of, validators
from valetstore.edge.uploading import OnAdmitted, Plan, Services, Stored, refuse_early, take_in
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.grants.grant import Admission, Grant
from valetstore.objectkey import check_beginning, split_path
from valetstore.policy.body import BodyRules
from valetstore.storage.promise import ObjectInfo, OpenObject

Operation = Callable[[Exchange, Admission, OnAdmitted], Awaitable[Reply]]


class Objects:
    """Answers admitted requests from one store."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._gateway = services.gateway
        self._config = services.config
        self._operations: Final[Mapping[str, Operation]] = {
            "read": self._read,
            "write": self._write,
            "delete": self._delete,
            "list": self._list,
        }

    async def answer(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        """The reply to an admitted request. `on_admitted` is called before a body is asked for."""
        return await self._operations[admission.intent.operation](exchange, admission, on_admitted)

    async def _read(self, _exchange: Exchange, admission: Admission, _on_admitted: OnAdmitted) -> Reply:
        async def choose(opened: OpenObject) -> Chosen:
            info, span = opened.info, None
            # RFC 9110 section 14.2: a Range says nothing to a HEAD.
            if inbound.method != "HEAD" and if_range_holds(inbound, info.etag, info.modified):
                span = requested_span(inbound.header("range"), info.size)
            return Chosen(self.whole(info, admission.grant), span)

        inbound = admission.inbound
        return await hand_out(self._services, admission, Conditions.of(inbound), choose)

    def is_whole(self, admission: Admission) -> bool:
        """See `Reader`."""
        return admission.intent.operation == "read"

    def whole(self, info: ObjectInfo, grant: Grant, _request_id: str = "") -> list[Header]:
        """See `Reader`."""
        return download_headers(info, grant)

    async def _write(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        plan = self.plan(admission)
        await refuse_early(self._store, admission, plan.conditions)
        incoming = plan.incoming(self._store, admission, BodySource(exchange, plan.length))
        stored = await take_in(self._services, exchange, admission, incoming, on_admitted)
        return self.stored(stored)

    def is_planned(self, admission: Admission) -> bool:
        """See `Planner`."""
        return admission.intent.operation == "write" and admission.intent.key is not None

    def plan(self, admission: Admission) -> Plan:
        """See `Planner`."""
        inbound = admission.inbound
        if b"content-range" in inbound.header_names:
            # RFC 9110 section 14.4: what would replace the whole by a part is refused. `curl -C` sends it.
            raise Denied("parameter_invalid", "A part of an object cannot be uploaded: leave Content-Range out.")
        rules = BodyRules.of(admission, self._config.limits.upload_bytes_max)
        metadata = metadata_of(inbound)
        return Plan(
            admission.intent.length,
            rules,
            rules.hashes,
            lambda _digests, _trailers: metadata,
            Conditions.of(inbound),
            admission.grant.create_only,
        )

    def stored(self, stored: Stored, _request_id: str = "") -> Reply:
        """See `Planner`."""
        return Reply(201 if stored.created else 200, validators(stored.info))

    async def explain(self, denied: Denied, admission: Admission) -> None:
        """See `Planner`."""

    async def _delete(self, _exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        conditions = Conditions.of(admission.inbound)
        async with self._services.lease(admission) as lease:
            await self._refuse_missing(admission, conditions)
            await lease.committing()
            on_admitted()
            if not await self._store.delete(admission, conditions, partial(self._services.recheck, admission)):
                raise Denied("not_found")
            await lease.commit()
        return Reply(204)

    async def _refuse_missing(self, admission: Admission, conditions: Conditions) -> None:
        """A delete that cannot succeed must not reach `committing`."""
        opened = await self._store.open(admission)
        opened.close()
        if conditions.judge(opened.info.etag, opened.info.modified, is_read=False) is Outcome.FAILED:
            raise Denied("precondition_failed")

    async def _list(self, _exchange: Exchange, admission: Admission, _on_admitted: OnAdmitted) -> Reply:
        inbound = admission.inbound
        bucket, prefix = split_path(admission.intent.path)
        after = inbound.parameter("after") or ""
        check_beginning(after)
        limit = self._limit(inbound.parameter("limit"))
        page = await self._store.list(admission, prefix, after, limit)
        await self._gateway.claim(admission, time.time)
        objects = [
            {"name": row.name, "size": row.size, "etag": row.etag, "modified": rfc3339(row.modified_ns / 1e9)}
            for row in page.rows
        ]
        return json_reply({"bucket": bucket, "prefix": prefix, "objects": objects, "next": page.next_after})

    def _limit(self, text: str | None) -> int:
        most = self._config.limits.list_entries_max
        try:
            limit = most if text is None else wire_int(text)
        except ValueError:
            limit = 0
        if limit < 1:
            raise Denied("parameter_invalid", f"`limit` is a number from 1 to {most}.")
        return min(limit, most)
