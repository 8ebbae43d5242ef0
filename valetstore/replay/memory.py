"""MemoryReplaySet: single use within one process, for as long as it runs.

Everything happens between two awaits of one event loop, so a claim cannot be interleaved. What it cannot
do is remember across a restart: `logged.py` does that, behind the same promise.
"""

from valetstore.grants.grant import Use
from valetstore.replay.promise import Reservation, Told
from valetstore.replay.table import ReplayTable


class MemoryReplaySet:
    """Up to `entries_max` keys; `skew` is how many seconds the clock may go back before it is not believed."""

    def __init__(self, entries_max: int, skew: float = 0) -> None:
        self._table = ReplayTable(entries_max, skew)

    async def look(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        self._table.look(use, now)

    async def claim(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        self._table.claim(use, now)

    def claim_soon(self, use: Use, now: float, told: Told) -> bool:
        """See ReplaySet."""
        self._table.claim(use, now)
        return True

    async def reserve(self, use: Use, now: float) -> Reservation:
        """See ReplaySet."""
        return self._table.reserve(use, now)

    async def renew(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        self._table.renew(reservation, now)

    async def committing(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        self._table.committing(reservation, now)

    async def commit(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        self._table.commit(reservation, now)

    async def release(self, reservation: Reservation) -> None:
        """See ReplaySet."""
        self._table.release(reservation)

    async def spend(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        self._table.spend(use, now)

    def entries(self) -> int:
        """See ReplaySet."""
        return len(self._table)
