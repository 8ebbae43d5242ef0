"""Windows: until when a client that has used a key may repeat that use.

Pure and synchronous, as the table that they belong to (`table.py`): whoever asks says what time it is.
"""

import heapq
import math
from typing import Final

FORGET_AT_ONCE: Final = 1_000
"""What is dropped in one call: a million that end together must not stop the loop."""

Window = tuple[str, float]
"""Whose it is (the client's address), and when it ends (seconds since the epoch)."""


class Windows:
    """The windows of keys, by the keys' numbers. A key has at most one for each source."""

    def __init__(self) -> None:
        self._open: dict[int, dict[str, float]] = {}
        self._closing: list[tuple[float, int]] = []
        self.first_end = math.inf
        """When the first one ends, or may have; whoever asks often need not ask in vain."""

    def __len__(self) -> int:
        """How many keys have one."""
        return len(self._open)

    def end(self, identity: int, source: str) -> float:
        """Until when this source may repeat a use of the key; 0 where it has no window."""
        windows = self._open.get(identity)
        return 0.0 if windows is None else windows.get(source, 0.0)

    def of(self, identity: int) -> list[Window]:
        """All of one key."""
        return list(self._open.get(identity, {}).items())

    def keep(self, identity: int, window: Window) -> None:
        """Open it, unless the source has one that ends later."""
        source, until = window
        windows = self._open.setdefault(identity, {})
        if windows.get(source, 0) < until:
            windows[source] = until
            heapq.heappush(self._closing, (until, identity))
            self.first_end = self._closing[0][0]

    def close(self, identity: int, window: Window) -> None:
        """Close this one, unless a later one took its place."""
        windows = self._open.get(identity)
        if windows is not None and windows.get(window[0]) == window[1]:
            del windows[window[0]]
            if not windows:
                del self._open[identity]

    def close_all(self, identity: int) -> list[Window]:
        """Close all of one key; which they were."""
        return list(self._open.pop(identity, {}).items())

    def close_ended(self, before: float) -> None:
        """Close those that ended before this moment, up to FORGET_AT_ONCE."""
        left = FORGET_AT_ONCE
        while left and self.first_end < before:
            left -= 1
            _, identity = heapq.heappop(self._closing)
            self.first_end = self._closing[0][0] if self._closing else math.inf
            self._close_older(identity, before)

    def _close_older(self, identity: int, before: float) -> None:
        windows = {source: until for source, until in self._open.get(identity, {}).items() if until > before}
        if windows:
            self._open[identity] = windows
        else:
            self._open.pop(identity, None)
