"""How many bodies are on their way, in each direction."""

from contextlib import AbstractContextManager
from typing import Literal


class Transfers:
    """Counts of bodies in flight; `counts["in"]` are uploads, `counts["out"]` downloads."""

    def __init__(self) -> None:
        self.counts = {"in": 0, "out": 0}

        self._moving = {direction: _Moving(self.counts, direction) for direction in self.counts}

    def moving(self, direction: Literal["in", "out"]) -> AbstractContextManager[None]:
        """While a body moves."""
        return self._moving[direction]


class _Moving:
    """It keeps nothing but the counts, so one does for all bodies of a direction."""

    def __init__(self, counts: dict[str, int], direction: str) -> None:
        self._counts = counts
        self._direction = direction

    def __enter__(self) -> None:
        self._counts[self._direction] += 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._direction] -= 1
