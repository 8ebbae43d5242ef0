"""Small uploads that wait at the same time are kept together: by one thread, with one sync of each folder.

Their files are synced side by side by the kernel (`syncs.py`), or where it does not do that by as many threads as are
free.

Rule 1: what fails is one upload's alone; but a folder's sync that fails has failed for all whose names it was for.
Rule 2: one group of a bucket at a time, and who comes meanwhile is of the next one: the slower the disk, the larger the
groups. A bucket whose disk hangs holds up no other, and one that is never idle waits for its thread like any.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EIO
from functools import partial
from typing import Final, NamedTuple

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage.draft import Draft
from valetstore.storage.joint import Joint
from valetstore.storage.naming import Given
from valetstore.storage.place import ObjectPlace
from valetstore.storage.pool import Pool
from valetstore.storage.promise import LastCheck, Metadata, ObjectInfo
from valetstore.storage.syncs import AT_ONCE, QUEUES, Queue
from valetstore.storage.trouble import translated

log = logging.getLogger(__name__)

MEMBERS_MAX: Final = AT_ONCE
"""Each holds a descriptor, and waits for the slowest of its group."""
HELPERS_MAX: Final = 7
"""More threads at a time sync no faster."""


class ToSeal(NamedTuple):
    """Make this durable: the bytes that are not written yet, and what is said of all of them."""

    rest: Sequence[bytes]
    described: Metadata


class ToName(NamedTuple):
    """Give it its name."""

    conditions: Conditions
    create_only: bool
    last: LastCheck | None


class Member:
    """One upload in a group: what is to be done, either or both; and what came of it, once it is told of.

    `info` is there where it was sealed, `created` where it was named, `error` where it failed.
    """

    def __init__(
        self, draft: Draft, place: ObjectPlace, sealing: ToSeal | None = None, naming: ToName | None = None
    ) -> None:
        self.place = place
        self.sealing = sealing
        self.naming = naming
        self.info: ObjectInfo | None = None
        self.created = False
        self.error: Exception | None = None
        self.syncing = -1
        self.told = 0
        self._draft = draft
        self._given: Given | None = None

    def attempt(self, step: Callable[["Member"], None]) -> None:
        """Go on by one step, unless one has failed."""
        if self.error is None:
            try:
                with translated("write"):
                    step(self)
            except Exception as error:
                self.error = error

    def attach(self) -> None:
        """Bytes and attribute are in a file."""
        assert self.sealing is not None
        self.info = self._draft.attach(*self.sealing)

    def begin_writeback(self) -> None:
        """See `Draft.begin_writeback`."""
        self._draft.begin_writeback()

    def sync(self) -> None:
        """They are durable."""
        self._draft.sync()

    def begin_sync(self) -> None:
        """`syncing` is the descriptor to be synced; `end_sync` must follow."""
        self.syncing = self._draft.begin_sync()

    def end_sync(self) -> None:
        """They are durable, unless `told` is an errno."""
        self._draft.end_sync(self.told)

    def give(self, joint: Joint) -> None:
        """It has its name."""
        assert self.naming is not None
        conditions, create_only, last = self.naming
        if last is not None:  # here: the steps of the others have taken a while
            last()
        put = partial(self.place.give, joint, conditions=conditions, create_only=create_only)
        self._given = self._draft.put(put)

    def settle(self, joint: Joint) -> None:
        """The name is durable."""
        assert self._given is not None
        self.created = self.place.settled(joint, self._given)


Told = Callable[[Member], None]
"""Hears of an upload that was kept, or was not."""
_Waiting = tuple[Member, Told]


def keep_together(pool: Pool, members: Sequence[Member]) -> None:
    """All that is to be done for these uploads to one bucket, step by step. Blocks; raises nothing."""
    sealing = [member for member in members if member.sealing is not None]
    for member in sealing:
        member.attempt(Member.attach)
    _sync(pool, [member for member in sealing if member.error is None])
    naming = [member for member in members if member.naming is not None and member.error is None]
    if naming:
        with naming[0].place.joint() as joint:
            for member in naming:
                member.attempt(lambda member: member.give(joint))
            joint.settle()
            for member in naming:
                member.attempt(lambda member: member.settle(joint))


def _sync(pool: Pool, members: Sequence[Member]) -> None:
    """Make all durable, at the same time: one commit of the file system's journal does for many."""
    queue = QUEUES.borrow() if len(members) > 1 else None
    if queue is not None:
        _sync_in_kernel(queue, members)
        return
    if len(members) > 1:
        # All are on their way to the disk before the first is waited for.
        for member in members:
            member.attempt(Member.begin_writeback)
    _Syncing(members).run(pool)


