"""Template: bytes that are always the same but for a few blanks; and an answer made of them.

An answer that was given once, and is right again, differs in few things: its request's id, its date, and the moment,
the duration, the address and the key that the audit tells. They are found in what was said and told before, and all
else is copied.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from valetstore.audit import Audit, AuditEvent, encode, rfc3339
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.replies import date_at
from valetstore.metrics import Metrics

Retell = Callable[[str, str, float], list[AuditEvent]]
"""From a moment, a request's id and a duration in ms to the audit lines of a request, but for those the same."""

_DATE: Final = b"\r\nDate: "


class Template:
    """`text` in which each of `blanks` (texts that stand nowhere by chance) is left out."""

    def __init__(self, text: bytes, blanks: Sequence[bytes]) -> None:
        self._parts = [text]
        self._slots: list[tuple[int, int]] = []
        for which, blank in enumerate(blanks):
            self._cut(which, blank)

    def _cut(self, which: int, blank: bytes) -> None:
        at = 0
        while at < len(self._parts):
            before, found, after = self._parts[at].partition(blank)
            if found:
                self._parts[at : at + 1] = [before, b"", after]
                self._slots = [(slot + 2 if slot > at else slot, value) for slot, value in self._slots]
                self._slots.append((at + 1, which))
                at += 1
            at += 1

    def fill(self, *values: bytes) -> bytes:
        """The text with these in place of the blanks."""
        parts = self._parts.copy()
        for at, which in self._slots:
            parts[at] = values[which]
        return b"".join(parts)


class Answer(NamedTuple):
    """How one request was answered with a small object, to be said again. `body_bytes` is 0 for a HEAD."""

    head: Template
    lines: tuple[Template, ...]
    body_bytes: int
    dialect: str
    operation: str

    def say(self, connection: GatewayProtocol, request_id: str, body: bytes, now: float) -> None:
        """Write it. Raises ConnectionResetError where the client is gone."""
        connection.write(self.head.fill(request_id.encode(), date_at(int(now))), body if self.body_bytes else b"")

    def tell(
        self, audit: Audit, metrics: Metrics, request_id: str, who: tuple[bytes, bytes], now: float, began: float
    ) -> None:
        """What the audit and the metrics hear of it: `who` is an address and a key's identity, in hexadecimal; `now`
        since the epoch, `began` monotonic, both in seconds.
        """
        took = time.monotonic() - began
        blanks = rfc3339(now).encode(), request_id.encode(), b"%d.%03d" % divmod(int(took * 1e6), 1000), *who
        for line in self.lines:
            audit.write_line(line.fill(*blanks))
        metrics.handed_out(self.dialect, self.operation, took, self.body_bytes)


def head_of(head: bytes, request_id: str) -> Template | None:
    """From a head as it went out, without the request's id and the date: fill in both. None where that cannot be."""
    if head.count(_DATE) != 1:
        return None
    start = head.index(_DATE) + len(_DATE)
    end = head.index(b"\r\n", start)
    date = secrets.token_hex(16).encode()
    return Template(head[:start] + date + head[end:], (request_id.encode(), date))


def answer_of(
    head: bytes, request_id: str, retell: Retell, *, body_bytes: int, dialect: str, operation: str
) -> Answer | None:
    """From a head as it went out; None where it cannot be said again."""
    blanked = head_of(head, request_id)
    if blanked is None:
        return None
    moment, own_id, address, identity = (secrets.token_hex(16) for _ in range(4))
    duration = float(10**14 + secrets.randbelow(10**14))
    events = retell(moment, own_id, duration)
    for event in events:
        event.address, event.key_identity = address if event.address else "", identity
    blanks = (moment.encode(), own_id.encode(), repr(duration).encode(), address.encode(), identity.encode())
    lines = tuple(Template(encode(event), blanks) for event in events)
    return Answer(blanked, lines, body_bytes, dialect, operation)
