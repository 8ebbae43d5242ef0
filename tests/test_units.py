"""Durations and sizes are read as people write them, or refused with a sentence."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        ("1d12h", 129600),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1000", 1000),
        ("10kB", 10_000),
        ("10k", 10_000),
        ("10KiB", 10_240),
        ("10 MiB", 10_485_760),
        ("1gb", 10**9),
        ("1GiB", 2**30),
        ("2TB", 2 * 10**12),
        ("1tib", 2**40),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    "text", ["", " ", "-1", "1.5h", "1 h", "h", "1y", "1h30", "1h2m3s", "\u0661m", "1_0", "1" * 13]
)
def test_what_is_no_duration_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: write seconds, .*15m, 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5MB", "MB", "1 XB", "1kbit", "\uff11", "1_0", "1" * 16, "0x10"])
def test_what_is_no_size_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size: write bytes, .* MiB"):
        parse_size(text)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0


@given(st.integers(0, 10**10))
def test_a_shown_duration_is_read_back_to_its_two_largest_units(seconds: int) -> None:
    shown = show_duration(seconds)
    read = parse_duration(shown.replace(" ", ""))
    assert read <= seconds
    assert seconds - read < (86400 if "d" in shown else 60)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3700, "1h 1m"), (3601, "1h 1s"), (90061, "1d 1h"), (-5, "0s"), (1.9, "1s")],
)
def test_durations_are_shown(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10485760, "10 MiB"),
        (2**30, "1 GiB"),
        (2**40, "1 TiB"),
        (2**50, "1024 TiB"),
    ],
)
def test_sizes_are_shown(count: int, shown: str) -> None:
    assert show_size(count) == shown
