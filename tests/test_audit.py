"""The audit line is always one line, never a key, and never in the way of a transfer."""

import errno
import json
import os
import resource
import select
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore import config
from valetstore.audit import Audit, AuditEvent, encode, redact, rfc3339
from valetstore.audit_sinks import PIPE_BYTES, FileSink, JournalSink, StreamSink, journal_entry
from valetstore.encoding import strict_json
from valetstore.errors import ConfigInvalid

TIME = "2026-01-31T23:59:59.123Z"


def event(number: int = 0, **fields: Any) -> AuditEvent:
    """A decision whose request id is its number."""
    return AuditEvent(time=TIME, request_id=str(number), event="decision", decision="admitted", **fields)


def read(data: bytes) -> list[dict[str, Any]]:
    """The events of whole lines; empty lines are none."""
    assert not data or data.endswith(b"\n")
    events = [strict_json(line) for line in data.split(b"\n") if line]
    assert all(isinstance(found, dict) for found in events)
    return events  # type: ignore[return-value]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(found["request_id"]) for found in events if found["event"] == "decision"]


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def audits(tmp_path: Path) -> Iterator[Callable[..., Audit]]:
    """Makes started audits; closes them in the end, without patience."""
    made: list[Audit] = []

    def make(to: str = "file", lines_max: int = 100_000, path: Path | None = None, **options: Any) -> Audit:
        settings = config.Audit(
            audit_to=to,  # type: ignore[arg-type]
            audit_file=str(path) if path else "",
            audit_lines_max=lines_max,
        )
        audit = Audit(settings, tmp_path, **options)
        audit.start()
        made.append(audit)
        return audit

    yield make
    for audit in made:
        audit.close(0)


# One line.


def test_fields_that_do_not_apply_are_left_out() -> None:
    line = encode(AuditEvent(time=TIME, event="decision", decision="refused", code="key_missing", status=401))
    assert line == (
        b'{"time":"2026-01-31T23:59:59.123Z","event":"decision","decision":"refused",'
        b'"code":"key_missing","status":401}\n'
    )


def test_a_line_holds_everything_an_event_can_say() -> None:
    full = AuditEvent(
        time=TIME, request_id="r1", event="transfer", decision="admitted", code="ok", reason="because",
        dialect="native", signing_key="app", key_identity="00ff", subject="user 7", ctx={"order": [1, None]},
        operation="read", method="GET", object="/media/ä.jpg", bytes=0, status=200, duration_ms=1.5,
        address="2001:db8::1", user_agent="curl/8", lost=3,
    )  # fmt: skip
    (found,) = read(encode(full))
    assert found == {name: getattr(full, name) for name in AuditEvent.__struct_fields__}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1769903999.1239, "2026-01-31T23:59:59.123Z"), (2**32, None)],
)
def test_times_are_utc_with_milliseconds(seconds: float, text: str | None) -> None:
    assert rfc3339(seconds) == (text or "2106-02-07T06:28:16.000Z")


