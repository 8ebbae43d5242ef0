"""Session: one worker's part in what is single, on the owner's side.

Rule 1: a worker that is gone has nothing any more: uses it had set aside come back at once, transfers too. What it
was committing stays spent, since nobody can know whether it was published; an upload in parts goes on in any worker,
and whoever ends it has the reservation.
Rule 2: whatever a question raises becomes its answer; nothing a worker sends can end the owner.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from valetstore.errors import Denied
from valetstore.owner import messages as m
from valetstore.owner.revocations import RevocationStore
from valetstore.policy.budget import BudgetBook
from valetstore.policy.revocation import Revocation
from valetstore.replay.promise import ReplaySet, Reservation

log = logging.getLogger(__name__)

_encode: Final = msgspec.msgpack.encode
_NOTHING: Final = msgspec.Raw(_encode(None))


class Session:
    """Answers one worker. `send` takes the owner's words to it."""

    def __init__(
        self,
        replay: ReplaySet,
        revocations: RevocationStore,
        budgets: BudgetBook,
        send: Callable[[msgspec.Struct], None],
    ) -> None:
        self._replay = replay
        self._revocations = revocations
        self._budgets = budgets.session()
        self._send = send
        self._held: dict[int, Reservation] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._is_over = False

    def asked(self, asked: m.Asked) -> None:
        """Answer, soon."""
        if isinstance(asked.question, m.Claim):  # of which there are many, and none needs a task of its own
            _Claims(asked.number, asked.question, self._replay, self._send)
            return
        task = asyncio.get_running_loop().create_task(self._answer(asked))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def left(self, left: m.Left) -> None:
        """A request of that worker is over."""
        self._budgets.leave(left.charges)

    def failed(self, failed: m.Failed) -> float:
        """A verification failed there; the time until which that address is refused from now on, 0 for none."""
        return self._budgets.failed(failed.address, failed.now)

    async def end(self) -> None:
        """The worker is gone, surely: none of its threads can still publish."""
        self._is_over = True
        await asyncio.gather(*self._answering, return_exceptions=True)
        self._budgets.close()
        held, self._held = list(self._held.values()), {}
        for reservation in held:
            with suppress(Denied):
                await self._replay.release(reservation)

    async def _answer(self, asked: m.Asked) -> None:
        question = asked.question
        try:
            result = await _PERFORM[type(question)](self, question)
        except Denied as denied:
            self._send(m.Answered(asked.number, refusal=_refusal(denied)))
        except Exception:
            log.exception("%s could not be answered", type(question).__name__)
            self._send(m.Answered(asked.number, refusal=_FAULT))
        else:
            raw = _NOTHING if result is None else msgspec.Raw(_encode(result))
            self._send(m.Answered(asked.number, raw))

    async def _look(self, q: m.Look) -> None:
        await self._replay.look(q.use, q.now)

    async def _spend(self, q: m.Spend) -> None:
        await self._replay.spend(q.use, q.now)

    async def _reserve(self, q: m.Reserve) -> Reservation:
        reservation = await self._replay.reserve(q.use, q.now)
        if not reservation.free:
            self._held[reservation.id] = reservation
        return reservation

    async def _renew(self, q: m.Renew) -> None:
        await self._replay.renew(q.reservation, q.now)

    async def _committing(self, q: m.Committing) -> None:
        # First: from the moment it may be durable, nobody but the worker itself can say that nothing was published.
        self._held.pop(q.reservation.id, None)
        await self._replay.committing(q.reservation, q.now)

    async def _commit(self, q: m.Commit) -> None:
        await self._replay.commit(q.reservation, q.now)

    async def _release(self, q: m.Release) -> None:
        self._held.pop(q.reservation.id, None)
        await self._replay.release(q.reservation)

    async def _enter(self, q: m.Enter) -> None:
        if self._is_over:
            return
        await self._budgets.enter(q.charges, q.now)

    async def _revoke(self, q: m.Revoke) -> tuple[Revocation, bool]:
        return await self._revocations.add(q.wanted)

    async def _undo(self, q: m.Undo) -> bool:
        return await self._revocations.undo(q.id)


class _Claims:
    """Claims that came together and are answered together. Nothing but their log is waited for."""

    __slots__ = ("_left", "_number", "_refused", "_send")

    def __init__(self, number: int, asked: m.Claim, replay: ReplaySet, send: Callable[[msgspec.Struct], None]) -> None:
        self._number = number
        self._send = send
        self._refused: dict[int, m.Refusal] = {}
        self._left = len(asked.claims)
        for place, (use, now) in enumerate(asked.claims):
            try:
                if replay.claim_soon(use, now, partial(self._told, place)):
                    self._told(place, None)
            except Denied as denied:
                self._told(place, denied)
            except Exception:
                log.exception("a claim could not be answered")
                self._end(place, _FAULT)

    def _told(self, place: int, denied: Denied | None) -> None:
        self._end(place, None if denied is None else _refusal(denied))

    def _end(self, place: int, refusal: m.Refusal | None) -> None:
        if refusal is not None:
            self._refused[place] = refusal
        self._left -= 1
        if not self._left:
            result = msgspec.Raw(_encode(self._refused)) if self._refused else _NOTHING
            self._send(m.Answered(self._number, result))


def _refusal(denied: Denied) -> m.Refusal:
    evidence = {name: value for name, value in denied.evidence.items() if isinstance(value, _PLAIN)}
    return denied.code, denied.detail, evidence


_FAULT: Final = ("internal_error", "", dict[str, Any]())

_PLAIN: Final = (str, int, float, bool)

_PERFORM: Final[Mapping[type, Callable[[Session, Any], Awaitable[Any]]]] = {
    m.Look: Session._look,
    m.Spend: Session._spend,
    m.Reserve: Session._reserve,
    m.Renew: Session._renew,
    m.Committing: Session._committing,
    m.Commit: Session._commit,
    m.Release: Session._release,
    m.Enter: Session._enter,
    m.Revoke: Session._revoke,
    m.Undo: Session._undo,
}
