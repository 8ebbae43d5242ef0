"""Tally: how many connections there are, in all and of one address, over all workers of a gateway.

Rule 1: a worker writes its own row and reads everyone's: nothing is locked and nobody is asked, so a connection
is let in or turned away at once.
Rule 2: two workers that look at the same moment may both let their connection in: limits hold to as many as there
are workers. Addresses that share a column are counted together; there are 65,536, chosen by a keyed hash, so
nobody can seek out another's.
"""

import mmap
import os
from collections import Counter
from hashlib import blake2b
from typing import Final

_COLUMNS: Final = 2**16
_ROW: Final = 1 + _COLUMNS
"""Four bytes each: all connections of the worker, then those of each column."""
_WIDTH: Final = 4


class Tally:
    """The counts of one process that serves alone."""

    def __init__(self) -> None:
        self._own: Counter[str] = Counter()
        self._total = 0

    def add(self, group: str) -> None:
        """One more connection; `group` is whose ("" where it is not counted by address)."""
        self._total += 1
        if group:
            self._own[group] += 1

    def remove(self, group: str) -> None:
        """One less."""
        self._total -= 1
        if group:
            self._own[group] -= 1
            if not self._own[group]:
                del self._own[group]

    @property
    def total(self) -> int:
        """All connections."""
        return self._total

    def of(self, group: str) -> int:
        """The connections of one address."""
        return self._own[group]


class Board:
    """The rows of all workers, in memory they share. `descriptor` is handed to them."""

    def __init__(self, rows: int, descriptor: int | None = None) -> None:
        self.rows = rows
        size = rows * _ROW * _WIDTH
        if descriptor is None:
            descriptor = os.memfd_create("connections", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
        self.descriptor = descriptor
        self.cells = memoryview(mmap.mmap(descriptor, size)).cast("I")

    def clear(self, row: int) -> None:
        """The worker of that row is gone, and its connections with it."""
        self.cells[row * _ROW : (row + 1) * _ROW] = memoryview(bytes(_ROW * _WIDTH)).cast("I")


class SharedTally(Tally):
    """The counts of the worker that writes `row`; `secret` (16 bytes) is the same for all."""

    def __init__(self, board: Board, row: int, secret: bytes) -> None:
        super().__init__()
        self._cells = board.cells
        self._row = row * _ROW
        self._others = [other * _ROW for other in range(board.rows) if other != row]
        self._secret = secret

    def add(self, group: str) -> None:
        """See Tally."""
        super().add(group)
        self._cells[self._row] = self._total
        if group:
            self._cells[self._row + self._column(group)] += 1

    def remove(self, group: str) -> None:
        """See Tally."""
        super().remove(group)
        self._cells[self._row] = self._total
        if group:
            self._cells[self._row + self._column(group)] -= 1

    @property
    def total(self) -> int:
        """See Tally."""
        return self._total + sum(self._cells[row] for row in self._others)

    def of(self, group: str) -> int:
        """See Tally."""
        column = self._column(group)
        return self._own[group] + sum(self._cells[row + column] for row in self._others)

    def _column(self, group: str) -> int:
        digest = blake2b(group.encode(), key=self._secret, digest_size=2).digest()
        return 1 + int.from_bytes(digest, "little")
