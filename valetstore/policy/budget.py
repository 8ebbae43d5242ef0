"""Budgets: requests a second and transfers at once, by key, signing key, subject and address.

Rule 1: a request enters against all of its budgets or none: what is refused has used nothing up.
Rule 2: a bucket knows no settings. Each charge brings the budget that holds now, so a reload needs no word here; a
caller whose budget became smaller waits no longer than the new bucket takes to fill.
Rule 3: everything happens between two awaits of one event loop, the owner's; nothing here reads a clock.

Nothing is kept across a restart: buckets begin full, and no transfer outlives its process.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol

from valetstore.config import Budgets as Settings
from valetstore.errors import Denied
from valetstore.grants.grant import Budget, Charge, Grant
from valetstore.grants.networks import address_group
from valetstore.inbound import Address
from valetstore.policy.rates import SLOTS_MAX, RateTable

TRANSFERS_RETRY_SECONDS: Final = 1
"""When a transfer will end nobody knows: a client may soon ask again."""

LATE_SECONDS: Final = 60
"""Nobody asks this long after a request arrived: what is older comes from a clock that was set back."""
BEHIND_SECONDS: Final = 2
"""Requests that arrive out of order are not: they lag now and then, a clock that was set back lags steadily."""

_EXACT_SECONDS: Final = 1e-7
_EXACT_SHARE: Final = 1e-6
"""What a bucket forgives for rounding's sake, in seconds and in shares of one request."""


class Budgets(Protocol):
    """What the gate needs, of whoever keeps the count."""

    async def enter(self, charges: Sequence[Charge], now: float) -> None:
        """Count a request, and the transfer it is until `leave`, against each charge; no caller comes twice.

        Raises `rate_limited` with `retry_after` (whole seconds, 1 or more), and then nothing is counted.
        """

    def leave(self, charges: Sequence[Charge]) -> None:
        """The request that entered with these charges is over. Never waits, never raises."""

    def failed(self, address: str, now: float) -> float | None:
        """A verification failed there (`networks.address_group`). Never waits, never raises."""

    def check(self, address: str, now: float) -> None:
        """Raises `rate_limited` where too many verifications have failed. Never waits."""


def charges_of(grant: Grant, peer: Address | None, settings: Settings) -> tuple[Charge, ...]:
    """The budgets a request counts against; none for most. Who has no address or no subject has no budget as such."""
    if grant.budget is None and grant.shared_budget is None and not settings.any:
        return ()
    charges = []
    if grant.budget is not None:
        charges.append(Charge(_caller(b"key", grant.identity), grant.budget, "key"))
    if grant.shared_budget is not None:
        charges.append(Charge(_caller(b"signing-key", grant.signing_key.encode()), grant.shared_budget, "signing key"))
    if settings.subject is not None and grant.subject:
        # Signing keys know nothing of each other's subjects. No name of one holds a zero byte.
        both = grant.signing_key.encode() + b"\0" + grant.subject.encode()
        charges.append(Charge(_caller(b"subject", both), settings.subject, "subject"))
    if settings.address is not None and peer is not None:
        charges.append(Charge(_address_caller(peer), settings.address, "address"))
    return tuple(charges)


