"""Many callers in little memory, and none forgotten that still has something to lose."""

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valetstore.policy import rates
from valetstore.policy.rates import PLACE, SLOTS_MAX, SLOTS_MIN, RateTable

FAR = 1e9


def name(number: int) -> bytes:
    return number.to_bytes(16)


def filled(count: int, slots_max: int = SLOTS_MAX) -> RateTable:
    """Callers 0 to `count`, each with a bucket that is full in the far future."""
    table = RateTable(slots_max)
    for number in range(count):
        table.put(name(number), FAR + number, 1.0)
    return table


def is_growing(table: RateTable) -> bool:
    return table.growing


def test_who_was_never_seen_has_a_full_bucket() -> None:
    assert RateTable().get(name(1)) == 0.0


def test_it_starts_small_and_grows_without_forgetting_anyone() -> None:
    assert RateTable().slots == SLOTS_MIN
    table = filled(20_000)
    assert SLOTS_MIN < table.slots <= 65_536
    assert all(table.get(name(number)) == FAR + number for number in range(20_000))
    assert table.overwritten == 0


@pytest.mark.parametrize("count", [2_000, 5_000, 20_000])
def test_a_caller_takes_few_bytes(count: int) -> None:
    """What the arrays say of themselves is what they hold; slots are half as many as callers to four times as many."""
    table = filled(count)
    arrays = [part for slots in (table._slots, table._outgrown) if slots for part in (slots.tags, slots.times)]
    assert table.bytes_held <= sum(sys.getsizeof(part) for part in arrays) <= table.bytes_held + 200 * len(arrays)
    assert table.bytes_held <= count * 16 * 4 * 1.5


def test_a_million_callers_stay_under_64_mib_even_while_it_grows() -> None:
    """bench/budgets.py measures it; this is the sum."""
    slot = 2 * 8
    assert SLOTS_MAX >= 2 * 1_000_000
    assert (SLOTS_MAX + SLOTS_MAX // 2) * slot <= 48 * 2**20


def test_a_table_in_use_by_changing_callers_does_not_grow() -> None:
    """Buckets that are full again are free slots."""
    table = RateTable()
    for number in range(50_000):
        now = 1.0 + number / 100
        table.put(name(number), now + 1.0, now)  # a hundred at any moment
    assert table.slots == SLOTS_MIN
    assert table.overwritten == 0


def test_once_it_may_grow_no_more_the_one_with_least_to_lose_makes_room() -> None:
    table = RateTable(SLOTS_MIN)
    for number in range(20 * SLOTS_MIN):
        table.put(name(number), FAR + number, 1.0)
        assert table.get(name(number)) == FAR + number
    assert table.slots == SLOTS_MIN
    assert table.overwritten >= 18 * SLOTS_MIN
    kept = [number for number in range(20 * SLOTS_MIN) if table.get(name(number))]
    assert len(kept) <= SLOTS_MIN
    # Later ones are full later: of each place's old ones none survives.
    assert min(kept) > 10 * SLOTS_MIN


def test_what_is_put_while_it_moves_is_not_undone_by_the_move() -> None:
    table = RateTable()
    count = 0
    while not is_growing(table):
        table.put(name(count), FAR, 1.0)
        count += 1
    for number in range(count):
        table.put(name(number), FAR + 1 + number, 1.0)
    while is_growing(table):
        table.put(name(0), FAR + 1, 1.0)
    assert all(table.get(name(number)) == FAR + 1 + number for number in range(count))


@pytest.mark.parametrize("slots_max", [0, 100, SLOTS_MIN // 2, SLOTS_MIN + 1])
def test_its_size_is_a_power_of_two(slots_max: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        RateTable(slots_max)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 50), st.floats(0, 20)), max_size=60), st.data())
@settings(max_examples=100)
def test_as_long_as_there_is_room_it_is_a_mapping(puts: list[tuple[int, float, float]], data: Any) -> None:
    """However tags fall: here all into a few places."""
    table, model, now = RateTable(), dict[int, float](), 1.0
    tags = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6, unique=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "tag_of", lambda caller: tags[int.from_bytes(caller)])
        for number, span, pause in puts:
            now += pause
            table.put(name(number), now + span, now)
            model[number] = now + span
            for other, full_at in model.items():
                assert table.get(name(other)) == full_at or full_at <= now
    assert table.overwritten == 0
    assert len(model) <= PLACE
