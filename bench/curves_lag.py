"""Lag: how long a small request waits while large uploads run beside it, all of them in one process of the daemon.

A GET of 1 KiB is asked every 5 ms on a connection of its own, over and over with one key. Its whole time on loopback
is what counts, so the event loop's lag is in it and cannot be more. Who asks is given the processor before the
load where the system allows that (SCHED_RR): what the uploads' sender takes is not the server's.
"""

import http.client
import os
import threading
import time
from contextlib import closing, suppress
from typing import Final

from bench.curve import Curve
from bench.curves_connections import alone
from bench.gateway import Gateway
from bench.load import Load
from bench.options import Bench
from bench.population import OBJECT_BYTES
from bench.sizes import once
from bench.table import Spread

UPLOADS: Final = (1, 2, 4, 8)
UPLOAD_BYTES: Final = 256 * 2**20
QUICK_UPLOAD_BYTES: Final = 64 * 2**20
P99_MS_MAX: Final = 20
EVERY_SECONDS: Final = 0.005
ALONE_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60
_PRIORITY: Final = 1


class Probe(threading.Thread):
    """Asks for a small object every few milliseconds until `end`; `waits` is what each answer took, in ms."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(daemon=True)
        self._gateway = gateway
        self._target = gateway.target("GET", "/bench/small")
        self._over = threading.Event()
        self._failure = ""
        self._waits: list[float] = []

    def run(self) -> None:
        """Until `end`, or an answer that is not the object."""
        with suppress(OSError):  # root only; without it the figures have the load's turns of the core in them
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
        try:
            with closing(http.client.HTTPConnection(*self._address, timeout=ANSWER_SECONDS)) as connection:
                while not self._over.wait(EVERY_SECONDS):
                    self._ask(connection)
        except (OSError, http.client.HTTPException) as error:
            self._failure = f"a small request failed: {error!r}"

    def end(self) -> list[float]:
        """Stop; the milliseconds of all answers, the shortest first. Raises RuntimeError where one was missing."""
        self._over.set()
        self.join()
        if self._failure or not self._waits:
            raise RuntimeError(self._failure or "no small request was answered")
        return sorted(self._waits)

    @property
    def _address(self) -> tuple[str, int]:
        return self._gateway.host, self._gateway.port

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        began = time.perf_counter()
        connection.request("GET", self._target)
        answer = connection.getresponse()
        if answer.status != 200 or len(answer.read()) != OBJECT_BYTES:
            raise http.client.HTTPException(f"it was answered {answer.status}")
        self._waits.append((time.perf_counter() - began) * 1e3)


def run(bench: Bench) -> Curve:
    """Small requests by the uploads beside them."""
    size = QUICK_UPLOAD_BYTES if bench.quick else UPLOAD_BYTES
    curve = Curve.of(
        "lag",
        f"A GET of 1 KiB while large uploads ({size >> 20} MiB each) run beside it",
        "uploads at once",
        "ms",
        ("p50", "p99", "longest"),
        ("uploads", "small requests"),
    )
    with alone(bench) as (gateway, load):
        load.run(once(gateway, "PUT", [gateway.target("PUT", "/bench/small")], [201], OBJECT_BYTES))
        idle = _beside_nothing(gateway)
        found: dict[int, list[tuple[list[float], float]]] = {count: [] for count in UPLOADS}
        for number in range(bench.rounds):
            bench.say(f"lag: round {number + 1} of {bench.rounds}")
            for count in UPLOADS:
                found[count].append(_beside(gateway, load, count, size))
    for count, rounds in found.items():
        _add(curve, count, [waits for waits, _ in rounds], [speed for _, speed in rounds])
    p50, p99, longest = _percentiles(idle)
    curve.notes.append(f"Beside no upload: p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {longest:.2f} ms.")
    curve.expect_under("p99", P99_MS_MAX)
    return curve


def _add(curve: Curve, count: int, rounds: list[list[float]], speeds: list[float]) -> None:
    spreads = [Spread.of(list(figures)) for figures in zip(*map(_percentiles, rounds), strict=True)]
    asked = sum(map(len, rounds))
    curve.measured(count, spreads, f"{Spread.of(speeds).middle:,.0f} MiB/s", f"{asked:,}")


def _percentiles(waits: list[float]) -> tuple[float, float, float]:
    """p50, p99 and the longest of sorted figures."""
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100], waits[-1]


def _beside_nothing(gateway: Gateway) -> list[float]:
    probe = Probe(gateway)
    probe.start()
    time.sleep(ALONE_SECONDS)
    return probe.end()


def _beside(gateway: Gateway, load: Load, count: int, size: int) -> tuple[list[float], float]:
    """What small requests took while so many uploads ran, and how fast these were together, in MiB/s."""
    targets = [gateway.target("PUT", f"/bench/large-{number}") for number in range(count)]
    job = once(gateway, "PUT", targets, [200, 201], size)
    probe = Probe(gateway)
    probe.start()
    try:
        outcome = load.run(job)
    finally:
        waits = probe.end()
    return waits, count * size / 2**20 / outcome.seconds
