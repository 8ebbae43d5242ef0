"""The half of an upload that waits: bytes from the network are gathered into batches for the threads.

Rule 1: one batch is hashed and written while the next is gathered; memory holds two, whatever the size.
Rule 2: a small upload touches no thread before `seal`.
Rule 3: `abort` may come at any point, also while a thread is still writing for a task that was cancelled.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from valetstore.conditions import NONE, Conditions
from valetstore.errors import Denied
from valetstore.storage.draft import STEP_SECONDS, Draft
from valetstore.storage.place import ObjectPlace
from valetstore.storage.pool import Pool
from valetstore.storage.promise import Completed, LastCheck, Metadata, ObjectInfo, OpenObject, ReadInto, Stretch
from valetstore.storage.together import Groups, Member, ToName, ToSeal

BATCH_BYTES: Final = 256 * 1024
"""What arrives at once is often more: a batch is this or one read, so some uploads hold a MiB, not four."""
SMALL_BYTES_MAX: Final = 64 * 1024
"""Hashing this much on the event loop (0.1 ms) costs less than the way to a thread and back."""

Told = Callable[[Completed | None, BaseException | None], None]
"""Hears what became of an upload: one of both."""


class DiskUpload:
    """`promise.Upload` on a disk. Where it is told its `place` and the `groups`, it is kept in one if it is small."""

    def __init__(
        self, pool: Pool, draft: Draft, place: ObjectPlace | None = None, groups: Groups | None = None
    ) -> None:
        self._pool = pool
        self._draft = draft
        self._groups = groups
        self._place = place
        self._is_small = True  # nothing was written before `seal`
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._flight: asyncio.Future[None] | None = None
        self._digests: dict[str, bytes] | None = None
        self._is_over = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes; waits while a batch is being written and another is full."""
        if not data:
            return
        self._batch.append(data)
        self._batch_bytes += len(data)
        if self._batch_bytes >= BATCH_BYTES:
            await self._landed()
            self._take()

    def _take(self) -> None:
        self._is_small = False
        self._flight = self._pool.start("write", self._draft.take, self._unloaded())

    async def pull(self, read_into: ReadInto, count: int) -> int:
        """Take up to `count` next bytes from `read_into`, in a thread, until it has none; how many."""
        await self._landed()
        self._is_small = False
        async with self._pool.turns.of(self._draft.bucket):
            return await self._pool.run("write", self._draft.pull, self._unloaded(), read_into, count)

    async def copy(self, source: int, stretch: Stretch) -> None:
        """Take a stretch of an open file, a moment at a time. Raises `storage_error` where it ends early."""
        self._is_small = False
        start, left = stretch
        while left:
            copied = await self._pool.run_on("write", source, partial(self._copy, start, left))
            if not copied:
                raise Denied("storage_error", reason="the source ends early", missing=left)
            start += copied
            left -= copied

    def know(self, digests: Mapping[str, bytes]) -> None:
        """These are those of all its bytes."""
        self._draft.know(digests)

    def _copy(self, start: int, count: int, source: int) -> int:
        return self._draft.copy(source, start, count, time.monotonic() + STEP_SECONDS)

    async def finish(self) -> dict[str, bytes]:
        """The digests of all bytes. A small upload's bytes stay in memory until `seal`."""
        if self._digests is None:
            if self._is_small and self._batch_bytes <= SMALL_BYTES_MAX:
                self._draft.hash(self._batch)
            else:
                await self._landed()
                if self._batch:
                    self._take()
                    await self._landed()
            self._digests = self._draft.digests()
        return self._digests

    async def seal(self, metadata: Metadata) -> ObjectInfo:
        """Bytes and metadata are durable. Raises `metadata_too_large`, `storage_full`, `storage_error`."""
        await self.finish()
        rest = self._unloaded()
        member = await self._together(ToSeal(rest, metadata), None)
        if member is not None and member.info is not None:
            return member.info
        return await self._pool.run("write", self._draft.seal, rest, metadata)

    async def publish(self, conditions: Conditions, *, create_only: bool, last: LastCheck | None = None) -> bool:
        """The name, durably; a task that is cancelled here does not know whether it came to be."""
        member = await self._together(None, ToName(conditions, create_only, last))
        if member is not None:
            created = member.created
        else:
            created = await self._pool.run("write", self._publish, conditions, create_only, last)
        self._is_over = True
        return created

    async def complete(
        self, metadata: Metadata, conditions: Conditions, *, create_only: bool, last: LastCheck | None = None
    ) -> Completed:
        """Both, on one way to a thread and back."""
        await self.finish()
        rest = self._unloaded()
        naming = ToName(conditions, create_only, last)
        member = await self._together(ToSeal(rest, metadata), naming)
        if member is not None and member.info is not None:
            completed = Completed(member.info, member.created)
        else:
            completed = await self._pool.run("write", self._complete, rest, metadata, naming)
        self._is_over = True
        return completed

    # --- a small body that is here already, without a wait -------------------------------------------

    def take_whole(self, body: bytes) -> dict[str, bytes]:
        """A body of up to SMALL_BYTES_MAX, all of it, in place of `write` and `finish`: the digests asked for."""
        self._batch, self._batch_bytes = [body], len(body)
        self._draft.hash(self._batch)
        self._digests = self._draft.digests()
        return self._digests

    def complete_soon(self, metadata: Metadata, last: LastCheck, told: Told) -> None:
        """`complete` without conditions of what was taken whole. `told` is called later, once, by the event loop.

        It must raise nothing; where it hears of an error, `abort` must follow.
        """
        assert self._groups is not None
        assert self._place is not None
        naming = ToName(NONE, create_only=False, last=last)
        member = Member(self._draft, self._place, ToSeal(self._unloaded(), metadata), naming)
        self._groups.join(member, partial(self._completed, told))

    def _completed(self, told: Told, member: Member) -> None:
        if member.error is None and member.info is not None:
            self._is_over = True
            told(Completed(member.info, member.created), None)
        else:
            told(None, member.error or RuntimeError("nothing was sealed"))

    def forget(self) -> None:
        """`abort` for what was taken whole, and was not asked to be completed."""
        self._is_over = True
        self._batch.clear()
        self._draft.drop()

    async def _together(self, sealing: ToSeal | None, naming: ToName | None) -> Member | None:
        """Do it in a group, if this upload is one for a group."""
        if self._groups is None or self._place is None or not self._is_small:
            return None
        member = Member(self._draft, self._place, sealing, naming)
        await self._groups.keep(member)
        return member

    def _complete(self, rest: list[bytes], metadata: Metadata, naming: ToName) -> Completed:
        info = self._draft.seal(rest, metadata)
        return Completed(info, self._publish(*naming))

    def _publish(self, conditions: Conditions, create_only: bool, last: LastCheck | None) -> bool:
        if last is not None:  # here, since threads may have been busy for a while
            last()
        return self._draft.publish(conditions, create_only)

    async def abort(self) -> None:
        """Forget everything, after the thread that may still be at it."""
        if self._is_over:
            return
        self._is_over = True
        self._batch.clear()
        if self._flight is not None:
            self._flight.add_done_callback(_look_away)
        try:
            await self._pool.run("write", self._draft.drop)
        except Denied:  # the store was closed, its threads with it
            self._draft.drop()

    async def _landed(self) -> None:
        if self._flight is not None:
            # Shielded: a cancelled wait must not cancel the batch, or the next one would follow a hole.
            await asyncio.shield(self._flight)

    def _unloaded(self) -> list[bytes]:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        return batch


