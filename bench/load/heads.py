"""Heads: those of HTTP/1 answers, as far as a client must read them to know where the body ends.

Rule 1: only what is needed is read: status, length, whether the connection stays; a refusal's code where there is one.
Rule 2: an answer whose end cannot be known is an error, not a guess.

Source: RFC 9112, section 6.3 (message body length), 7.1 (chunked), 9.3 (persistence).
"""

from typing import Final, NamedTuple

UNTIL_CLOSE: Final = -1
"""The body ends with the connection."""
CHUNKED: Final = -2
"""The body says itself where it ends."""


class BadAnswer(Exception):  # noqa: N818 - reads as what happened
    """What came is no HTTP/1 answer."""


class Head(NamedTuple):
    """Of an answer: its status, the bytes of its body (or UNTIL_CLOSE, CHUNKED), and whether it is the last here."""

    status: int
    length: int
    closes: bool


def read_head(head: bytes | bytearray, method: str) -> Head:
    """A head up to and with the end of its last line. Raises BadAnswer."""
    small = head.lower()
    status = int(small[9:12]) if small[:7] == b"http/1." and small[9:12].isdigit() else 0
    if not 100 <= status <= 599:
        raise BadAnswer("the answer is not HTTP/1")
    closes = small[7:8] == b"0"
    if small.find(b"\r\nconnection:") >= 0:
        closes = b"close" in _field(small, b"connection") or (
            closes and b"keep-alive" not in _field(small, b"connection")
        )
    if method == "HEAD" or status in (204, 304) or status < 200:
        return Head(status, 0, closes)
    if small.find(b"\r\ntransfer-encoding:") >= 0:
        return Head(status, CHUNKED, closes)
    at = small.find(b"\r\ncontent-length:")
    if at < 0:
        return Head(status, UNTIL_CLOSE, True)
    length = small[at + 17 : small.find(b"\r", at + 17)].strip()
    if not length.isdigit() or len(length) > 19:
        raise BadAnswer("the answer has a Content-Length that is no number")
    return Head(status, int(length), closes)


def refusal_code(head: bytes | bytearray) -> str:
    """A refusal's code in `X-Valet-Error`; empty where there is none."""
    code = bytes(_field(head.lower(), b"x-valet-error")).decode("ascii", "replace")
    return code if code.replace("_", "").isalnum() else ""


def _field(small: bytes | bytearray, name: bytes) -> bytes | bytearray:
    """The first value of a field, of a head in lower case."""
    at = small.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    return small[start : small.find(b"\r\n", start)].strip()
