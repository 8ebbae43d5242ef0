"""Pace: how slowly a peer may send or take bytes before it is let go.

One byte now and then keeps a connection open for as long as someone likes; so a transfer must move at least
`bytes_per_second` on average over every `grace_seconds`, and something within each of them.
"""

from valetstore.errors import Denied


class Pace:
    """One transfer's pace. Times are of one monotonic clock, in seconds."""

    __slots__ = ("_moved", "_since", "bytes_per_second", "grace_seconds")

    def __init__(self, bytes_per_second: int, grace_seconds: int, now: float) -> None:
        self.bytes_per_second = bytes_per_second
        self.grace_seconds = grace_seconds
        self._since = now
        self._moved = 0

    def paused(self, seconds: float) -> None:
        """Leave out time in which it was not the peer that was waited for."""
        self._since += seconds

    def moved(self, count: int, now: float) -> None:
        """Note `count` bytes; raises `request_timeout` where the last stretch was too slow."""
        self._moved += count
        elapsed = now - self._since
        if elapsed >= self.grace_seconds:
            if self._moved < self.bytes_per_second * elapsed:
                raise Denied("request_timeout", f"At least {self.bytes_per_second} bytes a second are expected.")
            self._since = now
            self._moved = 0

    def gave(self, count: int, now: float) -> None:
        """The same of bytes that the peer takes from now on: they count for the stretch that begins."""
        self.moved(0, now)
        self._moved += count
