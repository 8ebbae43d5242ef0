"""RevocationStore: what was revoked stays so, whatever happens to the process, the disk and the log."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import NOW, refused
from tests.policy.test_revocation import ONE, entry, grant, signing_key
from valetstore.errors import Denied
from valetstore.keys.ring import KeyRing
from valetstore.owner import revocations
from valetstore.owner.revocations import FILE, RevocationStore, repair
from valetstore.policy.bounds import SKEW_SECONDS_MAX
from valetstore.policy.revocation import KEEP_SECONDS, Revocation

Result = TypeVar("Result")


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Told:
    """What workers were told, in order."""

    def __init__(self) -> None:
        self.words: list[tuple[list[str], list[str]]] = []

    async def __call__(self, added: list[Revocation], removed: list[str]) -> None:
        await asyncio.sleep(0)
        self.words.append(([row.value for row in added], removed))


def with_steady(options: dict[str, Any]) -> dict[str, Any]:
    """Unless a test says otherwise, the clock never jumps: it goes as the steady one does."""
    return {"steady": options["clock"]} | options


def with_store(
    folder: Path,
    work: Callable[[RevocationStore], Awaitable[Result]],
    *,
    expected: bool = False,
    **options: Any,
) -> Result:
    """Do something with the store of a folder, in a loop of its own, and close it."""

    async def run() -> Result:
        store = RevocationStore(folder, **with_steady({"clock": Clock()} | options))
        store.open(expected)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def wanted(value: str = "alice", **more: Any) -> Revocation:
    """A subject to be revoked."""
    return Revocation("", "subject", value, **more)


def held(folder: Path, *, expected: bool = True) -> list[str]:
    """The values that a store opened now has in force."""

    async def values(store: RevocationStore) -> list[str]:
        assert store.trouble == ""
        return [row.value for row in store.table]

    return with_store(folder, values, expected=expected)


def fill(folder: Path, *values: str) -> None:
    """Revoke these subjects."""

    async def add(store: RevocationStore) -> None:
        for value in values:
            await store.add(wanted(value))

    with_store(folder, add)


def trouble(folder: Path, *, expected: bool = True) -> str:
    """What a store opened now says is wrong; it must deny then."""

    async def found(store: RevocationStore) -> str:
        if store.trouble:
            for refusing in (store.add(wanted()), store.undo("00000000001")):
                with refused("revocation_unavailable"):
                    await refusing
            with refused("revocation_unavailable"):
                store.table.check(grant(subject="nobody"), "/a/b", NOW)
            await store.tidy()
            assert len(store.table) == 0
        return store.trouble

    return with_store(folder, found, expected=expected)


def test_what_is_added_is_in_force_told_and_outlasts_the_process(tmp_path: Path) -> None:
    told = Told()

    async def add(store: RevocationStore) -> Revocation:
        row, is_new = await store.add(wanted(reason="leaked", by="ops", issued_before=NOW + 5.5))
        assert is_new
        assert told.words == [(["alice"], [])]
        with refused("key_revoked"):
            store.table.check(grant(), "/a/b", NOW)
        return row

    row = with_store(tmp_path, add, tell=told)
    assert (row.kind, row.value, row.issued_before, row.created_at, row.reason, row.by) == (
        "subject",
        "alice",
        NOW + 5.5,
        NOW,
        "leaked",
        "ops",
    )

    async def again(store: RevocationStore) -> None:
        assert list(store.table) == [row]

    with_store(tmp_path, again, expected=True)


def test_the_same_again_is_the_same_entry_and_tells_nobody(tmp_path: Path) -> None:
    told = Told()

    async def add(store: RevocationStore) -> None:
        first, _ = await store.add(wanted(reason="first"))
        assert await store.add(wanted(reason="second")) == (first, False)
        at_once = await asyncio.gather(*(store.add(wanted("bob")) for _ in range(20)))
        assert len({row.id for row, _ in at_once}) == 1
        assert sum(is_new for _, is_new in at_once) == 1
        assert len(told.words) == 2

    with_store(tmp_path, add, tell=told)


def test_who_asks_for_the_same_meanwhile_waits_until_every_worker_knows(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def tell(_added: list[Revocation], _removed: list[str]) -> None:
        await heard.wait()

    async def add(store: RevocationStore) -> None:
        asking = [asyncio.ensure_future(store.add(wanted())) for _ in range(3)]
        done, _ = await asyncio.wait(asking, timeout=0.1)
        assert not done
        assert len(store.table) == 1
        heard.set()
        assert sorted(is_new for _, is_new in await asyncio.gather(*asking)) == [False, False, True]

    with_store(tmp_path, add, tell=tell)


def test_what_is_undone_is_gone_for_good(tmp_path: Path) -> None:
    told = Told()

    async def undo(store: RevocationStore) -> None:
        row, _ = await store.add(wanted())
        await store.add(wanted("bob"))
        assert await store.undo(row.id)
        assert not await store.undo(row.id)
        assert not await store.undo("nonsense")
        assert told.words[-1] == ([], [row.id])
        store.table.check(grant(), "/a/b", NOW)
        again, is_new = await store.add(wanted())
        assert is_new
        assert again.id > row.id
        assert await store.undo(again.id)

    with_store(tmp_path, undo, tell=told)
    assert held(tmp_path) == ["bob"]


def test_ids_are_not_met_again_after_a_restart(tmp_path: Path) -> None:
    async def one(store: RevocationStore) -> str:
        row, _ = await store.add(wanted())
        await store.undo(row.id)
        return row.id

    ids = [with_store(tmp_path, one) for _ in range(3)]
    assert ids == sorted(set(ids))


def test_a_cancelled_caller_leaves_log_table_and_workers_alike(tmp_path: Path) -> None:
    told = Told()

    async def cancel(store: RevocationStore) -> None:
        for value in "abc":
            asking = asyncio.ensure_future(store.add(wanted(value)))
            await asyncio.sleep(0)
            asking.cancel()
        await asyncio.sleep(0)

    with_store(tmp_path, cancel, tell=told)
    assert [added for added, _ in told.words] == [["a"], ["b"], ["c"]]
    assert held(tmp_path) == ["a", "b", "c"]


def test_where_the_disk_cannot_be_written_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()

    async def fail(store: RevocationStore) -> None:
        row, _ = await store.add(wanted())

        async def full(_record: bytes, _now: float) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(store._journal, "append", full)
            with refused("storage_unavailable", "Nothing was changed") as denied:
                await store.add(wanted("bob"))
            assert denied.evidence["retry_after"]
            with refused("storage_unavailable"):
                await store.undo(row.id)
        store.table.check(grant(subject="bob"), "/a/b", NOW)
        with refused("key_revoked"):
            store.table.check(grant(), "/a/b", NOW)
        await store.add(wanted("carol"))

    with_store(tmp_path, fail, tell=told)
    assert [added for added, _ in told.words] == [["alice"], ["carol"]]
    assert held(tmp_path) == ["alice", "carol"]


def test_what_expired_is_dropped_by_itself_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "TIDY_SECONDS", 0.01)
    told, clock = Told(), Clock()

    async def wait(store: RevocationStore) -> None:
        store.keep()
        store.keep()
        row, _ = await store.add(Revocation("", "key", ONE.hex(), expires_at=NOW + 10))
        await store.add(wanted())
        await asyncio.sleep(0.05)
        assert len(store.table) == 2
        clock.now += 10 + KEEP_SECONDS
        while len(store.table) == 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        assert told.words[-1] == ([], [row.id])

    with_store(tmp_path, wait, tell=told, clock=clock)


def test_a_clock_that_jumps_ahead_and_back_brings_no_key_back(tmp_path: Path) -> None:
    clock, steady = Clock(), Clock()

    async def wait(store: RevocationStore) -> None:
        await store.add(Revocation("", "key", ONE.hex(), expires_at=NOW + 86_400))
        for _ in range(2 * int(KEEP_SECONDS) // 600):
            steady.now += 600
            clock.now = steady.now
            await store.tidy()
        clock.now += 3 * 86_400
        await store.tidy()
        assert len(store.table) == 1
        clock.now -= 3 * 86_400
        await store.tidy()
        assert len(store.table) == 1
        steady.now += 86_400 + KEEP_SECONDS
        clock.now = steady.now
        await store.tidy()
        assert len(store.table) == 0

    with_store(tmp_path, wait, clock=clock, steady=steady)


def test_a_clock_that_was_wrong_from_the_start_has_dropped_nothing_for_good(tmp_path: Path) -> None:
    """Once it is set right, the log says what is revoked."""
    told, clock, steady = Told(), Clock(), Clock()

    async def add(store: RevocationStore) -> None:
        await store.add(Revocation("", "key", ONE.hex(), expires_at=NOW + 86_400))
        row, _ = await store.add(wanted("undone"))
        await store.undo(row.id)

    async def wait(store: RevocationStore) -> None:
        await store.tidy()
        assert len(store.table) == 1, "too soon after the start to believe the clock"
        for _ in range(2):
            steady.now += KEEP_SECONDS
            clock.now += KEEP_SECONDS
            await store.tidy()
        assert len(store.table) == 0
        clock.now -= 3 * 86_400
        await store.tidy()
        assert [row.value for row in store.table] == [ONE.hex()]
        assert told.words[-1] == ([ONE.hex()], [])

    with_store(tmp_path, add)
    clock.now += 3 * 86_400
    with_store(tmp_path, wait, expected=True, tell=told, clock=clock, steady=steady)


def test_ttl_max_bounds_what_is_kept(tmp_path: Path) -> None:
    clock = Clock()

    async def wait(store: RevocationStore) -> None:
        store.ring = KeyRing([signing_key("web", 60)])
        await store.add(wanted(issued_before=NOW))
        await store.add(wanted("bob"))
        clock.now += 60 + 2 * SKEW_SECONDS_MAX + KEEP_SECONDS - 1
        await store.tidy()
        assert len(store.table) == 2
        clock.now += 1
        await store.tidy()
        assert [row.value for row in store.table] == ["bob"]

    with_store(tmp_path, wait, clock=clock)


def test_a_log_of_dead_records_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "DEAD_RECORDS_MIN", 20)
    monkeypatch.setattr(revocations, "CHUNK_RECORDS", 3)

    async def churn(store: RevocationStore) -> int:
        for number in range(10):
            await store.add(wanted(f"kept {number}"))
        for number in range(15):
            row, _ = await store.add(wanted(f"gone {number}"))
            await store.undo(row.id)
        before = store._journal.bytes_held
        adding = [asyncio.ensure_future(store.add(wanted(f"meanwhile {number}"))) for number in range(5)]
        await store.tidy()
        await asyncio.gather(*adding)
        assert store._journal.bytes_held < before
        size = store._journal.bytes_held
        await store.tidy()
        assert store._journal.bytes_held == size
        return len(store.table)

    assert with_store(tmp_path, churn) == 15
    assert held(tmp_path) == [f"kept {n}" for n in range(10)] + [f"meanwhile {n}" for n in range(5)]


def test_a_log_that_cannot_be_written_anew_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "DEAD_RECORDS_MIN", 1)

    async def churn(store: RevocationStore) -> None:
        for number in range(3):
            row, _ = await store.add(wanted(f"gone {number}"))
            await store.undo(row.id)

        async def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(store._journal, "rewrite", full)
            await store.tidy()
        await store.add(wanted())

    with_store(tmp_path, churn)
    assert held(tmp_path) == ["alice"]


# --- a log that is not as it was ---------------------------------------------------------------------


def test_a_deleted_log_denies_and_a_first_start_does_not(tmp_path: Path) -> None:
    assert trouble(tmp_path, expected=False) == ""
    fill(tmp_path, "alice")
    (tmp_path / FILE).unlink()
    assert "missing" in trouble(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    assert "missing" in trouble(tmp_path)


def test_a_log_nobody_may_read_denies(tmp_path: Path) -> None:
    fill(tmp_path, "alice")
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert str(tmp_path / FILE) in trouble(tmp_path)


def test_a_log_with_a_record_of_another_kind_denies(tmp_path: Path) -> None:
    async def stranger(store: RevocationStore) -> None:
        await store._journal.append(b"\x92\xa1?\x01", NOW)

    with_store(tmp_path, stranger)
    assert "cannot read" in trouble(tmp_path)


def test_any_flipped_byte_denies_or_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, *(f"s{number}" for number in range(6)))
    whole = (tmp_path / FILE).read_bytes()
    kept = held(tmp_path)
    rng = random.Random(1)
    for at in rng.sample(range(len(whole)), 60):
        (tmp_path / FILE).write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        if not trouble(tmp_path):
            assert held(tmp_path) == kept
    (tmp_path / FILE).write_bytes(whole)
    assert held(tmp_path) == kept


def test_trouble_ends_with_the_next_start_once_it_is_repaired(tmp_path: Path) -> None:
    fill(tmp_path, *(f"s{number}" for number in range(6)))
    path = tmp_path / FILE
    data = path.read_bytes()
    at = data.index(b"s3")
    path.write_bytes(data[:at] + b"XX" + data[at + 2 :])
    assert trouble(tmp_path)
    said = repair(tmp_path, NOW)
    assert "5 revocations that could be read" in said
    assert "set aside as revocations.log.damaged-20270115T080000Z" in said
    assert "valid again" in said
    assert held(tmp_path) == ["s0", "s1", "s2", "s4", "s5"]
    assert (tmp_path / f"{FILE}.damaged-20270115T080000Z").read_bytes()[at : at + 2] == b"XX"


def test_a_repair_keeps_what_is_undone_undone_and_what_is_not_understood_apart(tmp_path: Path) -> None:
    async def churn(store: RevocationStore) -> None:
        row, _ = await store.add(wanted())
        await store.add(wanted("bob"))
        await store.undo(row.id)
        await store._journal.append(b"\x92\xa1?\x01", NOW)

    with_store(tmp_path, churn)
    said = repair(tmp_path, NOW)
    assert "1 revocations" in said
    assert "1 records could not" in said
    assert held(tmp_path) == ["bob"]


def test_a_repair_of_what_is_missing_begins_anew_and_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "alice")
    (tmp_path / FILE).unlink()
    assert "the old one was missing" in repair(tmp_path, NOW)
    assert held(tmp_path) == []


def test_a_folder_in_the_logs_place_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    repair(tmp_path, NOW)
    assert held(tmp_path) == []


# --- killed at any moment -----------------------------------------------------------------------------

KILLED = """
import asyncio, sys
from pathlib import Path
from valetstore.owner.revocations import RevocationStore
from valetstore.policy.revocation import Revocation

