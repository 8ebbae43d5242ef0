"""Lease: one use of a key, held around work that may fail (an upload, a delete).

async with Lease(replay, admission.use, clock) as lease:
    ...                      # a failure here gives the use back
    await lease.committing() # from here on a crash leaves the key used
    ...                      # publish
    await lease.commit()
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.promise import LEASE_SECONDS, ReplaySet, Reservation

Result = TypeVar("Result")


class Lease:
    """A use set aside, for keys whose uses are limited; for others (use None) everything is free.

    `clock` gives seconds since the epoch: a transfer lasts, so one reading would not do.
    """

    def __init__(self, replay: ReplaySet, use: Use | None, clock: Callable[[], float]) -> None:
        self._replay = replay
        self._use = use
        self._clock = clock
        self._reservation: Reservation | None = None
        self._renew_at = 0.0
        self._is_committing = False
        self._settled = False

    @property
    def reservation(self) -> Reservation | None:
        """The use that is set aside; None where nothing is limited."""
        return self._reservation

    async def __aenter__(self) -> Self:
        """Reserve; raises `key_used`, `replay_unavailable`."""
        if self._use is not None:
            now = self._clock()
            self._reservation = await self._replay.reserve(self._use, now)
            self._renew_at = now + LEASE_SECONDS / 3
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the use back, unless it was committed or nobody can know whether it was: then it is spent."""
        if self._reservation is None or self._settled:
            return
        # A store says where it may have published all the same; of anything else that is not a refusal nobody knows.
        unknown = not isinstance(error, Denied) or error.evidence.get("unsure") is True
        if not (self._is_committing and unknown):
            await self._replay.release(self._reservation)
        else:
            with suppress(Denied):  # what went wrong is told by the error on its way out
                await self.commit()

    async def keep(self) -> None:
        """Call while bytes arrive: renews when it is time. Raises `key_used` where the lease was lost."""
        if self._reservation is not None:
            now = self._clock()
            if now >= self._renew_at:
                await self._replay.renew(self._reservation, now)
                self._renew_at = now + LEASE_SECONDS / 3

    async def during(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for work of our own, which may take longer than a lease: it is renewed meanwhile. Raises as `keep`."""
        if self._reservation is None:
            return await work
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait((task,), timeout=LEASE_SECONDS / 3)
                await self.keep()
            return await task
        finally:
            if not task.done():  # cancelled, or the lease is lost: nothing goes on behind the caller's back
                task.cancel()
                await asyncio.wait((task,))
            if not task.cancelled():
                task.exception()  # known: what ended this wait is told instead

    async def committing(self) -> None:
        """Durable, before anything is published."""
        if self._reservation is not None:
            await self._replay.committing(self._reservation, self._clock())
            self._is_committing = True

    def hand_over(self) -> Reservation | None:
        """After `committing`: the work goes on in another request, which commits the reservation or gives it back.

        It does not lapse; without either the use is spent, as one whose worker died. None where nothing is limited.
        """
        if self._reservation is not None and not self._is_committing:
            raise RuntimeError("what may lapse cannot be handed over")
        self._settled = True
        return self._reservation

    async def commit(self) -> None:
        """The work is done, the use spent."""
        self._settled = True  # first: whatever becomes of this call, what was published is not given back
        if self._reservation is not None:
            await self._replay.commit(self._reservation, self._clock())
