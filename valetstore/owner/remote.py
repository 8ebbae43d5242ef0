"""What a worker has of the owner: the same promises as beside it, kept over a channel.

Rule 1: a question is one await, and its answer or refusal is the owner's own.
Rule 2: revocations are not asked for: each worker holds all of them and says when it has heard of a change.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Charge, Use
from valetstore.owner import messages as m
from valetstore.policy.budget import Blocked
from valetstore.policy.revocation import Revocation, RevocationTable
from valetstore.replay.promise import Reservation

Result = TypeVar("Result")
_Nothing = type(None)


class Asking:
    """Questions on their way, by number."""

    def __init__(self, send: Callable[[msgspec.Struct], None]) -> None:
        self.send = send
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._number = 0

    async def ask(self, question: m.Question, kind: type[Result]) -> Result:
        """The answer, as a `kind`; raises what the owner raised."""
        self._number += 1
        answer: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        self.send(m.Asked(self._number, question))
        raw = await answer
        return msgspec.msgpack.decode(raw, type=kind)

    def answered(self, answer: m.Answered) -> None:
        """The owner has answered; nobody may be waiting any more."""
        waiting = self._waiting.pop(answer.number, None)
        if waiting is None or waiting.done():
            return
        if answer.refusal is None:
            waiting.set_result(answer.result)
        else:
            code, detail, evidence = answer.refusal
            waiting.set_exception(Denied(code, detail, **evidence))


class RemoteReplaySet:
    """`ReplaySet`, asked of the owner."""

    def __init__(self, asking: Asking) -> None:
        self._ask = asking.ask

    async def look(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Look(use, now), _Nothing)

    async def claim(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        await self._ask(m.Claim(use, now), _Nothing)

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
