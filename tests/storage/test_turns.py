"""Turns: a few at a time, in order, and one bucket's never another's."""

import asyncio
import os

from valetstore.storage.turns import Turns

AT_ONCE = len(os.sched_getaffinity(0))


def test_as_many_as_there_are_processors_have_a_turn_at_once() -> None:
    async def told() -> None:
        turns, having, most, order = Turns(), 0, 0, []

        async def work(number: int) -> None:
            nonlocal having, most
            async with turns.of("b"):
                having += 1
                most = max(most, having)
                order.append(number)
                await asyncio.sleep(0)
                having -= 1

        await asyncio.gather(*map(work, range(5 * AT_ONCE)))
        assert most == AT_ONCE
        assert order == sorted(order)

    asyncio.run(told())


def test_a_bucket_whose_disk_hangs_holds_up_no_other() -> None:
    async def told() -> None:
        turns, hangs = Turns(), asyncio.Event()

        async def hang() -> None:
            async with turns.of("hangs"):
                await hangs.wait()

        hanging = [asyncio.create_task(hang()) for _ in range(AT_ONCE + 1)]
        await asyncio.sleep(0)
        async with asyncio.timeout(5), turns.of("other"):
            pass
        hanging[-1].cancel()  # one that waits gives up
        hangs.set()
        await asyncio.wait(hanging)
        async with asyncio.timeout(5), turns.of("hangs"):
            pass

    asyncio.run(told())