class BudgetBook:
    """The one count, in memory. `failures` is how many failed verifications an address has (None for any number);
    set it anew on a reload.

    RateTable says how many callers are told apart. Transfers are counted for callers that have one running alone.
    """

    def __init__(self, failures: Budget | None = None, slots_max: int = SLOTS_MAX) -> None:
        self.failures = failures
        self.rates = RateTable(slots_max)
        self._transfers: dict[bytes, int] = {}
        self._clock = _Clock()
        self._blocking_until = 0.0

    async def enter(self, charges: Sequence[Charge], now: float) -> None:
        """See Budgets."""
        self.take(charges, now)

    def take(self, charges: Sequence[Charge], now: float) -> None:
        """`enter` for the owner itself: it waits for nothing."""
        moment = self._clock.at(now)
        longest, refusing = 0.0, None
        taken = []
        for charge in charges:
            full_at, wait = self._judge(charge, moment)
            taken.append(full_at)
            if wait > longest:
                longest, refusing = wait, charge
        if refusing is not None:
            raise _refusal(longest, reason=f"the budget of its {refusing.whose or 'caller'}: {refusing.budget}")
        for charge, full_at in zip(charges, taken, strict=True):
            if charge.budget.rate is not None:
                self.rates.put(charge.caller, full_at, moment)
            if charge.budget.transfers is not None:
                self._transfers[charge.caller] = self._transfers.get(charge.caller, 0) + 1

    def leave(self, charges: Sequence[Charge]) -> None:
        """See Budgets."""
        for charge in charges:
            if charge.budget.transfers is not None:
                self.give_back(charge.caller, 1)

    def failed(self, address: str, now: float) -> float:
        """See Budgets. Until when the address is blocked, on the clock of `now`; 0.0 where it is not."""
        if self.failures is None or not address:
            return 0.0
        moment, caller = self._clock.at(now), _caller(b"failures", address.encode())
        full_at, wait = self._drop(caller, self.failures, moment)
        if not wait:
            self.rates.put(caller, full_at, moment)
            _, wait = self._drop(caller, self.failures, moment)
        if not wait:
            return 0.0
        self._blocking_until = max(self._blocking_until, moment + wait)
        return now + wait

    def check(self, address: str, now: float) -> None:
        """See Budgets."""
        moment = self._clock.at(now)
        # As long as nobody is blocked, it is not this one.
        if moment >= self._blocking_until or self.failures is None or not address:
            return
        _, wait = self._drop(_caller(b"failures", address.encode()), self.failures, moment)
        if wait:
            raise _failures_refusal(wait)

    def session(self) -> "BudgetSession":
        """The book for one worker, whose transfers come back when it is gone."""
        return BudgetSession(self)

    def transfers(self, caller: bytes) -> int:
        """How many a caller has running."""
        return self._transfers.get(caller, 0)

    def give_back(self, caller: bytes, count: int) -> None:
        """So many transfers of a caller are over. Never below none."""
        left = self._transfers.get(caller, 0) - count
        if left > 0:
            self._transfers[caller] = left
        else:
            self._transfers.pop(caller, None)

    def _judge(self, charge: Charge, moment: float) -> tuple[float, float]:
        """When the caller's bucket is full if the request enters, and how long it has to wait for that (0.0: not)."""
        budget = charge.budget
        full_at, wait = (0.0, 0.0) if budget.rate is None else self._drop(charge.caller, budget, moment)
        if budget.transfers is not None and self._transfers.get(charge.caller, 0) >= budget.transfers:
            wait = max(wait, TRANSFERS_RETRY_SECONDS)
        return full_at, wait

    def _drop(self, caller: bytes, budget: Budget, moment: float) -> tuple[float, float]:
        """The same for a bucket alone: when it is full once one request is taken from it, and the wait for that."""
        assert budget.rate is not None
        interval = 1 / budget.rate
        span = budget.at_once * interval
        full_at = max(self.rates.get(caller), moment)
        if full_at > moment + span:
            # Taken from a larger bucket, before the budget was changed: this one is empty, no more.
            full_at = moment + span
            self.rates.put(caller, full_at, moment)
        rounding = _EXACT_SECONDS + _EXACT_SHARE * interval
        return full_at + interval, max(0.0, full_at + interval - span - moment - rounding)


