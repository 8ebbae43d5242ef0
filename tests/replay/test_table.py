"""The table behind every replay set: what it says of its changes, how it is restored, and what it weighs."""

import os
import subprocess
import sys
from collections.abc import Iterable
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minting import NOW, refused
from tests.replay.contract import LONG_AFTER, use
from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.promise import LEASE_SECONDS
from valetstore.replay.records import trusted_record
from valetstore.replay.table import LATE_SECONDS, RECORDS_AT_ONCE, Change, ReplayTable
from valetstore.replay.windows import FORGET_AT_ONCE


def table() -> ReplayTable:
    return ReplayTable(10_000, 10)


def restored(records: Iterable[bytes], clock: float = NOW) -> ReplayTable:
    made = table()
    for record in records:
        made.restore(record)
    made.settle(clock)
    return made


def again(source: ReplayTable) -> ReplayTable:
    """What a rewritten log gives after a restart."""
    return restored((record for chunk in source.records() for record in chunk), 0)


def verdict(judged: ReplayTable, asked: Use, now: float) -> str:
    try:
        judged.look(asked, now)
    except Denied as denied:
        return denied.code
    return "ok"


def change(made: Change | None) -> Change:
    assert made is not None
    return made


def undo(made: Change | None) -> None:
    assert made is not None
    assert made.undo is not None
    made.undo()


# Records


def test_each_change_comes_with_a_record_that_says_all_of_its_key() -> None:
    """So the last record alone restores it, and any of them twice."""
    first, records = table(), []
    watched = use(allowed=3, window=30)
    records.append(change(first.claim(watched, NOW)).record)
    held = first.reserve(use(allowed=3, source="192.0.2.2"), NOW)
    records.append(change(first.committing(held, NOW)).record)
    for kept in (records, records * 2, records[:1] + records):
        second = restored(kept)
        second.claim(use(allowed=3, source="192.0.2.3"), NOW)
        with refused("key_used"):
            second.look(use(allowed=3, source="192.0.2.3"), NOW)
        second.look(watched, NOW + 29)
        assert verdict(second, watched, NOW + 30) == "key_used"


def test_what_was_only_reserved_is_not_kept() -> None:
    first = table()
    first.reserve(use(), NOW)
    assert verdict(again(first), use(), NOW) == "ok"


def test_what_was_committing_is_used_after_a_crash_and_what_was_released_is_not() -> None:
    first = table()
    held = first.reserve(use(), NOW)
    committing = change(first.committing(held, NOW)).record
    assert verdict(restored([committing]), use(), NOW) == "key_used"
    assert verdict(again(first), use(), NOW) == "key_used"
    released = change(first.release(held)).record
    assert verdict(restored([committing, released]), use(), NOW) == "ok"
    assert verdict(again(first), use(), NOW) == "ok"


def test_a_key_given_back_stays_so_whatever_was_logged_before() -> None:
    first = table()
    watched = use(allowed=9, window=30)
    records = [change(call(watched, NOW)).record for call in (first.claim, first.spend)]
    assert first.spend(use(allowed=9), NOW) is None
    for second in (restored(records), again(first)):
        assert verdict(second, use(allowed=9, window=30), NOW + 1) == "key_used"


def test_a_rewritten_log_has_every_open_window() -> None:
    first = table()
    sources = [f"192.0.2.{number}" for number in range(5)]
    for source in sources:
        first.claim(use(allowed=5, window=30, source=source), NOW)
    second = again(first)
    assert len(second) == 1
    for source in (*sources, "198.51.100.1"):
        asked = use(allowed=5, window=30, source=source)
        assert verdict(second, asked, NOW + 29) == verdict(first, asked, NOW + 29)
        assert verdict(second, asked, NOW + 31) == "key_used"


def test_an_end_beyond_what_a_log_can_say_is_never() -> None:
    first = table()
    endless = Use(b"e" * 16, 1, 0, "", float(2**53))
    first.claim(endless, NOW)
    second = again(first)
    second.look(use("other", life=2**40), NOW + 2**36)
    assert len(second) == 1
    assert verdict(second, endless, NOW + 2**36) == "key_used"


