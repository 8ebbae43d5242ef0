"""Downloads: signed GETs beside aiohttp's FileResponse, which checks nothing.

    python -m bench.serve [--quick]

Objects come from the page cache: they have just been written. Cold disks are not measured.
"""

from typing import Final

from bench.duel import COLUMNS, Case, Side, add_row, duel
from bench.load import Job
from bench.options import Bench, run_alone
from bench.process import Process
from bench.scene import Scene, open_scene
from bench.table import Table, size_text

SIZES: Final = (2**10, 64 * 2**10, 2**20, 256 * 2**20)
CONNECTIONS: Final = (1, 32)
ONE_TIME_PER_SECOND: Final = 12_000
"""How many fresh keys are made for each second of a round; one that runs out of them ends early."""


def run(bench: Bench) -> Table:
    """Every size, then one-time keys."""
    table = Table("Downloads (signed GET, keep-alive)", COLUMNS)
    with open_scene(bench) as scene:
        for size in SIZES:
            scene.put_everywhere(_name(size), size)
        for size in SIZES:
            for connections in CONNECTIONS:
                case = Case(f"GET {size_text(size)}", size, connections)
                _row(bench, scene, table, case, one_time=False)
        for connections in CONNECTIONS:
            case = Case("GET 1 KiB, a fresh one-time key each", SIZES[0], connections)
            _row(bench, scene, table, case, one_time=True)
    return table


def _row(bench: Bench, scene: Scene, table: Table, case: Case, *, one_time: bool) -> None:
    bench.say(f"{case.title}, connections: {case.connections}")
    path = f"/bench/{_name(case.size)}"

    def our_job(seconds: float) -> Job:
        if not one_time:
            return _job(scene.gateway, case, seconds, [scene.gateway.target("GET", path)])
        count = int(ONE_TIME_PER_SECOND * seconds)
        return _job(
            scene.gateway,
            case,
            seconds,
            [scene.gateway.one_time_target("GET", path) for _ in range(count)],
            once=True,
        )

    baseline = scene.baseline_for(case.size)
    ours = Side(scene.gateway, our_job)
    other = Side(baseline, lambda seconds: _job(baseline, case, seconds, [f"/{_name(case.size)}"]))
    duel(scene.load, case, ours, other, bench.rounds, bench.seconds)
    add_row(table, case, ours, other)


def _job(process: Process, case: Case, seconds: float, targets: list[str], *, once: bool = False) -> Job:
    return Job(process.host, process.port, "GET", targets, [200], seconds, case.connections, once=once)


def _name(size: int) -> str:
    return f"object-{size}"


if __name__ == "__main__":
    run_alone(run)
