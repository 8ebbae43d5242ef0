"""Seam: whether a connection stands exactly between two requests, known to the byte.

The parser does not say whether it keeps the beginning of a head. So what is fed to it is followed from the first byte
on, as long as it is plain: one head at a time, and behind it nothing, or a body that is framed by its length.
After anything else nothing is known on this connection any more, and it is never between two requests again.
(`tail.py` asks the same the other way round: there, what cannot be known is taken for idle.)
"""

from typing import Final

from aiohttp.http_parser import RawRequestMessage

HEAD_ENDS: Final = b"\r\n\r\n"
_LOST: Final = -1


class Seam:
    """`is_between` from the start, and after each request that was followed to its end."""

    __slots__ = ("_owed", "is_between")

    def __init__(self) -> None:
        self.is_between = True
        self._owed = 0  # bytes of a body that are still to come

    def fed(self, data: bytes, count: int, newest: object) -> None:
        """After the parser took `data` and made `count` requests of it, of which `newest` is the last."""
        if not data and not count:
            return  # aiohttp asks whether the parser has kept something, and it had not
        if self._owed > 0 and not count and len(data) <= self._owed:
            self._owed -= len(data)
        else:
            self._owed = self._after_head(data, newest) if self.is_between and count == 1 else _LOST
        self.is_between = self._owed == 0

    def passed(self, count: int) -> None:
        """So many bytes of the body came by another way."""
        if self._owed > 0:
            self._owed = self._owed - count if count <= self._owed else _LOST
            self.is_between = self._owed == 0

    def _after_head(self, data: bytes, message: object) -> int:
        """How much of a body is still to come behind the one head that `data` begins with."""
        if not isinstance(message, RawRequestMessage) or message.chunked or message.upgrade or message.should_close:
            return _LOST
        end = data.find(HEAD_ENDS)
        # A lone line feed may end a line, or the head, for the parser.
        if end < 0 or data.count(b"\n", 0, end) != data.count(b"\r\n", 0, end):
            return _LOST
        owed = int(message.headers.get("Content-Length", 0)) - (len(data) - end - len(HEAD_ENDS))
        return owed if owed >= 0 else _LOST
