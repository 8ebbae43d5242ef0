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
from valetstore.config import Config
from valetstore.edge.exchange import Exchange
from valetstore.edge.pace import Pace
from valetstore.edge.ranges import requested_span
from valetstore.edge.receive import receive
from valetstore.edge.replies import Reply, json_reply
from valetstore.edge.served import download_headers, metadata_of, not_modified_headers, validators
from valetstore.edge.stream import ObjectBody
from valetstore.edge.transfers import Transfers
from valetstore.encoding import wire_int
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission
from valetstore.objectkey import check_beginning, split_path
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease
from valetstore.storage.promise import OpenObject, Store

OnAdmitted = Callable[[], None]
Operation = Callable[[Exchange, Admission, OnAdmitted], Awaitable[Reply]]


class Objects:
    """Answers admitted requests from one store."""

    def __init__(self, store: Store, gateway: Gateway, config: Config, transfers: Transfers) -> None:
        self._store = store
        self._transfers = transfers
        self._gateway = gateway
        self._config = config
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
        opened = await self._store.open(admission)
        try:
            reply = await self._opened(opened, admission)
        except BaseException:
            opened.close()
            raise
        if not isinstance(reply.body, ObjectBody):
            opened.close()
        return reply

    async def _opened(self, opened: OpenObject, admission: Admission) -> Reply:
        inbound, info = admission.inbound, opened.info
        match Conditions.of(inbound).judge(info.etag, info.modified, is_read=True):
            case Outcome.FAILED:
                raise Denied("precondition_failed")
            case Outcome.NOT_MODIFIED:
                return Reply(304, not_modified_headers(info, admission.grant))
        headers = download_headers(info, admission.grant)
        if inbound.method == "HEAD":
            # RFC 9110 section 14.2: a Range says nothing to a HEAD.
            return Reply(200, headers, described_bytes=info.size)
        span = None
        if if_range_holds(inbound, info.etag, info.modified):
            span = requested_span(inbound.header("range"), info.size)
        await self._gateway.claim(admission, time.time)
        limits = self._config.limits
        pace = Pace(limits.download_bytes_per_second_min, limits.rate_grace_seconds, time.monotonic())
        if span is None:
            return Reply(200, headers, ObjectBody(opened, 0, info.size, pace))
        headers.append(("Content-Range", span.content_range))
        return Reply(206, headers, ObjectBody(opened, span.start, span.length, pace))

    async def _write(self, exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        inbound, create_only = admission.inbound, admission.grant.create_only
        if inbound.header("content-range") is not None:
            # RFC 9110 section 14.4: what would replace the whole by a part is refused. `curl -C` sends it.
            raise Denied("parameter_invalid", "A part of an object cannot be uploaded: leave Content-Range out.")
        rules = BodyRules.of(admission, self._config.limits.upload_bytes_max)
        metadata = metadata_of(inbound)
        conditions = Conditions.of(inbound)
        await self._refuse_early(admission, conditions)
        async with Lease(self._gateway.replay, admission.use, time.time) as lease:
            upload = await self._store.begin(admission, admission.intent.length, rules.hashes)
            try:
                on_admitted()
                with self._transfers.moving("in"):
                    await receive(exchange, admission, rules, upload, lease, self._config.limits)
                rules.check_whole(exchange.bytes_in, await lease.during(upload.finish()))
                info = await lease.during(upload.seal(metadata))
                await lease.committing()
                last = partial(self._recheck, admission)
                created = await upload.publish(conditions, create_only=create_only, last=last)
                await lease.commit()
            finally:
                await upload.abort()
        return Reply(201 if created else 200, validators(info))

    def _recheck(self, admission: Admission) -> None:
        """After the last wait before something is done or shown: what was revoked meanwhile holds."""
        self._gateway.recheck(admission, time.time())

    async def _refuse_early(self, admission: Admission, conditions: Conditions) -> None:
        """Refuse before the body what the publish would refuse after it; the publish decides all the same."""
        if not admission.grant.create_only and conditions == Conditions():
            return
        try:
            opened = await self._store.open(admission)
        except Denied as denied:
            if denied.code != "not_found":
                raise
            etag, modified = None, None
        else:
            etag, modified = opened.info.etag, opened.info.modified
            opened.close()
        if admission.grant.create_only and etag is not None:
            raise Denied("exists")
        if conditions.judge(etag, modified, is_read=False) is Outcome.FAILED:
            raise Denied("precondition_failed")

    async def _delete(self, _exchange: Exchange, admission: Admission, on_admitted: OnAdmitted) -> Reply:
        conditions = Conditions.of(admission.inbound)
        async with Lease(self._gateway.replay, admission.use, time.time) as lease:
            await self._refuse_missing(admission, conditions)
            await lease.committing()
            on_admitted()
            if not await self._store.delete(admission, conditions, partial(self._recheck, admission)):
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