async def run():
    store = RevocationStore(Path(sys.argv[1]))
    store.open(False)
    assert not store.trouble, store.trouble
    number = 0
    while True:
        row, _ = await store.add(Revocation("", "subject", f"{sys.argv[2]}-{number}"))
        print("+", row.value, flush=True)
        if number % 3 == 0:
            await store.undo(row.id)
            print("-", row.value, flush=True)
        number += 1

asyncio.run(run())
"""


def test_what_was_acknowledged_before_a_kill_holds_after_it(tmp_path: Path) -> None:
    """Killed again and again: every entry that was told is there, every one that was undone is not."""
    acknowledged: dict[str, bool] = {}
    for turn in range(5):
        running = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(turn)], stdout=subprocess.PIPE, text=True
        )
        assert running.stdout
        lines = [running.stdout.readline() for _ in range(10 + 7 * turn)]
        running.kill()
        lines += running.stdout.readlines()
        running.wait()
        for line in lines:
            if line.endswith("\n"):
                acknowledged[line[2:-1]] = line[0] == "+"
        now = held(tmp_path)
        # After its last word it may have done one thing more: that one may be as it is.
        last = line[2:-1]
        if acknowledged[last]:
            acknowledged[last] = last in now
        for value, is_held in acknowledged.items():
            assert (value in now) is is_held, value


# --- any history --------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "undo", "reopen", "tidy", "later", "torn"]), st.integers(0, 5)), max_size=25
    )
)
def test_after_any_history_the_store_holds_what_was_acknowledged(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, clock = tmp_path_factory.mktemp("log"), Clock()

    async def run() -> None:
        store = RevocationStore(folder, clock=clock, steady=clock)
        store.open(False)
        model: dict[str, Revocation] = {}
        for step, number in steps:
            if step == "add":
                row, is_new = await store.add(entry("subject", f"s{number}"))
                assert is_new is (row.id not in model)
                model[row.id] = row
            elif step == "undo":
                chosen = ([*model, "0000000ffff"])[number % (len(model) + 1)]
                assert await store.undo(chosen) is (model.pop(chosen, None) is not None)
            elif step == "tidy":
                await store.tidy()
            elif step == "later":
                clock.now += number
            else:
                await store.close()
                if step == "torn":
                    with open(folder / FILE, "ab") as file:
                        file.write(os.urandom(number))
                store = RevocationStore(folder, clock=clock, steady=clock)
                store.open(True)
                assert store.trouble == ""
            assert list(store.table) == list(model.values())
        await store.close()

    asyncio.run(run())


def test_denied_is_what_is_raised_for_all_of_it() -> None:
    assert Denied("revocation_unavailable").status == 503
