"""The set with a log: the contract, and what it remembers when it is killed, its disk fails or its log is harmed."""

import asyncio
import logging
import os
import resource
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.minting import NOW, refused
from tests.replay.contract import LONG_AFTER, ReplaySetContract, code, soon, use
from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.logged import LOG_NAME, LoggedReplaySet, repair
from valetstore.replay.promise import LEASE_SECONDS, CountedReplaySet, Reservation
from valetstore.replay.table import LATE_SECONDS


class TestLoggedReplaySet(ReplaySetContract):
    @asynccontextmanager
    async def open(self, entries_max: int = 100, skew: float = 10) -> AsyncIterator[CountedReplaySet]:
        with TemporaryDirectory() as folder:
            replay = opened(Path(folder), entries_max, skew, expected=False)
            yield replay
            await replay.close()


def opened(folder: Path, entries_max: int = 100, skew: float = 10, *, expected: bool = True) -> LoggedReplaySet:
    replay = LoggedReplaySet(folder, entries_max, skew)
    replay.open(expected)
    return replay


def killed(replay: LoggedReplaySet) -> None:
    """As if its process had ended here: nothing is written any more."""
    journal = replay._journal
    for part in (journal._file, journal._mark):
        if part is not None:
            part.close()
    replay._damage = "killed"


def after_a_crash(
    folder: Path,
    before: Callable[[LoggedReplaySet], Coroutine[Any, Any, Any]],
    after: Callable[[LoggedReplaySet], Coroutine[Any, Any, Any]],
) -> None:
    """Play one story, kill the set at its end, and the other on what is left."""

    async def play() -> None:
        replay = opened(folder, expected=False)
        await before(replay)
        killed(replay)
        again = opened(folder)
        await after(again)
        await again.close()

    asyncio.run(play())


# A crash


