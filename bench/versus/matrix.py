"""The matrix: which work is measured through which doors, which ratios follow, and what they are to reach.

Rule 1: what a ratio sets side by side ran in one cell, in turns; no figure is compared across cells.
Rule 2: the goals are those that the project set itself before it was measured. They are not moved to where it got.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

KIB: Final = 2**10
MIB: Final = 2**20


@dataclass(frozen=True)
class Case:
    """One kind of work; `connections` from the most telling number on, which a quick run is content with.

    `doors` are measured with each of them, `more` with the first alone.
    """

    name: str
    method: str
    size: int
    connections: tuple[int, ...]
    doors: tuple[str, ...]
    more: tuple[str, ...] = ()


class Pair(NamedTuple):
    """Ours against another, by their doors."""

    ours: str
    other: str


class Aim(NamedTuple):
    """At least `bound` of it, as the median; `dream` is what would be wonderful."""

    bound: float
    dream: float | None = None


CASES: Final = (
    Case(
        "get-1k",
        "GET",
        KIB,
        (32, 1, 256),
        ("native", "nginx", "aiohttp", "v4", "seaweedfs", "one-time"),
        ("nginx-logged", "fresh", "nginx-fresh", "v4-fresh", "seaweedfs-fresh"),
    ),
    Case("get-64k", "GET", 64 * KIB, (32, 1, 256), ("native", "nginx", "aiohttp", "v4", "seaweedfs")),
    Case("get-1m", "GET", MIB, (32, 1), ("native", "nginx", "aiohttp-sendfile", "v4", "seaweedfs")),
    Case("get-256m", "GET", 256 * MIB, (1, 32), ("native", "nginx", "aiohttp-sendfile", "v4", "seaweedfs")),
    Case("put-1k", "PUT", KIB, (32, 1, 256), ("native", "v4", "seaweedfs", "dav"), ("seaweedfs-synced",)),
    Case("put-1m", "PUT", MIB, (32, 1), ("native", "v4", "seaweedfs", "dav")),
    Case("put-256m", "PUT", 256 * MIB, (1,), ("native", "v4", "seaweedfs", "dav")),
)

PAIRS: Final = (
    Pair("native", "nginx"),
    Pair("native", "nginx-logged"),
    Pair("native", "aiohttp"),
    Pair("native", "aiohttp-sendfile"),
    Pair("v4", "seaweedfs"),
    Pair("v4", "seaweedfs-synced"),
    Pair("fresh", "native"),
    Pair("one-time", "native"),
    Pair("fresh", "nginx-fresh"),
    Pair("v4-fresh", "seaweedfs-fresh"),
    Pair("native", "dav"),
)

AIMS: Final = {
    ("get-1k", 32, Pair("native", "nginx")): Aim(0.5, 1.0),
    ("get-1k", 32, Pair("native", "aiohttp")): Aim(8),
    ("get-1k", 32, Pair("v4", "seaweedfs")): Aim(5),
    ("get-1k", 32, Pair("one-time", "native")): Aim(0.5),
    ("get-64k", 32, Pair("native", "nginx")): Aim(0.5),
    ("get-256m", 1, Pair("native", "nginx")): Aim(0.95),
    ("put-1k", 32, Pair("v4", "seaweedfs")): Aim(2),
    ("put-256m", 1, Pair("v4", "seaweedfs")): Aim(1.2),
    ("put-256m", 1, Pair("native", "dav")): Aim(1.2),
}


def case_named(name: str) -> Case:
    """The case. Raises KeyError."""
    return {case.name: case for case in CASES}[name]
