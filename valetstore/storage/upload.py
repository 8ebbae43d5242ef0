"""The half of an upload that waits: bytes from the network are gathered into batches for the threads.

Rule 1: one batch is hashed and written while the next is gathered; memory holds two, whatever the size.
Rule 2: a small upload touches no thread before `seal`.
Rule 3: `abort` may come at any point, also while a thread is still writing for a task that was cancelled.
"""

import asyncio
from typing import Final

from valetstore.conditions import Conditions
from valetstore.errors import Denied
from valetstore.storage.draft import Draft
from valetstore.storage.pool import Pool
from valetstore.storage.promise import LastCheck, Metadata, ObjectInfo

BATCH_BYTES: Final = 256 * 1024
"""What arrives at once is often more: a batch is this or one read, so some uploads hold a MiB, not four."""
SMALL_BYTES_MAX: Final = 64 * 1024
"""Hashing this much on the event loop (0.1 ms) costs less than the way to a thread and back."""


class DiskUpload:
    """`promise.Upload` on a disk."""

    def __init__(self, pool: Pool, draft: Draft) -> None:
        self._pool = pool
        self._draft = draft
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
            self._flight = self._pool.start("write", self._draft.take, self._unloaded())

    async def finish(self) -> dict[str, bytes]:
        """The digests of all bytes. A small upload's bytes stay in memory until `seal`."""
        if self._digests is None:
            if self._flight is None and self._batch_bytes <= SMALL_BYTES_MAX:
                self._draft.hash(self._batch)
            else:
                await self._landed()
                if self._batch:
                    self._flight = self._pool.start("write", self._draft.take, self._unloaded())
                    await self._landed()
            self._digests = self._draft.digests()
        return self._digests

    async def seal(self, metadata: Metadata) -> ObjectInfo:
        """Bytes and metadata are durable. Raises `metadata_too_large`, `storage_full`, `storage_error`."""
        await self.finish()
        return await self._pool.run("write", self._draft.seal, self._unloaded(), metadata)

    async def publish(self, conditions: Conditions, *, create_only: bool, last: LastCheck | None = None) -> bool:
        """The name, durably; a task that is cancelled here does not know whether it came to be."""
        created = await self._pool.run("write", self._publish, conditions, create_only, last)
        self._is_over = True
        return created

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
