"""The plan of a run: which requests go where, how many at once, for how long."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 2**20
JOINED_BYTES_MAX: Final = 64 * 2**10
"""Bodies up to this size go into one send with their head."""


class Origin(NamedTuple):
    """Where connections go: `address` as connect() takes it; `tls` and the name it is to prove, or None."""

    family: socket.AddressFamily
    address: tuple[str, int] | tuple[str, int, int, int]
    tls: ssl.SSLContext | None
    name: str

    def __str__(self) -> str:
        """`files.example.org:443`."""
        return f"{self.name}:{self.address[1]}"


@dataclass(frozen=True)
class Source:
    """The requests of one origin, heads ready to be sent, in their order; it may go on for ever."""

    origin: Origin
    heads: Iterator[bytes]


@dataclass(frozen=True)
class Body:
    """What each upload sends: `block` over and over, `size` bytes in all."""

    block: memoryview
    size: int

    def part(self, offset: int) -> memoryview:
        """What comes next at an offset; empty at the end."""
        start = offset % len(self.block) if self.block else 0
        return self.block[start : start + min(BLOCK_BYTES, self.size - offset)]


def is_success(status: int) -> bool:
    """What a run hopes for unless it is told otherwise: the 2xx, and 304 for who asked with a condition."""
    return 200 <= status < 300 or status == 304


@dataclass(frozen=True)
class Plan:
    """A run of `connections` for `seconds` (None: until every source is at its end), and for `at_least` requests.

    Requests that still run at the end are cut, unless the run is to be `whole`. With a `rate` (requests a second, all
    connections together) a request's latency counts from when it was due, so that a server that falls behind does not
    look fast. A `strict` run ends with its first error.
    """

    method: str
    sources: list[Source]
    connections: int
    seconds: float | None
    body: Body | None = None
    hoped: Callable[[int], bool] = is_success
    at_least: int = 0
    whole: bool = False
    strict: bool = False
    rate: float | None = None
    timeout_seconds: float = 30.0
