"""A caller gets what its budget says and no more, however its requests come; a refusal uses nothing up."""

import asyncio
import itertools
import math
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.minting import NOW
from valetstore.config import Budgets as Settings
from valetstore.errors import Denied
from valetstore.grants.grant import OPERATIONS, Budget, Charge, Grant
from valetstore.grants.networks import plain_address
from valetstore.policy.budget import Blocked, BudgetBook, Budgets, BudgetSession, charges_of
from valetstore.policy.rates import SLOTS_MIN

RATES = [Fraction(1, 10), Fraction(1, 2), Fraction(1), Fraction(5, 2), Fraction(3), Fraction(20)]
EIGHTHS = st.integers(0, 80).map(lambda eighths: Fraction(eighths, 8))
BUDGETS = st.one_of(
    st.builds(lambda rate, burst: Budget(float(rate), burst), st.sampled_from(RATES), st.none() | st.integers(1, 6)),
    st.builds(lambda transfers: Budget(transfers=transfers), st.integers(1, 3)),
    st.builds(
        lambda rate, burst, transfers: Budget(float(rate), burst, transfers),
        st.sampled_from(RATES),
        st.integers(1, 6),
        st.integers(1, 3),
    ),
)


def charge(budget: Budget, number: int = 1) -> Charge:
    return Charge(number.to_bytes(16), budget, "key")


def retry(book: BudgetBook | BudgetSession, charges: list[Charge], now: float) -> int:
    """Seconds to wait; 0 where the request enters."""
    refusal = None
    try:
        book.take(charges, now)
    except Denied as denied:
        refusal = denied
    if refusal is None:
        return 0
    wait = refusal.evidence["retry_after"]
    assert (refusal.code, refusal.status) == ("rate_limited", 429)
    assert isinstance(wait, int)
    assert wait >= 1
    return wait


def admitted(book: BudgetBook, one: Charge, tries: int, now: float) -> int:
    return sum(not retry(book, [one], now) for _ in range(tries))


class Model:
    """The same in fractions, without any wit."""

    def __init__(self) -> None:
        self.buckets: dict[bytes, tuple[Fraction, Fraction]] = {}
        self.running: dict[bytes, int] = {}

    def take(self, charges: list[Charge], now: Fraction) -> int:
        """Seconds to wait, 0 where it enters."""
        left, waits = {}, [0]
        for one in charges:
            budget = one.budget
            if budget.rate is not None:
                rate, burst = Fraction(str(budget.rate)), Fraction(budget.at_once)
                tokens, since = self.buckets.get(one.caller, (burst, now))
                left[one.caller] = min(burst, tokens + rate * (now - since))
                if left[one.caller] < 1:
                    waits.append(max(1, math.ceil((1 - left[one.caller]) / rate)))
            if budget.transfers is not None and self.running.get(one.caller, 0) >= budget.transfers:
                waits.append(1)
        if max(waits):
            return max(waits)
        self.buckets |= {caller: (tokens - 1, now) for caller, tokens in left.items()}
        for one in charges:
            if one.budget.transfers is not None:
                self.running[one.caller] = self.running.get(one.caller, 0) + 1
        return 0

    def leave(self, charges: list[Charge]) -> None:
        for one in charges:
            if one.budget.transfers is not None:
                self.running[one.caller] -= 1


@given(
    st.lists(BUDGETS, min_size=1, max_size=4),
    st.lists(st.tuples(EIGHTHS, st.sets(st.integers(0, 3), min_size=1), st.booleans()), max_size=60),
)
@settings(max_examples=300)
def test_it_decides_as_buckets_of_fractions_do(
    budgets: list[Budget], steps: list[tuple[Fraction, set[int], bool]]
) -> None:
    """Each request against some of the callers: all or none, the same refusals, the same seconds to wait."""
    book, model, now = BudgetBook(), Model(), Fraction(NOW)
    running: list[list[Charge]] = []
    for pause, callers, one_ends in steps:
        now += pause
        charges = [charge(budgets[number % len(budgets)], number % len(budgets)) for number in callers]
        charges = list({one.caller: one for one in charges}.values())
        if one_ends and running:
            over = running.pop(0)
            book.leave(over)
            model.leave(over)
        wait = retry(book, charges, float(now))
        assert wait == model.take(charges, now)
        if not wait:
            running.append(charges)
    for caller, count in model.running.items():
        assert book.transfers(caller) == count


@given(
    st.floats(0.01, 1000),
    st.integers(1, 20),
    st.lists(st.floats(0, 5), min_size=1, max_size=80),
)
@settings(max_examples=200)
def test_no_stretch_of_time_has_more_than_the_burst_and_the_rate(rate: float, burst: int, pauses: list[float]) -> None:
    book, one = BudgetBook(), charge(Budget(rate, burst))
    times = [now for now in itertools.accumulate(pauses, initial=float(NOW)) if not retry(book, [one], now)]
    for first, since in enumerate(times):
        for last, until in enumerate(times[first:], first):
            assert last - first + 1 <= burst + rate * (until - since) + 1e-3


