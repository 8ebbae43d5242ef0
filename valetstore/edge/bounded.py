"""Bounded: a memory by text, in which the longest remembered goes first once it holds too much."""

from collections import OrderedDict
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Bounded(Generic[_Value]):
    """At most `bytes_max` bytes, where one entry is reckoned at `entry_bytes` and `text_factor` times its text."""

    def __init__(self, bytes_max: int, entry_bytes: int, text_factor: int) -> None:
        self._bytes_max = bytes_max
        self._entry_bytes = entry_bytes
        self._text_factor = text_factor
        self._bytes = 0
        # A dict looks for its first entry behind all that have been taken out since it last grew.
        self._held: OrderedDict[bytes, _Value] = OrderedDict()
        self.get = self._held.get
        """The value of a text, None where it is not remembered."""

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, text: bytes) -> bool:
        return text in self._held

    def has_room(self, text: bytes) -> bool:
        """Whether a text can be remembered without another one's going."""
        return self._bytes + self._weight(text) <= self._bytes_max

    def put(self, text: bytes, value: _Value) -> None:
        """Remember this, as the newest."""
        self.forget(text)
        self._held[text] = value
        self._bytes += self._weight(text)
        while self._bytes > self._bytes_max:
            oldest, _ = self._held.popitem(last=False)
            self._bytes -= self._weight(oldest)

    def forget(self, text: bytes) -> None:
        """Harmless where it is not remembered."""
        if text in self._held:
            del self._held[text]
            self._bytes -= self._weight(text)

    def _weight(self, text: bytes) -> int:
        return self._entry_bytes + self._text_factor * len(text)
