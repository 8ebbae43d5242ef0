"""Reservations: uses that uploads have set aside, until they are published, given back, or lapse.

Pure and synchronous, as the table that they belong to (`table.py`): whoever asks says what time it is.
"""

import secrets
from typing import Final

from valetstore.replay.promise import LEASE_SECONDS

COMMITTING_SECONDS: Final = 86_400
"""An upload that takes longer than this to be published has died with its worker: its use stays spent, and nothing
else is remembered of it."""

_NUMBER_BITS: Final = 56


class Reservations:
    """The reservations of keys, by the keys' numbers. Each holds until it lapses; one that is committing counts as a
    use already, and lapses after COMMITTING_SECONDS alone.
    """

    def __init__(self) -> None:
        self._lapses: dict[int, dict[int, float]] = {}  # when, by their numbers
        self._committing: set[int] = set()
        # Not from 0: a reservation may outlive the table that made it, and must mean nothing to the next one.
        self._last = secrets.randbits(_NUMBER_BITS)

    def __len__(self) -> int:
        """How many keys have one."""
        return len(self._lapses)

    def begin(self, identity: int, now: float) -> int:
        """A new one's number."""
        self._last += 1
        self.renew(identity, self._last, now)
        return self._last

    def renew(self, identity: int, number: int, now: float) -> None:
        """It holds from here on for LEASE_SECONDS."""
        self.put_back(identity, number, now + LEASE_SECONDS)

    def put_back(self, identity: int, number: int, lapses: float) -> None:
        """It holds until then, again, and does not count as a use."""
        self._lapses.setdefault(identity, {})[number] = lapses
        self._committing.discard(number)

    def commits(self, identity: int, number: int, now: float) -> None:
        """One that holds is committing from here on."""
        self._lapses[identity][number] = now + COMMITTING_SECONDS
        self._committing.add(number)

    def find(self, identity: int, number: int, now: float) -> float | None:
        """When it lapses; None where it is committing. Raises KeyError where it does not hold (any more)."""
        self._purge(identity, now)
        lapses = self._lapses.get(identity, {})[number]
        return None if number in self._committing else lapses

    def is_committing(self, number: int) -> bool:
        """Whether it holds and counts as a use."""
        return number in self._committing

    def holds_any(self, identity: int, now: float) -> bool:
        """Whether the key has one."""
        self._purge(identity, now)
        return identity in self._lapses

    def uncounted(self, identity: int, now: float) -> int:
        """How many uses of the key are set aside and not counted yet."""
        self._purge(identity, now)
        return sum(1 for number in self._lapses.get(identity, ()) if number not in self._committing)

    def drop(self, identity: int, number: int) -> float | None:
        """It is over; when it would have lapsed, as `find`. Raises KeyError where there is none."""
        held = self._lapses.get(identity, {})
        lapses = held.pop(number)
        if not held:
            del self._lapses[identity]
        if number not in self._committing:
            return lapses
        self._committing.remove(number)
        return None

    def withdraw(self, identity: int) -> dict[int, float]:
        """Drop all of a key but those that are committing; which they were, and when they would have lapsed."""
        held = self._lapses.get(identity, {})
        lapsing = {number: lapses for number, lapses in held.items() if number not in self._committing}
        for number in lapsing:
            self.drop(identity, number)
        return lapsing

    def _purge(self, identity: int, now: float) -> None:
        """Drop what has lapsed."""
        for number in [number for number, lapses in self._lapses.get(identity, {}).items() if lapses < now]:
            self.drop(identity, number)
