"""Tail: whether the next request's head has begun behind the end of the former.

The parser does not say whether it keeps an unfinished head; so what is fed to it is compared with where the
newest request ends. Where that cannot be known, nothing has begun: the connection is taken for idle.
"""

from typing import Final

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

_END: Final = b"\r\n\r\n"  # of a head, and of a chunked body


class Tail:
    """The end of what has arrived on one connection; `has_begun` where a part of a head is there."""

    __slots__ = ("_body", "_last", "_length", "_received", "_was_whole", "has_begun")

    def __init__(self) -> None:
        self._last = b""  # the last bytes so far: an end may come in two pieces
        self._body: StreamReader | None = None  # the newest request's
        self._length = 0  # of its body, where it is framed by its length
        self._received = 0
        self._was_whole = True
        self.has_begun = False

    def fed(self, data: bytes, newest: tuple[object, StreamReader] | None, *, parser_is_behind: bool) -> None:
        """After `data` was parsed (none where the parser caught up); `newest` came with it, if anything did."""
        if newest is not None:
            message, self._body = newest
            self._length = _length(message)
        if data or newest is not None:
            rest_begins = self._has_more(data, is_new=newest is not None)
            self._last = data[-len(_END) :] if len(data) >= len(_END) else (self._last + data)[-len(_END) :]
            self.has_begun = rest_begins and self._is_whole and not parser_is_behind
        self._received = 0 if self._body is None else self._body.total_bytes
        self._was_whole = self._is_whole

    @property
    def _is_whole(self) -> bool:
        return self._body is None or self._body.is_eof()

    def _has_more(self, data: bytes, *, is_new: bool) -> bool:
        """Whether there is more in `data` than the newest request, provided that this is whole."""
        if not is_new and self._was_whole:
            return True
        if not self._length:
            return not (self._last + data[-len(_END) :]).endswith(_END)
        if not is_new:
            return len(data) > self._length - self._received
        text = self._last + data
        return bool(data) and not text.endswith(_END, 0, max(0, len(text) - self._length))


def _length(message: object) -> int:
    """The announced bytes of a body; 0 for a chunked one, for none, and for what is no request."""
    if not isinstance(message, RawRequestMessage) or message.chunked:
        return 0
    return int(message.headers.get("Content-Length", 0))
