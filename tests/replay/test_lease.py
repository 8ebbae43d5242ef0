"""A use held around an upload: given back where nothing was published, spent where something may have been."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from tests.minting import NOW, refused
from tests.replay.contract import LONG_AFTER, code, use
from valetstore.errors import REFUSALS, Denied
from valetstore.grants.grant import Use
from valetstore.replay import lease as lease_module
from valetstore.replay.lease import Lease
from valetstore.replay.memory import MemoryReplaySet
from valetstore.replay.promise import LEASE_SECONDS


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Scene:
    """A set, a clock, and leases on one key that may be used once."""

    def __init__(self) -> None:
        self.replay = MemoryReplaySet(10, 10)
        self.clock = Clock()

    def lease(self, held: Use | None = None) -> Lease:
        return Lease(self.replay, held or use(life=1000), self.clock)

    async def is_used(self) -> bool:
        return await code(self.replay.look(use(life=1000), self.clock.now)) == "key_used"


def play(story: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(Scene()))


async def fail(lease: Lease, error: BaseException, *, committing: bool) -> None:
    """An upload that ends with this error."""

    async def upload() -> None:
        async with lease:
            if committing:
                await lease.committing()
            raise error

    with pytest.raises(type(error)):
        await upload()


def test_a_commit_spends_the_use() -> None:
    async def story(scene: Scene) -> None:
        async with scene.lease() as lease:
            assert await scene.is_used()
            await lease.committing()
            await lease.commit()
        assert await scene.is_used()
        with refused("key_used"):
            async with scene.lease():
                pytest.fail("the use was there twice")

    play(story)


def test_what_is_handed_over_outlives_its_lease() -> None:
    """Neither given back nor settled: the request that goes on does either, with the reservation it was told of."""

    async def story(scene: Scene) -> None:
        for is_committed in (False, True):
            async with scene.lease() as lease:
                await lease.committing()
                held = lease.hand_over()
                assert held is not None
                assert held == lease.reservation
            scene.clock.now += 10 * LEASE_SECONDS
            assert await scene.is_used()
            if is_committed:
                await scene.replay.commit(held, scene.clock.now)
            await scene.replay.release(held)
            assert await scene.is_used() == is_committed

    play(story)


def test_what_may_lapse_is_not_handed_over() -> None:
    async def story(scene: Scene) -> None:
        with pytest.raises(RuntimeError):
            async with scene.lease() as lease:
                lease.hand_over()

    play(story)


def test_where_nothing_is_limited_nothing_is_handed_over() -> None:
    async def story(scene: Scene) -> None:
        async with Lease(scene.replay, None, scene.clock) as lease:
            assert lease.hand_over() is None

    play(story)


ERRORS: list[BaseException] = [
    *(Denied(refusal) for refusal in REFUSALS),
    Denied("storage_error", unsure=True),
    Denied("storage_unavailable", unsure=True),
    ConnectionResetError(),
    OSError(5, "EIO"),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
    RuntimeError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_before_committing_every_failure_gives_the_use_back(error: BaseException) -> None:
    async def story(scene: Scene) -> None:
        await fail(scene.lease(), error, committing=False)
        assert not await scene.is_used()

    play(story)


KNOWN = sorted(REFUSALS)


@pytest.mark.parametrize("refusal", KNOWN)
def test_a_publish_that_was_refused_gives_the_use_back(refusal: str) -> None:
    async def story(scene: Scene) -> None:
        await fail(scene.lease(), Denied(refusal), committing=True)
        assert not await scene.is_used()

    play(story)


UNKNOWN = [error for error in ERRORS if not isinstance(error, Denied) or "unsure" in error.evidence]


@pytest.mark.parametrize("error", UNKNOWN, ids=repr)
def test_a_publish_that_may_have_happened_does_not(error: BaseException) -> None:
    async def story(scene: Scene) -> None:
        await fail(scene.lease(), error, committing=True)
        assert await scene.is_used()

    play(story)


@pytest.mark.parametrize("error", UNKNOWN, ids=repr)
def test_and_its_entry_is_dropped_once_the_key_has_ended(error: BaseException) -> None:
    async def story(scene: Scene) -> None:
        await fail(scene.lease(), error, committing=True)
        await scene.replay.look(use("other", life=3 * LONG_AFTER), NOW + LONG_AFTER)
        assert scene.replay.entries() == 0

    play(story)


def test_what_was_published_stays_used_even_if_the_commit_cannot_be_told() -> None:
    """The object has its name by then: a clock that goes back must not open the key again."""

    async def story(scene: Scene) -> None:
        with refused("replay_unavailable"):
            async with scene.lease() as lease:
                await lease.committing()
                scene.clock.now -= 3600
                await lease.commit()
        scene.clock.now += 3600
        assert await scene.is_used()

    play(story)


def test_leaving_without_a_commit_gives_the_use_back_unless_it_was_committing() -> None:
    async def story(scene: Scene) -> None:
        async with scene.lease():
            pass
        assert not await scene.is_used()
        async with scene.lease() as lease:
            await lease.committing()
        assert await scene.is_used()

    play(story)


def test_a_slow_upload_keeps_its_use_while_bytes_arrive() -> None:
    async def story(scene: Scene) -> None:
        async with scene.lease() as lease:
            for _ in range(100):
                scene.clock.now += LEASE_SECONDS / 2
                await lease.keep()
                assert await scene.is_used()
            await lease.committing()
            await lease.commit()

    play(story)


def test_an_upload_that_stopped_for_too_long_has_lost_its_use_to_another() -> None:
    async def story(scene: Scene) -> None:
        with refused("key_used"):
            async with scene.lease() as lease:
                scene.clock.now += LEASE_SECONDS + 1
                await scene.replay.claim(use(life=1000), scene.clock.now)
                await lease.keep()
        assert await scene.is_used()

    play(story)


def test_it_renews_only_when_it_is_time() -> None:
    async def story(scene: Scene) -> None:
        async with scene.lease() as lease:
            await lease.keep()
            scene.clock.now += LEASE_SECONDS / 3 - 1
            await lease.keep()
            # It lapses by the first reading, not by the second.
            scene.clock.now = NOW + LEASE_SECONDS + 1
            assert not await scene.is_used()

    play(story)


def test_a_key_without_limited_uses_is_free() -> None:
    async def story(scene: Scene) -> None:
        async with Lease(scene.replay, None, scene.clock) as lease:
            await lease.keep()
            await lease.committing()
            await lease.commit()
        assert scene.replay.entries() == 0

    play(story)


def test_a_repetition_within_the_window_needs_no_use() -> None:
    async def story(scene: Scene) -> None:
        watched = use(window=30, life=1000)
        await scene.replay.claim(watched, NOW)
        await fail(scene.lease(watched), OSError(), committing=True)
        async with scene.lease(watched) as lease:
            await lease.committing()
            await lease.commit()

    play(story)


# --- work of our own -----------------------------------------------------------------------------------

TURN_SECONDS = 0.01
"""How often a lease is looked at in these tests, by the clock of the loop."""


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at often; how long a reservation holds by the clock of its set is as ever."""
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 3 * TURN_SECONDS)


