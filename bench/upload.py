"""Uploads: signed, durable PUTs beside the plainest durable upload that aiohttp can be taught.

    python -m bench.upload [--quick]

Small objects are new ones, each with a key of its own, as signed upload URLs are; larger ones replace each
other, so that a bench does not fill the disk.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final

from bench.duel import COLUMNS, Case, Side, add_row, duel
from bench.load import Job
from bench.options import Bench, run_alone
from bench.process import Process
from bench.scene import Scene, open_scene
from bench.table import Table, size_text

CASES: Final = ((2**10, 1), (2**10, 32), (2**20, 1), (2**20, 32), (256 * 2**20, 1))
NEW_BYTES_MAX: Final = 64 * 2**10
NEW_PER_SECOND: Final = 5_000
"""How many names are made for each second of a round; one that runs out of them ends early."""
REPLACED: Final = 64


def run(bench: Bench) -> Table:
    """Every size."""
    table = Table("Uploads (signed PUT, durable before the answer, keep-alive)", COLUMNS)
    with open_scene(bench) as scene:
        for size, connections in CASES:
            case = Case(f"PUT {size_text(size)}", size, connections)
            bench.say(f"{case.title}, connections: {case.connections}")
            _row(bench, scene, table, case)
    return table


def _row(bench: Bench, scene: Scene, table: Table, case: Case) -> None:
    numbers = count()

    def our_job(seconds: float) -> Job:
        targets = [scene.gateway.target("PUT", f"/bench/{name}") for name in _names(case, seconds, numbers)]
        return _job(scene.gateway, case, seconds, targets)

    baseline = scene.quick_loop  # its two loops take uploads alike

    def other_job(seconds: float) -> Job:
        return _job(baseline, case, seconds, [f"/{name}" for name in _names(case, seconds, numbers)])

    ours, other = Side(scene.gateway, our_job), Side(baseline, other_job)
    duel(scene.load, case, ours, other, bench.rounds, bench.seconds)
    add_row(table, case, ours, other)


def _names(case: Case, seconds: float, numbers: Iterator[int]) -> list[str]:
    if case.size <= NEW_BYTES_MAX:
        return [f"new-{case.connections}-{next(numbers)}" for _ in range(int(NEW_PER_SECOND * seconds))]
    return [f"replaced-{case.size}-{number}" for number in range(REPLACED if case.size <= 2**20 else 2)]


def _job(process: Process, case: Case, seconds: float, targets: list[str]) -> Job:
    return Job(
        process.host,
        process.port,
        "PUT",
        targets,
        [200, 201],
        seconds,
        case.connections,
        body_bytes=case.size,
        once=case.size <= NEW_BYTES_MAX,
        whole=True,
    )


if __name__ == "__main__":
    run_alone(run)
