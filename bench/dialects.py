"""Verification alone: what judging one key of each dialect costs, beside a native one, without any network.

    python -m bench.dialects [--quick]

Each is judged as `Gateway.admit` does it, with all schemes: finding the key among all dialects, reading what is asked
for, the signature, the profile. One kind takes its turn after the other within a round, so that the ratios are of one
run. Each request is new, as from the network; what is the same for all that one signer signs on a day is kept. A form
is taken as read. The refused ones have another signer's signature. Time is that of the processor: nothing here waits,
and what others take of the machine does not count.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from bench.kinds import Make, Signers, requests_of
from bench.options import Bench, run_alone
from bench.table import Spread, Table
from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.errors import Denied
from valetstore.grants.recognise import recognise
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import new_access_key_id
from valetstore.policy.request import enforce
from valetstore.policy.revocation import RevocationTable

COLUMNS: Final = ("key", "µs each (min-max)", "a second", "to native (min-max)", "refused µs")


class Judge:
    """The gate of one ring, without what waits for others: no replay set, no budgets; and no memory of keys."""

    def __init__(self, keys: KeyRing) -> None:
        self._schemes = schemes_of(Config())
        self._keys = keys
        self._revocations = RevocationTable()

    def admit(self, request: Inbound) -> None:
        """What `Gateway.admit` does until the use is looked at."""
        credential = recognise(request, self._schemes)
        intent = credential.scheme.intent(request)
        proof = credential.scheme.verify(request, credential, self._keys, intent)
        enforce(proof.grant.narrowed_by(proof.limits), intent, request, self._revocations)

    def refuse(self, request: Inbound) -> None:
        """The same for a key that must not hold."""
        try:
            self.admit(request)
        except Denied as denied:
            if denied.code == "signature_mismatch":
                return
        raise AssertionError("the key was not refused as one with a wrong signature")


def run(bench: Bench) -> Table:
    """A native URL, then every vendor's kinds, in turns."""
    table = Table("Verification of one key of each kind", COLUMNS)
    bench.say("verify a key of each kind")
    ids = (new_access_key_id(), "GOOG" + new_access_key_id())
    signers = Signers.new(ids)
    judge = Judge(signers.ring())
    goods, bads = requests_of(signers), requests_of(Signers.new(ids))
    works = [partial(_time, make, judge.admit) for make in goods.values()]
    works += [partial(_time, make, judge.refuse) for make in bads.values()]
    rounds, seconds = (7, 0.01) if bench.quick else (15, 0.1)
    counts = [max(10, int(seconds / work(20))) for work in works]
    spans: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times, span in zip(works, counts, spans, strict=True):
            span.append(work(times) * 1e6)
    for number, name in enumerate(goods):
        _add(table, name, spans[number], spans[0], spans[len(goods) + number])
    return table


def _time(make: Make, work: Callable[[Inbound], None], times: int) -> float:
    """Seconds of processor time a call."""
    requests = [make() for _ in range(times)]
    started = time.process_time()
    for request in requests:
        work(request)
    return (time.process_time() - started) / times


def _add(table: Table, name: str, good: list[float], native: list[float], bad: list[float]) -> None:
    """One kind: microseconds by round, those of the native key, and those of a refusal."""
    each, ratio = Spread.of(good), Spread.of([one / two for one, two in zip(good, native, strict=True)])
    refused, per_second = Spread.of(bad), 1e6 / each.middle
    table.add(
        name,
        f"{each.middle:.1f} ({each.least:.1f}-{each.most:.1f})",
        f"{per_second:,.0f}",
        str(ratio),
        f"{refused.middle:.1f}",
        key=name,
        us=each,
        per_second=per_second,
        to_native=ratio,
        refused_us=refused,
    )


if __name__ == "__main__":
    run_alone(run)