class Work:
    """Work that lasts until it is told to end, or is cancelled; what became of it."""

    def __init__(self, turns_to_end: int = 0) -> None:
        self.over = asyncio.Event()
        self.turns_to_end = turns_to_end
        self.became = "nothing"

    async def __call__(self, error: BaseException | None = None) -> str:
        self.became = "begun"
        try:
            await self.over.wait()
        except asyncio.CancelledError:
            for _ in range(self.turns_to_end):  # a thread that writes, say, is waited for
                await asyncio.sleep(TURN_SECONDS)
            self.became = "cancelled"
            raise
        self.became = "done"
        if error is not None:
            raise error
        return "result"


@pytest.mark.usefixtures("brisk")
def test_a_lease_is_renewed_while_work_lasts() -> None:
    """For far longer than it holds, and without a byte that arrives."""

    async def story(scene: Scene) -> None:
        work = Work()
        async with scene.lease() as lease:
            waiting = asyncio.create_task(lease.during(work()))
            for _ in range(6):
                scene.clock.now += LEASE_SECONDS - 1
                await asyncio.sleep(3 * TURN_SECONDS)
                assert await scene.is_used()
                assert not waiting.done()
            work.over.set()
            assert await waiting == "result"
            await lease.committing()
            await lease.commit()
        assert work.became == "done"

    play(story)


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("turns", [0, 5])
def test_a_lease_that_is_lost_while_work_lasts_ends_it(turns: int) -> None:
    """The refusal comes when the work has ended: what it writes is about to be removed."""

    async def story(scene: Scene) -> None:
        work = Work(turns_to_end=turns)
        with refused("key_used"):
            async with scene.lease() as lease:
                waiting = asyncio.create_task(lease.during(work()))
                await asyncio.sleep(2 * TURN_SECONDS)
                assert work.became == "begun"
                scene.clock.now += LEASE_SECONDS + 1
                await scene.replay.claim(use(life=1000), scene.clock.now)
                try:
                    await waiting
                finally:
                    assert work.became == "cancelled"
        assert await scene.is_used()

    play(story)


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("turns", [0, 5])
def test_whoever_waits_for_work_and_is_cancelled_has_it_cancelled_and_waits_for_its_end(turns: int) -> None:
    async def story(scene: Scene) -> None:
        work = Work(turns_to_end=turns)

        async def upload() -> None:
            async with scene.lease() as lease:
                try:
                    await lease.during(work())
                finally:
                    assert work.became == "cancelled"

        uploading = asyncio.create_task(upload())
        await asyncio.sleep(2 * TURN_SECONDS)
        assert work.became == "begun"
        assert await scene.is_used()
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await uploading
        assert not await scene.is_used()

    play(story)