@given(text=st.text(alphabet=st.characters(codec=None), max_size=3000), ctx=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_any_text_stays_in_its_field_and_any_event_in_one_line_that_a_pipe_takes_whole(text: str, ctx: object) -> None:
    made = event(object=text, user_agent=text, subject=text, reason=text, method=text, signing_key=text, ctx=ctx)
    line = encode(made.bound())
    assert len(line) <= PIPE_BYTES - 1
    assert line.endswith(b"\n")
    # splitlines knows every separator that some reader might take for the end of a line.
    assert len(line.decode("utf-8").splitlines()) == 1
    (found,) = read(line)
    assert found["request_id"] == "0"
    assert found["decision"] == "admitted"


def test_lone_surrogates_are_spelled_out_instead_of_raising() -> None:
    (found,) = read(encode(event(user_agent="a\udc80b", ctx={"x": "\ud800"}).bound()))
    assert found["user_agent"] == "a\\udc80b"
    assert found["ctx"] == "(not JSON)"


def test_terminal_controls_and_direction_marks_are_escaped_and_come_back_unchanged() -> None:
    nasty = "\x1b[2J\x9b2J\x7f\u2028\u202egpj\x00"
    line = encode(event(object=nasty))
    assert line.isascii()
    assert not set(line.rstrip(b"\n")) & {*range(0x20), 0x7F}
    assert read(line)[0]["object"] == nasty


def test_long_texts_are_cut_before_they_are_queued() -> None:
    """A queue bounded in lines is only bounded in bytes if each line is."""
    long = event(user_agent="u" * 9999, subject="s" * 9999, object="o" * 9999, ctx=["c" * 9999]).bound()
    assert len(long.user_agent) == len(long.subject) == 256
    assert long.user_agent.endswith("…")
    assert len(long.object) == 1100
    assert isinstance(long.ctx, str)
    assert len(long.ctx) == 1024


def test_the_longest_object_name_is_kept_whole() -> None:
    path = f"/{'b' * 63}/{'n' * 1024}"
    assert read(encode(event(object=path, user_agent="u" * 256).bound()))[0]["object"] == path


def test_ctx_that_is_no_json_does_not_raise() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert event(ctx=object()).bound().ctx == "(not JSON)"
    assert event(ctx=deep).bound().ctx == "(not JSON)"
    while deep:
        deep = deep.pop()  # taken apart by hand: freeing it whole is as deep as it is


# Files.


def test_lines_reach_the_file_in_order_within_a_moment(audits: Callable[..., Audit], tmp_path: Path) -> None:
    audit = audits()
    file = tmp_path / "audit.log"
    audit.write(event(0))
    started = time.monotonic()
    eventually(lambda: file.stat().st_size)
    assert time.monotonic() - started < 0.5  # 0.1 s and a busy machine
    for number in range(1, 5000):
        audit.write(event(number))
    audit.close()
    assert numbers(read(file.read_bytes())) == list(range(5000))
    assert audit.dropped == 0


def test_the_file_is_the_owners_alone_and_not_inherited(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "audit.log")
    sink.open()
    assert stat.S_IMODE(sink.path.stat().st_mode) == 0o600
    assert not os.get_inheritable(sink._fd)
    sink.close()
    sink.close()


def test_lines_are_appended_to_what_is_there(audits: Callable[..., Audit], tmp_path: Path) -> None:
    for number in range(3):
        audit = audits()
        audit.write(event(number))
        audit.close()
    assert numbers(read((tmp_path / "audit.log").read_bytes())) == [0, 1, 2]


def test_a_line_torn_by_a_power_cut_does_not_glue_to_the_next(audits: Callable[..., Audit], tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(encode(event(1)) + encode(event(2))[:20])
    audit = audits()
    audit.write(event(3))
    audit.close()
    lines = file.read_bytes().splitlines()
    assert len(lines) == 3
    assert numbers(read(lines[2] + b"\n")) == [3]


def test_a_missing_folder_refuses_the_start_and_says_so(tmp_path: Path) -> None:
    audit = Audit(config.Audit(audit_file=str(tmp_path / "no" / "audit.log")), tmp_path)
    with pytest.raises(ConfigInvalid, match=r"no/audit\.log: cannot be opened: No such file or directory"):
        audit.start()
    audit.close()


def test_a_fifo_without_a_reader_refuses_the_start_instead_of_stopping_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    audit = Audit(config.Audit(audit_file=str(tmp_path / "fifo")), tmp_path)
    with pytest.raises(ConfigInvalid, match="fifo"):
        audit.start()


def test_after_logrotate_renames_the_file_reopen_makes_a_new_one_and_no_line_is_lost(
    audits: Callable[..., Audit], tmp_path: Path
) -> None:
    audit = audits()
    file, rotated = tmp_path / "audit.log", tmp_path / "audit.log.1"
    for number in range(100):
        audit.write(event(number))
    eventually(lambda: file.read_bytes().count(b"\n") == 100)
    file.rename(rotated)
    for number in range(100, 200):
        audit.write(event(number))  # may go to either, before and after the reopen
    audit.reopen()
    eventually(file.exists)
    audit.write(event(200))
    audit.close()
    assert numbers(read(rotated.read_bytes()) + read(file.read_bytes())) == list(range(201))
    assert numbers(read(file.read_bytes()))[-1] == 200
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_where_the_new_file_cannot_be_opened_the_old_one_goes_on(audits: Callable[..., Audit], tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    audit = audits(path=folder / "audit.log")
    folder.rename(tmp_path / "moved")
    audit.reopen()
    audit.write(event(1))
    audit.close()
    assert numbers(read((tmp_path / "moved" / "audit.log").read_bytes())) == [1]


def test_several_processes_append_to_one_file_without_mixing_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from valetstore import config; "
        "from valetstore.audit import Audit, AuditEvent\n"
        "audit = Audit(config.Audit(), Path(sys.argv[1])); audit.start()\n"
        "for n in range(2000): audit.write(AuditEvent(time='', event='decision', "
        "request_id=str(n), user_agent='u' * 250))\n"
        "audit.close()"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert sorted(numbers(read((tmp_path / "audit.log").read_bytes()))) == sorted([*range(2000)] * 3)


# Trouble.


def test_a_full_disk_blocks_nobody_and_is_said(audits: Callable[..., Audit]) -> None:
    audit = audits(path=Path("/dev/full"), lines_max=100)
    started = time.monotonic()
    for number in range(1000):
        audit.write(event(number))
    assert time.monotonic() - started < 1
    assert audit.dropped >= 900
    assert not audit.accepting
    eventually(lambda: audit._failing)
    started = time.monotonic()
    audit.close(0.5)
    assert time.monotonic() - started < 2
    assert audit.dropped == 1000


def test_when_there_is_room_again_the_rest_follows_and_one_line_says_how_many_were_lost(
    audits: Callable[..., Audit], tmp_path: Path
) -> None:
    """The file is a link to /dev/full, then one to a disk with room."""
    link, disk = tmp_path / "link", tmp_path / "disk"
    link.symlink_to("/dev/full")
    audit = audits(path=link, lines_max=10)
    for number in range(25):
        audit.write(event(number))
    eventually(lambda: audit._failing)
    lost = audit.dropped
    assert 15 <= lost < 25
    (tmp_path / "new").symlink_to(disk)
    (tmp_path / "new").rename(link)
    eventually(lambda: audit.accepting)
    audit.write(event(99))
    audit.close()
    events = read(disk.read_bytes())
    kept = numbers(events)
    assert kept == [*range(25 - lost), 99]
    systems = [found for found in events if found["event"] == "system"]
    assert [found["lost"] for found in systems] == [lost]
    assert systems[0]["code"] == "audit_lines_lost"


@pytest.mark.parametrize("before", range(5))
def test_who_was_told_that_lines_are_accepted_finds_them_kept(tmp_path: Path, before: int) -> None:
    """Of several at once too, where there is room for one: what is served unrecorded would have no end."""
    settings = config.Audit(audit_to="stdout", audit_file="", audit_lines_max=4)
    audit = Audit(settings, tmp_path)  # not started: nobody takes any away meanwhile
    for number in range(before):
        audit.write(event(number))
    for _ in range(9):
        accepting, dropped = audit.accepting, audit.dropped
        audit.write_lines([b"{}\n", b"{}\n"])
        assert audit.dropped - dropped == (0 if accepting else 2)
    assert not audit.accepting


def test_a_line_that_was_torn_by_a_full_disk_is_ended_and_written_again_whole(tmp_path: Path) -> None:
    """A file size limit tears the second line; the kernel takes what fits, then refuses."""
    sink = FileSink(tmp_path / "audit.log")
    sink.open()
    lines = deque([encode(event(number)) for number in range(3)])
    size = len(lines[0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            sink.write(lines)
        assert len(lines) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "audit.log").stat().st_size == size + 10
    sink.write(lines)
    sink.close()
    assert not lines
    written = (tmp_path / "audit.log").read_bytes().splitlines(keepends=True)
    assert len(written) == 4
    assert numbers(read(b"".join(written[0:1] + written[2:]))) == [0, 1, 2]


def test_a_pipe_that_nobody_reads_blocks_nobody(audits: Callable[..., Audit]) -> None:
    reader, writer = os.pipe()
    audit = audits("stdout", lines_max=2000, stdout_fd=writer)
    slowest = 0.0
    for number in range(20_000):
        started = time.perf_counter()
        audit.write(event(number, user_agent="u" * 200))
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.5
    # What fits into the pipe is room for as many more; once it is full, there is none.
    eventually(lambda: not select.select([], [writer], [], 0)[1])
    for number in range(20_000, 22_000):
        audit.write(event(number, user_agent="u" * 200))
    assert not audit.accepting
    assert audit.dropped > 0
    assert not audit._failing  # slow is not broken
    # Now somebody reads: what was queued arrives, then the word on what did not.
    data = bytearray()
    draining = threading.Thread(target=_drain, args=(reader, data))
    draining.start()
    eventually(lambda: audit.accepting)
    eventually(lambda: b"audit_lines_lost" in data)
    audit.close()
    os.close(writer)
    draining.join(10)
    os.close(reader)
    events = read(bytes(data))
    assert numbers(events) == sorted(numbers(events))
    assert len(numbers(events)) + audit.dropped == 22_000
    assert [found["lost"] for found in events if found["event"] == "system"] == [audit.dropped]


def _drain(fd: int, into: bytearray) -> None:
    while data := os.read(fd, 65536):
        into += data


def test_a_close_does_not_wait_for_a_pipe_that_nobody_reads(audits: Callable[..., Audit]) -> None:
    reader, writer = os.pipe()
    audit = audits("stdout", stdout_fd=writer)
    for number in range(5000):
        audit.write(event(number))
    started = time.monotonic()
    audit.close(0.3)
    assert time.monotonic() - started < 2
    arrived = 0
    while select.select([reader], [], [], 0)[0]:
        arrived += os.read(reader, 65536).count(b"\n")
    assert arrived + audit.dropped == 5000
    os.close(reader)
    os.close(writer)


def test_a_reader_that_went_away_is_a_failure(audits: Callable[..., Audit]) -> None:
    reader, writer = os.pipe()
    audit = audits("stdout", stdout_fd=writer)
    os.close(reader)
    audit.write(event(1))
    eventually(lambda: not audit.accepting)
    audit.close(0)
    os.close(writer)


def test_standard_output_stays_blocking_for_the_processes_that_share_it() -> None:
    reader, writer = os.pipe()
    sink = StreamSink(writer)
    sink.open()
    sink.write(deque([encode(event(1))]))
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


def test_a_full_pipe_takes_whole_lines_only() -> None:
    reader, writer = os.pipe()
    sink = StreamSink(writer)
    lines = deque([encode(event(number, user_agent="u" * 256)) for number in range(1000)])
    with pytest.raises(BlockingIOError):
        sink.write(lines)
    os.close(writer)
    data = bytearray()
    _drain(reader, data)
    os.close(reader)
    assert numbers(read(bytes(data))) == list(range(1000 - len(lines)))


def test_an_event_with_a_field_of_the_wrong_type_is_told_as_far_as_it_can_be(
    audits: Callable[..., Audit], tmp_path: Path
) -> None:
    audit = audits()
    for field in ("address", "subject"):
        broken = event(1)
        setattr(broken, field, object())
        audit.write(broken)
    audit.write(event(2))
    audit.close()
    events = read((tmp_path / "audit.log").read_bytes())
    # One is told in part; the other has no length to be bounded by, and is counted.
    assert [line.get("request_id") for line in events] == ["1", "2", None]
    assert events[-1]["lost"] == audit.dropped == 1


def test_no_text_that_a_bearer_or_signer_chooses_loses_a_line(audits: Callable[..., Audit], tmp_path: Path) -> None:
    """A context that is text, beside a name whose every character takes six bytes: both are cut, none is lost."""
    audit = audits()
    for ctx in ("order-17", "x" * 5000, {"a": "b" * 5000}, ["\x01" * 900], 5):
        audit.write(AuditEvent(time="t", event="decision", ctx=ctx, object="/b/" + "\x01" * 1000))
    audit.close()
    lines = (tmp_path / "audit.log").read_bytes().splitlines()
    assert len(lines) == 5
    assert all(json.loads(line)["event"] == "decision" for line in lines)
    assert audit.dropped == 0


def test_what_is_set_after_an_event_was_made_is_cut_too(audits: Callable[..., Audit], tmp_path: Path) -> None:
    audit = audits()
    late = event(1)
    late.user_agent = "u" * 100_000
    audit.write(late)
    assert len(late.user_agent) == 256
    audit.close()


def test_lines_after_the_close_are_counted_as_dropped(audits: Callable[..., Audit]) -> None:
    audit = audits()
    audit.close()
    audit.write(event(1))
    assert audit.dropped == 1


def test_off_writes_nothing_and_accepts_everything(audits: Callable[..., Audit], tmp_path: Path) -> None:
    audit = audits("off")
    audit.write(event(1))
    audit.reopen()
    assert audit.accepting
    audit.close()
    assert audit.dropped == 0
    assert list(tmp_path.iterdir()) == []


# The journal.


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        listener.settimeout(10)
        yield listener


def journal_fields(entry: bytes) -> dict[str, bytes]:
    """The native protocol, read by its description."""
    fields = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        fields[name.decode()] = value
    return fields


def test_the_journal_gets_the_line_and_each_field(
    audits: Callable[..., Audit], journal: socket.socket, tmp_path: Path
) -> None:
    audit = audits("journald", journal_socket=tmp_path / "journal")
    audit.write(event(7, object="/media/a\nb", ctx={"n": [1]}, bytes=5, code="ok"))
    fields = journal_fields(journal.recv(65536))
    assert strict_json(fields["MESSAGE"]) == {
        "time": TIME, "request_id": "7", "event": "decision", "decision": "admitted", "code": "ok",
        "ctx": {"n": [1]}, "object": "/media/a\nb", "bytes": 5,
    }  # fmt: skip
    assert fields["VALETSTORE_OBJECT"] == b"/media/a\nb"
    assert fields["VALETSTORE_CTX"] == b'{"n":[1]}'
    assert fields["VALETSTORE_BYTES"] == b"5"
    assert fields["SYSLOG_IDENTIFIER"] == b"valetstore"
    assert fields["PRIORITY"] == b"6"


def test_text_cannot_add_a_field_to_the_journals_entry() -> None:
    fields = journal_fields(journal_entry(encode(event(object="x\nPRIORITY=0\n_UID=0"))))
    assert fields["PRIORITY"] == b"6"
    assert "_UID" not in fields


@pytest.mark.parametrize(
    ("fields", "priority"),
    [
        ({"event": "decision", "decision": "refused"}, b"5"),
        ({"event": "system"}, b"4"),
        ({"event": "transfer"}, b"6"),
    ],
)
def test_refusals_are_notices_and_system_lines_warnings(fields: dict[str, Any], priority: bytes) -> None:
    entry = journal_entry(encode(AuditEvent(time=TIME, **fields)))
    assert journal_fields(entry)["PRIORITY"] == priority


def test_a_journal_that_is_restarted_gets_the_lines_that_waited(audits: Callable[..., Audit], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    first.bind(str(path))
    audit = audits("journald", journal_socket=path)
    first.close()
    path.unlink()
    audit.write(event(1))
    eventually(lambda: not audit.accepting)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind(str(path))
        second.settimeout(10)
        assert journal_fields(second.recv(65536))["VALETSTORE_REQUEST_ID"] == b"1"
    audit.close(0)


def test_a_journal_that_does_not_read_blocks_for_a_moment_only(journal: socket.socket, tmp_path: Path) -> None:
    sink = JournalSink(tmp_path / "journal")
    sink.open()
    lines = deque([encode(event(number)) for number in range(5000)])
    started = time.monotonic()
    with pytest.raises(BlockingIOError):
        sink.write(lines)
    assert time.monotonic() - started < 2
    assert 0 < len(lines) < 5000
    sink.close()


def test_without_a_journal_the_start_is_refused(tmp_path: Path) -> None:
    audit = Audit(config.Audit(audit_to="journald"), tmp_path, journal_socket=tmp_path / "none")
    with pytest.raises(ConfigInvalid, match=os.strerror(errno.ENOENT)):
        audit.start()


# Keys stay out.

SECRET = "Zm9vYmFyc2VjcmV0"
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJvcHMiOlsicmVhZCJdfQ.{SECRET}"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /b/k?valet={TOKEN} HTTP/1.1",
        f"https://files.example.org/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={SECRET}",
        f"/b/k?a=\"'&sig={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization=Bearer {SECRET}",
        f"AWS4-HMAC-SHA256 Credential=AKID{SECRET}/20260101/eu/s3, SignedHeaders=host, Signature={SECRET}",
        f"Authorization: AWS4-HMAC-SHA256 Credential=AKID/20260101, SignedHeaders=host, Signature={SECRET}",
        f"Authorization: AWS AKID:{SECRET}",
        f"it came with AWS AKID:{SECRET}",
        f"it came with SharedKey account:{SECRET}",
        f"it came with bearer {SECRET}",
        f"headers ((b'Host', b'x'), (b'Authorization', b'Basic {SECRET}'))",
        f"{{'Authorization': 'AWS4-HMAC-SHA256 a, b={SECRET}'}}",
        f'{{"x-amz-security-token": "{SECRET}"}}',
        f"X-Amz-Security-Token: {SECRET}",
        f"x-amz-credential: {SECRET}",
        f"X-Goog-Signature={SECRET}&x",
        f"X-Goog-Credential={SECRET}",
        f"GoogleAccessId={SECRET}",
        f"AWSAccessKeyId={SECRET}&Signature={SECRET}",
        f"sv=2022-11-02&se=2026&sr=b&sp=r&sig={SECRET}",
        f"Policy={SECRET}&Key-Pair-Id={SECRET}",
        f"temp_url_sig={SECRET}",
        f"Cookie: a=b; valet={SECRET}; c=d",
        f"Cookie: CloudFront-Policy={SECRET}; CloudFront-Signature={SECRET}; CloudFront-Key-Pair-Id={SECRET}",
        f"next=%2Fb%2Fk%3Fvalet%3D{SECRET}",
        f"'valet': '{SECRET}'",
        f"the token {TOKEN} is odd",
        f"VALET = {SECRET}",
        f'policy="{SECRET}"',
        f"aws_secret_access_key = {SECRET}",
        f"AWS_SESSION_TOKEN={SECRET}",
        f'{{"SecretAccessKey": "{SECRET}"}}',
        f'{{"session_token":"{SECRET}"}}',
        f"secret access key: {SECRET}",
        f"the session valet1.WyJWS0FBQUEiXQ.{SECRET} is over",
        f"8;chunk-signature={SECRET}",
        f"x-amz-trailer-signature:{SECRET}",
        f"<SignatureProvided>{SECRET}</SignatureProvided>",
        f'content-disposition: form-data; name="policy"\r\n\r\n{SECRET}\r\n',
        f'content-disposition: form-data; name="X-Amz-Signature"\r\n\r\n{SECRET}\r\n',
        f"content-disposition: form-data; name=signature\r\n\r\n{SECRET}\r\n",
        f'<input type="hidden" name="x-amz-signature" value="{SECRET}">',
        f"{{'x-amz-signature': '{SECRET}', 'policy': '{SECRET}'}}",
        f"GET /b/o?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature={SECRET}",
        f"GET /b/o?GoogleAccessId=a@b.invalid&Expires=1&Signature={SECRET}",
        f"GoogleAccessId=a@b.invalid&Expires=1&Signature={SECRET}",
        f"Location: /b/o?upload_id={SECRET}",
        f"upload_id={SECRET}",
        f"Authorization: GOOG4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={SECRET}",
        f"signed with GOOG1 GOOGID:{SECRET}",
        f"x-goog-encryption-key: {SECRET}",
        f"x-ms-encryption-key: {SECRET}",
        f"{{'x-goog-signature': '{SECRET}', 'policy': '{SECRET}'}}",
        f'content-disposition: form-data; name="x-goog-signature"\r\n\r\n{SECRET}\r\n',
        f"GET /a/c/b?sv=2024-11-04&sr=b&sp=r&se=2030-01-01&sig={SECRET}",
        f"sv=2024-11-04&sp=r&sig={SECRET}",
        f"SharedAccessSignature={SECRET}",
        f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={SECRET};BlobEndpoint=http://h/a;",
        f'{{"account_key": "{SECRET}"}}',
        f"AZURE_STORAGE_CONNECTION_STRING='AccountName=a;AccountKey={SECRET}'",
        f"# account key: {SECRET}",
        f"Cookie: CloudFront-Policy={SECRET}; CloudFront-Signature={SECRET}; CloudFront-Key-Pair-Id=K",
        f"Set-Cookie: CloudFront-Signature={SECRET}; Path=/",
        f"Policy={SECRET}&Signature={SECRET}&Key-Pair-Id=K",
        f"temp_url_sig={SECRET}&temp_url_expires=1",
        f'<input type="hidden" name="signature" value="{SECRET}" />',
        f"X-Account-Meta-Temp-URL-Key: {SECRET}",
        f"X-Container-Meta-Temp-Url-Key-2: {SECRET}",
        f"x-storage-token: {SECRET}",
        f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----\\n"}}',
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n",
    ],
)
def test_no_key_of_any_dialect_survives(text: str) -> None:
    assert SECRET not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "/media/summer/beach.jpg",
        "The key's signature does not hold.",
        "valetstore 0.1.0 listens on 127.0.0.1:8420",
        "is this a question? yes",
        "Content-Security-Policy: sandbox",
        "the bucket policy says no",
        "200 GET /media/policy/token.txt",
        "valet1 is the first of them, and its name is policy",
        'the field name="key" is missing',
        "-----BEGIN PUBLIC KEY-----",
        "its private key is kept elsewhere, and its account key too",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_what_is_around_a_key_is_kept() -> None:
    assert redact(f"GET /b/k?valet={TOKEN} HTTP/1.1") == "GET /b/k?*** HTTP/1.1"
    assert redact(f"Cookie: a=b; valet={SECRET}; c=d") == "Cookie: a=b; valet=***; c=d"


@pytest.mark.parametrize(
    "text",
    [
        "?", "Authorization", "eyJ", "eyJhbG.", "valet= ", "'", "bearer ", "aws a", "\t", "valet1.", "<SessionToken>",
        "name=policy ", "name=policy\r\n", "-----BEGIN PRIVATE KEY-----", "-----BEGIN A", "accountkey",
    ],
)  # fmt: skip
def test_redacting_is_quick_whatever_the_text(text: str) -> None:
    started = time.monotonic()
    redact(text * 10_000)
    assert time.monotonic() - started < 1


def test_a_read_only_place_is_no_reason_not_to_start_unless_the_audit_is_required(
    audits: Callable[..., Audit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads go on from a disk that cannot be written; the lines are lost, counted, and written once they can be."""

    def refuse(self: FileSink) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as broken:
        broken.setattr(FileSink, "open", refuse)
        audit = audits()
        assert not audit.accepting
        audit.write(event(1))
        with pytest.raises(ConfigInvalid, match="audit-to"):
            Audit(config.Audit(audit_required=True), tmp_path).start()
    eventually(lambda: audit.accepting)
    audit.close()
    assert numbers(read((tmp_path / "audit.log").read_bytes())) == [1]
