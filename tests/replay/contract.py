"""What every replay set keeps, whatever it remembers in: one suite, run on each.

A set's own tests derive from `ReplaySetContract` and say how it is opened.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.minting import NOW, refused
from tests.replay.model import ReplayMachine
from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.promise import LEASE_SECONDS, CountedReplaySet

Result = TypeVar("Result")

LONG_AFTER = 10_000
"""Seconds after which nothing of a key that lived a minute is of interest."""


def use(name: str = "a", *, allowed: int = 1, window: int = 0, source: str = "192.0.2.1", life: float = 60) -> Use:
    """One request with a limited key that lives `life` seconds from NOW."""
    return Use(name.encode().ljust(16), allowed, window, source, NOW + life)


async def code(call: Coroutine[Any, Any, object]) -> str:
    """How a call ended: a refusal's code, or ok."""
    try:
        await call
    except Denied as denied:
        return denied.code
    return "ok"


async def soon(replay: CountedReplaySet, asked: Use, now: float) -> None:
    """`claim_soon`, as a call that raises what was told."""
    told: asyncio.Queue[Denied | None] = asyncio.Queue()
    if replay.claim_soon(asked, now, told.put_nowait):
        await asyncio.sleep(0.01)
        assert told.empty()
        return
    assert told.empty()
    denied = await told.get()
    await asyncio.sleep(0.01)
    assert told.empty()
    if denied is not None:
        raise denied