@pytest.mark.parametrize("record", [b"\0", b"\1", b"\1" * 24, b"\1" * 30, b"\2" * 8, b"\3" * 10, b"\4" * 25, b"\xff"])
def test_a_record_of_another_kind_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        table().restore(record)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([60, 100, 3000]), st.integers(0, 40)), max_size=60))
def test_a_rewritten_log_says_what_the_table_does(claims: list[tuple[int, int, int]]) -> None:
    first = table()
    for name, life, window in claims:
        first.claim(use(str(name), allowed=1000, life=life, window=window), NOW)
    second = again(first)
    assert len(second) == len(first)
    for name in range(31):
        for uses in (1, 2, 5):
            for source in ("192.0.2.1", "192.0.2.2"):
                asked = use(str(name), allowed=uses, source=source, life=3000)
                for moment in (NOW, NOW + 20, NOW + 130):
                    assert verdict(second, asked, moment) == verdict(first, asked, moment)


def test_what_changes_while_chunks_are_made_is_not_lost_with_what_is_logged_behind() -> None:
    first = table()
    for number in range(3 * RECORDS_AT_ONCE):
        first.claim(use(str(number), allowed=3, life=60), NOW)
    records, behind = [], []
    for chunk in first.records():
        records += chunk
        # Each moves some entries to a later end, uses others once more, and brings new ones.
        number = len(records)
        names = (str(number % 1000), str(number), f"new {number}")
        behind += [change(first.claim(use(name, allowed=9, life=5000 + number), NOW)).record for name in names]
    second = restored(records + behind)
    assert len(second) == len(first)
    for name in map(str, range(3 * RECORDS_AT_ONCE)):
        for uses in (1, 2, 3, 4):
            for moment in (NOW, NOW + 4000):
                asked = use(name, allowed=uses, life=9000)
                assert verdict(second, asked, moment) == verdict(first, asked, moment)


def test_no_chunk_takes_long_to_make() -> None:
    first = table()
    for number in range(5000):
        first.claim(use(str(number)), NOW)
    assert max(len(chunk) for chunk in first.records()) <= RECORDS_AT_ONCE


# The way back


def test_a_claim_that_could_not_be_logged_was_none() -> None:
    first = table()
    undo(first.claim(use(window=30), NOW))
    assert verdict(first, use(window=30, source="192.0.2.9"), NOW) == "ok"
    assert again(first)._entries == {}
    first.claim(use(window=30), NOW)
    assert verdict(first, use(source="192.0.2.9"), NOW) == "key_used"


def test_a_committing_that_could_not_be_logged_leaves_the_reservation() -> None:
    first = table()
    held = first.reserve(use(life=1000), NOW)
    undo(first.committing(held, NOW + 1))
    assert verdict(first, use(life=1000), NOW + 2) == "key_used"
    assert verdict(again(first), use(life=1000), NOW + 2) == "ok"
    assert verdict(first, use(life=1000), NOW + LEASE_SECONDS + 1) == "ok"


def test_a_commit_that_could_not_be_logged_leaves_the_reservation() -> None:
    first = table()
    held = first.reserve(use(life=1000, window=9), NOW)
    undo(first.commit(held, NOW + 1))
    assert verdict(first, use(life=1000, window=9), NOW + 2) == "key_used"
    assert change(first.committing(held, NOW + 3))
    # And after committing there is nothing to take back: only a window to tell of.
    assert change(first.commit(held, NOW + 4)).undo is None
    assert first.release(held) is None


def test_a_key_that_could_not_be_given_back_is_as_it_was() -> None:
    first = table()
    watched = use(allowed=3, window=30, life=1000)
    first.claim(watched, NOW)
    reserved, committing = (first.reserve(use(allowed=3, life=1000, source=""), NOW) for _ in range(2))
    first.committing(committing, NOW)
    undo(first.spend(watched, NOW + 1))
    first.look(watched, NOW + 2)
    another = use(allowed=3, source="192.0.2.2")
    assert verdict(first, another, NOW + 2) == "key_used"
    first.committing(reserved, NOW + 2)
    first.release(committing)
    first.claim(another, NOW + 3)
    assert verdict(first, another, NOW + 3) == "key_used"


def test_changes_that_fail_together_are_taken_back_last_one_first() -> None:
    first = table()
    held = first.reserve(use(life=1000), NOW)
    together = [first.committing(held, NOW), first.spend(use(life=1000), NOW)]
    for made in reversed(together):
        undo(made)
    first.release(held)
    assert verdict(first, use(life=1000), NOW) == "ok"


