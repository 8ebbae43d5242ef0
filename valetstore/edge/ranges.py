"""Range (RFC 9110 section 14): one byte range is served; whatever else is asked for gets the whole."""

import re
from typing import Final, NamedTuple

from valetstore.errors import Denied

_ONE_RANGE: Final = re.compile(r"bytes=\s*([0-9]{1,19})?-([0-9]{1,19})?\s*", re.ASCII | re.IGNORECASE)


class Span(NamedTuple):
    """`length` bytes from `start`, of an object's `size`."""

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of Content-Range for these bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def requested_span(header: str | None, size: int) -> Span | None:
    """The one range asked for, None for the whole object; raises `range_not_satisfiable`.

    Several ranges, another unit or a malformed header are ignored, as section 14.2 allows: a client must
    be ready for the whole, and no client depends on multipart replies.
    """
    found = _ONE_RANGE.fullmatch(header) if header else None
    if not found or (found[1] is None and found[2] is None):
        return None
    first, last = found[1], found[2]
    if first is None:
        if not size and int(last):
            return None  # the last bytes of nothing are all of it: satisfiable, yet no 206 can say so
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        end = size - 1 if last is None else min(int(last), size - 1)
        if last is not None and int(last) < start:
            return None  # malformed, not unsatisfiable
        length = end - start + 1
    if length <= 0 or start >= size:
        raise Denied("range_not_satisfiable", f"The object has {size} bytes.", size=size)
    return Span(start, length, size)
