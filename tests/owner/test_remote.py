"""What a worker has of the owner keeps the owner's promises, and what a dead worker had comes back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.minting import NOW, refused
from tests.replay.contract import LONG_AFTER, ReplaySetContract, code, use
from valetstore.errors import Denied
from valetstore.grants.grant import Budget, Charge, Use
from valetstore.owner import messages as m
from valetstore.owner.channel import Channel
from valetstore.owner.remote import Asking, RemoteBudgets, RemoteReplaySet, RemoteRevocations
from valetstore.owner.revocations import RevocationStore
from valetstore.owner.session import Session
from valetstore.policy.budget import BudgetBook
from valetstore.policy.revocation import Revocation
from valetstore.replay.logged import LoggedReplaySet
from valetstore.replay.memory import MemoryReplaySet
from valetstore.replay.promise import CountedReplaySet

CHARGE = Charge(b"somebody".ljust(16), Budget(transfers=2))


class Owning:
    """An owner in this process, and workers at the ends of real socket pairs."""

    def __init__(self, replay: CountedReplaySet, revocations: RevocationStore) -> None:
        self.replay = replay
        self.budgets = BudgetBook()
        self.revocations = revocations
        self.sessions: list[Session] = []

    async def worker(self) -> tuple["Counted", RemoteBudgets, RemoteRevocations, Session]:
        """Another worker."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        owning: Channel[Any] = Channel(m.FromWorker, lambda message: _heard(session, message), lambda: None)
        session = Session(self.replay, self.revocations, self.budgets, owning.send)
        self.sessions.append(session)
        working: Channel[Any] = Channel(m.FromOwner, lambda message: asking.answered(message), lambda: None)
        asking = Asking(working.send)
        await loop.create_unix_connection(lambda: owning, sock=ours)
        await loop.create_unix_connection(lambda: working, sock=theirs)
        return Counted(asking, self.replay), RemoteBudgets(asking), RemoteRevocations(asking), session


def _heard(session: Session, message: m.FromWorker) -> None:
    match message:
        case m.Asked():
            session.asked(message)
        case m.Left():
            session.left(message)


class Counted(RemoteReplaySet):
    """A worker's replay set; how full it is, only the owner knows."""

    def __init__(self, asking: Asking, replay: CountedReplaySet) -> None:
        super().__init__(asking)
        self._replay = replay

    def entries(self) -> int:
        """See CountedReplaySet."""
        return self._replay.entries()


class TestRemoteReplaySet(ReplaySetContract):
    @asynccontextmanager
    async def open(self, entries_max: int = 100, skew: float = 10) -> AsyncIterator[CountedReplaySet]:
        owning = Owning(MemoryReplaySet(entries_max, skew), RevocationStore.__new__(RevocationStore))
        replay, *_ = await owning.worker()
        yield replay


def played(story: Callable[[Owning], Any]) -> None:
    async def play() -> None:
        await story(Owning(MemoryReplaySet(100), RevocationStore.__new__(RevocationStore)))

    asyncio.run(play())


def test_of_many_workers_claiming_at_once_one_has_the_use() -> None:
    async def story(owning: Owning) -> None:
        workers = [await owning.worker() for _ in range(4)]
        ends = await asyncio.gather(*(code(workers[n % 4][0].claim(use(), NOW)) for n in range(200)))
        assert sorted(ends) == ["key_used"] * 199 + ["ok"]

    played(story)


def test_what_one_turn_of_a_workers_loop_claims_is_one_question_and_one_answer() -> None:
    async def story(owning: Owning) -> None:
        replay, *_ = await owning.worker()
        sent: list[Any] = []
        real = replay._asking.send

        def counted(message: Any) -> None:
            sent.append(message)
            real(message)

        replay._asking.send = counted
        await replay.claim(use("3"), NOW)
        ends = await asyncio.gather(*(code(replay.claim(use(str(n % 50)), NOW)) for n in range(100)))
        assert [place for place, end in enumerate(ends) if end != "ok"] == [3, *range(50, 100)]
        assert [len(message.question.claims) for message in sent] == [1, 100]

    played(story)


def test_each_claim_that_came_with_others_has_its_own_refusal_and_evidence() -> None:
    async def story(owning: Owning) -> None:
        replay, *_ = await owning.worker()
        ends: list[Any] = []
        asked = [use("a"), use("a"), Use(b"too short", 1, 0, "", NOW + 60), use("gone", life=-LONG_AFTER), use("b")]
        for one in asked:
            assert not replay.claim_soon(one, NOW, ends.append)
        assert ends == []
        while len(ends) < len(asked):
            await asyncio.sleep(0)
        assert [end.code if end else "ok" for end in ends] == [
            *("ok", "key_used", "internal_error", "replay_unavailable", "ok")
        ]
        assert ends[3].evidence["retry_after"] == 5

    played(story)


