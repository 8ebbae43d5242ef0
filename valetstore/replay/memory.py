"""MemoryReplaySet: single use within one process, for as long as it runs.

Everything happens between two awaits of one event loop, so a claim cannot be interleaved. What it cannot
do is remember across a restart: a set with a log does that, behind the same promise.
"""

import heapq
from typing import Final

from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.promise import LEASE_SECONDS, Reservation

RETRY_SECONDS: Final = 5

FORGET_AT_ONCE: Final = 1_000
"""Entries dropped in one call: a million that end together must not stop the loop."""

LATE_SECONDS: Final = 60
"""A request is judged by the moment it arrived, and may ask this much later: its disk was slow, no clock jumped."""


class _Entry:
    """One key: uses spent, uses set aside (id -> lapses at; None once committing), windows (source -> until)."""

    __slots__ = ("keep_until", "reserved", "used", "windows")

    def __init__(self, keep_until: float) -> None:
        self.keep_until = keep_until
        self.used = 0
        self.reserved: dict[int, float | None] = {}
        self.windows: dict[str, float] = {}

    def spoken_for(self, now: float) -> int:
        """Uses that nobody else can have: spent, or held by a reservation that has not lapsed."""
        if self.reserved:
            lapsed = [key for key, until in self.reserved.items() if until is not None and until < now]
            for key in lapsed:
                del self.reserved[key]
        return self.used + len(self.reserved)


class MemoryReplaySet:
    """Up to `entries_max` keys; `skew` is how many seconds the clock may go back before it is not believed.

    Keys are remembered for that much longer than they live, so what is believed can also be answered.
    """

    def __init__(self, entries_max: int, skew: float = 0) -> None:
        self._entries_max = entries_max
        self._skew = max(skew, LATE_SECONDS)
        self._entries: dict[bytes, _Entry] = {}
        self._by_expiry: list[tuple[float, bytes]] = []
        self._latest = 0.0
        self._next_id = 1

    async def look(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        self._believe(now)
        entry = self._entries.get(use.identity)
        if entry is not None and not self._in_window(entry, use, now):
            self._check_left(entry, use, now)

    async def claim(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        entry = self._entry(use, now)
        if self._in_window(entry, use, now):
            return
        self._check_left(entry, use, now)
        self._spend(entry, use, now)

    async def reserve(self, use: Use, now: float) -> Reservation:
        """See ReplaySet."""
        entry = self._entry(use, now)
        if self._in_window(entry, use, now):
            return Reservation(use, 0, free=True)
        self._check_left(entry, use, now)
        self._next_id += 1
        entry.reserved[self._next_id] = now + LEASE_SECONDS
        return Reservation(use, self._next_id)

    async def renew(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        if not reservation.free:
            self._held(reservation, now).reserved[reservation.id] = now + LEASE_SECONDS

    async def committing(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        if not reservation.free:
            self._held(reservation, now).reserved[reservation.id] = None

    async def commit(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        if not reservation.free:
            entry = self._held(reservation, now)
            del entry.reserved[reservation.id]
            self._spend(entry, reservation.use, now)

    async def release(self, reservation: Reservation) -> None:
        """See ReplaySet."""
        entry = self._entries.get(reservation.use.identity)
        if entry is not None:
            entry.reserved.pop(reservation.id, None)

    def entries(self) -> int:
        """See ReplaySet."""
        return len(self._entries)

    def _believe(self, now: float) -> None:
        """Expired entries were dropped by a later clock: an earlier one would let those keys in again."""
        if now < self._latest - self._skew:
            raise _unavailable("the clock has gone back")
        self._latest = max(self._latest, now)
        for _ in range(FORGET_AT_ONCE):
            if not self._by_expiry or self._by_expiry[0][0] + self._skew >= now:
                return
            _, identity = heapq.heappop(self._by_expiry)
            entry = self._entries[identity]
            if entry.keep_until + self._skew >= now:
                heapq.heappush(self._by_expiry, (entry.keep_until, identity))
            # An upload still running holds its entry past the key's end.
            elif entry.spoken_for(now) > entry.used:
                heapq.heappush(self._by_expiry, (now + LEASE_SECONDS, identity))
            else:
                del self._entries[identity]

    def _entry(self, use: Use, now: float) -> _Entry:
        self._believe(now)
        entry = self._entries.get(use.identity)
        if entry is None:
            if use.keep_until + self._skew < self._latest:
                raise _unavailable("the key's end has passed, and what was used of it is forgotten")
            if len(self._entries) >= self._entries_max:
                raise _unavailable("the replay set is full")
            entry = self._entries[use.identity] = _Entry(use.keep_until)
            heapq.heappush(self._by_expiry, (use.keep_until, use.identity))
        # One nonce in two keys is one key, remembered until the later of them ends.
        entry.keep_until = max(entry.keep_until, use.keep_until)
        return entry

    def _held(self, reservation: Reservation, now: float) -> _Entry:
        """The entry of a reservation that still holds; one that lapsed is taken up again if a use is left."""
        entry = self._entry(reservation.use, now)
        if reservation.id not in entry.reserved:
            self._check_left(entry, reservation.use, now)
            entry.reserved[reservation.id] = now + LEASE_SECONDS
        return entry

    def _check_left(self, entry: _Entry, use: Use, now: float) -> None:
        if entry.spoken_for(now) >= use.allowed:
            raise Denied("key_used")

    def _in_window(self, entry: _Entry, use: Use, now: float) -> bool:
        return bool(entry.windows) and now < entry.windows.get(use.source, 0)

    def _spend(self, entry: _Entry, use: Use, now: float) -> None:
        entry.used += 1
        if use.window:
            entry.windows = {source: until for source, until in entry.windows.items() if until > now}
            entry.windows[use.source] = now + use.window


def _unavailable(reason: str) -> Denied:
    return Denied("replay_unavailable", retry_after=RETRY_SECONDS, reason=reason)
