"""Budgets over four workers: one count, whichever worker is asked, and whatever becomes of one."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any, Final

import pytest

from tests.edge.conftest import inspect
from tests.edge.wire import Wire, head, wait_until
from tests.gate import Answer, Gate
from tests.single.crowd import Keys, at_once, request, succeeded

WORKERS: Final = 4
LARGE: Final = 24 * 2**20
"""More than all the buffers between a gateway and a client that does not read."""

CONFIG: Final = """
[listen]
trusted-proxies = ['127.0.0.1']
[budgets]
address-requests-per-second = 0.25
address-burst = 6
address-transfers-max = 3
subject-requests-per-second = 0.25
subject-burst = 5
subject-transfers-max = 2
address-failures-per-second = 0.25
address-failures-burst = 5
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Every budget that settings and profiles can set; tests come from addresses of their own."""
    gate = Gate(tmp_path_factory.mktemp("gate"), CONFIG, ("--workers", str(WORKERS)))
    gate.cli("keys", "create", "default")
    gate.cli("keys", "create", "slow", "--budget", "rate=0.25,burst=4")
    with gate:
        keys = Keys(gate)
        for path, body in (("/b/small", b"small"), ("/b/large", b"l" * LARGE)):
            assert gate.ask("PUT", keys("PUT", path), body, {"X-Forwarded-For": next(ADDRESSES)}).status == 201
        yield gate
        inspect(gate)


@pytest.fixture(scope="module")
def keys(gate: Gate) -> Keys:
    """Keys of a signing key without a budget."""
    return Keys(gate)


ADDRESSES: Final = (
    f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in count(os.getpid() << 8 & 0xFFFFFF)
)


def get(target: str, address: str | None = None) -> bytes:
    """A request from that address, or from one of its own."""
    return request("GET", target, None, f"X-Forwarded-For: {address or next(ADDRESSES)}")


def ask(gate: Gate, data: bytes) -> Answer:
    """One of them."""
    (answer,) = at_once(gate.address, [data])
    return answer


def limited(answers: Sequence[Answer]) -> int:
    """How many were told to come again, and when; nothing else may be refused."""
    refused = [answer for answer in answers if answer.status >= 300]
    assert {(answer.status, answer.code) for answer in refused} <= {(429, "rate_limited")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    return len(refused)


# --- requests a second ---------------------------------------------------------------------------------


def rate_holds(gate: Gate, requests: Sequence[bytes], burst: int) -> None:
    """Of a crowd as many are let in as may come at once, and one more when a refused one was told to come."""
    began = time.monotonic()
    answers = at_once(gate.address, requests)
    more = int((time.monotonic() - began) / 4) + 1  # a quarter a second
    assert burst <= succeeded(answers) < burst + more + 1
    assert limited(answers) == len(answers) - succeeded(answers)
    last = ask(gate, requests[-1])
    if last.status == 429:
        assert int(last.headers["retry-after"]) <= 4
        time.sleep(int(last.headers["retry-after"]))
        assert ask(gate, requests[-1]).status == 200


def test_a_key_has_its_own_rate(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/b/small", budget={"rate": 0.25, "burst": 7})
    other = keys("GET", "/b/small", budget={"rate": 0.25, "burst": 7})
    rate_holds(gate, [get(target) for _ in range(60)], 7)
    assert ask(gate, get(other)).status == 200


def test_all_keys_of_a_signing_key_share_its_rate(gate: Gate) -> None:
    slow = Keys(gate, "slow")
    rate_holds(gate, [get(slow("GET", "/b/small")) for _ in range(40)], 4)


def in_turn_holds(gate: Gate, requests: Sequence[bytes], burst: int) -> None:
    """The same for requests one after the other: these budgets also limit how many run at once."""
    began = time.monotonic()
    answers = [ask(gate, data) for data in requests]
    assert burst <= succeeded(answers) <= burst + (time.monotonic() - began) / 4 + 1
    assert limited(answers)


def test_a_subject_has_a_rate_and_another_has_its_own(gate: Gate, keys: Keys) -> None:
    in_turn_holds(gate, [get(keys("GET", "/b/small", subject="alice")) for _ in range(16)], 5)
    assert ask(gate, get(keys("GET", "/b/small", subject="bob"))).status == 200
    assert ask(gate, get(keys("GET", "/b/small"))).status == 200


def test_an_address_has_a_rate_and_another_has_its_own(gate: Gate, keys: Keys) -> None:
    address = next(ADDRESSES)
    in_turn_holds(gate, [get(keys("GET", "/b/small"), address) for _ in range(16)], 6)
    assert ask(gate, get(keys("GET", "/b/small"))).status == 200


def test_what_is_refused_for_a_budget_uses_no_key_up(gate: Gate, keys: Keys) -> None:
    address = next(ADDRESSES)
    for _ in range(7):
        ask(gate, get(keys("GET", "/b/small"), address))
    target = keys("GET", "/b/small", uses=1)
    assert limited([ask(gate, get(target, address))]) == 1
    assert ask(gate, get(target)).status == 200
    assert ask(gate, get(target)).code == "key_used"


# --- transfers at once ---------------------------------------------------------------------------------


def held(gate: Gate, target: str, address: str | None = None) -> tuple[Wire, int]:
    """A download whose client does not read on, and its status. Raises `OSError` where the connection is lost."""
    wire = Wire(gate.address, receive_bytes=4096)
    try:
        wire.send(get(target, address))
        begin = wire.sock.recv(12, socket.MSG_WAITALL)
        if len(begin) < 12:
            raise ConnectionResetError("ended before a status")
    except OSError:
        wire.sock.close()
        raise
    return wire, int(begin[9:12])


def transfers_hold(gate: Gate, targets: Iterator[str], most: int, address: str | None = None) -> None:
    """So many at once, over all workers; one that ends makes room for one."""
    with ExitStack() as stack:
        wires: list[Wire] = []
        for _ in range(most):
            wire, status = held(gate, next(targets), address)
            wires.append(stack.enter_context(wire))
            assert status == 200
        for _ in range(2 * WORKERS):
            assert limited([ask(gate, get(next(targets), address))]) == 1
        wires[0].reset()
        wait_until(lambda: _fits(gate, next(targets), address, stack), 10)
        assert limited([ask(gate, get(next(targets), address))]) == 1


def _fits(gate: Gate, target: str, address: str | None, stack: ExitStack) -> bool:
    wire, status = held(gate, target, address)
    stack.enter_context(wire)
    assert status in {200, 429}
    return status == 200


def fresh(keys: Keys, **terms: Any) -> Iterator[str]:
    """Keys, each another."""
    while True:
        yield keys("GET", "/b/large", **terms)


def test_transfers_of_one_key_are_counted_over_all_workers(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/b/large", budget={"transfers": 5})
    transfers_hold(gate, iter(lambda: target, ""), 5)


def test_transfers_of_a_subject_are_counted_over_all_workers(gate: Gate, keys: Keys) -> None:
    """Its rate has room for these few, where the count of transfers has not."""
    with ExitStack() as stack:
        for _ in range(2):
            wire, status = held(gate, keys("GET", "/b/large", subject="carol"))
            stack.enter_context(wire)
            assert status == 200
        assert limited([ask(gate, get(keys("GET", "/b/small", subject="carol"))) for _ in range(4)]) == 4
        assert ask(gate, get(keys("GET", "/b/small", subject="dave"))).status == 200


def test_transfers_of_an_address_are_counted_over_all_workers(gate: Gate, keys: Keys) -> None:
    address = next(ADDRESSES)
    with ExitStack() as stack:
        for _ in range(3):
            wire, status = held(gate, keys("GET", "/b/large"), address)
            stack.enter_context(wire)
            assert status == 200
        answers = [ask(gate, get(keys("GET", "/b/small"), address)) for _ in range(2 * WORKERS)]
        assert limited(answers) == len(answers)
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert ask(gate, get(keys("GET", "/b/small"))).status == 200


def test_uploads_are_transfers_too(gate: Gate, keys: Keys) -> None:
    target = keys("PUT", "/b/up", budget={"transfers": 1})
    with Wire(gate.address) as wire:
        lines = ("Content-Length: 4", "Expect: 100-continue", f"X-Forwarded-For: {next(ADDRESSES)}")
        wire.send(head("PUT", target, *lines))
        assert wire.answer().status == 100
        put = request("PUT", target, b"more", f"X-Forwarded-For: {next(ADDRESSES)}")
        assert limited([ask(gate, put) for _ in range(4)]) == 4
        wire.send(b"done")
        assert wire.answer().status == 201
    wait_until(lambda: ask(gate, put).status == 200, 5)


def test_every_refusal_gives_its_transfer_back(gate: Gate, keys: Keys) -> None:
    used = keys("GET", "/b/small", uses=1, budget={"transfers": 1})
    missing = keys("GET", "/b/nothing", budget={"transfers": 1})
    assert ask(gate, get(used)).status == 200
    for _ in range(2 * WORKERS):
        wait_until(lambda: ask(gate, get(used)).code == "key_used", 5)
        wait_until(lambda: ask(gate, get(missing)).code == "not_found", 5)


def test_transfers_of_workers_that_are_killed_return(gate: Gate, keys: Keys) -> None:
    target = keys("GET", "/b/large", budget={"transfers": 3})
    with ExitStack() as stack:
        for _ in range(3):
            wire, status = held(gate, target)
            stack.enter_context(wire)
            assert status == 200
        assert limited([ask(gate, get(target))]) == 1
        killed = set(gate.workers())
        for worker in killed:
            os.kill(worker, signal.SIGKILL)

        def fits_again() -> bool:
            try:
                return _fits(gate, target, None, stack)
            except OSError:  # a worker accepted it and died
                return False

        wait_until(fits_again, 15)
    wait_until(lambda: len(gate.workers()) == WORKERS and killed.isdisjoint(gate.workers()), 15)
    transfers_hold(gate, iter(lambda: target, ""), 3)


# --- failed verifications ------------------------------------------------------------------------------


def test_failed_verifications_of_an_address_are_limited_in_every_worker(gate: Gate, keys: Keys) -> None:
    address = next(ADDRESSES)
    good = keys("GET", "/b/small")
    bad = [get(f"{good[:-10]}{n:09}{good[-1]}", address) for n in range(40)]
    answers = at_once(gate.address, bad)
    codes = [answer.code for answer in answers]
    assert set(codes) <= {"signature_mismatch", "rate_limited"}
    # Workers learn of it a moment later: a few more may be told that the signature does not hold, or be let in.
    assert codes.count("signature_mismatch") >= 5
    blocked: list[Answer] = []

    def is_blocked() -> bool:
        blocked[:] = (ask(gate, get(good, address)) for _ in range(3 * WORKERS))
        return limited(blocked) == len(blocked)

    wait_until(is_blocked, 3)
    assert ask(gate, get(good)).status == 200
    assert ask(gate, request("GET", "/b/small", None, f"X-Forwarded-For: {address}")).code == "key_missing"
    time.sleep(max(int(answer.headers["retry-after"]) for answer in blocked))
    assert ask(gate, get(good, address)).status == 200
    assert ask(gate, bad[0]).code == "signature_mismatch"
    wait_until(lambda: ask(gate, get(good, address)).code == "rate_limited", 3)


def test_keys_that_are_expired_or_revoked_do_not_count_as_failures(gate: Gate, keys: Keys) -> None:
    """Their signature holds: whoever sends them had a key."""
    address = next(ADDRESSES)
    old = keys("GET", "/b/small", start=time.time() - 1000, expires=10)
    assert {ask(gate, get(old, address)).code for _ in range(12)} == {"key_expired"}
    assert ask(gate, get(keys("GET", "/b/small"), address)).status == 200
