"""What a worker has of the owner: the same promises as beside it, kept over a channel.

Rule 1: a question is one await, and its answer or refusal is the owner's own. Claims that one turn of the loop brings
are one question.
Rule 2: revocations are not asked for: each worker holds all of them and says when it has heard of a change.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Charge, Use
from valetstore.owner import messages as m
from valetstore.policy.budget import Blocked
from valetstore.policy.revocation import Revocation, RevocationTable
from valetstore.replay.promise import Reservation, Told
from valetstore.replay.waiting import Waiting

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_Nothing = type(None)
_decode_refused = msgspec.msgpack.Decoder(dict[int, m.Refusal] | None).decode


class Asking:
    """Questions on their way, by number."""

    def __init__(self, send: Callable[[msgspec.Struct], None]) -> None:
        self.send = send
        self._waiting: dict[int, Callable[[m.Answered], None]] = {}
        self._number = 0

    def ask_soon(self, question: m.Question, told: Callable[[m.Answered], None]) -> None:
        """Call `told` with the answer, once it is there."""
        self._number += 1
        self._waiting[self._number] = told
        self.send(m.Asked(self._number, question))

    async def ask(self, question: m.Question, kind: type[Result]) -> Result:
        """The answer, as a `kind`; raises what the owner raised."""
        waiting: asyncio.Future[m.Answered] = asyncio.get_running_loop().create_future()

        def told(answer: m.Answered) -> None:
            if not waiting.done():
                waiting.set_result(answer)

        self.ask_soon(question, told)
        answer = await waiting
        if answer.refusal is not None:
            raise _denied(answer.refusal)
        return msgspec.msgpack.decode(answer.result, type=kind)

    def answered(self, answer: m.Answered) -> None:
        """The owner has answered; nobody may be waiting any more."""
        told = self._waiting.pop(answer.number, None)
        if told is not None:
            told(answer)


class RemoteReplaySet:
    """`ReplaySet`, asked of the owner."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._ask = asking.ask
        self._claims: list[tuple[Use, float]] = []
        self._told: list[Told] = []

    async def look(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Look(use, now), _Nothing)

    async def claim(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        waiting = Waiting()
        self.claim_soon(use, now, waiting.told)
        await waiting.end()

    def claim_soon(self, use: Use, now: float, told: Told) -> bool:
        """See ReplaySet. Never known at once."""
        if not self._claims:
            asyncio.get_running_loop().call_soon(self._ask_claims)
        self._claims.append((use, now))
        self._told.append(told)
        return False

    def _ask_claims(self) -> None:
        """All that this turn of the loop has brought."""
        claims, self._claims = self._claims, []
        waiting, self._told = self._told, []
        self._asking.ask_soon(m.Claim(tuple(claims)), partial(_tell_all, waiting))

    async def spend(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Spend(use, now), _Nothing)

    async def reserve(self, use: Use, now: float) -> Reservation:
        """See ReplaySet."""
        return await self._ask(m.Reserve(use, now), Reservation)

    async def renew(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Renew(reservation, now), _Nothing)

    async def committing(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Committing(reservation, now), _Nothing)

    async def commit(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Commit(reservation, now), _Nothing)

    async def release(self, reservation: Reservation) -> None:
        """See ReplaySet."""
        await self._ask(m.Release(reservation), _Nothing)


def _tell_all(waiting: list[Told], answer: m.Answered) -> None:
    """How each of many claims ended."""
    refused = _decode_refused(answer.result) or {}
    for place, told in enumerate(waiting):
        refusal = answer.refusal or refused.get(place)
        try:
            told(None if refusal is None else _denied(refusal))
        except Exception:  # it must not keep the news from the others
            log.exception("a claim was decided, and who waited for it could not be told")


def _denied(refusal: m.Refusal) -> Denied:
    code, detail, evidence = refusal
    return Denied(code, detail, **evidence)


class RemoteBudgets:
    """`Budgets`, asked of the owner; which addresses are blocked is known here."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self.blocked = Blocked()

    async def enter(self, charges: Sequence[Charge], now: float) -> None:
        """See Budgets."""
        await self._asking.ask(m.Enter(tuple(charges), now), _Nothing)

    def leave(self, charges: Sequence[Charge]) -> None:
        """See Budgets."""
        self._asking.send(m.Left(tuple(charges)))

    def failed(self, address: str, now: float) -> None:
        """See Budgets."""
        self._asking.send(m.Failed(address, now))

    def check(self, address: str, now: float) -> None:
        """See Budgets."""
        self.blocked.check(address, now)


class RemoteRevocations:
    """The worker's copy of all revocations, and the way to ask for more."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self.table = RevocationTable()

    async def add(self, wanted: Revocation) -> tuple[Revocation, bool]:
        """See RevocationStore."""
        return await self._asking.ask(m.Revoke(wanted), tuple[Revocation, bool])

    async def undo(self, entry_id: str) -> bool:
        """See RevocationStore."""
        return await self._asking.ask(m.Undo(entry_id), bool)

    def changed(self, change: m.Changed) -> None:
        """The owner says what is in force."""
        for id_ in change.removed:
            self.table.remove(id_)
        for revocation in change.added:
            if self.table.get(revocation.id) is None:  # a worker that starts may hear of one twice
                self.table.add(revocation)
        self.table.trouble = change.trouble
        self._asking.send(m.Done(change.number))
