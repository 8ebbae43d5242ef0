"""Records: what a log says of used keys, each absolute and fit to be read alone.

An entry says of one key how often it was used and until when that must be known, and perhaps one open window of it;
others say the highest time that was seen, and from when on keys are trusted again after a repair.
"""

from struct import Struct
from typing import Final

import msgspec

from valetstore.replay.windows import Window

IDENTITY_BYTES: Final = 16
RECORD_BYTES: Final = 25
"""What an entry takes; an open window takes 8 and its source more."""

KEEP_MAX: Final = 0xFFFF_FFFF
"""The year 2106: what a record says of an end from there on is "never"."""

_ENTRY: Final = Struct(f"<B{IDENTITY_BYTES}sII")
_MOMENT: Final = Struct("<Bd")
_UNTIL: Final = Struct("<d")
_KIND_ENTRY: Final = 1
_KIND_CLOCK: Final = 2
_KIND_TRUSTED: Final = 3


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One key: `keep` until that second since the epoch (KEEP_MAX: without end), its uses, one window or none."""

    identity: int
    keep: int
    used: int
    window: Window | None


class Clock(msgspec.Struct, frozen=True, gc=False):
    """The latest moment that was seen."""

    moment: float


class Trusted(msgspec.Struct, frozen=True, gc=False):
    """Keys signed before that moment are used: what was used of them is not known."""

    moment: float


def entry_record(identity: bytes, keep: int, used: int, window: Window | None = None) -> bytes:
    """`identity` is IDENTITY_BYTES long; what is beyond KEEP_MAX is said as that."""
    record = _ENTRY.pack(_KIND_ENTRY, identity, min(keep, KEEP_MAX), used)
    return record if window is None else record + _UNTIL.pack(window[1]) + window[0].encode()


def clock_record(moment: float) -> bytes:
    """See Clock."""
    return _MOMENT.pack(_KIND_CLOCK, moment)


def trusted_record(moment: float) -> bytes:
    """See Trusted."""
    return _MOMENT.pack(_KIND_TRUSTED, moment)


def read_record(record: bytes) -> Entry | Clock | Trusted:
    """What a record says. Raises ValueError where it is none."""
    kind, size = record[0], len(record)
    if kind == _KIND_ENTRY and (size == RECORD_BYTES or size >= RECORD_BYTES + _UNTIL.size):
        _, identity, keep, used = _ENTRY.unpack_from(record)
        return Entry(int.from_bytes(identity, "big"), keep, used, _window_of(record))
    if kind in (_KIND_CLOCK, _KIND_TRUSTED) and size == _MOMENT.size:
        _, moment = _MOMENT.unpack(record)
        return Clock(moment) if kind == _KIND_CLOCK else Trusted(moment)
    raise ValueError(f"holds a record of an unknown kind ({kind}, {size} bytes)")


def _window_of(record: bytes) -> Window | None:
    if len(record) == RECORD_BYTES:
        return None
    (until,) = _UNTIL.unpack_from(record, RECORD_BYTES)
    return record[RECORD_BYTES + _UNTIL.size :].decode(), until
