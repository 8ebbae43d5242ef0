"""A model of a replay set, simple enough to be seen right, and the machine that compares a set with it."""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from tests.minting import NOW
from valetstore.errors import Denied
from valetstore.grants.grant import Use
from valetstore.replay.promise import LEASE_SECONDS, CountedReplaySet, Reservation

LIFE = 100_000
"""Longer than any story the machine tells: expiry has tests of its own."""

KEYS = {"once": (1, 0), "thrice": (3, 0), "watched": (1, 25), "often": (2, 40), "extra": (1, 0)}
"""Uses and window by key. There is one more than the set has room for."""


@dataclass
class Known:
    """What is known of one key."""

    allowed: int
    window: int
    spent: int = 0
    held: dict[int, float | None] = field(default_factory=dict)
    windows: dict[str, float] = field(default_factory=dict)
    given_back: bool = False

    def left(self, now: float) -> int:
        """Uses that can still be had."""
        self.held = {number: until for number, until in self.held.items() if until is None or until >= now}
        return 0 if self.given_back else self.allowed - self.spent - len(self.held)

    def spend(self, source: str, now: float) -> None:
        """One use is gone for good."""
        self.spent += 1
        if self.window and not self.given_back:
            self.windows[source] = now + self.window


class ReplayMachine(RuleBasedStateMachine):
    """Drives a set with room for three keys."""

    reservations: Bundle[tuple[str, int, Reservation]] = Bundle("reservations")
    names = st.sampled_from(list(KEYS))
    sources = st.sampled_from(["192.0.2.1", "192.0.2.2"])

    def __init__(self, opened: AbstractAsyncContextManager[CountedReplaySet]) -> None:
        super().__init__()
        self.opened = opened
        self.runner = asyncio.Runner()
        self.replay = self.runner.run(opened.__aenter__())
        self.now = float(NOW)
        self.number = 0
        self.known: dict[str, Known] = {}

    def teardown(self) -> None:
        self.runner.run(self.opened.__aexit__(None, None, None))
        self.runner.close()

    def outcome(self, call: Coroutine[Any, Any, Any]) -> Any:
        """What a call gave, or its refusal's code."""
        try:
            return self.runner.run(call)
        except Denied as denied:
            return denied.code

    def use(self, name: str, source: str) -> Use:
        allowed, window = KEYS[name]
        return Use(name.encode().ljust(16), allowed, window, source, NOW + LIFE)

    def is_repetition(self, name: str, source: str) -> bool:
        return name in self.known and self.now < self.known[name].windows.get(source, 0)

    def expected(self, name: str, source: str) -> str | None:
        """How a new use must be refused; None where it must not."""
        if name not in self.known and len(self.known) == 3:
            return "replay_unavailable"
        known = self.known.setdefault(name, Known(*KEYS[name]))
        return None if self.is_repetition(name, source) or known.left(self.now) > 0 else "key_used"

    @rule(seconds=st.sampled_from([0, 0.5, 5, 10, LEASE_SECONDS - 1, LEASE_SECONDS, LEASE_SECONDS + 1, 300]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([1, 10]))
    def the_clock_is_set_back_a_little(self, seconds: float) -> None:
        before, self.now = self.now, self.now - seconds
        self.look("once", "192.0.2.1")
        self.now = before

    @rule(name=names, source=sources)
    def look(self, name: str, source: str) -> None:
        known = self.known.get(name)
        spent = known is not None and not self.is_repetition(name, source) and known.left(self.now) <= 0
        assert self.outcome(self.replay.look(self.use(name, source), self.now)) == ("key_used" if spent else None)

    @rule(name=names, source=sources)
    def claim(self, name: str, source: str) -> None:
        expected = self.expected(name, source)
        assert self.outcome(self.replay.claim(self.use(name, source), self.now)) == expected
        if expected is None and not self.is_repetition(name, source):
            self.known[name].spend(source, self.now)

    @rule(target=reservations, name=names, source=sources)
    def reserve(self, name: str, source: str) -> Any:
        expected = self.expected(name, source)
        given = self.outcome(self.replay.reserve(self.use(name, source), self.now))
        if expected is not None:
            assert given == expected
            return multiple()
        assert isinstance(given, Reservation)
        assert given.free == self.is_repetition(name, source)
        self.number += 1
        if not given.free:
            self.known[name].held[self.number] = self.now + LEASE_SECONDS
        return (name, self.number, given)

    def hold(self, name: str, number: int) -> str | None:
        """A reservation is needed again: what has lapsed is gone."""
        known = self.known[name]
        known.left(self.now)
        return None if number in known.held else "key_used"

    @rule(reservation=reservations)
    def renew(self, reservation: tuple[str, int, Reservation]) -> None:
        name, number, _ = reservation
        committing = self.known[name].held.get(number, 0.0) is None
        self.step(reservation, self.replay.renew, None if committing else self.now + LEASE_SECONDS)

    @rule(reservation=reservations)
    def committing(self, reservation: tuple[str, int, Reservation]) -> None:
        self.step(reservation, self.replay.committing, None)

    def step(self, reservation: tuple[str, int, Reservation], call: Any, until: float | None) -> None:
        name, number, given = reservation
        expected = None if given.free else self.hold(name, number)
        assert self.outcome(call(given, self.now)) == expected
        if expected is None and not given.free:
            self.known[name].held[number] = until

    @rule(reservation=reservations)
    def commit(self, reservation: tuple[str, int, Reservation]) -> None:
        name, number, given = reservation
        expected = None if given.free else self.hold(name, number)
        assert self.outcome(self.replay.commit(given, self.now)) == expected
        if expected is None and not given.free:
            del self.known[name].held[number]
            self.known[name].spend(given.use.source, self.now)

    @rule(reservation=reservations)
    def release(self, reservation: tuple[str, int, Reservation]) -> None:
        name, number, given = reservation
        assert self.outcome(self.replay.release(given)) is None
        self.known[name].held.pop(number, None)

    @rule(name=names, source=sources)
    def spend(self, name: str, source: str) -> None:
        full = name not in self.known and len(self.known) == 3
        expected = "replay_unavailable" if full else None
        assert self.outcome(self.replay.spend(self.use(name, source), self.now)) == expected
        if not full:
            known = self.known.setdefault(name, Known(*KEYS[name]))
            known.given_back = True
            known.windows.clear()
            known.held = {number: until for number, until in known.held.items() if until is None}

    @invariant()
    def no_key_is_used_more_often_than_it_allows(self) -> None:
        assert all(known.spent <= known.allowed for known in self.known.values())

    @invariant()
    def every_key_is_remembered(self) -> None:
        assert self.replay.entries() == len(self.known)