@pytest.mark.usefixtures("brisk")
def test_work_that_does_not_let_itself_be_cancelled_is_waited_for() -> None:
    async def story(scene: Scene) -> None:
        over = asyncio.Event()
        ended = False

        async def stubborn() -> None:
            nonlocal ended
            with suppress(asyncio.CancelledError):
                await over.wait()
            await over.wait()
            ended = True

        async with scene.lease() as lease:
            waiting = asyncio.create_task(lease.during(stubborn()))
            await asyncio.sleep(2 * TURN_SECONDS)
            waiting.cancel()
            await asyncio.sleep(2 * TURN_SECONDS)
            assert not waiting.done()
            over.set()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert ended

    play(story)


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("error", [Denied("digest_mismatch"), OSError(5, "EIO"), RuntimeError()], ids=repr)
@pytest.mark.parametrize("turns", [0, 4])
def test_the_error_of_work_comes_through_as_it_is(error: Exception, turns: int) -> None:
    """Whether it came at once or after the lease was looked at."""

    async def story(scene: Scene) -> None:
        work = Work()
        asyncio.get_running_loop().call_later(turns * TURN_SECONDS, work.over.set)
        with pytest.raises(type(error)) as caught:
            async with scene.lease() as lease:
                await lease.during(work(error))
        assert caught.value is error
        assert not await scene.is_used()

    play(story)


def test_work_that_is_soon_done_is_not_waited_for_any_longer() -> None:
    """Nor is the lease renewed for it."""

    async def story(scene: Scene) -> None:
        work = Work()
        work.over.set()
        async with scene.lease() as lease, asyncio.timeout(5):
            assert await lease.during(work()) == "result"
            scene.clock.now += LEASE_SECONDS + 1
            assert not await scene.is_used()

    play(story)


def test_where_nothing_is_leased_work_is_just_waited_for() -> None:
    """In the task that waits: no other one is made."""

    async def story(scene: Scene) -> None:
        async def whose() -> object:
            return asyncio.current_task()

        async with Lease(scene.replay, None, scene.clock) as lease:
            assert await lease.during(whose()) is asyncio.current_task()
            work = Work()
            waiting = asyncio.create_task(lease.during(work()))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert work.became == "cancelled"

    play(story)
