"""Frame: a query without the value of its signature.

URLs that were signed in the same second, by the same key and for the same life differ in their paths and signatures:
those of one page, of one batch of uploads. What such a query says beside its signature is read once for all of them.

Rule 1: a frame and the value that it lacks are the query, to the byte. A value is hexadecimal, and of the same
parameter of the same query whatever it is.
Rule 2: only short queries are remembered, and only those in which nothing was wrong.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from valetstore.encoding import split_query

QUERY_BYTES_MAX: Final = 2_048
PARAMETERS_MAX: Final = 32
_FRAMES_MAX: Final = 256
"""Those of as many seconds, with one signer a second. Of strangers each takes up to 16 KiB, most take two."""

_NAME_ENDS: Final = b"-Signature="
# Amazon's and Google's, as SDKs write it; not the first parameter, or it would need a rule of its own.
_SIGNATURE: Final = re.compile(rb"&X-(?:Amz|Goog)-Signature=([0-9a-f]{64,1024})(?![^&])")

Pairs = tuple[tuple[str, str], ...]


class Frame:
    """The pairs `before` and `after` the signature, its `name`, and the lower-case `names` of all parameters.

    `notes` is for what readers work out from this very frame, a few things each: nothing that hangs on the signature's
    value, on a header, or on a setting that is not noted beside it.
    """

    __slots__ = ("after", "before", "name", "names", "notes")

    def __init__(self, front: bytes, rest: bytes) -> None:
        *before, (self.name, _) = split_query(front)
        self.before: Pairs = tuple(before)
        self.after = split_query(rest)
        self.names = frozenset([name.lower() for name, _ in (*before, *self.after)]) | {self.name.lower()}
        self.notes: dict[str, Any] = {}


class Framed(NamedTuple):
    """A query as its frame and the value of its signature."""

    frame: Frame
    value: str

    @property
    def pairs(self) -> Pairs:
        """What `split_query` makes of it."""
        return (*self.frame.before, (self.frame.name, self.value), *self.frame.after)


def framed(query: bytes) -> Framed | None:
    """A raw query in its frame; None where it has none, is long, or where something is wrong in it."""
    if _NAME_ENDS not in query or len(query) > QUERY_BYTES_MAX or query.count(b"&") >= PARAMETERS_MAX:
        return None
    found = _SIGNATURE.search(query)
    if found is None:
        return None
    try:
        frame = _frame(query[: found.start(1)], query[found.end(1) :])
    except ValueError:  # whoever reads all of it says what is wrong
        return None
    return Framed(frame, found[1].decode())


_frame: Final = lru_cache(maxsize=_FRAMES_MAX)(Frame)


def forget() -> None:
    """Remember none of those that were read."""
    _frame.cache_clear()
