"""The audit: one JSON line for each decision and each finished transfer; never a key, never a query.

Rule 1: `write` never waits. Lines queue in memory up to a bound; what is beyond it is dropped and counted,
and once writing works again a line says how many were lost.
Rule 2: text that a client chose is cut before it is queued and cannot leave its line or its field.
Rule 3: with `audit-required` the caller refuses while `accepting` is False: no decision goes unrecorded
for longer than the lines that are still in the queue.
Lines reach the kernel within 100 ms; they are not synced one by one.
"""

import datetime
import errno
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec

from valetstore.audit_sinks import JOURNAL_SOCKET, PIPE_BYTES, FileSink, JournalSink, Sink, StreamSink
from valetstore.encoding import SECONDS_MAX
from valetstore.errors import ConfigInvalid
from valetstore.redact import redact as redact  # where callers look for it

log = logging.getLogger(__name__)

GATHER_SECONDS: Final = 0.05
"""How long the first line of a batch waits for others."""

RETRY_SECONDS: Final = 0.2
"""How long the writer waits after a failure before it tries again."""

_NOT_WRITABLE_NOW: Final = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT})

BATCH_LINES: Final = 500

_CTX_BYTES: Final = 1024
_OBJECT_CHARACTERS: Final = 1100
"""A bucket and the longest name, in one-byte characters."""
_TEXT_CHARACTERS: Final = 256
_TIGHT_CHARACTERS: Final = 64
"""For a line that is still too long: escaping makes six bytes of one character."""