@given(st.floats(1e-6, 1e6), st.integers(1, 1000), st.floats(0, 3))
@settings(max_examples=200)
def test_who_waits_as_long_as_told_is_let_in(rate: float, burst: int, pause: float) -> None:
    book, one = BudgetBook(), charge(Budget(rate, burst))
    while not (wait := retry(book, [one], NOW)):
        pass
    if left := retry(book, [one], NOW + pause):
        assert left <= wait
        assert not retry(book, [one], NOW + wait)


@pytest.mark.parametrize(
    ("budget", "at_once"), [(Budget(5.0, 8), 8), (Budget(2.5), 3), (Budget(0.2), 1), (Budget(1000.0, 1), 1)]
)
def test_a_burst_is_let_in_at_once_after_a_pause_and_then_the_rate_holds(budget: Budget, at_once: int) -> None:
    book, one = BudgetBook(), charge(budget)
    assert budget.rate
    assert admitted(book, one, 50, NOW) == at_once
    assert admitted(book, one, 50, NOW + 1 / budget.rate) == 1
    assert admitted(book, one, 50, NOW + 10_000) == at_once


def test_the_fastest_rate_is_kept_to_the_request() -> None:
    book, one = BudgetBook(), charge(Budget(1e6, 10))
    assert admitted(book, one, 100, NOW) == 10
    assert admitted(book, one, 100, NOW + 5e-6) in (4, 5)  # the clock itself counts in quarters of a microsecond


def test_what_is_refused_has_used_nothing_up() -> None:
    wide, narrow, two = charge(Budget(1.0, 5), 1), charge(Budget(0.1, 1), 2), charge(Budget(transfers=2), 3)
    book = BudgetBook()
    assert retry(book, [wide, narrow, two], NOW) == 0
    for _ in range(20):
        assert retry(book, [wide, narrow, two], NOW) == 10
        assert retry(book, [two, narrow, wide], NOW) == 10
    assert book.transfers(two.caller) == 1
    assert admitted(book, wide, 10, NOW) == 4


def test_the_longest_wait_of_all_budgets_is_told_and_whose_it_is() -> None:
    book = BudgetBook()
    charges = [Charge(bytes(16), Budget(1.0), "address"), Charge(b"2" * 16, Budget(0.25), "subject")]
    book.take(charges, NOW)
    with pytest.raises(Denied) as caught:
        book.take(charges, NOW)
    assert caught.value.evidence["retry_after"] == 4
    assert caught.value.evidence["reason"] == "the budget of its subject: 0.25 requests a second, 1 at once"
    assert caught.value.detail == ""


def test_a_smaller_budget_after_a_reload_is_waited_for_no_longer_than_it_takes_to_fill() -> None:
    book = BudgetBook()
    slow, fast = charge(Budget(0.01, 100)), charge(Budget(10.0, 10))
    assert admitted(book, slow, 200, NOW) == 100  # full again in 10,000 s
    assert retry(book, [fast], NOW) == 1
    assert admitted(book, fast, 50, NOW + 0.5) == 5
    assert admitted(book, fast, 50, NOW + 5) == 10


# Transfers


def test_transfers_come_back_and_never_more_than_went() -> None:
    book, one = BudgetBook(), charge(Budget(transfers=2))
    assert [retry(book, [one], NOW) for _ in range(3)] == [0, 0, 1]
    book.leave([one])
    assert [retry(book, [one], NOW) for _ in range(2)] == [0, 1]
    for _ in range(5):
        book.leave([one])
    assert book.transfers(one.caller) == 0
    assert [retry(book, [one], NOW) for _ in range(3)] == [0, 0, 1]


def test_a_caller_without_a_transfer_is_not_held() -> None:
    book, one = BudgetBook(), charge(Budget(transfers=2))
    book.take([one], NOW)
    book.leave([one])
    assert book._transfers == {}


def test_a_rate_alone_counts_no_transfer() -> None:
    book, one = BudgetBook(), charge(Budget(5.0))
    book.take([one], NOW)
    assert book._transfers == {}
    book.leave([one])


def test_sessions_share_the_book_and_one_that_closes_gives_back_what_it_had() -> None:
    book, shared = BudgetBook(), charge(Budget(transfers=5))
    one, other = book.session(), book.session()
    for session, count in ((one, 3), (other, 2)):
        for _ in range(count):
            assert not retry(session, [shared], NOW)
    assert retry(one, [shared], NOW) == retry(other, [shared], NOW) == 1
    one.leave([shared])
    one.close()
    one.close()
    assert book.transfers(shared.caller) == 2
    one.leave([shared])
    assert book.transfers(shared.caller) == 2
    other.close()
    assert book._transfers == {}


