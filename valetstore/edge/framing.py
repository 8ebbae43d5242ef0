"""Framing: how many bytes around a chunked body are too many.

A million one-byte chunks, or a 100 kB chunk extension, cost work and carry nothing. The parser bounds
neither; so what arrives is counted against what of it is body.
"""

from typing import Final

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

BYTES_MAX: Final = 64 * 1024
"""Bytes of a head and of chunk headers beyond the body's own length: what no honest client needs."""

PIECE_BYTES: Final = 32 * 1024
"""What is parsed at once where framing is counted: so much of what follows a body may be taken for it."""


class Framing:
    """The newest chunked body on one connection, and what has arrived for it."""

    __slots__ = ("_body", "_bytes")

    def __init__(self) -> None:
        self._body: StreamReader | None = None
        self._bytes = 0

    @property
    def is_counted(self) -> bool:
        """Whether a chunked body is arriving."""
        return self._body is not None

    def begin(self, message: object, body: StreamReader) -> None:
        """A request's head was parsed."""
        self._body = body if isinstance(message, RawRequestMessage) and message.chunked else None
        self._bytes = 0

    def overrun(self, count: int, *, parser_is_behind: bool) -> StreamReader | None:
        """After `count` bytes were parsed: the body, where there is too much around it."""
        body = self._body
        if body is None:
            return None
        self._bytes += count
        # What the parser has not looked at is neither body nor framing yet.
        if parser_is_behind and not body.is_eof():
            return None
        is_over = self._bytes - body.total_bytes > BYTES_MAX + body.total_bytes
        if is_over or body.is_eof():
            self._body = None  # other requests follow
        return body if is_over else None
