"""Lists: what a page of 1,000 names costs as the folder grows to 100,000 objects, in a bucket of up to a million.

The folder has changed before each walk through its pages, by an upload and a deletion: the first page is that of a
folder of which nothing current can be remembered, the later ones follow it on the same connection. Times are those
of the client on loopback, with the reading of the whole page in them; the server's processor time stands beside.
"""

import http.client
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final
from urllib.parse import quote

import msgspec

from bench.curve import Curve
from bench.gateway import Gateway
from bench.load import Load
from bench.options import Bench
from bench.population import FOLDER_OBJECTS_MAX, Population
from bench.sizes import once
from bench.table import Spread

PAGE: Final = 1_000
FIRST_PAGE_MS_MAX: Final = 100
WALK_SECONDS_MAX: Final = 20
"""A walk that takes longer than this ends where it is; its pages count."""
SECONDS: Final = 60


class _Page(msgspec.Struct):
    objects: list[dict[str, object]]
    next: str | None


@dataclass
class Walks:
    """Milliseconds of the pages of one folder, walked through several times."""

    population: Population
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    rises: list[float] = field(default_factory=list)
    """The last ten later pages to the first ten."""
    slowest: float = 0.0
    pages: int = 0
    cpu_seconds: float = 0.0

    def add(self, spans: list[float], cpu_seconds: float) -> None:
        """One walk: the milliseconds of each of its pages."""
        later = spans[1:]
        self.first.append(spans[0])
        if later:
            self.later.append(fmean(later))
            self.rises.append(fmean(later[-10:]) / fmean(later[:10]))
            self.slowest = max(self.slowest, *later)
        self.pages += len(spans)
        self.cpu_seconds += cpu_seconds


def walked(bench: Bench, gateway: Gateway, load: Load, populations: Sequence[Population]) -> Curve:
    """First and later pages, by the size of the bucket."""
    sizes = [Walks(population) for population in populations]
    for number in range(bench.rounds):
        for walks in sizes:
            bench.say(f"lists: {walks.population.size:,} objects, round {number + 1} of {bench.rounds}")
            _touch(gateway, load, walks.population, number)
            before = gateway.cpu_seconds()
            spans = _walk(gateway, walks.population)
            walks.add(spans, gateway.cpu_seconds() - before)
    return _curve(sizes)


def _curve(sizes: list[Walks]) -> Curve:
    curve = Curve.of(
        "lists",
        f"A page of {PAGE:,} names, by the objects in the bucket (folders of up to {FOLDER_OBJECTS_MAX:,})",
        "objects in the bucket",
        "ms",
        ("first page", "later pages"),
        ("slowest later page", "last ten to first ten", "CPU a page", "pages"),
    )
    for walks in sizes:
        later = Spread.of(walks.later) if walks.later else None
        slowest = f"{walks.slowest:.1f} ms" if walks.later else "-"
        rise = str(Spread.of(walks.rises)) if walks.rises else "-"
        others = (slowest, rise, f"{walks.cpu_seconds / walks.pages * 1e3:.1f} ms", f"{walks.pages:,}")
        curve.measured(walks.population.size, [Spread.of(walks.first), later], *others)
    curve.expect_under("first page", FIRST_PAGE_MS_MAX)
    curve.expect_flat("later pages")
    return curve


def _touch(gateway: Gateway, load: Load, population: Population, number: int) -> None:
    """Change the folder, and change it back."""
    path = f"/{population.bucket}/{population.new(1, f'walk-{number}')[0]}"
    load.run(once(gateway, "PUT", [gateway.target("PUT", path)], [201], 1))
    load.run(once(gateway, "DELETE", [gateway.target("DELETE", path)], [204]))


def _walk(gateway: Gateway, population: Population) -> list[float]:
    """Milliseconds of each page of the first folder. Raises RuntimeError where names are missing."""
    target = gateway.target("LIST", f"/{population.bucket}/f0/") + f"&limit={PAGE}"
    expected = min(population.size, FOLDER_OBJECTS_MAX)
    spans: list[float] = []
    after, seen, began = "", 0, time.perf_counter()
    with closing(http.client.HTTPConnection(gateway.host, gateway.port, timeout=SECONDS)) as connection:
        while time.perf_counter() - began < WALK_SECONDS_MAX:
            started = time.perf_counter()
            connection.request("GET", f"{target}&after={quote(after, safe='')}" if after else target)
            answer = connection.getresponse()
            raw = answer.read()
            spans.append((time.perf_counter() - started) * 1e3)
            if answer.status != 200:
                raise RuntimeError(f"a list was answered {answer.status}: {raw[:400]!r}")
            page = msgspec.json.decode(raw, type=_Page)
            seen += len(page.objects)
            if page.next is None:
                if seen != expected:
                    raise RuntimeError(f"a list has {seen:,} names where there are {expected:,}")
                break
            after = page.next
    return spans