def test_an_acknowledged_use_stays_refused(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        await asyncio.gather(*(replay.claim(use(str(number)), NOW) for number in range(50)))
        await replay.spend(use("given back", allowed=9), NOW)

    async def after(replay: LoggedReplaySet) -> None:
        assert replay.entries() == 51
        for name in (*map(str, range(50)), "given back"):
            for call in (replay.look, replay.claim, replay.reserve):
                with refused("key_used"):
                    await call(use(name), NOW)
        await replay.claim(use("another"), NOW)

    after_a_crash(tmp_path, before, after)


def test_an_upload_that_was_not_committing_gives_its_use_back(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        await replay.renew(await replay.reserve(use(), NOW), NOW + 1)

    async def after(replay: LoggedReplaySet) -> None:
        await replay.claim(use(), NOW + 2)

    after_a_crash(tmp_path, before, after)


@pytest.mark.parametrize("commits", [False, True])
def test_one_that_was_has_spent_it(tmp_path: Path, commits: bool) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        held = await replay.reserve(use(), NOW)
        await replay.committing(held, NOW)
        if commits:
            await replay.commit(held, NOW)

    async def after(replay: LoggedReplaySet) -> None:
        with refused("key_used"):
            await replay.look(use(), NOW)

    after_a_crash(tmp_path, before, after)


def test_one_that_failed_for_sure_has_not(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        held = await replay.reserve(use(), NOW)
        await replay.committing(held, NOW)
        await replay.release(held)

    async def after(replay: LoggedReplaySet) -> None:
        await replay.claim(use(), NOW)

    after_a_crash(tmp_path, before, after)


def test_windows_stay_open(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        await replay.claim(use("read", window=30), NOW)
        held = await replay.reserve(use("written", window=30), NOW)
        await replay.committing(held, NOW)
        await replay.commit(held, NOW + 5)

    async def after(replay: LoggedReplaySet) -> None:
        for name, until in (("read", 30), ("written", 35)):
            await replay.claim(use(name, window=30), NOW + until - 0.1)
            for asked in (use(name, window=30, source="192.0.2.2"), use(name, window=30)):
                with refused("key_used"):
                    await replay.claim(asked, NOW + until)

    after_a_crash(tmp_path, before, after)


def test_a_clock_behind_the_logs_is_not_believed(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        await replay.claim(use("a", life=9000), NOW + 3600)

    async def after(replay: LoggedReplaySet) -> None:
        for call in (replay.look, replay.claim, replay.reserve):
            with refused("replay_unavailable") as denied:
                await call(use("b", life=9000), NOW)
            assert denied.evidence["retry_after"]
        await replay.claim(use("b", life=9000), NOW + 3600 - LATE_SECONDS)

    after_a_crash(tmp_path, before, after)


def test_an_answer_waits_for_the_log(tmp_path: Path) -> None:
    """A repetition within a window too: what it repeats must not be forgotten by a crash."""

    async def story() -> None:
        replay = opened(tmp_path, expected=False)
        watched = use(window=30)
        first, again = (asyncio.ensure_future(replay.claim(watched, NOW)) for _ in range(2))
        await asyncio.sleep(0)
        assert await code(replay.look(use(source="192.0.2.2"), NOW)) == "key_used"
        assert not first.done()
        assert not again.done()
        await asyncio.gather(first, again)
        killed(replay)

    asyncio.run(story())
    with refused("key_used"):
        opened(tmp_path)._table.look(use(source="192.0.2.2"), NOW)


def test_what_is_told_without_a_coroutine_is_in_the_log(tmp_path: Path) -> None:
    """Repetitions within a window too; and nobody is told while it is not."""

    async def before(replay: LoggedReplaySet) -> None:
        told: list[Denied | None] = []
        watched = use("watched", window=30)
        asked = [use("once"), watched, watched, use("twice", allowed=2), use("twice", allowed=2)]
        assert not any(replay.claim_soon(one, NOW, told.append) for one in asked)
        for one in asked:
            assert await code(replay.look(one, NOW)) == ("ok" if one is watched else "key_used")
        assert told == []
        while len(told) < len(asked):
            await asyncio.sleep(0)
        assert told == [None] * len(asked)
        assert replay.claim_soon(watched, NOW, told.append)
        with refused("key_used"):
            replay.claim_soon(use("once"), NOW, told.append)
        assert len(told) == len(asked)

    async def after(replay: LoggedReplaySet) -> None:
        assert replay.entries() == 3
        for name in ("once", "watched", "twice"):
            with refused("key_used"):
                await replay.look(use(name, allowed=2 if name == "twice" else 1), NOW)

    after_a_crash(tmp_path, before, after)


def test_where_the_log_fails_all_is_taken_back_before_anybody_is_told(tmp_path: Path) -> None:
    """So whoever asks again at once finds no use of those that failed with it."""

    async def story() -> None:
        replay = opened(tmp_path, expected=False)
        names = [str(number) for number in range(20)]
        seen: list[tuple[str, list[str]]] = []

        def told(denied: Denied | None) -> None:
            assert denied is not None
            used = [name for name in names if verdict(replay, use(name, source="192.0.2.2")) != "ok"]
            seen.append((denied.code, used))

        with no_file_larger_than(replay.bytes_held):
            for name in names:
                replay.claim_soon(use(name, window=9), NOW, told)
                replay.claim_soon(use(name, window=9), NOW, told)
            while len(seen) < 40:
                await asyncio.sleep(0)
        assert seen == [("replay_unavailable", [])] * 40
        assert replay._undurable == {}
        replay._journal._retry_at = 0
        await asyncio.gather(*(soon(replay, use(name), NOW) for name in names))
        await replay.close()

    asyncio.run(story())


def verdict(replay: LoggedReplaySet, asked: Use) -> str:
    try:
        replay._table.look(asked, NOW)
    except Denied as denied:
        return denied.code
    return "ok"


def test_a_caller_that_is_cancelled_has_used_its_key(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        calls = [asyncio.ensure_future(replay.claim(use(str(number)), NOW)) for number in range(10)]
        await asyncio.sleep(0)
        calls[0].cancel()
        calls[5].cancel()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends].count(asyncio.CancelledError) == 2

    async def after(replay: LoggedReplaySet) -> None:
        assert replay.entries() == 10

    after_a_crash(tmp_path, before, after)


# A log that is harmed


def _damaged(folder: Path) -> None:
    path = folder / LOG_NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _deleted(folder: Path) -> None:
    (folder / LOG_NAME).unlink()


def _all_deleted(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _emptied(folder: Path) -> None:
    os.truncate(folder / LOG_NAME, 0)


def _unreadable(folder: Path) -> None:
    _deleted(folder)
    (folder / LOG_NAME).mkdir()


HARMS = [_damaged, _deleted, _all_deleted, _emptied, _unreadable]


def used_up(folder: Path, names: str = "abc") -> None:
    async def story() -> None:
        replay = opened(folder, expected=False)
        for name in names:
            await replay.claim(use(name), NOW)
        await replay.close()

    asyncio.run(story())


@pytest.mark.parametrize("harm", HARMS)
def test_a_log_that_is_harmed_decides_nothing(
    tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    used_up(tmp_path)
    harm(tmp_path)

    async def story() -> None:
        replay = opened(tmp_path)
        assert LOG_NAME in replay.trouble
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        held = Reservation(use(), 1)
        calls = [replay.look(use(), NOW), replay.claim(use("new"), NOW), replay.reserve(use(), NOW)]
        calls.append(soon(replay, use("new"), NOW))
        calls += [step(held, NOW) for step in (replay.renew, replay.committing, replay.commit)]
        for call in (*calls, replay.spend(use(), NOW)):
            with refused("replay_unavailable") as denied:
                await call
            assert denied.evidence["retry_after"] == 5
        await replay.release(held)
        assert replay.entries() == 0
        await replay.close()

    asyncio.run(story())


@pytest.mark.parametrize("harm", HARMS)
def test_a_repair_begins_anew_and_believes_no_key_from_before(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    used_up(tmp_path)
    harm(tmp_path)
    sentence = repair(tmp_path, NOW + 100.5, skew=2)
    assert sentence.startswith(str(tmp_path / LOG_NAME))
    aside = tmp_path / f"{LOG_NAME}.damaged-20270115T080140Z"
    assert aside.exists() == (harm not in {_deleted, _all_deleted})

    def issued(name: str, at: float | None) -> Use:
        return Use(name.encode().ljust(16), 1, 0, "192.0.2.1", NOW + 1000, at)

    async def story(claims: str) -> None:
        replay = opened(tmp_path)
        assert replay.trouble == ""
        for name in "abcd":
            for moment in (None, NOW, NOW + 102):
                with refused("key_used"):
                    await replay.look(issued(name, moment), NOW + 101)
        assert await code(replay.claim(issued("new", NOW + 103), NOW + 103)) == claims
        await replay.close()

    asyncio.run(story("ok"))
    asyncio.run(story("key_used"))


def test_a_repair_keeps_what_can_be_read(tmp_path: Path) -> None:
    """A key may claim to be newer than it is, by the signer's clock: that it was used is still known."""
    used_up(tmp_path, "abcdefgh")
    path = tmp_path / LOG_NAME
    path.write_bytes(path.read_bytes().replace(b"d       ", b"D       "))
    assert opened(tmp_path).trouble
    assert "7 readable entries" in repair(tmp_path, NOW + 1)
    replay = opened(tmp_path)
    ahead = [Use(name.encode().ljust(16), 1, 0, "", NOW + 60, NOW + 5) for name in "abcdefgh"]

    async def story() -> list[str]:
        return [await code(replay.look(asked, NOW + 6)) for asked in ahead]

    assert asyncio.run(story()).count("key_used") == 7
    asyncio.run(replay.close())


def test_a_torn_tail_is_dropped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    used_up(tmp_path)
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b"torn")
    replay = opened(tmp_path)
    assert replay.trouble == ""
    assert replay.entries() == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    asyncio.run(replay.close())


# A disk that fails


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As a volume that is full: what goes beyond is written in part, or not at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_logged_was_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        await replay.claim(use("first"), NOW)
        held = await replay.reserve(use("upload"), NOW)
        with no_file_larger_than(replay.bytes_held + 10):
            calls = [replay.claim(use(str(number), window=9), NOW) for number in range(20)]
            calls += [replay.spend(use("first", allowed=2), NOW), replay.committing(held, NOW)]
            assert await asyncio.gather(*map(code, calls)) == ["replay_unavailable"] * 22
            with refused("replay_unavailable") as denied:
                await replay.reserve(use("another"), NOW)
            assert denied.evidence["retry_after"]
            assert replay.trouble
            await replay.look(use("0"), NOW)
        replay._journal._retry_at = 0
        await replay.claim(use("0", window=9), NOW)
        assert replay.trouble == ""
        for number in range(1, 20):
            await replay.claim(use(str(number)), NOW)
        await replay.claim(use("first", allowed=2), NOW)
        await replay.committing(held, NOW)
        assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]

    async def after(replay: LoggedReplaySet) -> None:
        assert replay.entries() == 22
        for name in ("0", "19", "first", "upload"):
            with refused("key_used"):
                await replay.look(use(name, source="192.0.2.2"), NOW)

    after_a_crash(tmp_path, before, after)


def test_an_upload_is_not_begun_where_it_could_not_end_and_is_where_the_disk_works_again(tmp_path: Path) -> None:
    async def story() -> None:
        replay = opened(tmp_path, expected=False)
        with no_file_larger_than(replay.bytes_held), refused("replay_unavailable"):
            await replay.claim(use(), NOW)
        with refused("replay_unavailable"):
            await replay.reserve(use(), NOW)
        replay._journal._retry_at = 0
        await replay.reserve(use(), NOW)
        assert replay.trouble == ""
        await replay.close()

    asyncio.run(story())


def test_what_was_published_is_told_even_where_its_window_cannot_be_logged(tmp_path: Path) -> None:
    async def before(replay: LoggedReplaySet) -> None:
        held, failed = [await replay.reserve(use(name, window=9), NOW) for name in "ab"]
        for reservation in (held, failed):
            await replay.committing(reservation, NOW)
        with no_file_larger_than(replay.bytes_held):
            await replay.commit(held, NOW)
            await replay.release(failed)
        await replay.look(use("a", window=9), NOW)
        await replay.look(use("b", window=9), NOW)

    async def after(replay: LoggedReplaySet) -> None:
        for name in "ab":
            with refused("key_used"):
                await replay.look(use(name, window=9), NOW)

    after_a_crash(tmp_path, before, after)


# Size


def test_the_log_is_compacted_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetstore.replay.logged.SLACK_BYTES", 4000)

    async def before(replay: LoggedReplaySet) -> None:
        first = (tmp_path / LOG_NAME).read_bytes()  # with the id that no other log has
        for number in range(2000):
            await replay.claim(use("often", allowed=3000), NOW)
            if number % 10 == 0:
                await replay.claim(use(str(number), window=5), NOW)
        assert not (tmp_path / LOG_NAME).read_bytes().startswith(first)
        assert replay.bytes_held < 2 * 201 * 51 + 3 * 4000

    async def after(replay: LoggedReplaySet) -> None:
        assert replay.entries() == 201
        await replay.look(use("often", allowed=2001), NOW)
        for name, allowed in (("often", 2000), ("0", 1), ("1990", 1)):
            with refused("key_used"):
                await replay.look(use(name, allowed=allowed, source=""), NOW)

    monkeypatch.setattr("tests.replay.test_logged.opened", _roomy)
    after_a_crash(tmp_path, before, after)


def _roomy(folder: Path, *, expected: bool = True) -> LoggedReplaySet:
    replay = LoggedReplaySet(folder, 1000, 10)
    replay.open(expected)
    return replay


def test_a_log_that_cannot_be_compacted_stays_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("valetstore.replay.logged.SLACK_BYTES", 1000)

    async def before(replay: LoggedReplaySet) -> None:
        (tmp_path / f"{LOG_NAME}.new").mkdir()
        for _ in range(100):
            await replay.claim(use(allowed=100), NOW)
        assert replay.trouble == ""
        (tmp_path / f"{LOG_NAME}.new").rmdir()
        told = [record.getMessage() for record in caplog.records]
        assert 1 <= len(told) < 10
        assert all("could not be compacted" in line for line in told)

    async def after(replay: LoggedReplaySet) -> None:
        with refused("key_used"):
            await replay.look(use(allowed=100), NOW)

    after_a_crash(tmp_path, before, after)


def test_one_alarm_when_it_is_nearly_full_until_there_is_room_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        replay = opened(tmp_path, 10, expected=False)
        for round_number in range(2):
            now = NOW + round_number * LONG_AFTER
            alarms = []
            for number in range(10):
                await replay.claim(use(str(number), life=round_number * LONG_AFTER + 60), now)
                alarms.append(len(caplog.records))
            before = 0 if round_number == 0 else 1
            assert alarms == [before] * 7 + [before + 1] * 3
        await replay.close()

    asyncio.run(story())


# Whatever happens, in any order


class CrashMachine(RuleBasedStateMachine):
    """Uses and uploads on a set that is killed, whose clock steps and whose disk fails, with what must hold.

    `least` uses of a key were acknowledged; at most `most` may be gone: a failure may cost a use after a
    restart, never give one back.
    """

    names = st.sampled_from(["once", "twice", "often"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.runner = asyncio.Runner()
        self.now = float(NOW)
        self.probes = 0
        self.replay = opened(self.path, expected=False)
        self.allowed = {"once": 1, "twice": 2, "often": 4}
        self.least = dict.fromkeys(self.allowed, 0)
        self.most = dict.fromkeys(self.allowed, 0)
        self.uploads: list[tuple[str, Reservation, bool]] = []

    def teardown(self) -> None:
        self.runner.run(self.replay.close())
        self.runner.close()
        self.folder.cleanup()

    def use(self, name: str) -> Use:
        return use(name, allowed=self.allowed[name], life=10**6)

    def outcome(self, call: Coroutine[Any, Any, Any]) -> str:
        return self.runner.run(code(call))

    @rule(name=names, count=st.integers(1, 6))
    def claim(self, name: str, count: int) -> None:
        async def at_once() -> list[str]:
            return await asyncio.gather(*(code(self.replay.claim(self.use(name), self.now)) for _ in range(count)))

        ends = self.runner.run(at_once())
        assert set(ends) <= {"ok", "key_used"}
        self.least[name] += ends.count("ok")
        self.most[name] += ends.count("ok")
        assert self.least[name] <= self.allowed[name]
        running = sum(held == name for held, _, _ in self.uploads)
        assert ends.count("key_used") == 0 or self.most[name] + running >= self.allowed[name]

    @rule(name=names)
    def reserve(self, name: str) -> None:
        async def reserved() -> Reservation:
            return await self.replay.reserve(self.use(name), self.now)

        if self.least[name] < self.allowed[name] and self.outcome(self.replay.look(self.use(name), self.now)) == "ok":
            self.uploads.append((name, self.runner.run(reserved()), False))

    @rule(data=st.data(), end=st.sampled_from(["committing", "commit", "release"]))
    def upload(self, data: st.DataObject, end: str) -> None:
        if not self.uploads:
            return
        chosen = data.draw(st.integers(0, len(self.uploads) - 1))
        name, held, is_committing = self.uploads.pop(chosen)
        if end == "release":
            assert self.outcome(self.replay.release(held)) == "ok"
            if is_committing:
                self.least[name] -= 1
                self.most[name] -= 1
            return
        step = getattr(self.replay, end)
        ended = self.outcome(step(held, self.now))
        if ended == "ok" and not is_committing:
            self.least[name] += 1
            self.most[name] += 1
        assert ended == "ok" or (ended == "key_used" and not is_committing)
        if ended == "ok" and end == "committing":
            self.uploads.append((name, held, True))

    @rule(name=names)
    def spend(self, name: str) -> None:
        assert self.outcome(self.replay.spend(self.use(name), self.now)) == "ok"
        self.least[name] = self.most[name] = self.allowed[name]
        # What was given back is gone, with the uploads that were not committing; one that was changes nothing any more.
        self.uploads = [upload for upload in self.uploads if upload[0] != name]

    @rule(name=names, room=st.integers(0, 80))
    def the_disk_is_full(self, name: str, room: int) -> None:
        journal = self.replay._journal
        with no_file_larger_than(journal.bytes_held + room):
            ended = self.outcome(self.replay.claim(self.use(name), self.now))
        if ended == "ok":
            self.least[name] += 1
            self.most[name] += 1
        journal._retry_at = 0
        self.probes += 1
        # The next write cuts off what the failed one left.
        assert self.outcome(self.replay.claim(use(f"probe {self.probes}", life=10**6), self.now)) == "ok"

    @rule()
    def kill(self) -> None:
        killed(self.replay)
        self.uploads = []
        self.replay = opened(self.path)
        assert self.replay.trouble == ""

    @rule()
    def restart(self) -> None:
        self.runner.run(self.replay.close())
        self.uploads = []
        self.replay = opened(self.path)

    @rule(seconds=st.sampled_from([1, LEASE_SECONDS / 2, 3600]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_clock_goes_far_back(self) -> None:
        replay_clock = self.replay._table.clock
        if replay_clock:
            for name in self.allowed:
                assert self.outcome(self.replay.claim(self.use(name), replay_clock - 61)) == "replay_unavailable"

    @rule()
    def compact(self) -> None:
        self.runner.run(self.replay._rewrite())

    @invariant()
    def what_was_acknowledged_stays_used(self) -> None:
        for name, allowed in self.allowed.items():
            looked = self.outcome(self.replay.look(self.use(name), self.now))
            if self.least[name] >= allowed:
                assert looked == "key_used"
            elif not any(held == name for held, _, _ in self.uploads):
                assert looked == "ok"


def test_nothing_acknowledged_is_forgotten_whatever_happens() -> None:
    run_state_machine_as_test(CrashMachine, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
