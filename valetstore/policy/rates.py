"""RateTable: when each caller's bucket is full again, for very many callers in little memory.

Rule 1: one number a caller. A bucket is kept as the moment it will be full (the "theoretical arrival time" of the
generic cell rate algorithm), so that nothing has to be added as time goes by.
Rule 2: a caller whose bucket is full is as good as one never seen: its slot is free, and is taken without loss.
Rule 3: nothing here reads a clock or knows a rate.

Sixteen bytes a slot: a tag that stands for the caller, and the moment. Each tag has two places of eight slots; a new
one goes where fewer are taken. Only where both are taken in full does the table double, and, once it is as large as
it may be, does a caller make room for another: the one whose bucket is full soonest, since forgetting it gives away
no more than it would have been given back by then.
"""

from array import array
from typing import Final

PLACE: Final = 8
"""Slots of one place."""
SLOTS_MIN: Final = 1_024
SLOTS_MAX: Final = 2**21
"""32 MiB, which a million callers fill by half; while it grows into them what it outgrew is there too, 16 MiB."""
MOVED_AT_ONCE: Final = 2
"""Places of the outgrown table that move with each change: growing must not stop the loop."""

_TAG_BITS: Final = 2**64 - 1


class RateTable:
    """Up to `slots_max` callers, a power of two from SLOTS_MIN; times are seconds, above 0, on a clock that never
    goes back. `overwritten` counts callers that had to make room."""

    def __init__(self, slots_max: int = SLOTS_MAX) -> None:
        if slots_max < SLOTS_MIN or slots_max & (slots_max - 1):
            raise ValueError(f"slots_max is a power of two, {SLOTS_MIN} or more")
        self._slots_max = slots_max
        self.overwritten = 0
        self._slots = _Slots(SLOTS_MIN)
        self._outgrown: _Slots | None = None
        self._moved = 0

    @property
    def slots(self) -> int:
        """How many there are now."""
        return self._slots.slots

    @property
    def growing(self) -> bool:
        """Whether it still moves out of a smaller table."""
        return self._outgrown is not None

    @property
    def bytes_held(self) -> int:
        """Memory of the arrays."""
        return self._slots.bytes_held + (self._outgrown.bytes_held if self._outgrown else 0)

    def get(self, caller: bytes) -> float:
        """When the caller's bucket will be full, or was; 0.0 where it is not known to be otherwise."""
        tag = tag_of(caller)
        index = self._slots.find(tag)
        if index >= 0:
            return self._slots.times[index]
        if self._outgrown is not None and (index := self._outgrown.find(tag)) >= 0:
            return self._outgrown.times[index]
        return 0.0

    def put(self, caller: bytes, full_at: float, now: float) -> None:
        """The caller's bucket will be full at `full_at`."""
        if self._outgrown is not None:
            self._move_some(self._outgrown, now)
        tag = tag_of(caller)
        index = self._slots.find(tag)
        if index < 0:
            index = self._slot_for(tag, now)
            self._slots.tags[index] = tag
        self._slots.times[index] = full_at

    def _slot_for(self, tag: int, now: float) -> int:
        index, taken = self._slots.room(tag, now)
        # While it still moves it is half empty or less: what does not fit then is one in millions.
        if taken and self._outgrown is None and self._slots.slots < self._slots_max:
            self._outgrown, self._slots, self._moved = self._slots, _Slots(2 * self._slots.slots), 0
            index, taken = self._slots.room(tag, now)
        self.overwritten += taken
        return index

    def _move_some(self, outgrown: "_Slots", now: float) -> None:
        end = min(self._moved + MOVED_AT_ONCE * PLACE, outgrown.slots)
        for old in range(self._moved, end):
            tag, full_at = outgrown.tags[old], outgrown.times[old]
            # What was put since is newer than what is moved.
            if full_at > now and self._slots.find(tag) < 0:
                index = self._slot_for(tag, now)
                self._slots.tags[index], self._slots.times[index] = tag, full_at
        self._moved = end
        if end == outgrown.slots:
            self._outgrown = None


class _Slots:
    """The two arrays: tags, and beside each when its bucket is full."""

    __slots__ = ("_mask", "slots", "tags", "times")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._mask = slots // PLACE - 1
        self.tags = array("Q", [0]) * slots
        self.times = array("d", [0.0]) * slots

    @property
    def bytes_held(self) -> int:
        return len(self.tags) * self.tags.itemsize + len(self.times) * self.times.itemsize

    def places(self, tag: int) -> tuple[int, int]:
        """Where each of its two places begins."""
        return (tag & self._mask) * PLACE, (tag >> 32 & self._mask) * PLACE

    def find(self, tag: int) -> int:
        """The slot that has this tag; -1 where none has."""
        for start in self.places(tag):
            place = self.tags[start : start + PLACE]
            if tag in place:
                return start + place.index(tag)
        return -1

    def room(self, tag: int, now: float) -> tuple[int, bool]:
        """The slot for a new tag, and whether that is taken from a caller whose bucket is not full yet."""
        best, fewest, first_free = 0, PLACE + 1, 0.0
        for start in self.places(tag):
            place = self.times[start : start + PLACE]
            taken = sum(map(now.__lt__, place))
            soonest = min(place)
            if taken < fewest or (taken == fewest and soonest < first_free):
                best, fewest, first_free = start + place.index(soonest), taken, soonest
        return best, fewest == PLACE


def tag_of(caller: bytes) -> int:
    """64 bits that stand for a caller in this process. Whether two meet nobody can bring about from outside:
    Python hashes bytes with SipHash under a key that is random for each process (PEP 456)."""
    return hash(caller) & _TAG_BITS
