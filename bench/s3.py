"""S3's keys beside native ones: what presigned downloads and uploads run at.

    python -m bench.s3 [--quick]

One gateway is asked for the same objects with URLs of each kind, in turns. What verifying costs is in dialects.py.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Final

from bench.duel import Case, Side, duel
from bench.gateway import Gateway
from bench.ground import ground
from bench.load import Job, Load
from bench.options import Bench, run_alone
from bench.table import Spread, Table, size_text

RATE_COLUMNS: Final = (
    "what",
    "connections",
    "presigned",
    "native",
    "ratio (min-max)",
    "p99 ms",
    "CPU a request",
    "CPU, native",
)
RATE_CASES: Final = (("GET", 2**10, 1), ("GET", 2**10, 32), ("PUT", 2**10, 1), ("PUT", 2**10, 32))
NEW_PER_SECOND: Final = 5_000
"""How many names are made for each second of a round of uploads; one that runs out of them ends early."""


def rates(bench: Bench) -> Table:
    """Presigned requests beside native ones, at one gateway."""
    table = Table("Presigned requests beside native ones", RATE_COLUMNS)
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        gateway = stack.enter_context(Gateway(folder / "gateway"))
        gateway.make_s3_key()
        load = stack.enter_context(Load())
        target = gateway.target("PUT", "/bench/x")
        put = Job(gateway.host, gateway.port, "PUT", [target], [201], 0, body_bytes=2**10, requests=1, whole=True)
        load.run(put)
        for method, size, connections in RATE_CASES:
            for name, sign_target in (("V4", gateway.v4_target), ("V2", gateway.v2_target)):
                case = Case(f"{method} {size_text(size)}, {name}", size, connections)
                bench.say(f"{case.title}, connections: {connections}")
                numbers = count()
                presigned = Side(gateway, partial(_job, gateway, case, method, sign_target, numbers))
                native = Side(gateway, partial(_job, gateway, case, method, gateway.target, numbers))
                duel(load, case, presigned, native, bench.rounds, bench.seconds)
                _add(table, case, presigned, native)
    return table


def _job(
    gateway: Gateway,
    case: Case,
    method: str,
    sign_target: Callable[[str, str], str],
    numbers: Iterator[int],
    seconds: float,
) -> Job:
    """The work of a round: one download over and over, or new objects with a URL each."""
    if method == "GET":
        targets = [sign_target(method, "/bench/x")]
        return Job(gateway.host, gateway.port, method, targets, [200], seconds, case.connections)
    targets = [sign_target(method, f"/bench/new-{next(numbers)}") for _ in range(int(NEW_PER_SECOND * seconds))]
    return Job(
        gateway.host,
        gateway.port,
        method,
        targets,
        [200, 201],
        seconds,
        case.connections,
        body_bytes=case.size,
        once=True,
        whole=True,
    )


def _add(table: Table, case: Case, presigned: Side, native: Side) -> None:
    """What came of a duel of the two."""
    sides = (presigned, native)
    speeds = [[case.rate(outcome) for outcome in side.outcomes] for side in sides]
    ratio = Spread.of([one / two for one, two in zip(*speeds, strict=True)])
    costs = [sum(side.cpu_seconds) / sum(outcome.requests for outcome in side.outcomes) for side in sides]
    p99 = Spread.of([outcome.p99_ms for outcome in presigned.outcomes])
    middles = [Spread.of(speed) for speed in speeds]
    table.add(
        case.title,
        str(case.connections),
        *(f"{middle.middle:,.0f} /s" for middle in middles),
        str(ratio),
        f"{p99.middle:.1f}",
        *(f"{cost * 1e6:,.0f} µs" for cost in costs),
        case=case,
        requests_per_second=middles[0],
        native_requests_per_second=middles[1],
        ratio=ratio,
        p99_ms=p99,
        cpu_seconds_per_request=costs[0],
        native_cpu_seconds_per_request=costs[1],
    )


if __name__ == "__main__":
    run_alone(rates)
