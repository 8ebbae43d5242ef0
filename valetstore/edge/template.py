"""Template: bytes that are always the same but for a few blanks; and an answer made of them.

An answer that was given once, and is right again, differs in few things: its request's id, its date, and the moment,
the duration, the address, the key and its subject that the audit tells. They are found in what was said and told
before, and all else is copied.
"""

import re
import secrets
import time
from binascii import hexlify
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

import msgspec

from valetstore.audit import Audit, AuditEvent, encode, rfc3339, stays_whole
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.replies import date_at
from valetstore.grants.grant import Grant
from valetstore.metrics import Metrics

Retell = Callable[[str, str, float], list[AuditEvent]]
"""From a moment, a request's id and a duration in ms to the audit lines of a request, but for those the same."""

_DATE: Final = b"\r\nDate: "
# What JSON writes as it is, and the audit does not cut but in a line that is too long.
_PLAIN_SUBJECT: Final = re.compile(r"[ !#-\[\]-~]{1,256}")
_BLANKS_BYTES_MAX: Final = 512
"""More than all blanks of a line take together."""


class Template:
    """`text` in which each of `blanks` (texts that stand nowhere by chance) is left out."""

    def __init__(self, text: bytes, blanks: Sequence[bytes]) -> None:
        places = [(at, which) for which, blank in enumerate(blanks) for at in _all_of(blank, text)]
        # A blank ends up as one that is formatted in; everything else as it is, whatever signs it has.
        filled, end = b"", 0
        for at, which in sorted(places):
            filled += text[end:at].replace(b"%", b"%%") + b"%b"
            end = at + len(blanks[which])
        self._text = filled + text[end:].replace(b"%", b"%%")
        self._values = _picker([which for _, which in sorted(places)])

    def fill(self, *values: bytes) -> bytes:
        """The text with these in place of the blanks."""
        return self._text % self._values(values)


def _all_of(blank: bytes, text: bytes) -> Iterator[int]:
    """Where it stands."""
    at = text.find(blank)
    while at >= 0:
        yield at
        at = text.find(blank, at + len(blank))


def _picker(places: Sequence[int]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    """What takes the values at these places, in this order, out of others."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)


class Asker(msgspec.Struct, frozen=True, gc=False):
    """Who asked with what, as the audit says it: the address (b"" for none), the key's identity, its subject."""

    address: bytes
    identity: bytes
    subject: bytes

    @classmethod
    def of(cls, address: bytes, grant: Grant) -> "Asker":
        """Whoever holds this key at that address."""
        return cls(address, hexlify(grant.identity), grant.subject.encode())


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

    def tell(self, audit: Audit, metrics: Metrics, request_id: str, who: Asker, now: float, began: float) -> None:
        """What the audit and the metrics hear of it; `now` since the epoch, `began` monotonic, both in seconds.

        Who asks has an address, and a subject, if the one that was answered had: and both subjects are plain, or one.
        """
        took = time.monotonic() - began
        moment, duration = _moment(int(now * 1000)), b"%.3f" % (took * 1000)
        blanks = moment, request_id.encode(), duration, who.address, who.identity, who.subject
        audit.write_lines([line.fill(*blanks) for line in self.lines])
        metrics.handed_out(self.dialect, self.operation, took, self.body_bytes)


def is_plain(subject: str) -> bool:
    """Whether a subject can stand in another one's place in an audit line."""
    return _PLAIN_SUBJECT.fullmatch(subject) is not None


@lru_cache(maxsize=8)
def _moment(milliseconds: int) -> bytes:
    """A moment since the epoch as the audit says it."""
    return rfc3339((milliseconds + 0.5) / 1000).encode()  # in its middle: no rounding leads to the one before


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
    """From a head as it went out; None where it cannot be said again, or not be told in lines that are surely whole."""
    blanked = head_of(head, request_id)
    if blanked is None:
        return None
    moment, own_id, address, identity, subject = (secrets.token_hex(16) for _ in range(5))
    duration = float(10**14 + secrets.randbelow(10**14))
    events = retell(moment, own_id, duration)
    for event in events:
        event.address, event.key_identity = address if event.address else "", identity
        event.subject = subject if is_plain(event.subject) else event.subject
    if not all(stays_whole(event.bound(), _BLANKS_BYTES_MAX) for event in events):
        return None
    filled = (moment, own_id, repr(duration), address, identity, subject)
    blanks = tuple(text.encode() for text in filled)
    lines = tuple(Template(encode(event), blanks) for event in events)
    return Answer(blanked, lines, body_bytes, dialect, operation)