def test_a_session_gives_back_no_more_than_it_has() -> None:
    book, shared = BudgetBook(), charge(Budget(transfers=5))
    one, other = book.session(), book.session()
    one.take([shared], NOW)
    for _ in range(3):
        other.leave([shared])
    assert book.transfers(shared.caller) == 1


def test_what_still_comes_of_a_worker_that_is_gone_counts_nothing() -> None:
    book, shared = BudgetBook(), charge(Budget(transfers=5))
    session = book.session()
    session.close()
    with pytest.raises(Denied, match="rate_limited"):
        asyncio.run(session.enter([shared], NOW))
    assert book._transfers == {}


def test_the_book_and_its_sessions_are_what_the_gate_asks_for() -> None:
    book = BudgetBook(Budget(1.0, 1))
    both: list[Budgets] = [book, book.session()]
    for number, budgets in enumerate(both):
        one = charge(Budget(1.0, 1, 1), number)
        asyncio.run(budgets.enter([one], NOW))
        with pytest.raises(Denied, match="rate_limited"):
            asyncio.run(budgets.enter([one], NOW))
        budgets.leave([one])
        address = f"192.0.2.{number}"
        budgets.check(address, NOW)
        budgets.failed(address, NOW)
        with pytest.raises(Denied, match="rate_limited"):
            budgets.check(address, NOW)


# Clocks


def test_requests_that_come_out_of_order_gain_nothing() -> None:
    """Two workers, one of them always 300 ms late."""
    book, one = BudgetBook(), charge(Budget(10.0, 10))
    let_in = sum(admitted(book, one, 20, NOW + step / 100 - (0.3 if step % 2 else 0)) for step in range(1000))
    assert let_in <= 10 + 10 * 10 + 1


@pytest.mark.parametrize("back", [0.5, 5, 59, 61, 3600, 10**8])
def test_a_clock_that_is_set_back_gives_no_second_burst_and_locks_nobody_out(back: float) -> None:
    book, one = BudgetBook(), charge(Budget(2.0, 4))
    assert admitted(book, one, 10, NOW) == 4
    then = NOW - back
    assert admitted(book, one, 10, then) == 0
    let_in = sum(admitted(book, one, 10, then + step / 10) for step in range(1, 101))
    # Ten seconds at 2 a second, of which it may stand still for two.
    assert 16 <= let_in <= 21


def test_a_clock_that_is_set_back_again_and_again_gives_no_more_than_the_rate() -> None:
    book, one = BudgetBook(), charge(Budget(1.0, 3))
    let_in, now = 0, float(NOW)
    for step in range(1000):
        now += -100 if step % 10 == 9 else 0.1
        let_in += admitted(book, one, 5, now)
    assert let_in <= 3 + 100


# Failed verifications


def test_an_address_is_blocked_once_its_failures_are_used_up_and_no_other_is() -> None:
    book = BudgetBook(Budget(0.5, 3))
    assert [book.failed("192.0.2.1", NOW) for _ in range(2)] == [0.0, 0.0]
    book.check("192.0.2.1", NOW)
    until = book.failed("192.0.2.1", NOW)
    assert until == pytest.approx(NOW + 2, abs=1e-3)
    assert book.failed("192.0.2.1", NOW) == until  # one more that was on its way
    with pytest.raises(Denied, match="rate_limited") as caught:
        book.check("192.0.2.1", NOW)
    assert caught.value.evidence["retry_after"] == 2
    book.check("192.0.2.2", NOW)
    book.check("", NOW)
    with pytest.raises(Denied, match="rate_limited"):
        book.check("192.0.2.1", NOW + 1.9)
    book.check("192.0.2.1", NOW + 2)
    assert book.failed("192.0.2.1", NOW + 2)


def test_without_a_limit_or_an_address_failures_are_not_counted() -> None:
    unlimited, limited = BudgetBook(None), BudgetBook(Budget(1.0, 1))
    for _ in range(5):
        assert unlimited.failed("192.0.2.1", NOW) == limited.failed("", NOW) == 0.0
    unlimited.check("192.0.2.1", NOW)
    limited.check("", NOW)


def test_failures_and_requests_of_one_address_are_counted_apart() -> None:
    settings = Settings(address_requests_per_second=1.0)
    book = BudgetBook(Budget(1.0, 1))
    address = plain_address("192.0.2.1")
    assert book.failed(str(address), NOW)
    book.take(charges_of(grant(), address, settings), NOW)