def test_taking_back_what_is_forgotten_meanwhile_is_harmless() -> None:
    first = table()
    held = first.reserve(use(), NOW)
    changes = [first.claim(use("b", window=30), NOW), first.spend(use("c"), NOW), first.commit(held, NOW)]
    first.settle(NOW + LONG_AFTER)
    assert len(first) == 0
    for made in changes:
        undo(made)
    assert len(first) == 0


# The clock


def test_a_restored_table_does_not_believe_a_clock_before_its_logs() -> None:
    first = table()
    record = change(first.claim(use(life=5000), NOW)).record
    second = restored([record], NOW)
    for back in (LATE_SECONDS + 1, 3600):
        assert verdict(second, use(), NOW - back) == "replay_unavailable"
    assert verdict(second, use("b"), NOW - LATE_SECONDS) == "ok"
    assert verdict(second, use(), NOW) == "key_used"


def test_the_clock_that_left_entries_out_is_kept_with_the_rest() -> None:
    first = table()
    first.claim(use(), NOW)
    first.look(use("other", life=2 * LONG_AFTER), NOW + LONG_AFTER)
    second = again(first)
    assert second.clock == NOW + LONG_AFTER
    assert verdict(second, use(), NOW) == "replay_unavailable"


def test_only_what_had_ended_by_the_logs_clock_is_dropped_at_the_start() -> None:
    first = table()
    records = [change(first.claim(use(str(n), life=n), NOW)).record for n in range(0, 6000, 2)]
    second = restored(records, NOW + 3000)
    ended = 3000 - LATE_SECONDS
    assert (6000 - ended) / 2 <= len(second) <= (6000 - ended) / 2 + 40
    for life in range(ended, 6000, 2):
        assert verdict(second, use(str(life), life=9999), NOW + 3000) == "key_used"


def test_entries_that_end_together_are_dropped_little_by_little() -> None:
    first = table()
    for number in range(3 * FORGET_AT_ONCE):
        first.claim(use(str(number)), NOW)
    for step in range(1, 4):
        first.look(use("other", life=9 * LONG_AFTER), NOW + LONG_AFTER + step)
        assert len(first) == (3 - step) * FORGET_AT_ONCE


def test_what_died_while_committing_stays_used_and_is_forgotten_in_the_end() -> None:
    first = table()
    held = first.reserve(use(life=10), NOW)
    first.committing(held, NOW)
    for hour in range(1, 24):
        first.look(use("other", life=10**6), NOW + hour * 3600)
        assert verdict(first, use(life=10), NOW + hour * 3600) == "key_used"
    for hour in (25, 26):
        first.look(use("other", life=10**6), NOW + hour * 3600)
    assert len(first) == 0
    assert len(first._reservations) == 0
    assert first._reservations._committing == set()


# After a repair


def test_after_a_repair_keys_from_before_are_used() -> None:
    """Nobody can know whether they were."""
    first = restored([trusted_record(NOW)])
    before, unknown, since = (Use(name * 16, 5, 0, "", NOW + 99, at) for name, at in
                              ((b"a", NOW - 1.0), (b"b", None), (b"c", float(NOW))))  # fmt: skip
    for judged in (first, again(first), restored([trusted_record(NOW), trusted_record(NOW - 1000)])):
        for asked in (before, unknown):
            for call in (judged.look, judged.claim, judged.reserve):
                with refused("key_used"):
                    call(asked, NOW + 1)
        assert len(judged) == 0
        judged.claim(since, NOW + 1)
        judged.spend(before, NOW + 1)


# Size


def test_an_entry_takes_about_100_bytes() -> None:
    """As the process grows, at a quarter of a million (a million takes as much each: `bench/replay.py`)."""
    script = """
import os
from valetstore.grants.grant import Use
from valetstore.replay.table import ReplayTable
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
table = ReplayTable(10**6, 10)
before = resident()
for number in range(250_000):
    table.claim(Use(os.urandom(16), 1, 0, "192.0.2.1", 2000.0 + number % 36000), 1000.0)
print((resident() - before) / 250_000)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert float(grown.stdout) < 110


def test_an_identity_is_of_16_bytes() -> None:
    for size in (0, 15, 17):
        with pytest.raises(ValueError, match="16 bytes"):
            table().claim(Use(b"x" * size, 1, 0, "", NOW), NOW)


def test_a_record_takes_as_much_as_the_log_reckons_with() -> None:
    record = change(table().claim(use(), NOW)).record
    assert len(record) == Struct("<B16sII").size
