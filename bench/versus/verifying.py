"""Verifying: what judging one key costs without any network, met for the first time and met again.

Rule 1: the time is that of the processor, so what others take of the machine does not count.
Rule 2: each request is new, as from the network: the S3 URLs that are met for the first time have paths and dates of
their own. What is the same for all that one signer signs on a day is kept, as in the gateway; once more without it.
Rule 3: `verify alone` is from a key found in a request to its proof. What it costs to find it, and to judge its
conditions, is in bench.verify and bench.dialects.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from bench.kinds import BASE, BUCKET, EXPIRES_SECONDS, REGION, Make, Signers, download, requests_of
from bench.options import Bench
from bench.results import Goal
from bench.table import Spread
from valetstore import frame
from valetstore.config import Config
from valetstore.dialects import schemes_of
from valetstore.grants.grant import Intent
from valetstore.grants.memory import ProofMemory
from valetstore.grants.presign import Request
from valetstore.grants.recognise import recognise
from valetstore.grants.s3.sign import Key, presign_v4
from valetstore.grants.scheme import Credential
from valetstore.inbound import Inbound
from valetstore.keys.ring import KeyRing
from valetstore.keys.vendor import new_access_key_id

PART: Final = "verify"
NATIVE: Final = "native URL (HS256)"
S3: Final = "S3 V4 URL"
BOUNDS_US: Final = {NATIVE: 8.0, S3: 25.0}
AGAIN_US: Final = 1.0
DAY_SECONDS: Final = 86_400
REMEMBERED: Final = 16
COUNT_MAX: Final = 20_000
UNLIKE: Final = f"{S3}, the first from its signer"

Work = Callable[[int], float]
"""So many calls; the seconds of processor time that one took."""


def measure(bench: Bench) -> list[Goal]:
    """Both kinds for the first time, then again; all in turns."""
    ids = (new_access_key_id(), "GOOG" + new_access_key_id())
    signers = Signers.new(ids)
    makes = requests_of(signers)
    urls = partial(next, _s3_requests(signers))
    works: list[Work] = [partial(_first, signers, makes[NATIVE]), partial(_first, signers, urls)]
    works += [partial(_first, signers, urls, unlike=True)]
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
        for (name, bound), spread in zip([*BOUNDS_US.items(), (UNLIKE, BOUNDS_US[S3])], found, strict=False)
    ]
    again = [
        Goal(f"met again, {name}", "", "µs", AGAIN_US, spread, "the memory of proofs alone", at_most=True)
        for name, spread in zip(BOUNDS_US, found[len(first) :], strict=True)
    ]
    return first + again


def _s3_requests(signers: Signers) -> Iterator[Inbound]:
    """Downloads by presigned URLs: each of another object, and signed in another second of this day."""
    key, midnight = Key(signers.ids[0], signers.secret), int(time.time()) // DAY_SECONDS * DAY_SECONDS
    for number in itertools.count():
        asked, moment = Request("GET", BASE, f"/{BUCKET}/{number}.jpg"), midnight + number % DAY_SECONDS
        url = presign_v4(key, asked, now=moment, expires=EXPIRES_SECONDS, region=REGION)
        yield download(url.removeprefix(BASE))


def _first(signers: Signers, make: Make, count: int, *, unlike: bool = False) -> float:
    asked = _found(signers, make, count, unlike=unlike)
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
    signers: Signers, make: Make, count: int, *, unlike: bool = False
) -> list[tuple[Inbound, Credential, KeyRing, Intent]]:
    """So many new requests, the key in each found and its path read; each `unlike` all before it, of whose queries
    nothing is known then.
    """
    schemes, ring = schemes_of(Config()), signers.ring()
    asked = []
    for _ in range(count):
        if unlike:
            frame.forget()
        request = make()
        credential = recognise(request, schemes)
        asked.append((request, credential, ring, credential.scheme.intent(request)))
    return asked
