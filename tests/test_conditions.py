"""Conditional requests as RFC 9110 section 13 judges them, and the same for reads and writes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minting import ask, perhaps_refused, refused
from valetstore.conditions import ANY, Conditions, Outcome, if_range_holds
from valetstore.encoding import http_date

PROCEED, NOT_MODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED
TAG = '"one"'
THEN = 784111777


def of(**headers: str) -> Conditions:
    return Conditions.of(ask(headers={name.replace("_", "-"): value for name, value in headers.items()}))


TAGS = st.builds(
    lambda weak, letters: f'{weak}"{letters}"',
    st.sampled_from(["", "W/"]),
    st.text(st.characters(min_codepoint=0x23, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=6),
)


@given(st.lists(TAGS, min_size=1, max_size=5), st.sampled_from([",", ", ", " , ", ",,", ", ,\t"]))
def test_a_list_of_entity_tags_comes_back(tags: list[str], comma: str) -> None:
    assert of(if_match=comma.join(tags)).if_match == tuple(tags)
    assert of(if_none_match=f"{comma.strip()}{comma.join(tags)}{comma}").if_none_match == tuple(tags)


def test_two_lines_are_one_list_and_a_star_is_any() -> None:
    assert of(if_match=" * ").if_match == ANY
    assert Conditions.of(ask()) == Conditions()


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        ",",
        "one",
        '"one',
        'one"',
        '"a" "b"',
        '"a"b',
        'w/"a"',
        'W/ "a"',
        '*, "a"',
        '"a", *',
        '"a\x01"',
        "\u00a0",
    ],
)
def test_what_is_no_list_of_tags_is_refused_and_never_ignored(value: str) -> None:
    """A condition that was meant and not understood must not let a write through."""
    for name in ("if_match", "if_none_match"):
        with refused("parameter_invalid", name.replace("_", "-")):
            of(**{name: value})


@given(st.text(st.characters(max_codepoint=0xFF)))
def test_any_header_value_is_read_or_refused(value: str) -> None:
    with perhaps_refused("parameter_invalid"):
        assert of(if_match=value, if_modified_since=value, if_unmodified_since=value).if_match


def test_reading_takes_no_longer_than_the_header_is_long() -> None:
    for value in ("\u00a0" * 60_000 + "x", '"a"' + " " * 60_000 + "x", ", " * 30_000, '"' + "a" * 60_000):
        with refused("parameter_invalid"):
            of(if_none_match=value)


def test_a_date_that_is_none_is_ignored() -> None:
    assert of(if_modified_since="yesterday", if_unmodified_since="").if_modified_since is None
    assert of(if_unmodified_since=http_date(THEN)).if_unmodified_since == THEN


@pytest.mark.parametrize(
    ("headers", "reading", "writing"),
    [
        ({}, PROCEED, PROCEED),
        ({"if_match": TAG}, PROCEED, PROCEED),
        ({"if_match": "*"}, PROCEED, PROCEED),
        ({"if_match": f'"two", {TAG}'}, PROCEED, PROCEED),
        ({"if_match": f"W/{TAG}"}, FAILED, FAILED),
        ({"if_match": '"two"'}, FAILED, FAILED),
        ({"if_none_match": TAG}, NOT_MODIFIED, FAILED),
        ({"if_none_match": f"W/{TAG}"}, NOT_MODIFIED, FAILED),
        ({"if_none_match": "*"}, NOT_MODIFIED, FAILED),
        ({"if_none_match": '"two"'}, PROCEED, PROCEED),
        ({"if_modified_since": http_date(THEN)}, NOT_MODIFIED, PROCEED),
        ({"if_modified_since": http_date(THEN + 1)}, NOT_MODIFIED, PROCEED),
        ({"if_modified_since": http_date(THEN - 1)}, PROCEED, PROCEED),
        ({"if_unmodified_since": http_date(THEN)}, PROCEED, PROCEED),
        ({"if_unmodified_since": http_date(THEN - 1)}, FAILED, FAILED),
        # Section 13.2.2: an entity tag goes before a date.
        ({"if_match": TAG, "if_unmodified_since": http_date(THEN - 1)}, PROCEED, PROCEED),
        ({"if_none_match": '"two"', "if_modified_since": http_date(THEN)}, PROCEED, PROCEED),
        ({"if_none_match": TAG, "if_modified_since": http_date(THEN - 1)}, NOT_MODIFIED, FAILED),
        ({"if_match": '"two"', "if_none_match": TAG}, FAILED, FAILED),
        ({"if_match": TAG, "if_none_match": TAG}, NOT_MODIFIED, FAILED),
    ],
)
def test_an_object_that_is_there(headers: dict[str, str], reading: Outcome, writing: Outcome) -> None:
    found = of(**headers)
    assert found.judge(TAG, THEN, is_read=True) is reading
    assert found.judge(TAG, THEN, is_read=False) is writing


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, PROCEED),
        ({"if_match": "*"}, FAILED),
        ({"if_match": TAG}, FAILED),
        ({"if_none_match": "*"}, PROCEED),
        ({"if_none_match": TAG}, PROCEED),
        ({"if_unmodified_since": http_date(THEN)}, FAILED),
        ({"if_modified_since": http_date(THEN)}, PROCEED),
    ],
)
def test_an_object_that_is_not_there(headers: dict[str, str], outcome: Outcome) -> None:
    assert of(**headers).judge(None, None, is_read=False) is outcome


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"if_modified_since": http_date(THEN)}, FAILED),
        ({"if_modified_since": http_date(THEN - 1)}, PROCEED),
        ({"if_match": TAG, "if_modified_since": http_date(THEN)}, FAILED),
        ({"if_none_match": '"two"', "if_modified_since": http_date(THEN)}, PROCEED),
    ],
)
def test_a_dialect_may_hold_writes_to_what_http_asks_of_reads(headers: dict[str, str], outcome: Outcome) -> None:
    """If-Modified-Since; an object that is not there has no time to hold to."""
    found = msgspec.structs.replace(of(**headers), modified_binds_writes=True)
    assert found.judge(TAG, THEN, is_read=False) is outcome
    assert found.judge(TAG, THEN, is_read=True) is of(**headers).judge(TAG, THEN, is_read=True)
    without = msgspec.structs.replace(found, if_match=None)
    assert without.judge(None, None, is_read=False) is PROCEED


def test_a_dialect_may_have_a_prefix_of_its_own_and_tags_without_quotes() -> None:
    headers = {"x-if-match": "d41d8cd9-2", "x-if-modified-since": http_date(THEN), "if-none-match": "*"}
    assert Conditions.of(ask(headers=headers), "x-", bare_tags=True) == Conditions(('"d41d8cd9-2"',), None, THEN)
    for value in ("one, two", 'one"', "a b"):
        with refused("parameter_invalid"):
            Conditions.of(ask(headers={"if-match": value}), bare_tags=True)


def test_a_weak_tag_of_the_object_never_matches_strongly() -> None:
    assert of(if_match=f"W/{TAG}").judge(f"W/{TAG}", THEN, is_read=False) is FAILED
    assert of(if_none_match=TAG).judge(f"W/{TAG}", THEN, is_read=True) is NOT_MODIFIED


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (None, True),
        (TAG, True),
        ('"two"', False),
        (f"W/{TAG}", False),
        (f'{TAG}, "two"', False),
        ("*", False),
        (http_date(THEN), True),
        (http_date(THEN + 1), False),
        (http_date(THEN - 1), False),
        ("soon", False),
        ("", False),
    ],
)
def test_a_range_is_honoured_only_for_exactly_this_state(value: str | None, holds: bool) -> None:
    inbound = ask(headers={} if value is None else {"if-range": value})
    assert if_range_holds(inbound, TAG, THEN) is holds


@pytest.mark.parametrize(("age", "holds"), [(0.0, False), (0.9, False), (1.0, True), (-5.0, False)])
def test_a_date_names_a_state_once_its_second_is_over(age: float, holds: bool) -> None:
    """Section 8.8.2.2: until then the object may change again and keep the date. A tag names it at once."""
    inbound = ask(headers={"if-range": http_date(THEN)}, now=THEN + age)
    assert if_range_holds(inbound, TAG, THEN) is holds
    assert if_range_holds(ask(headers={"if-range": TAG}, now=THEN + age), TAG, THEN)