class ReplaySetContract:
    """The promises of `replay/promise.py`, rule by rule."""

    def open(self, entries_max: int = 100, skew: float = 10) -> AbstractAsyncContextManager[CountedReplaySet]:
        """An empty set. `skew` is how many seconds its clock may go back."""
        raise NotImplementedError

    def run(self, story: Callable[[CountedReplaySet], Coroutine[Any, Any, Result]], **options: Any) -> Result:
        """Play a story on a new set."""

        async def play() -> Result:
            async with self.open(**options) as replay:
                return await story(replay)

        return asyncio.run(play())

    # Rule 1: of any number of simultaneous uses, at most as many as it allows succeed

    def test_of_200_claims_at_once_one_succeeds(self) -> None:
        async def story(replay: CountedReplaySet) -> list[str]:
            return await asyncio.gather(*(code(replay.claim(use(), NOW)) for _ in range(200)))

        ends = self.run(story)
        assert sorted(ends) == ["key_used"] * 199 + ["ok"]

    def test_of_200_claims_without_a_coroutine_one_succeeds_and_each_is_told_once(self) -> None:
        async def story(replay: CountedReplaySet) -> list[str]:
            return await asyncio.gather(*(code(soon(replay, use(), NOW)) for _ in range(200)))

        assert sorted(self.run(story)) == ["key_used"] * 199 + ["ok"]

    def test_of_200_claims_of_both_kinds_as_many_succeed_as_are_allowed(self) -> None:
        async def story(replay: CountedReplaySet) -> list[str]:
            several = use(allowed=7)
            calls = [soon(replay, several, NOW) if n % 2 else replay.claim(several, NOW) for n in range(200)]
            ends = await asyncio.gather(*map(code, calls))
            with refused("key_used"):
                await replay.look(several, NOW)
            return ends

        assert self.run(story).count("ok") == 7

    def test_who_is_told_may_claim_again(self) -> None:
        async def story(replay: CountedReplaySet) -> list[str]:
            left, ends, over = [str(number) for number in range(50)], [], asyncio.Event()

            def told(denied: Denied | None) -> None:
                ends.append(denied.code if denied else "ok")
                while left and replay.claim_soon(use(left.pop()), NOW, told):
                    ends.append("ok")
                if len(ends) == 51:
                    over.set()

            if replay.claim_soon(use("first"), NOW, told):
                told(None)
            await asyncio.wait_for(over.wait(), 20)
            return ends

        assert self.run(story) == ["ok"] * 51

    def test_one_who_fails_when_it_is_told_keeps_the_news_from_no_other(self) -> None:
        async def story(replay: CountedReplaySet) -> list[str]:
            def fails(_: Denied | None) -> None:
                raise ZeroDivisionError

            replay.claim_soon(use("fails"), NOW, fails)
            ends = await asyncio.gather(*(code(soon(replay, use(str(number)), NOW)) for number in range(5)))
            with refused("key_used"):
                await replay.look(use("fails"), NOW)
            return ends

        assert self.run(story) == ["ok"] * 5

    def test_a_claim_whose_caller_is_cancelled_is_used_and_hurts_no_other(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            calls = [asyncio.ensure_future(replay.claim(use(str(number)), NOW)) for number in range(10)]
            await asyncio.sleep(0)
            calls[3].cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            for number in range(10):
                with refused("key_used"):
                    await soon(replay, use(str(number)), NOW)

        self.run(story)

    def test_of_200_mixed_uses_at_once_as_many_succeed_as_are_allowed(self) -> None:
        async def story(replay: CountedReplaySet) -> list[str]:
            several = use(allowed=7)
            calls = [replay.reserve(several, NOW) if n % 2 else replay.claim(several, NOW) for n in range(200)]
            return await asyncio.gather(*map(code, calls))

        assert self.run(story).count("ok") == 7

    def test_a_key_with_several_uses_has_them_one_after_another(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            for second in range(3):
                await replay.look(use(allowed=3), NOW + second)
                await replay.claim(use(allowed=3), NOW + second)
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(use(allowed=3), NOW + 3)

        self.run(story)

    def test_keys_do_not_know_each_other(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            for name in ("a", "b", "ab", ""):
                await replay.claim(use(name), NOW)
            assert replay.entries() == 4

        self.run(story)

    def test_a_look_uses_nothing(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            for _ in range(10):
                await replay.look(use(), NOW)
            await replay.claim(use(), NOW)

        self.run(story)

    def test_a_refused_use_uses_nothing(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(), NOW)
            assert [await code(replay.claim(use(), NOW)) for _ in range(5)] == ["key_used"] * 5
            await replay.claim(use(allowed=2), NOW)

        self.run(story)

    # Windows

    def test_within_its_window_the_same_source_may_come_again(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            watched = use(window=30)
            await replay.claim(watched, NOW)
            for second in (0, 1, 29.9):
                await replay.look(watched, NOW + second)
                await replay.claim(watched, NOW + second)
                await soon(replay, watched, NOW + second)
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(watched, NOW + 30)

        self.run(story)

    def test_a_key_without_a_window_has_none_that_another_of_its_identity_opened(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(window=60), NOW)
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(use(), NOW + 1)

        self.run(story)

    def test_another_source_may_not(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(window=30), NOW)
            for source in ("192.0.2.2", "", "2001:db8::1"):
                with refused("key_used"):
                    await replay.claim(use(window=30, source=source), NOW + 1)

        self.run(story)

    def test_a_repetition_within_the_window_neither_uses_nor_prolongs(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            watched = use(window=30, allowed=2)
            await replay.claim(watched, NOW)
            await replay.claim(watched, NOW + 29)
            await replay.claim(use(window=30, allowed=2, source="192.0.2.2"), NOW + 29)
            with refused("key_used"):
                await replay.claim(watched, NOW + 31)
            await replay.claim(use(window=30, allowed=2, source="192.0.2.2"), NOW + 31)

        self.run(story)

    def test_an_upload_within_the_window_is_free(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            watched = use(window=30)
            await replay.claim(watched, NOW)
            for _ in range(2):
                held = await replay.reserve(watched, NOW + 1)
                assert held.free
                await replay.renew(held, NOW + 2)
                await replay.committing(held, NOW + 2)
                await replay.commit(held, NOW + 40)
                await replay.release(held)
            with refused("key_used"):
                await replay.claim(watched, NOW + 40)

        self.run(story)

    def test_the_window_of_an_upload_begins_when_it_is_done(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            watched = use(window=30)
            held = await replay.reserve(watched, NOW)
            with refused("key_used"):
                await replay.claim(watched, NOW + 1)
            await replay.committing(held, NOW + 20)
            await replay.commit(held, NOW + 20)
            await replay.claim(watched, NOW + 49)

        self.run(story)

    # Uploads

    def test_a_reserved_use_is_nobody_elses(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.reserve(use(), NOW)
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(use(), NOW + 1)

        self.run(story)

    def test_a_failed_upload_gives_its_use_back_and_only_its_own(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(), NOW)
            await replay.release(held)
            await replay.release(held)
            again = await replay.reserve(use(), NOW + 1)
            await replay.release(held)
            with refused("key_used"):
                await replay.claim(use(), NOW + 2)
            await replay.committing(again, NOW + 2)
            await replay.release(again)
            await replay.claim(use(), NOW + 3)

        self.run(story)

    def test_a_committed_upload_has_spent_its_use(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(), NOW)
            await replay.renew(held, NOW + 1)
            await replay.committing(held, NOW + 2)
            await replay.commit(held, NOW + 3)
            await replay.release(held)
            with refused("key_used"):
                await replay.look(use(), NOW + 4)

        self.run(story)

    def test_a_use_that_is_not_renewed_lapses(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            lost = await replay.reserve(use(), NOW)
            with refused("key_used"):
                await replay.look(use(), NOW + LEASE_SECONDS)
            await replay.look(use(), NOW + LEASE_SECONDS + 1)
            await replay.claim(use(), NOW + LEASE_SECONDS + 1)
            for call in (replay.renew, replay.committing, replay.commit):
                with refused("key_used"):
                    await call(lost, NOW + LEASE_SECONDS + 2)
            await replay.release(lost)
            with refused("key_used"):
                await replay.look(use(), NOW + LEASE_SECONDS + 3)

        self.run(story)

    def test_a_renewed_use_does_not_lapse(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(), NOW)
            for step in range(1, 5):
                await replay.renew(held, NOW + step * 20)
                with refused("key_used"):
                    await replay.claim(use(), NOW + step * 20 + 19)
            await replay.committing(held, NOW + 99)
            await replay.commit(held, NOW + 99)

        self.run(story)

    def test_a_lapsed_use_can_not_be_committed_even_if_nobody_took_it(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            lost = await replay.reserve(use(life=1000), NOW)
            for call in (replay.renew, replay.committing, replay.commit):
                with refused("key_used"):
                    await call(lost, NOW + LEASE_SECONDS + 1)
            await replay.release(lost)
            await replay.claim(use(life=1000), NOW + LEASE_SECONDS + 2)

        self.run(story)

    def test_from_committing_on_a_use_never_lapses(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(life=1000), NOW)
            await replay.committing(held, NOW + 1)
            with refused("key_used"):
                await replay.claim(use(life=1000), NOW + 900)
            await replay.commit(held, NOW + 901)

        self.run(story)

    def test_from_committing_on_a_renewal_does_not_make_it_lapse_again(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(life=1000), NOW)
            for second in (1, 2):
                await replay.committing(held, NOW + second)
                await replay.renew(held, NOW + second)
            with refused("key_used"):
                await replay.claim(use(life=1000), NOW + 900)
            await replay.release(held)
            await replay.claim(use(life=1000), NOW + 901)

        self.run(story)

    def test_a_reservation_means_nothing_to_a_set_that_did_not_make_it(self) -> None:
        """It may be kept for days, beyond the set that made it: two lives of a set never number alike."""

        async def story(replay: CountedReplaySet) -> None:
            async with self.open() as former:
                kept = await former.reserve(use(allowed=2), NOW)
                await former.committing(kept, NOW)
            held = await replay.reserve(use(allowed=2), NOW)
            await replay.committing(held, NOW)
            await replay.release(kept)
            for call in (replay.renew, replay.committing, replay.commit):
                with refused("key_used"):
                    await call(kept, NOW + 1)
            await replay.renew(held, NOW + 1)
            await replay.claim(use(allowed=2), NOW + 1)
            with refused("key_used"):
                await replay.claim(use(allowed=2), NOW + 1)

        self.run(story)

    def test_one_that_is_committing_comes_back_within_a_day_and_is_spent_after_it(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            for name, hours, ends in (("a", 23, "ok"), ("b", 25, "key_used")):
                held = await replay.reserve(use(name, life=10**6), NOW)
                await replay.committing(held, NOW)
                await replay.look(use("other", life=10**6), NOW + hours * 3600)
                if ends == "key_used":
                    with refused("key_used"):
                        await replay.commit(held, NOW + hours * 3600)
                await replay.release(held)
                assert await code(replay.look(use(name, life=10**6), NOW + hours * 3600)) == ends

        self.run(story, skew=10**6)

    def test_a_lapsed_use_can_not_be_committed_while_another_holds_it(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            lost = await replay.reserve(use(), NOW)
            other = await replay.reserve(use(), NOW + LEASE_SECONDS + 1)
            for call in (replay.renew, replay.committing, replay.commit):
                with refused("key_used"):
                    await call(lost, NOW + LEASE_SECONDS + 2)
            await replay.committing(other, NOW + LEASE_SECONDS + 3)
            with refused("key_used"):
                await replay.commit(lost, NOW + LEASE_SECONDS + 4)
            await replay.commit(other, NOW + LEASE_SECONDS + 5)

        self.run(story)

    def test_a_key_that_ends_never_is_remembered(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            endless = Use(b"endless".ljust(16), 1, 0, "", float(2**53))
            await replay.claim(endless, NOW)
            await replay.look(use("other", life=2**40), NOW + 2**32)
            with refused("key_used"):
                await replay.claim(endless, NOW + 2**32)

        self.run(story)

    def test_an_upload_may_outlive_its_key(self) -> None:
        """And while it runs, its use is not forgotten."""

        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(), NOW)
            late = NOW
            for _ in range(30):
                late += LEASE_SECONDS - 1
                await replay.renew(held, late)
                await replay.look(use("another", life=5000), late)
            with refused("key_used"):
                await replay.claim(use(), late)
            await replay.committing(held, late)
            with refused("key_used"):
                await replay.claim(use(), late + LONG_AFTER)
            await replay.commit(held, late + LONG_AFTER)

        self.run(story)

    # Rule 2: never forget a live entry, never guess

    def test_a_full_set_says_so_and_forgets_nothing(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            for name in "abc":
                await replay.claim(use(name), NOW)
            for call in (replay.claim, replay.reserve):
                with refused("replay_unavailable") as denied:
                    await call(use("d"), NOW)
                assert denied.evidence["retry_after"]
            assert replay.entries() == 3
            await replay.look(use("d"), NOW)
            for name in "abc":
                with refused("key_used"):
                    await replay.claim(use(name), NOW + 1)
            await replay.claim(use("a", allowed=2), NOW + 1)

        self.run(story, entries_max=3)

    def test_room_comes_back_when_keys_have_expired(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            for name in "abc":
                await replay.claim(use(name), NOW)
            later = NOW + LONG_AFTER
            await replay.claim(use("d", life=LONG_AFTER + 60), later)
            assert replay.entries() == 1

        self.run(story, entries_max=3)

    def test_room_comes_back_from_uploads_that_ended_in_any_way(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.reserve(use("lapsed"), NOW)
            released = await replay.reserve(use("released"), NOW)
            await replay.release(released)
            committed = await replay.reserve(use("committed"), NOW)
            await replay.committing(committed, NOW)
            await replay.commit(committed, NOW)
            for step in range(4):
                later = NOW + LONG_AFTER * (step + 1)
                await replay.look(use("other", life=LONG_AFTER * 9), later)
            assert replay.entries() == 0

        self.run(story)

    def test_an_entry_is_kept_until_its_key_has_ended_and_the_skew_has_passed(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(), NOW)
            for second in (59, 60, 65, 70):
                await replay.look(use("other", life=500), NOW + second)
                assert replay.entries() == 1
                with refused("key_used"):
                    await replay.claim(use(), NOW + second)

        self.run(story)

    def test_a_request_that_was_slow_meets_its_entry_or_an_honest_refusal(self) -> None:
        """The hole of others: admitted while the key lived, claimed after its entry was dropped."""

        async def story(replay: CountedReplaySet) -> None:
            await replay.look(use(), NOW + 59)
            await replay.claim(use(), NOW + 59)
            for second in range(60, 400, 20):
                await replay.look(use("other", life=500), NOW + second)
                assert await code(replay.claim(use(), NOW + second)) in {"key_used", "replay_unavailable"}
                assert await code(replay.reserve(use(), NOW + second)) in {"key_used", "replay_unavailable"}

        self.run(story)

    def test_two_keys_with_one_nonce_are_one_key_until_the_later_ends(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(life=60, allowed=2), NOW)
            await replay.claim(use(life=5000, allowed=2), NOW)
            for second in (100, 1000, 4999):
                await replay.look(use("other", life=9000), NOW + second)
                with refused("key_used"):
                    await replay.claim(use(life=5000, allowed=2), NOW + second)

        self.run(story)

    def test_a_clock_that_has_gone_back_is_not_believed(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use("held", life=5000), NOW + 3600)
            before = NOW
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("replay_unavailable"):
                    await call(use(life=5000), before)
            for step in (replay.renew, replay.committing, replay.commit):
                with refused("replay_unavailable"):
                    await step(held, before)
            assert replay.entries() == 1
            await replay.claim(use(life=5000), NOW + 3601)

        self.run(story)

    def test_a_clock_within_the_skew_is_believed(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(), NOW + 30)
            await replay.claim(use("b"), NOW + 20)
            with refused("key_used"):
                await replay.claim(use(), NOW + 20)

        self.run(story, skew=10)

    def test_a_request_may_be_judged_by_the_moment_it_arrived(self) -> None:
        """Claims come in another order than their requests, by as much as a disk is slow; no clock jumped."""

        async def story(replay: CountedReplaySet) -> None:
            await replay.look(use("later"), NOW + 0.5)
            await replay.claim(use(), NOW)

        self.run(story, skew=0)

    def test_an_expired_key_is_not_let_in_again_by_a_clock_that_goes_back(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use(), NOW)
            for ahead in (61, 71, 100, 200, 1000):
                await replay.look(use("other", life=LONG_AFTER), NOW + ahead)
                assert await code(replay.claim(use(), NOW + 59)) in {"key_used", "replay_unavailable"}

        self.run(story)

    # A key that is given back

    def test_a_key_that_is_given_back_has_no_use_left_however_many_it_allowed(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            several = use(allowed=5)
            await replay.claim(several, NOW)
            for second in (1, 2):
                await replay.spend(several, NOW + second)
                for call in (replay.look, replay.claim, replay.reserve):
                    for allowed in (1, 5, 1000, 2**40):
                        with refused("key_used"):
                            await call(use(allowed=allowed), NOW + second)
            assert replay.entries() == 1

        self.run(story)

    def test_a_key_may_be_given_back_unused(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.spend(use(), NOW)
            with refused("key_used"):
                await replay.claim(use(), NOW)
            await replay.claim(use("b"), NOW)

        self.run(story)

    def test_giving_a_key_back_ends_its_windows(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            watched = use(window=30)
            await replay.claim(watched, NOW)
            await replay.spend(watched, NOW + 1)
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(watched, NOW + 2)

        self.run(story)

    def test_an_upload_of_a_key_that_was_given_back_is_refused_before_it_publishes(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            held = await replay.reserve(use(allowed=3), NOW)
            await replay.spend(use(allowed=3), NOW + 1)
            for call in (replay.renew, replay.committing, replay.commit):
                with refused("key_used"):
                    await call(held, NOW + 2)
            await replay.release(held)
            with refused("key_used"):
                await replay.look(use(allowed=3), NOW + 3)

        self.run(story)

    def test_one_that_was_committing_may_finish_and_opens_nothing(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            watched = use(allowed=3, window=30)
            finished, failed = [await replay.reserve(watched, NOW) for _ in range(2)]
            for held in (finished, failed):
                await replay.committing(held, NOW)
            await replay.spend(watched, NOW + 1)
            await replay.renew(finished, NOW + 2)
            await replay.commit(finished, NOW + 2)
            await replay.release(failed)
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(watched, NOW + 3)

        self.run(story)

    def test_a_full_set_cannot_take_back_a_key_it_does_not_know(self) -> None:
        async def story(replay: CountedReplaySet) -> None:
            await replay.claim(use("a", allowed=2), NOW)
            await replay.spend(use("a", allowed=2), NOW)
            with refused("replay_unavailable"):
                await replay.spend(use("b"), NOW)

        self.run(story, entries_max=1)

    # And whatever else may be asked, in any order

    def test_it_agrees_with_a_simple_model(self) -> None:
        def machine() -> ReplayMachine:
            return ReplayMachine(self.open(entries_max=3, skew=10))

        run_state_machine_as_test(
            machine,  # type: ignore[arg-type]  # any callable that makes one will do
            settings=settings(max_examples=60, stateful_step_count=30),
        )
