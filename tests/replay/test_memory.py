"""The set in one process's memory keeps the contract, and only what it must."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.minting import NOW, refused
from tests.replay.contract import LONG_AFTER, ReplaySetContract, use
from valetstore.replay.memory import MemoryReplaySet
from valetstore.replay.promise import CountedReplaySet
from valetstore.replay.table import END_SECONDS, LATE_SECONDS


class TestMemoryReplaySet(ReplaySetContract):
    @asynccontextmanager
    async def open(self, entries_max: int = 100, skew: float = 10) -> AsyncIterator[CountedReplaySet]:
        yield MemoryReplaySet(entries_max, skew)


def test_it_believes_a_clock_as_far_back_as_it_remembers() -> None:
    async def story() -> None:
        for skew, back in ((0, LATE_SECONDS), (900, 900)):
            replay = MemoryReplaySet(10, skew)
            await replay.claim(use(life=0), NOW)
            await replay.look(use("other", life=LONG_AFTER), NOW + back)
            assert replay.entries() == 1
            with refused("key_used"):
                await replay.look(use(life=0), NOW)
            await replay.look(use("other", life=LONG_AFTER), NOW + back + END_SECONDS + 1)
            assert replay.entries() == 0
            with refused("replay_unavailable"):
                await replay.look(use(life=0), NOW)

    asyncio.run(story())


def test_releasing_and_reserving_again_holds_no_more_memory() -> None:
    async def story() -> None:
        replay = MemoryReplaySet(10)
        for _ in range(1000):
            await replay.release(await replay.reserve(use(), NOW))
        assert replay.entries() == 1
        assert len(replay._table._reservations) == 0

    asyncio.run(story())


def test_a_set_that_is_used_for_long_holds_only_what_lives() -> None:
    async def story() -> None:
        replay = MemoryReplaySet(1000)
        table = replay._table
        for second in range(5000):
            await replay.claim(use(str(second), life=second + 30, window=20), NOW + second)
        most = 30 + LATE_SECONDS + END_SECONDS + 2
        assert replay.entries() <= most
        assert sum(len(bucket.identities) for bucket in table._buckets.values()) == replay.entries()
        assert len(table._windows) <= most
        assert len(table._windows._closing) <= most

    asyncio.run(story())
