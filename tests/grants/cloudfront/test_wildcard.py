"""Wildcards: they mean what they say, and no pattern takes long."""

import time
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valetstore.grants.cloudfront.wildcard import decoded, matches, runs_of


def expected(pattern: str, text: str) -> bool:
    """The same by definition: each character tried in each way."""

    @cache
    def fits(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(text)
        if pattern[i] == "*":
            return fits(i + 1, j) or (j < len(text) and fits(i, j + 1))
        return j < len(text) and pattern[i] in ("?", text[j]) and fits(i + 1, j + 1)

    return fits(0, 0)


@given(st.text("ab*?", max_size=10), st.text("ab", max_size=12))
@example("*a?b*ab", "aabbaab")
@example("a*a", "a")
@example("*?*", "")
@example("**", "")
def test_a_pattern_fits_what_its_definition_says(pattern: str, text: str) -> None:
    assert matches(runs_of(pattern), text) is expected(pattern, text)


@given(st.text("a*?%2A", max_size=8), st.text("a*?%2", max_size=8))
def test_a_wildcard_in_the_text_is_a_character(pattern: str, text: str) -> None:
    assert matches(runs_of(pattern), text) is expected(pattern, text)


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 4_000 + "b", "*a?" * 2_500 + "b*", "*" + "a?" * 4_000 + "b*", "*" + "?" * 4_000 + "b*", "?" * 8_000],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    """What backtracks needs longer than there is time for these; what compares at each place needs seconds."""
    started = time.process_time()
    matches(runs_of(pattern), "a" * 8_000)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a%20b*", "a bc", True),
        ("%2A", "*", True),
        ("%2A", "x", False),
        ("%3F?", "?x", True),
        ("%C3%BC?", "üx", True),
    ],
)
def test_escapes_are_decoded_between_wildcards(pattern: str, text: str, fits: bool) -> None:
    assert matches(decoded(runs_of(pattern)), text) is fits


@pytest.mark.parametrize("pattern", ["%", "%4*1", "%4?", "%C3*%BC", "%zz", "100%"])
def test_an_escape_that_a_wildcard_cuts_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decoded(runs_of(pattern))
