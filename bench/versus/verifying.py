"""Verifying: what judging one key costs without any network, met for the first time and met again.

Rule 1: the time is that of the processor, so what others take of the machine does not count.
Rule 2: each request is new, as from the network. What is the same for all that one signer signs on a day (its signing
key) is kept, as in the gateway; what only those of the same second share is forgotten, but where it is measured.
Rule 3: `verify alone` is from a key found in a request to its proof. What it costs to find it, and to judge its
conditions, is in bench.verify and bench.dialects.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from bench.kinds import Make, Signers, requests_of
from bench.options import Bench
from bench.results import Goal
from bench.table import Spread
from valetstore import frame
from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.grants.grant import Intent
from valetstore.grants.memory import ProofMemory
from valetstore.grants.recognise import recognise
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import new_access_key_id

PART: Final = "verify"
NATIVE: Final = "native URL (HS256)"
S3: Final = "S3 V4 URL"
BOUNDS_US: Final = {NATIVE: 8.0, S3: 25.0}
AGAIN_US: Final = 1.0
REMEMBERED: Final = 16
COUNT_MAX: Final = 20_000
TOGETHER: Final = f"{S3}, signed in the same second as the one before"

Work = Callable[[int], float]
"""So many calls; the seconds of processor time that one took."""


def measure(bench: Bench) -> list[Goal]:
    """Both kinds for the first time, then again; all in turns."""
    ids = (new_access_key_id(), "GOOG" + new_access_key_id())
    signers = Signers.new(ids)
    makes = requests_of(signers)
    works: list[Work] = [partial(_first, signers, makes[name]) for name in BOUNDS_US]
    works += [partial(_first, signers, makes[S3], together=True)]
    works += [partial(_again, signers, makes[name]) for name in BOUNDS_US]
    rounds, seconds = (5, 0.02) if bench.quick else (15, 0.2)
    # Each call needs a request of its own, which takes longer to make than to judge.
    counts = [min(COUNT_MAX, max(10, int(seconds / work(200)))) for work in works]
    spans: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, count, span in zip(works, counts, spans, strict=True):
            span.append(work(count) * 1e6)
    found = list(map(Spread.of, spans))
    how = "from the key that was found in a request to its proof"
    first = [
        Goal(f"verify alone, {name}", "", "µs", bound, spread, how, at_most=True)
        for (name, bound), spread in zip([*BOUNDS_US.items(), (TOGETHER, BOUNDS_US[S3])], found, strict=False)
    ]
    again = [
        Goal(f"met again, {name}", "", "µs", AGAIN_US, spread, "the memory of proofs alone", at_most=True)
        for name, spread in zip(BOUNDS_US, found[len(first) :], strict=True)
    ]
    return first + again


def _first(signers: Signers, make: Make, count: int, *, together: bool = False) -> float:
    asked = _found(signers, make, count, together=together)
    began = time.process_time()
    for request, credential, ring, intent in asked:
        credential.scheme.verify(request, credential, ring, intent)
    return (time.process_time() - began) / count


def _again(signers: Signers, make: Make, count: int) -> float:
    memory, asked = ProofMemory(REMEMBERED), _found(signers, make, count + 1)
    memory.prove(*asked.pop())
    began = time.process_time()
    for one in asked:
        memory.prove(*one)
    return (time.process_time() - began) / count


def _found(
    signers: Signers, make: Make, count: int, *, together: bool = False
) -> list[tuple[Inbound, Credential, KeyRing, Intent]]:
    """So many new requests, the key in each found and its path read; with all that they share known where they were
    signed `together`.
    """
    schemes, ring = schemes_of(Config()), signers.ring()
    asked = []
    for _ in range(count):
        if not together:
            frame.forget()
        request = make()
        credential = recognise(request, schemes)
        asked.append((request, credential, ring, credential.scheme.intent(request)))
    return asked
