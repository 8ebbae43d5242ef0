"""How many bodies are on their way, in each direction."""

import contextlib
from collections.abc import Iterator
from typing import Literal


class Transfers:
    """Counts of bodies in flight; `counts["in"]` are uploads, `counts["out"]` downloads."""

    def __init__(self) -> None:
        self.counts = {"in": 0, "out": 0}

    @contextlib.contextmanager
    def moving(self, direction: Literal["in", "out"]) -> Iterator[None]:
        """While a body moves."""
        self.counts[direction] += 1
        try:
            yield
        finally:
            self.counts[direction] -= 1