# Inside JSON strings, yet not harmless on a terminal or to a reader that splits Unicode lines: DEL and C1
# controls, line and paragraph separators, marks that turn the direction of text.
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class AuditEvent(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line. Fields that do not apply keep their default and are left out.

    `time` is `rfc3339(seconds)`, `key_identity` hexadecimal, `object` the path `/bucket/name`, `bytes` what
    was moved, `reason` free text for the operator; `lost` only stands in a "system" line.
    """

    time: str
    request_id: str = ""
    event: Literal["decision", "transfer", "system"]
    decision: Literal["admitted", "refused", ""] = ""
    code: str = ""
    reason: str = ""
    dialect: str = ""
    signing_key: str = ""
    key_identity: str = ""
    subject: str = ""
    ctx: Any = None
    operation: str = ""
    method: str = ""
    object: str = ""
    bytes: int | None = None
    status: int | None = None
    duration_ms: float | None = None
    address: str = ""
    user_agent: str = ""
    lost: int | None = None

    def bound(self) -> "AuditEvent":
        """Cut what clients and signers choose. `write` does it: bounded lines, bounded memory."""
        # Spelled out and not a loop over names: this is on the way of every request.
        if len(self.object) > _OBJECT_CHARACTERS:
            self.object = _cut(self.object, _OBJECT_CHARACTERS)
        if len(self.user_agent) > _TEXT_CHARACTERS:
            self.user_agent = _cut(self.user_agent, _TEXT_CHARACTERS)
        if len(self.subject) > _TEXT_CHARACTERS:
            self.subject = _cut(self.subject, _TEXT_CHARACTERS)
        if len(self.reason) > _TEXT_CHARACTERS:
            self.reason = _cut(self.reason, _TEXT_CHARACTERS)
        if len(self.signing_key) > _TEXT_CHARACTERS:
            self.signing_key = _cut(self.signing_key, _TEXT_CHARACTERS)
        if len(self.method) > _TEXT_CHARACTERS:
            self.method = _cut(self.method, _TEXT_CHARACTERS)
        if len(self.request_id) > _TEXT_CHARACTERS:
            self.request_id = _cut(self.request_id, _TEXT_CHARACTERS)
        if self.ctx is not None:
            self.ctx = _bounded_ctx(self.ctx, _CTX_BYTES)
        return self


class Settings(Protocol):
    """What this file needs of the configuration (`config.Audit` is one)."""

    @property
    def audit_to(self) -> Literal["file", "stdout", "journald", "off"]: ...
    @property
    def audit_file(self) -> str: ...
    @property
    def audit_lines_max(self) -> int: ...
    @property
    def audit_required(self) -> bool: ...


class Audit:
    """The queue, and the thread that writes it. `write` may be called from any thread.

    `dropped` counts lines that were lost since the start; it only grows.
    """

    def __init__(
        self, settings: Settings, data: Path, *, stdout_fd: int = 1, journal_socket: Path = JOURNAL_SOCKET
    ) -> None:
        self.required = settings.audit_required
        self.dropped = 0
        self._sink = _sink(settings, data, stdout_fd, journal_socket)
        self._lines_max = settings.audit_lines_max
        self._queue: deque[AuditEvent | bytes] = deque()
        self._lines: deque[bytes] = deque()  # taken from the queue, encoded, not yet written
        self._failing = False
        self._reported = 0
        self._stopping = False
        self._reopening = False
        self._deadline = 0.0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the sink and begin to write; raises ConfigInvalid where it cannot be opened."""
        if self._sink is None:
            return
        try:
            self._sink.open()
        except OSError as error:
            where = getattr(self._sink, "path", "standard output")
            if error.errno not in _NOT_WRITABLE_NOW or self.required:
                raise ConfigInvalid(f"audit.audit-to: {where}: cannot be opened: {error.strerror or error}") from error
            # Reads go on from a full or read-only disk; lines are dropped and counted until it can be written.
            self._failing = True
            log.error("audit lines cannot be written: %s: %s", where, error.strerror)
        # A daemon: a sink that hangs inside the kernel must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, event: AuditEvent) -> None:
        """Queue one line; never waits, never raises. Beyond the bound the line is dropped and counted."""
        if self._sink is None:
            return
        try:
            event.bound()
        except TypeError:  # a field of the wrong type: told once here, and no request pays for it
            log.exception("an audit line is not well made")
            self._drop(1)
            return
        self._put((event,))

    def write_lines(self, lines: Sequence[bytes]) -> None:
        """The same of what `encode` has made before; all of them where there is room for the first, or none."""
        if self._sink is not None:
            self._put(lines)

    def _put(self, events: Sequence[AuditEvent | bytes]) -> None:
        queue = self._queue
        # As `accepting` has it: whoever asked that before must not find its lines dropped.
        if self._stopping or len(queue) + len(self._lines) >= self._lines_max:
            self._drop(len(events))
            return
        queue.extend(events)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def accepting(self) -> bool:
        """Whether the next line will be kept: the queue has room and the sink does not fail."""
        return not self._failing and len(self._queue) + len(self._lines) < self._lines_max

    def reopen(self) -> None:
        """Have the file opened anew (after logrotate); the writer does it before its next line."""
        self._reopening = True
        self._wake.set()

    def close(self, patience_seconds: float = 5) -> None:
        """Write what is queued, for up to `patience_seconds`; the rest counts as dropped. Waits."""
        self._stopping = True
        self._deadline = time.monotonic() + patience_seconds
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join(patience_seconds + 1)
            if self._thread.is_alive():
                return  # stuck in the kernel: its descriptor must not be closed under it
        if left := len(self._queue) + len(self._lines):
            self._drop(left)
            self._queue.clear()
            self._lines.clear()
        if self._sink:
            self._sink.close()

    def _drop(self, count: int) -> None:
        with self._counting:
            self.dropped += count

    def _run(self) -> None:
        while not self._stop.is_set() or (self._left() and time.monotonic() < self._deadline):
            self._wake.wait()
            self._stop.wait(GATHER_SECONDS)
            # Cleared before the queue is read: a line that is queued from now on wakes again.
            self._wake.clear()
            self._flush()

    def _left(self) -> bool:
        return bool(self._queue or self._lines)

    def _flush(self) -> None:
        """Write until nothing is left, or until the sink fails or waits; then the next round tries again."""
        assert self._sink
        if self._reopening:
            self._reopen()
        while True:
            self._encode_batch()
            if not self._lines:
                return
            try:
                self._sink.write(self._lines)
            except BlockingIOError:
                # Its reader is slow. That is no fault until the queue is full.
                self._wake.set()
                return
            except OSError as error:
                self._failed(error)
                return
            if self._failing:
                self._failing = False
                log.warning("audit lines are written again; %d were lost", self.dropped - self._reported)

    def _encode_batch(self) -> None:
        """Move up to `BATCH_LINES` events over to `_lines`; after the last, a word on what was lost."""
        queue, lines = self._queue, self._lines
        for _ in range(min(len(queue), BATCH_LINES - len(lines))):
            event = queue.popleft()
            lines.append(event if isinstance(event, bytes) else self._encoded(event))
        # Said once all that waited is written, so that a long outage is one line and not many.
        lost = self.dropped - self._reported
        if lost and not self._lines:
            self._reported += lost
            self._lines.append(encode(_lines_lost(lost)))

    @staticmethod
    def _encoded(event: AuditEvent) -> bytes:
        try:
            return encode(event)
        except Exception:  # an event with a field of the wrong type: what can be told of it is
            log.exception("an audit line could not be encoded")
            return encode(_skeleton(event))

    def _failed(self, error: OSError) -> None:
        """Note it (once), wait a little, open anew: the disk may be another one by now."""
        if not self._failing:
            log.error("audit lines cannot be written: %s", error.strerror or error)
        self._failing = True
        self._stop.wait(RETRY_SECONDS)
        if self._stop.is_set():
            time.sleep(GATHER_SECONDS)
        self._reopen()
        self._wake.set()

    def _reopen(self) -> None:
        assert self._sink
        self._reopening = False
        try:
            self._sink.open()
        except OSError as error:
            # The file that was open still is: lines go on to where they went before.
            if not self._failing:
                log.error("the audit log cannot be opened anew: %s", error.strerror or error)


def encode(event: AuditEvent) -> bytes:
    """A bounded event as one line that fits `PIPE_BYTES` with a newline at each end, whatever its texts."""
    line = _encode(event)
    if len(line) <= PIPE_BYTES - 2:
        return line + b"\n"
    cut = {
        name: _cut(value, _TIGHT_CHARACTERS)
        for name, value in msgspec.structs.asdict(event).items()
        if isinstance(value, str) and name != "ctx"
    }
    ctx = None if event.ctx is None else _bounded_ctx(event.ctx, _TIGHT_CHARACTERS)
    return _encode(msgspec.structs.replace(event, ctx=ctx, **cut)) + b"\n"


def stays_whole(event: AuditEvent, growth: int) -> bool:
    """Whether `encode` leaves the texts of a bounded event as they are, even if they were so many bytes longer."""
    return len(_encode(event)) + growth <= PIPE_BYTES - 2


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as `2026-01-31T23:59:59.123Z`."""
    return _moment(int(min(max(seconds, 0), SECONDS_MAX) * 1000))


@lru_cache(maxsize=64)
def _moment(milliseconds: int) -> str:
    return f"{_whole_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=64)
def _whole_second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _encode(event: AuditEvent) -> bytes:
    try:
        line = msgspec.json.encode(event)
    except UnicodeEncodeError:  # lone surrogates: bytes that were no UTF-8 where the text came from
        texts = {
            name: value.encode("utf-8", "backslashreplace").decode("utf-8")
            for name, value in msgspec.structs.asdict(event).items()
            if isinstance(value, str)
        }
        line = msgspec.json.encode(msgspec.structs.replace(event, **texts))
    if line.isascii() and b"\x7f" not in line:
        return line
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode("utf-8")).encode("utf-8")


def _bounded_ctx(ctx: object, size: int) -> object:
    """`ctx` as it is where it fits, else the beginning of its JSON as text."""
    try:
        text = msgspec.json.encode(ctx)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "(not JSON)"
    return ctx if len(text) <= size else _cut(text.decode("utf-8"), size)


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _skeleton(event: AuditEvent) -> AuditEvent:
    """What our own code set: enough to see that something happened, and to find it."""
    return AuditEvent(
        time=str(event.time),
        request_id=str(event.request_id),
        event="system",
        code=str(event.code),
        reason="The line of this request could not be encoded.",
        key_identity=str(event.key_identity),
    )


def _lines_lost(count: int) -> AuditEvent:
    return AuditEvent(
        time=rfc3339(time.time()),
        event="system",
        code="audit_lines_lost",
        reason=f"{count} audit lines were lost: they came faster than they could be written.",
        lost=count,
    )


def _sink(settings: Settings, data: Path, stdout_fd: int, journal_socket: Path) -> Sink | None:
    if settings.audit_to == "file":
        return FileSink(Path(settings.audit_file).expanduser() if settings.audit_file else data / "audit.log")
    if settings.audit_to == "stdout":
        return StreamSink(stdout_fd)
    return JournalSink(journal_socket) if settings.audit_to == "journald" else None
