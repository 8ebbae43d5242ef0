"""One large object: how much the daemon grows while it goes in and comes out, up to 8 GiB.

Growth is from before the transfer to the highest the resident set was meanwhile: the kernel's mark, set back before,
and samples every 10 ms.
"""

import shutil
from typing import Final

from bench.curve import Curve
from bench.curves_connections import alone
from bench.gateway import Gateway
from bench.load import Load
from bench.memory import GROWTH_BYTES_MAX
from bench.options import Bench
from bench.process import Watch
from bench.sizes import once
from bench.table import Spread, size_text

MIB: Final = 2**20
SIZES: Final = (64 * MIB, 512 * MIB, 8_192 * MIB)
ROOM: Final = 1.1
"""How much of its size must be free for an object."""


def run(bench: Bench) -> Curve:
    """Up and down, by size. A size that the disk has no room for is left out, and a note says so."""
    curve = Curve.of(
        "large",
        "One large object up and down: growth of the daemon",
        "object, MiB",
        "MiB",
        ("PUT", "GET"),
        ("PUT speed", "GET speed"),
    )
    for size in SIZES[:2] if bench.quick else SIZES:
        free = shutil.disk_usage(bench.folder).free
        if free < size * ROOM:
            curve.notes.append(f"{size_text(size)} is left out: {size_text(free)} are free below {bench.folder}.")
            continue
        bench.say(f"large: {size_text(size)} up and down")
        with alone(bench) as (gateway, load):
            watches, speeds = zip(*(_moved(gateway, load, method, size) for method in ("PUT", "GET")), strict=True)
        curve.measured(size // MIB, [Spread.of([watch.growth / MIB]) for watch in watches], *speeds)
    curve.expect_under("PUT", GROWTH_BYTES_MAX / MIB)
    curve.expect_under("GET", GROWTH_BYTES_MAX / MIB)
    return curve


def _moved(gateway: Gateway, load: Load, method: str, size: int) -> tuple[Watch, str]:
    """One transfer: the daemon's memory meanwhile, and its speed as text."""
    job = once(gateway, method, [gateway.target(method, "/bench/large")], [200, 201], size if method == "PUT" else 0)
    with gateway.memory_watched() as watch:
        outcome = load.run(job)
    return watch, f"{size / MIB / outcome.seconds:,.0f} MiB/s"