def _look_away(flight: asyncio.Future[None]) -> None:
    """The error of a batch nobody waits for any more is not worth a warning."""
    if not flight.cancelled():
        flight.exception()


_BATCH_OF_A_COPY_BYTES: Final = 2**20


def carried(source: OpenObject, stretch: Stretch | None, wanted: frozenset[str]) -> dict[str, bytes]:
    """The digests of a copy that need no reading, as its source has them: those that are `wanted`, or any where none
    are. {} where it must be read.

    They are what the source was when it came: rot in it stays rot in the copy, for a scrub to find.
    """
    info = source.info
    is_whole = stretch in (None, Stretch(0, info.size))
    if not is_whole or not wanted <= info.digests.keys():
        return {}
    return {name: info.digests[name] for name in wanted or info.digests}


async def fill(
    upload: DiskUpload, source: OpenObject, stretch: Stretch | None, known: Mapping[str, bytes]
) -> DiskUpload:
    """Take the bytes of an object, or a stretch of it; `known` are their digests where `carried` gave them.

    Where it fails the upload is aborted. Raises `range_not_satisfiable`, `storage_unavailable` where somebody has
    edited the source's file meanwhile, and what `write` raises.
    """
    wanted = stretch or Stretch(0, source.info.size)
    try:
        if wanted.start + wanted.length > source.info.size:
            raise Denied("range_not_satisfiable")
        fd = source.fileno()
        if fd is None:
            await _read_over(upload, source, wanted)
        else:
            await upload.copy(fd, wanted)
        if known:
            _check_unchanged(source)
            upload.know(known)
    except BaseException:
        await upload.abort()
        raise
    return upload


def _check_unchanged(source: OpenObject) -> None:
    fd = source.fileno()
    state = os.fstat(fd) if fd is not None else None
    if state and (state.st_size, state.st_mtime_ns) != (source.info.size, source.info.modified_ns):
        raise Denied("storage_unavailable", reason="the source was edited while it was copied")


async def _read_over(upload: DiskUpload, source: OpenObject, stretch: Stretch) -> None:
    offset, left = stretch
    while left:
        data = await source.read(offset, min(_BATCH_OF_A_COPY_BYTES, left))
        if not data:
            raise Denied("storage_error", reason="the source ends early", missing=left)
        await upload.write(data)
        offset += len(data)
        left -= len(data)
