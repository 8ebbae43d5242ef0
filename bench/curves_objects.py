"""Objects: what a GET and a PUT cost the daemon as its bucket grows to a million objects in folders of 100,000.

Every size is a bucket of one daemon, and all take turns. A GET is of one of a thousand objects from anywhere in the
bucket, of 1 KiB, with a key of its own that is used again and again: as many in each bucket, so that what is
remembered is as much. A PUT is of a new object of 1 KiB with a fresh key; they are deleted again after each round.
"""

from functools import partial
from typing import Final

from bench import curves_lists
from bench.curve import Curve
from bench.gateway import Gateway
from bench.load import Job, Load
from bench.options import Bench
from bench.population import OBJECT_BYTES, Population, populated
from bench.sizes import Size, in_turns, once

CONNECTIONS: Final = 8
ASKED: Final = 1_000
QUICK_ASKED: Final = 100
PUTS: Final = 1_000
QUICK_PUTS: Final = 200


def run(bench: Bench) -> list[Curve]:
    """GET and PUT by the size of the bucket, then lists of the same buckets."""
    with populated(bench) as (gateway, load, populations):
        gets = [Size(each.size, gateway, _gets(bench, gateway, each)) for each in populations]
        bench.say("objects: GET in turns")
        in_turns(load, gets, bench.rounds)
        puts = [Size(each.size, gateway, *_puts(bench, gateway, load, each)) for each in populations]
        bench.say("objects: PUT in turns")
        in_turns(load, puts, bench.rounds)
        lists = curves_lists.walked(bench, gateway, load, populations)
        bench.say("objects: removing them")
    return [_curve(gets, puts), lists]


def _curve(gets: list[Size], puts: list[Size]) -> Curve:
    curve = Curve.of(
        "objects",
        "GET and PUT of 1 KiB, by the objects in the bucket",
        "objects in the bucket",
        "µs of CPU",
        ("GET", "PUT"),
        ("GET", "PUT", "GET p99 ms", "PUT p99 ms"),
    )
    for get, put in zip(gets, puts, strict=True):
        others = (get.rate_text, put.rate_text, get.p99_text, put.p99_text)
        curve.measured(get.x, [get.cpu, put.cpu], *others)
    curve.expect_flat("GET")
    curve.expect_flat("PUT")
    return curve


def _gets(bench: Bench, gateway: Gateway, population: Population) -> "partial[Job]":
    names = population.some(QUICK_ASKED if bench.quick else ASKED, seed=population.size)
    targets = [gateway.target("GET", f"/{population.bucket}/{name}") for name in names]
    return partial(_get_job, gateway, targets, bench.seconds)


def _get_job(gateway: Gateway, targets: list[str], seconds: float, _number: int) -> Job:
    """For so long, and each of them once at least: what the first round meets for the first time does not count."""
    return Job(gateway.host, gateway.port, "GET", targets, [200], seconds, CONNECTIONS, requests=len(targets))


def _puts(bench: Bench, gateway: Gateway, load: Load, population: Population) -> "tuple[partial[Job], partial[None]]":
    """The uploads of a round, and what takes them away after it."""
    count = QUICK_PUTS if bench.quick else PUTS
    return partial(_put_job, gateway, population, count), partial(_delete, gateway, load, population, count)


def _put_job(gateway: Gateway, population: Population, count: int, number: int) -> Job:
    names = population.new(count, str(number))
    targets = [gateway.target("PUT", f"/{population.bucket}/{name}") for name in names]
    return once(gateway, "PUT", targets, [201], OBJECT_BYTES)


def _delete(gateway: Gateway, load: Load, population: Population, count: int, number: int) -> None:
    names = population.new(count, str(number))
    targets = [gateway.target("DELETE", f"/{population.bucket}/{name}") for name in names]
    load.run(once(gateway, "DELETE", targets, [204]))