def test_an_answer_that_refuses_a_whole_question_refuses_each_of_its_claims() -> None:
    async def story() -> None:
        sent: list[Any] = []
        asking = Asking(sent.append)
        calls = [asyncio.ensure_future(code(RemoteReplaySet(asking).claim(use(name), NOW))) for name in "ab"]
        while len(sent) < 2:
            await asyncio.sleep(0)
        for message in sent:
            asking.answered(m.Answered(message.number, refusal=("internal_error", "", {})))
        assert await asyncio.gather(*calls) == ["internal_error"] * 2

    asyncio.run(story())


def test_claims_of_a_worker_that_dies_while_they_are_logged_are_used(tmp_path: Path) -> None:
    async def story() -> None:
        logged = LoggedReplaySet(tmp_path, 100)
        logged.open(expected=False)
        owning = Owning(logged, RevocationStore.__new__(RevocationStore))
        *_, session = await owning.worker()
        session.asked(m.Asked(1, m.Claim(tuple((use(name), NOW) for name in "abc"))))
        await session.end()
        await logged.close()
        assert logged.entries() == 3

    asyncio.run(story())


def test_what_a_dead_worker_had_reserved_comes_back_and_what_it_was_committing_does_not() -> None:
    async def story(owning: Owning) -> None:
        dying, _, _, session = await owning.worker()
        living, *_ = await owning.worker()
        reserved = await dying.reserve(use("reserved"), NOW)
        committing = await dying.reserve(use("committing"), NOW)
        await dying.committing(committing, NOW)
        assert reserved.id != committing.id
        with refused("key_used"):
            await living.claim(use("reserved"), NOW)
        await session.end()
        await living.claim(use("reserved"), NOW)
        with refused("key_used"):
            await living.claim(use("committing"), NOW)

    played(story)


def test_what_a_dead_worker_was_committing_may_be_given_back_or_committed_by_another_that_knows_the_reservation() -> (
    None
):
    """An upload in parts is begun in one worker and completed or given up in any."""

    async def story(owning: Owning) -> None:
        dying, _, _, session = await owning.worker()
        living, *_ = await owning.worker()
        given_up, completed = [await dying.reserve(use(name), NOW) for name in ("given up", "completed")]
        for held in (given_up, completed):
            await dying.committing(held, NOW)
        await session.end()
        for name in ("given up", "completed"):
            with refused("key_used"):
                await living.look(use(name), NOW)
        await living.release(given_up)
        await living.commit(completed, NOW)
        await living.release(completed)
        await living.claim(use("given up"), NOW)
        with refused("key_used"):
            await living.claim(use("completed"), NOW)

    played(story)


def test_a_dead_workers_transfers_return_and_no_one_elses() -> None:
    async def story(owning: Owning) -> None:
        _, dying, _, session = await owning.worker()
        _, living, *_ = await owning.worker()
        await dying.enter((CHARGE,), NOW)
        await living.enter((CHARGE,), NOW)
        for budgets in (dying, living):
            with refused("rate_limited"):
                await budgets.enter((CHARGE,), NOW)
        await session.end()
        await living.enter((CHARGE,), NOW)
        with refused("rate_limited"):
            await living.enter((CHARGE,), NOW)
        living.leave((CHARGE,))
        await living.enter((CHARGE,), NOW)

    played(story)


def test_a_refusal_arrives_with_its_evidence() -> None:
    async def story(owning: Owning) -> None:
        _, budgets, *_ = await owning.worker()
        for _ in range(2):
            await budgets.enter((CHARGE,), NOW)
        with pytest.raises(Denied) as caught:
            await budgets.enter((CHARGE,), NOW)
        assert caught.value.evidence["retry_after"] == 1

    played(story)


def test_a_fault_of_the_owner_refuses_one_request_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def story(owning: Owning) -> None:
        replay, _, revocations, _ = await owning.worker()
        with refused("internal_error"):
            await revocations.undo("1")  # the store was never opened
        assert "Undo could not be answered" in caplog.text
        await replay.claim(use(), NOW)

    played(story)


def test_a_change_heard_twice_counts_once() -> None:
    """A worker that starts hears of what comes into force meanwhile from both sides."""
    sent: list[Any] = []
    revocations = RemoteRevocations(Asking(sent.append))
    entry = Revocation("1a2000f0f33", "subject", "alice", created_at=NOW)
    revocations.changed(m.Changed(0, (entry,)))
    revocations.changed(m.Changed(1, (entry,)))
    assert len(revocations.table) == 1
    revocations.changed(m.Changed(2, (), ("1a2000f0f33",), "the log is gone"))
    assert (len(revocations.table), revocations.table.trouble) == (0, "the log is gone")
    assert [done.number for done in sent] == [0, 1, 2]
