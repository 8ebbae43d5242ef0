"""Templates: what is filled in stands where it stood, and everything else is copied."""

import json
import time
from types import SimpleNamespace
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from valetstore.audit import AuditEvent, encode, rfc3339
from valetstore.audit_sinks import PIPE_BYTES
from valetstore.edge.request_id import new_request_id
from valetstore.edge.template import Asker, Template, answer_of, head_of, is_plain
from valetstore.metrics import Metrics

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nX-Request-Id: %b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-amz-request-id: %b\r\n"
    b"Content-Length: 3\r\n\r\n"
)
BLANKS: Final = (b"<first blank>", b"<second blank>", b"<third blank>")


@given(
    pieces=st.lists(st.one_of(st.binary(max_size=12), st.integers(0, 2)), max_size=12),
    values=st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9)),
)
def test_each_blank_is_filled_wherever_it_stands(pieces: list[bytes | int], values: tuple[bytes, bytes, bytes]) -> None:
    """None, one or many of each, side by side; values that look like blanks are left alone."""
    text = b"".join(BLANKS[piece] if isinstance(piece, int) else piece for piece in pieces)
    expected = b"".join(values[piece] if isinstance(piece, int) else piece for piece in pieces)
    template = Template(text, BLANKS)
    assert template.fill(*values) == expected
    assert template.fill(*BLANKS) == text


def test_a_head_gets_its_own_id_and_date_each_time() -> None:
    """The id wherever a dialect says it again; nothing else changes."""
    first, second = new_request_id(), new_request_id()
    made = head_of(HEAD % (first.encode(), first.encode()), first)
    assert made is not None
    assert made.fill(second.encode(), b"Mon, 07 Nov 1994 08:49:37 GMT") == HEAD.replace(b"Sun, 06", b"Mon, 07") % (
        second.encode(), second.encode(),
    )  # fmt: skip


def test_a_head_whose_date_is_not_told_apart_is_not_kept() -> None:
    """None, or two of them."""
    assert head_of(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "id") is None
    assert head_of(HEAD.replace(b"x-amz-request-id", b"Date") % (b"1", b"1"), "1") is None


_TEXT: Final = st.text(st.characters(codec="utf-8"), max_size=20)
_SUBJECT: Final = st.sampled_from(["", "user-1", 'a "b" \\c', "\u00fc", "x" * 256, "x" * 257, "%b"]) | _TEXT


@given(
    user_agent=_TEXT | st.just("long/1 " * 99),
    path=_TEXT,
    ctx=st.recursive(st.none() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT, st.lists),
    subject=_SUBJECT,
    other=_SUBJECT,
)
def test_an_audit_line_is_what_it_would_have_been(
    user_agent: str, path: str, ctx: Any, subject: str, other: str
) -> None:
    """Of any names, agents, contexts: time, id, duration, address, key and its subject are new, the rest is as it was,
    in JSON.
    """
    if not (is_plain(subject) and is_plain(other)):
        other = subject

    def retell(moment: str, request_id: str, duration_ms: float) -> list[AuditEvent]:
        decision = AuditEvent(time=moment, request_id=request_id, event="decision", decision="admitted")
        transfer = AuditEvent(time=moment, request_id=request_id, event="transfer")
        transfer.bytes, transfer.status, transfer.duration_ms = 3, 200, duration_ms
        for event in (decision, transfer):
            event.user_agent, event.object, event.ctx, event.address = user_agent, path, ctx, "192.0.2.1"
            event.subject = subject
        return [decision, transfer]

    own = new_request_id()
    made = answer_of(HEAD % (own.encode(), own.encode()), own, retell, body_bytes=3, dialect="native", operation="read")
    assert made is not None
    new = ("2026-01-31T23:59:59.123Z", "00000000000000ff", 0.25)
    values = new[0].encode(), new[1].encode(), b"0.25", b"2001:db8::1", b"0f" * 16, other.encode()
    lines = [line.fill(*values) for line in made.lines]
    for line, event in zip(lines, retell(*new), strict=True):
        event.address, event.key_identity, event.subject = "2001:db8::1", "0f" * 16, other
        assert json.loads(line) == json.loads(encode(event.bound()))


@given(length=st.integers(450, 750), subject=st.sampled_from(["", "u", "x" * 256]))
@example(length=0, subject="x" * 256)
def test_what_the_audit_would_cut_is_not_said_again(length: int, subject: str) -> None:
    """A line near its bound is whole or cut by what is filled in: only what is whole in any case is kept."""

    def retell(moment: str, request_id: str, duration_ms: float) -> list[AuditEvent]:
        event = AuditEvent(time=moment, request_id=request_id, event="transfer", duration_ms=duration_ms)
        event.object, event.subject, event.address = "/b/" + "\x7f" * length, subject, "2001:db8::1"
        return [event]

    made = answer_of(HEAD % (b"id", b"id"), "id", retell, body_bytes=3, dialect="native", operation="read")
    if made is None:
        assert length > 500
        return
    longest = (b"2026-01-31T23:59:59.123Z", b"f" * 16, b"1234567890.123", b"f" * 39, b"f" * 32, b"s" * 256)
    (line,) = (template.fill(*longest) for template in made.lines)
    assert len(line) <= PIPE_BYTES - 1
    told = retell(longest[0].decode(), "f" * 16, 1234567890.123)[0]
    told.address, told.key_identity, told.subject = "f" * 39, "f" * 32, "s" * 256 if subject else ""
    assert json.loads(line) == json.loads(encode(told.bound()))


@given(now=st.floats(0, 4e9), took=st.floats(0, 100))
def test_a_line_says_its_moment_and_how_long_it_took(now: float, took: float) -> None:
    """To the millisecond, as the general way does; whatever the moment before was."""

    def retell(moment: str, request_id: str, duration_ms: float) -> list[AuditEvent]:
        return [AuditEvent(time=moment, request_id=request_id, event="transfer", duration_ms=duration_ms)]

    lines: list[bytes] = []
    audit: Any = SimpleNamespace(write_lines=lines.extend)
    made = answer_of(HEAD % (b"id", b"id"), "id", retell, body_bytes=3, dialect="native", operation="read")
    assert made is not None
    made.tell(audit, Metrics(), "0f", Asker(b"", b"6b" * 16, b""), now, time.monotonic() - took)
    line = json.loads(lines[0])
    assert (line["time"], line["request_id"], line["key_identity"]) == (rfc3339(now), "0f", (b"k" * 16).hex())
    assert took * 1000 - 1 <= line["duration_ms"] <= took * 1000 + 60_000


def test_request_ids_are_sixteen_digits_and_never_the_same() -> None:
    """Across the seams of what is drawn at once."""
    ids = [new_request_id() for _ in range(2_000)]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
