"""Lists: what pages of 1,000 names cost as the bucket grows to a million objects, in folders of up to 100,000.

    python -m bench.lists [--quick] [--folder FOLDER]

First the store alone, in this process: a first page right after a change to the folder (nothing can be remembered), one
of a folder that rests, the pages that follow it, and how long an event loop waits at most for the interpreter while a
thread reads the folder. Then the daemon, for lists of its own kind and S3's: processor time of the server, all threads,
and what the client waits for. Figures are medians over rounds, in which the sizes take turns (least-most).

A bucket's objects are written straight into the store's folders, with their attributes: 2 GiB for a million of them.
"""

import asyncio
import gc
import http.client
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import uvloop

from bench.gateway import Gateway
from bench.ground import ground
from bench.options import Bench, run_alone
from bench.population import Population, populate
from bench.table import Spread, Table
from valetstore.storage.catalogue import Catalogue
from valetstore.storage.listing import list_page
from valetstore.storage.promise import Page
from valetstore.storage.roots import Roots

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = SIZES[:2]
PAGE: Final = 1_000
LATER_PAGES: Final = 30
"""How many pages behind the first are gone through at most."""
REST_SECONDS: Final = 0.2
"""How long a folder rests before it is remembered, and some more."""
TICK_SECONDS: Final = 0.001
SECONDS: Final = 60
COLUMNS: Final = ("what", "objects", "CPU ms (min-max)", "waits ms (min-max)")

_NEXT: Final = re.compile(rb'"next":"([^"]+)"|<NextContinuationToken>([^<]+)<')


class Cost(NamedTuple):
    """Milliseconds of one page."""

    cpu: float
    wall: float


Costs = dict[tuple[str, int], list[Cost]]
"""By what was measured and the size of the bucket."""


def run(bench: Bench) -> Table:
    """Every size: the store alone, then the daemon."""
    sizes = QUICK_SIZES if bench.quick else SIZES
    populations = [Population(f"objects-{size}", size) for size in sizes]
    costs: Costs = {}
    with (
        ground(bench.folder) as folder,
        Gateway(folder / "g") as gateway,
    ):
        gateway.make_s3_key()
        for population in populations:
            populate(gateway.data, population, bench.say)
        for number in range(bench.rounds):
            for population in populations:
                bench.say(f"lists: {population.size:,} objects, round {number + 1} of {bench.rounds}")
                _of_store(costs, gateway.data, population)
                for kind, target in _targets(gateway, population):
                    _of_daemon(costs, gateway, population, kind, target)
        bench.say("lists: removing the objects; a million take some minutes")
    return _table(costs)


# --- the store alone ---------------------------------------------------------------------------------


def _of_store(costs: Costs, data: Path, population: Population) -> None:
    root = Roots(data, {}, create=False).of(population.bucket)
    root_fd = os.open(root.path, os.O_PATH)
    catalogue = Catalogue()

    def page(after: str) -> Page:
        return list_page(root, root_fd, "f0/", after, PAGE, "", catalogue)

    try:
        _change(data, population)
        _taken(costs, "store: first page, just changed", population, lambda: page(""))
        time.sleep(REST_SECONDS)
        found = _taken(costs, "store: first page", population, lambda: page(""))
        for _ in range(LATER_PAGES):
            if found.next_after is None:
                break
            after = found.next_after
            found = _taken(costs, "store: later pages", population, lambda after=after: page(after))  # type: ignore[misc]
        _change(data, population)
        costs.setdefault(("loop's longest wait meanwhile", population.size), []).append(_hold(lambda: page("")))
    finally:
        os.close(root_fd)


def _change(data: Path, population: Population) -> None:
    """Make a file in the first folder, and remove it."""
    path = data / "objects" / population.bucket / "f0+" / "changed"
    path.touch()
    path.unlink()


def _taken(costs: Costs, what: str, population: Population, work: Callable[[], Page]) -> Page:
    cpu, wall = time.thread_time(), time.perf_counter()
    page = work()
    cost = Cost((time.thread_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3)
    costs.setdefault((what, population.size), []).append(cost)
    return page


def _hold(work: Callable[[], object]) -> Cost:
    """How much later than it should an event loop wakes at worst, while a thread does this."""
    gaps: list[float] = []

    async def watch() -> None:
        thread = threading.Thread(target=work)
        gc.collect()
        thread.start()
        while thread.is_alive():
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            gaps.append(time.perf_counter() - before - TICK_SECONDS)

    cpu = time.process_time()
    uvloop.run(watch())
    return Cost((time.process_time() - cpu) * 1e3, max(gaps) * 1e3)


# --- the daemon --------------------------------------------------------------------------------------


def _targets(gateway: Gateway, population: Population) -> list[tuple[str, Callable[[bytes], str]]]:
    """By kind: the target of the page behind this token of the page before, b"" for the first."""
    native = gateway.target("LIST", f"/{population.bucket}/f0/") + f"&limit={PAGE}"

    def s3(token: bytes) -> str:
        asked = [("list-type", "2"), ("prefix", "f0/"), ("max-keys", str(PAGE))]
        asked += [("continuation-token", token.decode())] if token else []
        return gateway.v4_target("GET", f"/{population.bucket}", asked)

    def own(token: bytes) -> str:
        return f"{native}&after={quote(token, safe='')}" if token else native

    return [("valetstore", own), ("S3", s3)]


def _of_daemon(
    costs: Costs, gateway: Gateway, population: Population, kind: str, target: Callable[[bytes], str]
) -> None:
    """One walk through the first folder, which has rested."""
    _change(gateway.data, population)
    time.sleep(REST_SECONDS)
    token = b""
    later: list[Cost] = []
    with closing(http.client.HTTPConnection(gateway.host, gateway.port, timeout=SECONDS)) as connection:
        connection.connect()
        for number in range(LATER_PAGES + 1):
            asked = target(token)
            cpu, wall = gateway.cpu_seconds(), time.perf_counter()
            connection.request("GET", asked)
            answer = connection.getresponse()
            raw = answer.read()
            cost = Cost((gateway.cpu_seconds() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3)
            if answer.status != 200:
                raise RuntimeError(f"a list was answered {answer.status}: {raw[:400]!r}")
            if number:
                later.append(cost)
            else:
                costs.setdefault((f"daemon, {kind}: first page", population.size), []).append(cost)
            match = _NEXT.search(raw)
            if match is None:
                break
            token = match[1] or match[2]
    if later:
        mean = Cost(sum(cost.cpu for cost in later) / len(later), sum(cost.wall for cost in later) / len(later))
        costs.setdefault((f"daemon, {kind}: later pages", population.size), []).append(mean)


def _table(costs: Costs) -> Table:
    table = Table(f"Lists (pages of {PAGE:,} names, folders of up to 100,000)", COLUMNS)
    for what, size in sorted(costs):
        cpu = Spread.of([cost.cpu for cost in costs[what, size]])
        wall = Spread.of([cost.wall for cost in costs[what, size]])
        table.add(what, f"{size:,}", str(cpu), str(wall), what=what, objects=size, cpu_ms=cpu, wall_ms=wall)
    return table


if __name__ == "__main__":
    run_alone(run)