def test_a_worker_hears_who_is_blocked_and_forgets_when_it_is_over() -> None:
    blocked = Blocked()
    blocked.add("192.0.2.1", NOW + 2.5, NOW)
    blocked.check("192.0.2.2", NOW)
    with pytest.raises(Denied, match="rate_limited") as caught:
        blocked.check("192.0.2.1", NOW)
    assert caught.value.evidence["retry_after"] == 3
    blocked.check("192.0.2.1", NOW + 2.5)
    assert len(blocked) == 0


def test_a_block_can_be_taken_back_and_does_not_outlast_a_clock_that_is_set_back() -> None:
    blocked = Blocked()
    blocked.add("192.0.2.1", NOW + 5, NOW)
    blocked.add("192.0.2.1", 0.0, NOW)
    blocked.check("192.0.2.1", NOW)
    blocked.add("192.0.2.1", NOW + 5, NOW)
    with pytest.raises(Denied):
        blocked.check("192.0.2.1", NOW - 1)
    blocked.check("192.0.2.1", NOW - 3600)


def test_what_a_worker_knows_of_blocks_is_bounded() -> None:
    blocked = Blocked(100)
    for number in range(1000):
        blocked.add(f"192.0.2.{number}", NOW + 5 + number, NOW)
        assert len(blocked) <= 100
    with pytest.raises(Denied):
        blocked.check("192.0.2.999", NOW)
    blocked.add("198.51.100.1", NOW + 5000, NOW + 4000)
    assert len(blocked) == 1


# Who is counted


def grant(**more: Any) -> Grant:
    made = Grant(
        scheme="native", signing_key="web", identity=bytes(16), operations=OPERATIONS, scopes=(), not_after=NOW
    )
    return msgspec.structs.replace(made, **more)


PEER = plain_address("192.0.2.1")
ALL = Settings(address_requests_per_second=5, subject_transfers_max=3)


def test_a_request_without_budgets_has_no_charges() -> None:
    assert charges_of(grant(subject="ann"), PEER, Settings()) == ()


def test_each_budget_is_a_charge_of_its_own() -> None:
    own, shared = Budget(1.0), Budget(transfers=7)
    charges = charges_of(grant(subject="ann", budget=own, shared_budget=shared), PEER, ALL)
    assert [(one.whose, one.budget) for one in charges] == [
        ("key", own),
        ("signing key", shared),
        ("subject", Budget(transfers=3)),
        ("address", Budget(5.0)),
    ]
    assert len({one.caller for one in charges}) == 4
    assert {len(one.caller) for one in charges} == {16}


def test_without_a_subject_or_an_address_neither_is_counted() -> None:
    assert charges_of(grant(), None, ALL) == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (grant(budget=Budget(1.0)), grant(budget=Budget(1.0), identity=b"1" * 16), False),
        (grant(budget=Budget(1.0)), grant(budget=Budget(1.0), subject="ann"), True),
        (grant(shared_budget=Budget(1.0)), grant(shared_budget=Budget(1.0), identity=b"1" * 16), True),
        (grant(shared_budget=Budget(1.0)), grant(shared_budget=Budget(1.0), signing_key="app"), False),
        (grant(subject="ann"), grant(subject="ann", identity=b"1" * 16), True),
        (grant(subject="ann"), grant(subject="bob"), False),
        (grant(subject="ann"), grant(subject="ann", signing_key="app"), False),
        (grant(subject="bc", signing_key="a"), grant(subject="c", signing_key="ab"), False),
    ],
)
def test_who_shares_a_budget_with_whom(one: Grant, other: Grant, same: bool) -> None:
    callers = [charges_of(each, None, ALL)[0].caller for each in (one, other)]
    assert (callers[0] == callers[1]) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ],
)
def test_an_ipv6_customer_is_one_address(one: str, other: str, same: bool) -> None:
    callers = [charges_of(grant(), plain_address(text), ALL)[0].caller for text in (one, other)]
    assert (callers[0] == callers[1]) == same


def test_charges_travel_between_processes() -> None:
    charges = charges_of(grant(subject="ann", budget=Budget(0.5, 3, 2)), PEER, ALL)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(charges), type=tuple[Charge, ...]) == charges


def test_a_crowd_of_strangers_cannot_free_who_used_a_budget_up() -> None:
    """As many as there are slots, again and again; the one with the most to lose stays."""
    book, busy = BudgetBook(slots_max=SLOTS_MIN), charge(Budget(0.1, 100))
    assert admitted(book, busy, 200, NOW) == 100
    for number in range(10 * SLOTS_MIN):
        book.take([charge(Budget(0.1, 100), 1000 + number)], NOW)
    assert book.rates.overwritten
    assert retry(book, [busy], NOW) == 10
