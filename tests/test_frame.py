"""A query in its frame says what the query says."""

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.encoding import split_query
from valetstore.errors import Denied
from valetstore.frame import PARAMETERS_MAX, QUERY_BYTES_MAX, framed
from valetstore.inbound import Inbound

HEX: Final = "0123456789abcdef" * 4
DATE: Final = "X-Amz-Date=20261121T162318Z"
PARTS: Final = (
    "a=1", "a", "", "=", "b=%2F", "b=%zz", "%41=x", DATE, DATE, "X-Amz-Date=1", "X-Amz-Date=20261121T162318",
    "x-amz-date=20261121T162318Z", "X-Goog-Date=20261121T162318Z", f"X-Amz-Signature={HEX}", "X-Amz-Signature=",
    f"X-Goog-Signature={HEX * 8}", f"x-amz-signature={HEX}", f"X-Amz-Signatur%65={HEX}", f"X-Amz-Signature={HEX[1:]}",
    f"X-Amz-Signature={HEX}0", f"X-Amz-Signature={HEX.upper()}", f"X-Amz-Signature={HEX};x", "c=\xe4", f"d={HEX}",
)  # fmt: skip
QUERIES: Final = st.lists(st.sampled_from(PARTS), max_size=7).map("&".join)
"""Of every kind of pair, in any order, some of them twice."""


def read(query: str) -> tuple[object, object]:
    """What a request says in its query, or why it says nothing."""
    inbound = Inbound("GET", b"/b/k?" + query.encode("latin-1"), (), now=0)
    try:
        return inbound.query, inbound.names
    except Denied as denied:
        return denied.code, denied.detail


def expected(query: str) -> tuple[object, object]:
    """The same without any frame."""
    try:
        pairs = split_query(query.encode("latin-1"))
    except UnicodeDecodeError:
        return "target_invalid", "The query is not UTF-8 once decoded."
    except ValueError as error:
        return "target_invalid", f"The query has {error}."
    return pairs, {name.lower() for name, _ in pairs}


@given(QUERIES, QUERIES)
def test_queries_that_share_a_frame_and_those_that_only_look_so(one: str, other: str) -> None:
    """Each is read twice: the second time its frame is remembered, and so is the other's."""
    for query in (one, other, one, other):
        assert read(query) == expected(query)


@given(
    QUERIES,
    st.from_regex("[0-9]{8}T[0-9]{6}Z", fullmatch=True, alphabet="0123456789TZ"),
    st.text("0123456789abcdef", min_size=64, max_size=64),
)
def test_another_date_and_signature_have_the_same_frame(parts: str, date: str, signature: str) -> None:
    query = f"a=1&{DATE}&{parts}&X-Amz-Signature={HEX}"
    other = query.replace(DATE, f"X-Amz-Date={date}", 1)
    other = re.sub(f"(&X-Amz-Signature=){HEX}(?![^&])", rf"\g<1>{signature}", other, count=1)
    found = [framed(text.encode("latin-1")) for text in (query, other)]
    if found[0] is not None and found[0].frame.name == "X-Amz-Signature" and found[0].value == HEX:
        assert found[1] is not None
        assert found[1].frame is found[0].frame
        assert found[1].date == date
        assert found[1].value == signature
    assert read(other) == expected(other)


@pytest.mark.parametrize(
    "query",
    ["", "a=1", f"X-Amz-Signature={HEX}", f"a=1&{DATE}&X-Amz-Signature={HEX[1:]}", f"{DATE}&X-Amz-Signature={HEX}",
     f"a=1&X-Amz-Signature={HEX}", f"a=1&X-Amz-Signature={HEX}&{DATE}", f"a=1&{DATE}0&X-Amz-Signature={HEX}",
     f"a=%&{DATE}&X-Amz-Signature={HEX}", f"a=1&{DATE}&b=%f&X-Amz-Signature={HEX}",
     f"a=1&{DATE}&X-Amz-Signature={HEX}&b=%f", f"a={'x' * QUERY_BYTES_MAX}&{DATE}&X-Amz-Signature={HEX}",
     f"{'&'.join(['a'] * PARAMETERS_MAX)}&{DATE}&X-Amz-Signature={HEX}"],
)  # fmt: skip
def test_what_has_no_frame(query: str) -> None:
    assert framed(query.encode()) is None
    assert read(query) == expected(query)
