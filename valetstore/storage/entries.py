"""Entries: all of one folder, in the order of the names they stand for.

A key is what the layout makes of an entry (`Layout.keys`): the text that its name, or all names below it, go on with.
Keys are put in order by parts. Who asks first gets those near his place picked out of what the folder gave; who asks
then has all parted into leaves, by ranges, and a leaf is sorted when it is gone through. So a first page waits for no
more than it needs, and no thread keeps the interpreter to itself for one sort of everything.

Rule 1: what is told does not change once they are made. Threads may share them.
Rule 2: a leaf is one string of bytes: what is remembered of 100,000 names are a hundred objects, not 100,000.
Rule 3: of what type an entry is nobody asks here. Whoever shows it looks.
"""

import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from valetstore.storage.layout import Layout

_LEAF_KEYS: Final = 1_000
"""How many keys a leaf has, about: as many as a page."""
_SAMPLES: Final = 8
"""Keys that are looked at for each leaf, to find where the leaves part."""
_PICKED_LEAVES: Final = 3
"""What is picked out for who asks first: a page from anywhere in a leaf, and one name more."""
_BETWEEN: Final = "\0\0"
"""Between two keys: no entry has a NUL, and a key has one at most, with something behind it."""
_LEAF_BYTES: Final = 300
"""What a leaf takes beside its keys: two objects, and their places in lists."""


class Entries:
    """The keys of one folder; `count` is how many. `weight` is about the bytes they take now."""

    def __init__(self, keys: list[str]) -> None:
        self.count = len(keys)
        self._keys = keys
        # A leaf's keys are from its bound on, up to the next leaf's; the first has none.
        self._bounds, key_bytes = _sampled(keys)
        self._leaves: list[bytes] = []
        self._is_asked = False
        self.weight = int(key_bytes * self.count)

    def since(self, lower: str) -> Iterator[str]:
        """All keys from this text on, in order."""
        keys, at = self._keys, bisect_right(self._bounds, lower)
        if not (self._leaves or self._is_asked):
            self._is_asked = True
            yield from self._picked(keys, lower, at + _PICKED_LEAVES)
            at += _PICKED_LEAVES
        leaves = self._parted() if at <= len(self._bounds) else []
        for leaf in leaves[at:]:
            text = leaf.decode("utf-8", "surrogateescape")
            keys = sorted(text.split(_BETWEEN)) if text else []
            yield from keys[bisect_left(keys, lower) :]

    def _picked(self, keys: list[str], lower: str, end: int) -> list[str]:
        """The keys from a text to the end of a leaf."""
        if end > len(self._bounds):
            return sorted([key for key in keys if key >= lower])
        bound = self._bounds[end - 1]
        return sorted([key for key in keys if key < bound and key >= lower])

    def _parted(self) -> list[bytes]:
        # Threads that do it at once come to the same. The leaves are there before the keys go.
        keys = self._keys
        if not self._leaves:
            parts: list[list[str]] = [[] for _ in range(len(self._bounds) + 1)]
            for key in keys:
                parts[bisect_right(self._bounds, key)].append(key)
            leaves = [_BETWEEN.join(part).encode("utf-8", "surrogateescape") for part in parts]
            self.weight = sum(map(len, leaves)) + _LEAF_BYTES * len(leaves)
            self._leaves = leaves
            self._keys = []
        return self._leaves


def _sampled(keys: list[str]) -> tuple[list[str], float]:
    """Where leaves part, and about how many bytes a key takes."""
    leaves = -(-len(keys) // _LEAF_KEYS)
    sample = sorted(keys[:: max(1, len(keys) // (max(1, leaves) * _SAMPLES))])
    own = sum(map(sys.getsizeof, sample)) / len(sample) if sample else 0.0
    return sample[_SAMPLES::_SAMPLES] if leaves > 1 else [], own + sys.getsizeof(0)


def read_entries(fd: int, layout: Layout) -> Entries:
    """Those of an open folder. Raises OSError."""
    return Entries(layout.keys(os.listdir(fd)))