class BudgetSession:
    """One worker's share of a book: it counts in the book, and remembers what the worker has running."""

    def __init__(self, book: BudgetBook) -> None:
        self._book = book
        self._running: dict[bytes, int] = {}
        self._closed = False

    async def enter(self, charges: Sequence[Charge], now: float) -> None:
        """See Budgets."""
        self.take(charges, now)

    def take(self, charges: Sequence[Charge], now: float) -> None:
        """See BudgetBook. What still comes of a worker that is gone is refused: nobody would give it back."""
        if self._closed:
            raise _refusal(TRANSFERS_RETRY_SECONDS, reason="its worker is gone")
        self._book.take(charges, now)
        for charge in charges:
            if charge.budget.transfers is not None:
                self._running[charge.caller] = self._running.get(charge.caller, 0) + 1

    def leave(self, charges: Sequence[Charge]) -> None:
        """See Budgets. A worker gives back no more than it has."""
        for charge in charges:
            running = self._running.get(charge.caller, 0)
            if running and charge.budget.transfers is not None:
                self._book.give_back(charge.caller, 1)
                if running > 1:
                    self._running[charge.caller] = running - 1
                else:
                    del self._running[charge.caller]

    def failed(self, address: str, now: float) -> float:
        """See BudgetBook."""
        return self._book.failed(address, now)

    def check(self, address: str, now: float) -> None:
        """See Budgets."""
        self._book.check(address, now)

    def close(self) -> None:
        """The worker is gone, and with it all it had running. May be called again."""
        self._closed = True
        for caller, count in self._running.items():
            self._book.give_back(caller, count)
        self._running.clear()


class Blocked:
    """What a worker knows of the owner's `failed`: addresses, and until when each is blocked.

    Up to `addresses_max`; the one that was blocked longest ago makes room, as it is the first to end. What has ended
    is forgotten as others are added or it is asked for.
    """

    def __init__(self, addresses_max: int = 10_000) -> None:
        self._addresses_max = addresses_max
        self._blocked: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._blocked)

    def add(self, address: str, until: float, now: float) -> None:
        """The owner says so; an `until` that has passed takes the block back."""
        self._blocked.pop(address, None)
        if until > now:
            self._blocked[address] = now, until
        while self._blocked:
            oldest = next(iter(self._blocked))
            if len(self._blocked) <= self._addresses_max and self._holds(oldest, now):
                return
            del self._blocked[oldest]

    def check(self, address: str, now: float) -> None:
        """See Budgets: raises `rate_limited`."""
        if address not in self._blocked:
            return
        if not self._holds(address, now):
            del self._blocked[address]
            return
        raise _failures_refusal(self._blocked[address][1] - now)

    def _holds(self, address: str, now: float) -> bool:
        """A clock that was set back ends it too: nobody is blocked until then."""
        since, until = self._blocked[address]
        return since - LATE_SECONDS <= now < until


class _Clock:
    """Seconds since the first request, from the moments that requests bring; it never goes back.

    Requests of several processes come a little out of order: the latest counts. Where the system's clock was set
    back, this one stands still until that is certain (BEHIND_SECONDS at most) and then goes on from where it stood.
    """

    def __init__(self) -> None:
        self._latest = 1.0  # above 0, which stands for a bucket never touched
        self._offset: float | None = None
        self._behind_since: float | None = None

    def at(self, now: float) -> float:
        """This clock's moment for a request's."""
        if self._offset is None:
            self._offset = self._latest - now
        moment = now + self._offset
        if moment >= self._latest:
            self._latest, self._behind_since = moment, None
            return moment
        if self._behind_since is None or moment < self._behind_since:
            self._behind_since = moment
        passed = moment - self._behind_since
        if passed >= BEHIND_SECONDS or self._latest - moment > LATE_SECONDS:
            self._latest += passed
            self._offset, self._behind_since = self._latest - now, None
        return self._latest


def _refusal(wait: float, reason: str) -> Denied:
    return Denied("rate_limited", retry_after=max(1, math.ceil(wait)), reason=reason)


def _failures_refusal(wait: float) -> Denied:
    return _refusal(wait, reason="too many keys from this address did not hold")


def _caller(kind: bytes, name: bytes) -> bytes:
    """16 bytes that stand for one of a kind: `kind` is at most 16 bytes, and part of the hash."""
    return blake2b(name, digest_size=16, person=kind).digest()


@lru_cache(maxsize=1024)
def _address_caller(address: Address) -> bytes:
    return _caller(b"address", address_group(address).encode())
