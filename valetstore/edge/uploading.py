"""One upload from its admission to its name: the same steps for a PUT, a form, a part, in every dialect.

Rule 1: the use of a limited key is reserved before the first byte, `committing` is durable before the publish, and
whatever fails before that gives it back.
Rule 2: nothing is kept of a body that has not proved what its request promised (length, digests, signatures).
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from valetstore.conditions import NONE, Conditions, Outcome
from valetstore.config import Config
from valetstore.edge.exchange import Exchange
from valetstore.edge.receive import Source, ask_for_body, receive
from valetstore.edge.replies import Reply
from valetstore.edge.transfers import Transfers
from valetstore.errors import Denied
from valetstore.gateway import Gateway
from valetstore.grants.grant import Admission
from valetstore.policy.body import BodyRules
from valetstore.replay.lease import Lease
from valetstore.storage.promise import Metadata, ObjectInfo, Store, Upload
from valetstore.storage.uploads import Uploads

OnAdmitted = Callable[[], None]
Describe = Callable[[Mapping[str, bytes], Mapping[str, str]], Metadata]
"""From the body's digests and its trailers to what is kept with it. Raises what they prove wrong."""


class Services(NamedTuple):
    """What every operation needs."""

    store: Store
    uploads: Uploads
    gateway: Gateway
    config: Config
    transfers: Transfers

    def recheck(self, admission: Admission) -> None:
        """After the last wait before something is done or shown: what was revoked meanwhile holds."""
        self.gateway.recheck(admission, time.time())

    def lease(self, admission: Admission) -> Lease:
        """The one use of a limited key, held around work that may fail."""
        return Lease(self.gateway.replay, admission.use, time.time)


class Incoming(NamedTuple):
    """One body: where it comes from, what it must be, and what is kept with it.

    `begin` opens the place it goes to; `conditions` and `create_only` are decided with the publish.
    """

    source: Source
    rules: BodyRules
    begin: Callable[[], Awaitable[Upload]]
    describe: Describe
    conditions: Conditions = Conditions()
    create_only: bool = False


class Stored(NamedTuple):
    """What an upload came to: the new state, and whether no object was replaced."""

    info: ObjectInfo
    created: bool


class Plan(NamedTuple):
    """What a PUT of a whole object asks for, all of it said by its head: see `Incoming`.

    `length` is what was announced, None where nothing was; `digests` are what has to be known of the bytes.
    """

    length: int | None
    rules: BodyRules
    digests: frozenset[str]
    describe: Describe
    conditions: Conditions
    create_only: bool

    def incoming(self, store: Store, admission: Admission, source: Source) -> Incoming:
        """The same with the body."""
        begin = partial(store.begin, admission, self.length, self.digests)
        return Incoming(source, self.rules, begin, self.describe, self.conditions, self.create_only)

    @property
    def is_plain(self) -> bool:
        """Whether it is for any state of what stands there."""
        return not self.create_only and self.conditions == NONE


class Planner(Protocol):
    """A dialect whose PUT of a whole object is one Plan."""

    def is_planned(self, admission: Admission) -> bool:
        """Whether an admitted request is such a PUT, and all that it asks for is said by its headers and its grant."""

    def plan(self, admission: Admission) -> Plan:
        """What such a request asks for. Raises Denied."""

    def stored(self, stored: Stored, request_id: str) -> Reply:
        """The answer to one that was kept."""

    async def explain(self, denied: Denied, admission: Admission) -> None:
        """Of one that was not kept: raise what is to be told instead, where the dialect has something to say."""


async def take_in(
    services: Services, exchange: Exchange, admission: Admission, incoming: Incoming, on_admitted: OnAdmitted
) -> Stored:
    """Take in one body and give it its name. `on_admitted` is called before the body is asked for.

    Raises what `receive`, the store and `describe` raise; nothing was kept then, and no use is lost.
    """
    async with services.lease(admission) as lease:
        upload = await incoming.begin()
        try:
            on_admitted()
            ask_for_body(exchange, admission.inbound)
            with services.transfers.moving("in"):
                received = await receive(
                    exchange, incoming.source, incoming.rules, upload, lease, services.config.limits
                )
            digests = await lease.during(upload.finish())
            incoming.rules.check_whole(received, digests)
            metadata = incoming.describe(digests, incoming.source.trailers)
            return await keep(
                services, admission, lease, upload, metadata, incoming.conditions, create_only=incoming.create_only
            )
        finally:
            await upload.abort()


async def keep(
    services: Services,
    admission: Admission,
    lease: Lease,
    upload: Upload,
    metadata: Metadata,
    conditions: Conditions,
    *,
    create_only: bool,
) -> Stored:
    """The last steps, once the bytes are there and proven: durable, `committing`, the name, the use committed."""
    last = partial(services.recheck, admission)
    if lease.reservation is None:  # there is no use to be committed in between
        return Stored(*await upload.complete(metadata, conditions, create_only=create_only, last=last))
    info = await lease.during(upload.seal(metadata))
    await lease.committing()
    created = await upload.publish(conditions, create_only=create_only, last=last)
    await lease.commit()
    return Stored(info, created)


async def refuse_early(store: Store, admission: Admission, conditions: Conditions) -> None:
    """Refuse before the body what the publish would refuse after it; the publish decides all the same.

    Raises `exists`, `precondition_failed`.
    """
    if not admission.grant.create_only and conditions == NONE:
        return
    try:
        opened = await store.open(admission)
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
        raise Denied("precondition_failed", missing=etag is None)
