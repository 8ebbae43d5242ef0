"""ReplayTable: which keys were used, how often; the state of every replay set.

Rule 1: pure and synchronous. Nothing here waits, reads a clock or knows of a log; a change is whole when the call
returns, so of simultaneous callers one is first.
Rule 2: a change comes with the record that says all of its key (absolute: read twice it says the same, a later
one wins) and with the way back, for a caller whose log could not be written.
Rule 3: an entry is forgotten when the clock is past its key's end by more than the clock may go back; a clock
that went back further is not believed. So what is believed can also be answered.

An entry is two shared pointers in a dict and one in a list, about 100 bytes: identities are 128-bit numbers; a value
holds end and uses in one number, shared by all entries that end together; what few entries have (uploads that
run, windows that are open) is kept beside.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.promise import LEASE_SECONDS, Reservation
from valetstore.replay.records import (
    IDENTITY_BYTES,
    KEEP_MAX,
    Clock,
    Entry,
    clock_record,
    entry_record,
    read_record,
    trusted_record,
)
from valetstore.replay.reservations import Reservations
from valetstore.replay.windows import FORGET_AT_ONCE, Window, Windows

RETRY_SECONDS: Final = 5

RECORDS_AT_ONCE: Final = 500
"""Entries in one chunk of `records`: a million must not stop the loop."""

LATE_SECONDS: Final = 60
"""A request is judged by the moment it arrived, and may ask this much later: its disk was slow, no clock jumped."""

END_SECONDS: Final = 64
"""Entries are kept until the next multiple of this: those that end together are found together."""

SPENT: Final = 0xFFFF_FFFF
"""Uses of a key that was given back: more than any key allows."""

_USED_BITS: Final = 32
_END_MAX: Final = 2**53 // END_SECONDS


class Change(msgspec.Struct, frozen=True):
    """What was changed: the record to keep, and how to take it back where it cannot be kept.

    `undo` is None where the change stands all the same: without its record a crash leaves the key used, never unused.
    Several changes that fail together are taken back last one first.
    """

    record: bytes
    undo: Callable[[], None] | None


class _Bucket(NamedTuple):
    """Keys that end within the same END_SECONDS, and the values they share."""

    identities: list[int]
    values: dict[int, int]


class ReplayTable:
    """Up to `entries_max` keys; `skew` is how many seconds the clock may go back before it is not believed.

    What every method refuses is said in `promise.ReplaySet`. `now` is seconds since the epoch.
    """

    def __init__(self, entries_max: int, skew: float = 0) -> None:
        self.entries_max = entries_max
        self.trusted_from: float | None = None
        self._skew = max(skew, LATE_SECONDS)
        self._clock = 0.0
        self._entries: dict[int, int] = {}
        self._buckets: dict[int, _Bucket] = {}
        self._ends: list[int] = []
        self._reservations = Reservations()
        self._windows = Windows()

    def __len__(self) -> int:
        """How many keys it remembers."""
        return len(self._entries)

    @property
    def clock(self) -> float:
        """The latest moment it was told of."""
        return self._clock

    # What is asked

    def look(self, use: Use, now: float) -> None:
        """See ReplaySet."""
        self._believe(now)
        self._check_trusted(use)
        identity = _number(use)
        value = self._entries.get(identity)
        if value is not None and not self._in_window(identity, use, now):
            self._check_left(identity, use, now)

    def claim(self, use: Use, now: float) -> Change | None:
        """See ReplaySet. None where it falls in the window of an earlier use."""
        raw = use.identity
        identity = int.from_bytes(raw, "big")
        if identity in self._entries or use.window or use.allowed < 1 or len(raw) != IDENTITY_BYTES:
            return self._claim_known(use, now)
        # Most claims are the first of their key, and its only one: nothing of it can be held, open or used up.
        self._believe(now)
        self._check_trusted(use)
        self._check_room(use)
        end = _end_of(use.keep_until)
        identities, values = self._buckets.get(end) or self._bucket(end)
        identities.append(identity)
        value = end << _USED_BITS | 1
        self._entries[identity] = values.setdefault(value, value)
        return Change(entry_record(raw, end * END_SECONDS, 1), partial(self._unclaim, identity, None))

    def _claim_known(self, use: Use, now: float) -> Change | None:
        identity = self._enter(use, now)
        if self._in_window(identity, use, now):
            return None
        self._check_left(identity, use, now)
        self._add_used(identity, 1)
        opened = self._open_window(identity, use, now)
        return Change(self._record(identity, opened), partial(self._unclaim, identity, opened))

    def reserve(self, use: Use, now: float) -> Reservation:
        """See ReplaySet. Reservations are not kept: a crash gives them back."""
        identity = self._enter(use, now)
        if self._in_window(identity, use, now):
            return Reservation(use, 0, free=True)
        self._check_left(identity, use, now)
        return Reservation(use, self._reservations.begin(identity, now))

    def renew(self, reservation: Reservation, now: float) -> None:
        """See ReplaySet."""
        if not reservation.free:
            identity, lapses = self._hold(reservation, now)
            if lapses is not None:
                self._reservations.renew(identity, reservation.id, now)

    def committing(self, reservation: Reservation, now: float) -> Change | None:
        """See ReplaySet. The use counts as spent from here on; None where nothing changes."""
        if reservation.free:
            return None
        identity, lapses = self._hold(reservation, now)
        if lapses is None:
            return None
        self._reservations.commits(identity, reservation.id, now)
        self._add_used(identity, 1)
        return Change(self._record(identity), partial(self._unspend, identity, reservation.id, lapses))

    def commit(self, reservation: Reservation, now: float) -> Change | None:
        """See ReplaySet. After `committing` only its window opens, and None is returned where there is none."""
        if reservation.free:
            return None
        identity, lapses = self._hold(reservation, now)
        self._reservations.drop(identity, reservation.id)
        if lapses is not None:
            self._add_used(identity, 1)
        opened = self._open_window(identity, reservation.use, now)
        if lapses is not None:
            undo = partial(self._uncommit, identity, reservation.id, lapses, opened)
            return Change(self._record(identity, opened), undo)
        return Change(self._record(identity, opened), None) if opened is not None else None

    def release(self, reservation: Reservation) -> Change | None:
        """See ReplaySet. None where nothing was kept of it."""
        identity = _number(reservation.use)
        try:
            lapses = self._reservations.drop(identity, reservation.id)
        except KeyError:
            return None
        if lapses is not None or self._used(identity) == SPENT:
            return None
        self._add_used(identity, -1)
        return Change(self._record(identity), None)

    def spend(self, use: Use, now: float) -> Change | None:
        """See ReplaySet. None where it was spent already."""
        identity = self._enter(use, now, trusted=True)
        before = self._used(identity)
        if before == SPENT:
            return None
        windows = self._windows.close_all(identity)
        lapsing = self._reservations.withdraw(identity)
        self._set(identity, self._end(identity), SPENT)
        return Change(self._record(identity), partial(self._ungive, identity, before, windows, lapsing))

    # What is kept

    def records(self) -> Iterator[list[bytes]]:
        """All it knows, in chunks of some hundred; it may change between them.

        What changes then must be recorded behind: an entry is given as it is when its chunk is made. The clock
        comes last, so that it covers whatever expired and was left out.
        """
        if self.trusted_from is not None:
            yield [trusted_record(self.trusted_from)]
        yield from self.entry_records()
        yield [self.clock_record()]

    def entry_records(self) -> Iterator[list[bytes]]:
        """The entries alone, in chunks."""
        for end in list(self._buckets):
            bucket = self._buckets.get(end)
            at = 0
            while bucket is not None and at < len(bucket.identities):
                chunk: list[bytes] = []
                # An entry that moved to a later end is given here as well: that end may not be in the list above.
                for identity in bucket.identities[at : at + RECORDS_AT_ONCE]:
                    chunk += self._records(identity)
                at += RECORDS_AT_ONCE
                yield chunk

    def clock_record(self) -> bytes:
        """Its clock, to be kept."""
        return clock_record(self._clock)

    def restore(self, record: bytes) -> None:
        """Take in one record of a log. Raises ValueError where it is none.

        Nothing is dropped here: which entries have expired is decided by the clock of the whole log (`settle`).
        """
        said = read_record(record)
        if isinstance(said, Entry):
            self._restore_entry(said)
        elif isinstance(said, Clock):
            self._clock = max(self._clock, said.moment)
        else:
            self.trusted_from = max(self.trusted_from or 0.0, said.moment)

    def _restore_entry(self, said: Entry) -> None:
        identity = said.identity
        end = -(-said.keep // END_SECONDS) if said.keep < KEEP_MAX else _END_MAX
        value = self._entries.get(identity)
        if value is not None:
            end = max(end, value >> _USED_BITS)
        self._set(identity, end, said.used)
        if said.used == SPENT:
            self._windows.close_all(identity)
        elif said.window is not None:
            self._windows.keep(identity, said.window)

    def settle(self, clock: float) -> None:
        """All records are in: take over the log's highest time, and forget what had expired by then. Blocks."""
        self._clock = max(self._clock, clock)
        before = -1
        while before != len(self._entries):
            before = len(self._entries)
            self._forget(self._clock)

    # The clock, and what it ends

    def why_not_believed(self, now: float) -> str:
        """What is wrong with the clock, as one sentence; "" where it is believed."""
        if now >= self._clock - self._skew:
            return ""
        return f"the clock is {self._clock - now:.0f} s behind what was seen before"

    def _believe(self, now: float) -> None:
        """Expired entries were dropped by a later clock: an earlier one would let those keys in again."""
        if now < self._clock - self._skew:
            raise unavailable(self.why_not_believed(now))
        if now > self._clock:
            self._clock = now
        if self._ends and self._ends[0] * END_SECONDS + self._skew < now:
            self._forget(now)
        if self._windows.first_end + self._skew < now:
            self._windows.close_ended(now - self._skew)

    def _forget(self, now: float) -> None:
        """Drop up to FORGET_AT_ONCE entries that ended long enough before `now`."""
        left = FORGET_AT_ONCE
        while left and self._ends and self._ends[0] * END_SECONDS + self._skew < now:
            end = self._ends[0]
            identities = self._buckets[end].identities
            while left and identities:
                identity = identities.pop()
                left -= 1
                value = self._entries.get(identity)
                if value is None or value >> _USED_BITS != end:
                    continue
                # An upload still running holds its entry past the key's end.
                if self._reservations.holds_any(identity, now):
                    self._set(identity, _end_of(now + LEASE_SECONDS), value & SPENT)
                else:
                    del self._entries[identity]
                    self._windows.close_all(identity)
            if not identities:
                heapq.heappop(self._ends)
                del self._buckets[end]

    # Entries

    def _enter(self, use: Use, now: float, *, trusted: bool = False) -> int:
        """The number of the key's entry, which is made where there is none."""
        self._believe(now)
        if not trusted:
            self._check_trusted(use)
        identity = _number(use)
        end = _end_of(use.keep_until)
        value = self._entries.get(identity)
        if value is None:
            self._check_room(use)
            self._set(identity, end, 0)
        elif end > value >> _USED_BITS:
            # One nonce in two keys is one key, remembered until the later of them ends.
            self._set(identity, end, value & SPENT)
        return identity

    def _set(self, identity: int, end: int, used: int) -> None:
        """Write an entry, under its end. An earlier end keeps its pointer until it is forgotten."""
        before = self._entries.get(identity)
        bucket = self._buckets.get(end) or self._bucket(end)
        if before is None or before >> _USED_BITS != end:
            bucket.identities.append(identity)
        value = end << _USED_BITS | used
        self._entries[identity] = bucket.values.setdefault(value, value)

    def _bucket(self, end: int) -> "_Bucket":
        """A new one."""
        bucket = self._buckets[end] = _Bucket([], {})
        heapq.heappush(self._ends, end)
        return bucket

    def _used(self, identity: int) -> int:
        return self._entries[identity] & SPENT

    def _end(self, identity: int) -> int:
        return self._entries[identity] >> _USED_BITS

    def _add_used(self, identity: int, uses: int) -> None:
        """Count; what was given back stays so, and an entry that is gone is none of it."""
        value = self._entries.get(identity)
        if value is not None and value & SPENT != SPENT:
            self._set(identity, value >> _USED_BITS, max(0, (value & SPENT) + uses))

    def _check_trusted(self, use: Use) -> None:
        if self.trusted_from is not None and (use.issued_at is None or use.issued_at < self.trusted_from):
            raise Denied("key_used", reason="signed before the log of used keys was repaired")

    def _check_room(self, use: Use) -> None:
        """For a key that has no entry yet."""
        if use.keep_until + self._skew < self._clock:
            raise unavailable("the key's end has passed, and what was used of it is forgotten")
        if len(self._entries) >= self.entries_max:
            raise unavailable("the replay set is full")

    def _check_left(self, identity: int, use: Use, now: float) -> None:
        used = self._used(identity)
        if used == SPENT or used >= use.allowed:
            raise Denied("key_used")
        if used + self._reservations.uncounted(identity, now) >= use.allowed:
            raise Denied("key_used", "By an upload that still runs: should that fail, the key opens again.")

    def _hold(self, reservation: Reservation, now: float) -> tuple[int, float | None]:
        """The entry of a reservation that still holds, and when it would have lapsed (None: it is committing).

        Raises `key_used` for one that has lapsed, whether or not somebody took its use meanwhile.
        """
        identity = self._enter(reservation.use, now, trusted=True)
        try:
            return identity, self._reservations.find(identity, reservation.id, now)
        except KeyError:
            raise Denied("key_used", reason="the time in which the upload had its use set aside is over") from None

    # Windows

    def _in_window(self, identity: int, use: Use, now: float) -> bool:
        # A key that says no window has none, though another key of the same identity opened one.
        return use.window > 0 and now < self._windows.end(identity, use.source)

    def _open_window(self, identity: int, use: Use, now: float) -> Window | None:
        """Open the window of a use, where it has one."""
        if not use.window or self._used(identity) == SPENT:
            return None
        window = use.source, now + use.window
        self._windows.keep(identity, window)
        return window

    def _close_window(self, identity: int, opened: Window | None) -> None:
        """Close the one that a change opened."""
        if opened is not None:
            self._windows.close(identity, opened)

    # The way back. By the time it is gone others may have changed the entry, or it may be forgotten.

    def _unclaim(self, identity: int, opened: Window | None) -> None:
        self._add_used(identity, -1)
        self._close_window(identity, opened)

    def _unspend(self, identity: int, number: int, lapses: float) -> None:
        if self._reservations.is_committing(number):
            if self._used(identity) == SPENT:
                self._reservations.drop(identity, number)  # it was given back meanwhile
            else:
                self._reservations.put_back(identity, number, lapses)
                self._add_used(identity, -1)

    def _uncommit(self, identity: int, number: int, lapses: float, opened: Window | None) -> None:
        self._close_window(identity, opened)
        if identity in self._entries and self._used(identity) != SPENT:
            self._add_used(identity, -1)
            self._reservations.put_back(identity, number, lapses)

    def _ungive(self, identity: int, before: int, windows: list[Window], lapsing: dict[int, float]) -> None:
        if identity not in self._entries:
            return
        # What was committing counts in `before`, whatever has become of it.
        for number, lapses in lapsing.items():
            self._reservations.put_back(identity, number, lapses)
        self._set(identity, self._end(identity), before)
        for window in windows:
            self._windows.keep(identity, window)

    # Records

    def _record(self, identity: int, window: Window | None = None) -> bytes:
        value = self._entries[identity]
        raw = identity.to_bytes(IDENTITY_BYTES, "big")
        return entry_record(raw, (value >> _USED_BITS) * END_SECONDS, value & SPENT, window)

    def _records(self, identity: int) -> list[bytes]:
        """All of one entry: one record, or one for each open window. None where it was never used."""
        if not self._entries.get(identity, 0) & SPENT:
            return []
        windows: list[Window | None] = [*self._windows.of(identity)]
        return [self._record(identity, window) for window in windows or [None]]


def unavailable(reason: str) -> Denied:
    """Single use cannot be decided now."""
    return Denied("replay_unavailable", retry_after=RETRY_SECONDS, reason=reason)


def _number(use: Use) -> int:
    if len(use.identity) != IDENTITY_BYTES:
        raise ValueError(f"a key's identity has {IDENTITY_BYTES} bytes, not {len(use.identity)}")
    return int.from_bytes(use.identity, "big")


def _end_of(moment: float) -> int:
    return min(math.ceil(moment / END_SECONDS), _END_MAX)
