"""Content-Range in a resumable session, read strictly."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.edge.gcs.content_range import QUANTUM_BYTES, Piece, Question, piece_of, range_of
from valetstore.errors import Denied
from valetstore.inbound import Inbound

_COUNTS = st.integers(0, 2**62)


def read(text: str | None, body_length: int | None = None) -> Piece | Question:
    """The header as a request brings it."""
    headers = () if text is None else ((b"Content-Range", text.encode("latin-1")),)
    return piece_of(Inbound("PUT", b"/b/o", headers, now=0.0), body_length)


def test_without_it_the_body_is_the_object() -> None:
    assert read(None, 7) == Piece(0, 7, 7, True)
    assert read(None) == Piece(0, None, None, True)


@given(_COUNTS)
def test_a_question_may_know_the_total(total: int) -> None:
    assert read("bytes */*") == Question(None)
    assert read(f"bytes */{total}") == Question(total)


@given(first=_COUNTS, quanta=st.integers(1, 1000), behind=st.integers(1, 2**62))
def test_a_piece_that_is_not_the_last(first: int, quanta: int, behind: int) -> None:
    length = quanta * QUANTUM_BYTES
    last = first + length - 1
    assert read(f"bytes {first}-{last}/*") == Piece(first, length, None, False)
    total = last + 1 + behind
    assert read(f"bytes {first}-{last}/{total}", length) == Piece(first, length, total, False)


@given(first=_COUNTS, length=st.integers(1, 2**40))
def test_the_last_piece_has_any_length(first: int, length: int) -> None:
    total = first + length
    assert read(f"bytes {first}-{total - 1}/{total}") == Piece(first, length, total, True)
    with pytest.raises(Denied):
        read(f"bytes {first}-{total - 1}/{total}", length + 1)


@given(first=_COUNTS, length=st.integers(0, 2**40))
def test_a_piece_may_reach_to_the_end_wherever_that_is(first: int, length: int) -> None:
    """As @google-cloud/storage announces an upload in one piece: its body is of HTTP's chunks, or says its length."""
    total = first + length
    assert read(f"bytes {first}-*/*") == Piece(first, None, None, True)
    assert read(f"bytes {first}-*/*", length) == Piece(first, length, total, True)
    assert read(f"bytes {first}-*/{total}") == read(f"bytes {first}-*/{total}", length) == Piece(first, length, total)
    with pytest.raises(Denied):
        read(f"bytes {first}-*/{total}", length + 1)


@given(first=_COUNTS, length=st.integers(1, 2**40).filter(lambda length: length % QUANTUM_BYTES))
def test_another_piece_has_multiples(first: int, length: int) -> None:
    with pytest.raises(Denied) as caught:
        read(f"bytes {first}-{first + length - 1}/*")
    assert caught.value.code == "parameter_invalid"


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Denied):
        assert isinstance(read(text), Piece | Question)


def test_what_has_arrived_is_told_as_a_range() -> None:
    assert range_of(0) is None
    assert range_of(1) == "bytes=0-0"
    assert range_of(QUANTUM_BYTES) == f"bytes=0-{QUANTUM_BYTES - 1}"
