"""Answers: what comes on a connection, counted to the last byte of each body.

Rule 1: an answer is counted, not kept: all connections read into one buffer.
Rule 2: a byte more than the answer has is an error, as a byte less is.
"""

from typing import Final

from bench.load.chunks import Chunks
from bench.load.heads import CHUNKED, UNTIL_CLOSE, BadAnswer, read_head
from bench.load.tally import Tally

BUFFER: Final = bytearray(2**20)
_VIEW: Final = memoryview(BUFFER)
_HEAD_BYTES_MAX: Final = 64 * 2**10

__all__ = ["BUFFER", "AnswerReader", "BadAnswer"]


class AnswerReader:
    """The answers of one connection, one after the other. `status`, `head` and `closes` are of the last one."""

    def __init__(self, method: str, tally: Tally) -> None:
        self.status = 0
        self.head = bytearray()
        self.closes = False
        self._method = method
        self._tally = tally
        self._begun = bytearray()  # of a head that has not arrived as far as its end
        self._missing = 0  # bytes of a body; 0 while a head is awaited
        self._chunks: Chunks | None = None

    @property
    def ends_with_the_connection(self) -> bool:
        """Whether the present answer is whole once the server closes."""
        return self._missing == UNTIL_CLOSE

    def reset(self) -> None:
        """Another connection."""
        self._begun.clear()
        self._missing, self._chunks, self.closes = 0, None, False

    def feed(self, count: int) -> bool:
        """So many bytes are in BUFFER: whether the answer is whole with them. Raises BadAnswer."""
        if self._missing > 0:
            return self._counted(count)
        if self._missing == 0:
            return self._head_arrived(count)
        if self._chunks is not None:
            return self._chunks_arrived(_VIEW[:count], self._chunks)
        self._tally.moved += count
        return False

    def _head_arrived(self, count: int) -> bool:
        end = -1 if self._begun else BUFFER.find(b"\r\n\r\n", 0, count)
        if end >= 0:
            return self._head_is_there(BUFFER[: end + 2], end + 4, count)
        before = len(self._begun)
        self._begun += _VIEW[:count]
        end = self._begun.find(b"\r\n\r\n", max(0, before - 3))
        if end >= 0:
            head = self._begun[: end + 2]
            self._begun.clear()
            return self._head_is_there(head, end + 4 - before, count)
        if len(self._begun) > _HEAD_BYTES_MAX:
            raise BadAnswer("the answer has a head without an end")
        return False

    def _head_is_there(self, head: bytearray, body_at: int, count: int) -> bool:
        """A head, and `count - body_at` bytes after it."""
        self.head = head
        self.status, length, self.closes = read_head(head, self._method)
        if self.status < 200:  # 1xx: the answer itself follows
            if count == body_at:
                return False
            BUFFER[: count - body_at] = BUFFER[body_at:count]
            return self._head_arrived(count - body_at)
        if length >= 0:
            self._missing = length
            return self._counted(count - body_at)
        self._missing = length
        if length == CHUNKED:
            self._chunks = Chunks()
            return self._chunks_arrived(_VIEW[body_at:count], self._chunks)
        self._tally.moved += count - body_at
        return False

    def _counted(self, count: int) -> bool:
        self._missing -= count
        self._tally.moved += count
        if self._missing < 0:
            raise BadAnswer("the answer is longer than its Content-Length")
        return not self._missing

    def _chunks_arrived(self, data: memoryview, chunks: Chunks) -> bool:
        before = chunks.moved
        is_over = chunks.feed(data)
        self._tally.moved += chunks.moved - before
        if is_over:
            self._missing, self._chunks = 0, None
        return is_over