def _sync_in_kernel(queue: Queue, members: Sequence[Member]) -> None:
    for member in members:
        member.attempt(Member.begin_sync)
    begun = [member for member in members if member.error is None]
    told = [EIO] * len(begun)
    try:
        told = queue.sync([member.syncing for member in begun])
        QUEUES.give_back(queue)
    except OSError:
        log.exception("nobody knows whether %d files were synced", len(begun))
    finally:
        for member, number in zip(begun, told, strict=True):
            member.told = number
            member.attempt(Member.end_sync)


class _Syncing:
    """Syncs of several files at the same time, which the file system makes one of, by as many threads as are free."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._left = deque(members)
        self._count = len(members)
        self._done = threading.Semaphore(0)

    def run(self, pool: Pool) -> None:
        """Return when all are synced. It needs no other thread: those that come too late find nothing to do."""
        for _ in range(min(self._count - 1, HELPERS_MAX)):
            pool.later(self._work)
        self._work()
        for _ in range(self._count):
            self._done.acquire()

    def _work(self) -> None:
        with suppress(IndexError):
            while True:
                member = self._left.popleft()
                try:
                    member.attempt(Member.sync)
                finally:
                    self._done.release()


class Groups:
    """The groups of a store, by bucket. For the event loop's thread."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, list[_Waiting]] = {}
        """Of buckets that have a group under way: who came since."""

    async def keep(self, member: Member) -> None:
        """Do all that is to be done for it. It is done even if this wait is cancelled. Raises Denied."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.join(member, partial(_settle, done))
        await done

    def join(self, member: Member, told: Told) -> None:
        """The same without the wait: `told` is called later, once, by the event loop."""
        bucket = member.place.bucket
        waiting = self._waiting.get(bucket)
        if waiting is None:
            self._waiting[bucket] = []
            self._go(bucket, [(member, told)])
        else:
            waiting.append((member, told))

    def _go(self, bucket: str, members: list[_Waiting]) -> None:
        try:
            flight = self._pool.start("write", keep_together, self._pool, [member for member, _ in members])
        except Exception as error:  # the store was closed; or there is no thread to be had
            if not isinstance(error, Denied):
                log.exception("uploads cannot be kept")
            members = [*members, *self._waiting.pop(bucket)]
            for member, _ in members:
                member.error = _told_to_one(error)
            asyncio.get_running_loop().call_soon(_tell, members)
        else:
            flight.add_done_callback(partial(self._landed, bucket, members))

    def _landed(self, bucket: str, members: list[_Waiting], flight: asyncio.Future[None]) -> None:
        waiting = self._waiting[bucket]
        if waiting:
            self._waiting[bucket] = waiting[MEMBERS_MAX:]
            self._go(bucket, waiting[:MEMBERS_MAX])
        else:
            del self._waiting[bucket]
        if (error := flight.exception()) is not None:  # a fault of ours: nobody waits for ever
            log.error("%d uploads were not kept", len(members), exc_info=error)
            for member, _ in members:
                member.error = member.error or Denied("internal_error")
        _tell(members)


def _told_to_one(error: Exception) -> Denied:
    """A refusal of its own: what is learned about a request is added to it."""
    return Denied(error.code, error.detail, **error.evidence) if isinstance(error, Denied) else Denied("internal_error")


def _tell(members: Sequence[_Waiting]) -> None:
    for member, told in members:
        try:
            told(member)
        except Exception:  # the others hear of theirs
            log.exception("an upload was kept or failed, and who waited for it could not be told")


def _settle(done: asyncio.Future[None], member: Member) -> None:
    if done.done():  # nobody waits any more
        return
    if member.error is None:
        done.set_result(None)
    else:
        done.set_exception(member.error)
