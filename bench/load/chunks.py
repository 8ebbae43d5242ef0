"""Chunks: a body that says itself where it ends, counted while it arrives (RFC 9112, section 7.1)."""

from typing import Final

from bench.load.heads import BadAnswer

_LINE_BYTES_MAX: Final = 4096


class Chunks:
    """A chunked body while it arrives; `moved` are the bytes it carried so far."""

    def __init__(self) -> None:
        self.moved = 0
        self._line = bytearray()
        self._data = 0  # bytes of the present chunk, its CRLF among them
        self._in_trailer = False

    def feed(self, data: memoryview) -> bool:
        """More of it; True once it is at its end. Raises BadAnswer, also where there is more than that."""
        at = 0
        while at < len(data):
            if self._data:
                step = min(self._data, len(data) - at)
                self.moved += max(0, min(step, self._data - 2))
                self._data -= step
                at += step
                continue
            end = _find(data, at)
            self._line += data[at : end + 1 if end >= 0 else len(data)]
            at = end + 1 if end >= 0 else len(data)
            if len(self._line) > _LINE_BYTES_MAX:
                raise BadAnswer("the answer has an endless line among its chunks")
            if end >= 0 and self._line_ended():
                if at < len(data):
                    raise BadAnswer("the answer goes on after its end")
                return True
        return False

    def _line_ended(self) -> bool:
        """A size, or a line of the trailer; True where that was the last."""
        line = bytes(self._line).strip()
        self._line.clear()
        if self._in_trailer:
            return not line
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadAnswer("the answer has a chunk without a size") from None
        if size < 0:
            raise BadAnswer("the answer has a chunk without a size")
        self._in_trailer = size == 0
        self._data = size + 2 if size else 0
        return False


def _find(data: memoryview, at: int) -> int:
    """Where the line that begins at `at` ends, or -1."""
    found = bytes(data[at : at + _LINE_BYTES_MAX]).find(b"\n")
    return at + found if found >= 0 else -1
