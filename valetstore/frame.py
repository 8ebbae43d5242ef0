"""Frame: a query without the values of its date and its signature.

URLs that one key has signed on one day and for the same life differ in their paths, dates and signatures. What such a
query says beside these is read once for all of them.

Rule 1: a frame and the values that it lacks are the query, to the byte. A signature's is hexadecimal, a date's has the
form of V4's, and each is of the same parameter of the same query whatever it is.
Rule 2: only short queries are remembered, and only those in which nothing was wrong.
"""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from valetstore.encoding import split_query

QUERY_BYTES_MAX: Final = 2_048
PARAMETERS_MAX: Final = 32
_FRAMES_MAX: Final = 256
"""As many signers, or lives, or conditions that they sign. Of strangers each takes up to 16 KiB, most take two."""

_NAME_ENDS: Final = b"-Signature="
# Amazon's and Google's, as SDKs write them: the date first, and not as the first parameter.
_SIGNATURE: Final = re.compile(rb"&X-(?:Amz|Goog)-Signature=([0-9a-f]{64,1024})(?![^&])")
_DATE: Final = re.compile(rb"&X-(?:Amz|Goog)-Date=([0-9]{8}T[0-9]{6}Z)&")

Pairs = tuple[tuple[str, str], ...]


class Frame:
    """The pairs before the date, between it and the signature, and `after` that; the names of both, `date_name` and
    `name`, and the lower-case `names` of all parameters; `values` has those of all but the two, by these names, where
    each of them is there once.

    `notes` is for what readers work out from this very frame, a few things each: nothing that hangs on the value of the
    date or the signature, on a header, or on a setting that is not noted beside it.
    """

    __slots__ = ("after", "before", "between", "date_name", "name", "names", "notes", "values")

    def __init__(self, front: bytes, middle: bytes, rest: bytes) -> None:
        *before, (self.date_name, _) = split_query(front)
        *between, (self.name, _) = split_query(middle)
        self.before: Pairs = tuple(before)
        self.between: Pairs = tuple(between)
        self.after = split_query(rest)
        others = (*before, *between, *self.after)
        values = {name.lower(): value for name, value in others}
        self.names = frozenset((*values, self.date_name.lower(), self.name.lower()))
        self.values = values if len(self.names) == len(others) + 2 else None
        self.notes: dict[str, Any] = {}


class Framed(msgspec.Struct, frozen=True, gc=False):
    """A query as its frame, and the values of its date and its signature."""

    frame: Frame
    date: str
    value: str

    @property
    def pairs(self) -> Pairs:
        """What `split_query` makes of it."""
        frame = self.frame
        return (
            *frame.before,
            (frame.date_name, self.date),
            *frame.between,
            (frame.name, self.value),
            *frame.after,
        )


def framed(query: bytes) -> Framed | None:
    """A raw query in its frame; None where it has none, is long, or where something is wrong in it."""
    blanks = blanks_of(query)
    if blanks is None:
        return None
    begins, ends, first, last = blanks
    try:
        frame = _frame(query[:begins], query[ends:first], query[last:])
    except ValueError:  # whoever reads all of it says what is wrong
        return None
    return Framed(frame, query[begins:ends].decode(), query[first:last].decode())


def blanks_of(query: bytes) -> tuple[int, int, int, int] | None:
    """Where the values of a raw query's date and signature begin and end; None where it has no frame."""
    if _NAME_ENDS not in query or len(query) > QUERY_BYTES_MAX or query.count(b"&") >= PARAMETERS_MAX:
        return None
    signature = _SIGNATURE.search(query)
    date = None if signature is None else _DATE.search(query, 0, signature.start() + 1)
    if signature is None or date is None:
        return None
    return *date.span(1), *signature.span(1)


_frame: Final = lru_cache(maxsize=_FRAMES_MAX)(Frame)


def forget() -> None:
    """Remember none of those that were read."""
    _frame.cache_clear()
