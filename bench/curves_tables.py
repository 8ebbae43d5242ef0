"""Tables alone: what a look into the revocations costs by their number, and verifying a key by the signing keys.

No network and no request: what the daemon asks of a table is asked in a loop, and all sizes take turns. Times are the
process's own processor time, so that what others take of the machine does not count.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from bench import revocations
from bench.curve import Curve
from bench.dialects import Judge
from bench.kinds import Make, Signers, requests_of
from bench.options import Bench
from bench.table import Spread
from valetstore.grants.grant import Grant, Profile
from valetstore.keys.ring import KeyRing
from valetstore.keys.ringfile import record_of
from valetstore.keys.vendor import HMAC, S3, new_access_key_id, new_secret_access_key
from valetstore.policy.revocation import RevocationTable

REVOKED: Final = tuple(10**power for power in range(7))
KEYS: Final = 20_000
"""Different keys that are looked up: their part of a table is not at hand."""
SIGNING_KEYS: Final = tuple(10**power for power in range(5))
KINDS: Final = {"native URL (HS256)": ("native", "HS256"), "S3 V4 URL": (S3, HMAC)}
"""The keys that are judged, as kinds.py calls them; the scheme and the algorithm of their signing keys."""


def revoked(bench: Bench) -> Curve:
    """Looking up keys that are not revoked, in tables of each kind."""
    lines = tuple(revocations.KINDS)
    curve = Curve.of("revocations", "A look at the revocations, by their number", "revocations", "µs", lines)
    sizes = REVOKED[:4] if bench.quick else REVOKED
    asked = [revocations.key_of(os.urandom(16), f"other-{number}") for number in range(KEYS)]
    spans: dict[tuple[int, str], list[float]] = {}
    for kind in lines:
        bench.say(f"revocations: tables of {kind}")
        tables = {size: RevocationTable(revocations.rows(kind, size)) for size in sizes}
        for _ in range(bench.rounds):
            for size, table in tables.items():
                spans.setdefault((size, kind), []).append(_looked(table, asked))
    for size in sizes:
        curve.measured(size, [Spread.of(spans[size, kind]) for kind in lines])
    for kind in lines:
        curve.expect_under(kind, revocations.LOOKUP_US_MAX)
    return curve


def _looked(table: RevocationTable, asked: Sequence[Grant]) -> float:
    """Microseconds of processor time a look."""
    check, path, now = table.check, revocations.PATH, revocations.NOW
    began = time.process_time()
    for key in asked:
        check(key, path, now)
    return (time.process_time() - began) / len(asked) * 1e6


def signing_keys(bench: Bench) -> Curve:
    """Judging one key, by the signing keys of its scheme in the ring."""
    curve = Curve.of(
        "signing-keys", "Verifying a key, by the signing keys in the ring", "signing keys", "µs of CPU", tuple(KINDS)
    )
    sizes = SIGNING_KEYS[:3] if bench.quick else SIGNING_KEYS
    count, spans = 200 if bench.quick else 2_000, dict[tuple[int, str], list[float]]()
    works: dict[tuple[int, str], Callable[[], float]] = {}
    for size in sizes:
        bench.say(f"signing keys: rings of {size:,}")
        works |= {(size, kind): _verification(kind, size, count) for kind in KINDS}
    for _ in range(3 * bench.rounds):
        for at, work in works.items():
            spans.setdefault(at, []).append(work())
    for size in sizes:
        curve.measured(size, [Spread.of(spans[size, kind]) for kind in KINDS])
    for kind in KINDS:
        curve.expect_flat(kind)
    return curve


def _verification(kind: str, size: int, count: int) -> Callable[[], float]:
    """A round of judging so many requests with a key of this kind, before a ring of so many signing keys."""
    signers = Signers.new((new_access_key_id(), f"GOOG{new_access_key_id()}"))
    scheme, algorithm = KINDS[kind]
    own = next(key.record for key in signers.ring() if key.record.scheme == scheme)
    others = (
        record_of(f"other-{number}", algorithm, Profile(), secret=new_secret_access_key().encode(), scheme=scheme)
        for number in range(size - 1)
    )
    return partial(_verified, Judge(KeyRing([own, *others])), requests_of(signers)[kind], count)


def _verified(judge: Judge, make: Make, count: int) -> float:
    """Microseconds of processor time a key, each time from a new request."""
    requests = [make() for _ in range(count)]
    began = time.process_time()
    for request in requests:
        judge.admit(request)
    return (time.process_time() - began) / count * 1e6
