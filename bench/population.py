"""Population: buckets with as many objects as a curve needs, laid down as the store would have left them.

Objects are written straight into the daemon's folder, each with its attribute: a million durable uploads would take
the better part of an hour and measure nothing. What they are asked for afterwards goes through the daemon alone.
Those of a bucket are equal, with one moment and one entity tag: ext4 keeps attributes that are equal once, and to read
a million blocks of them, or to give them back, would be most of what a bench does.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from bench.gateway import Gateway
from bench.ground import ground
from bench.load import CONTENT_TYPE, Load
from bench.options import Bench
from valetstore.storage.layout import Objects
from valetstore.storage.metadata import attach, describe, encode
from valetstore.storage.promise import Metadata

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = SIZES[:2]
OBJECT_BYTES: Final = 2**10
FOLDER_OBJECTS_MAX: Final = 100_000
PROGRESS_EVERY: Final = 100_000


@dataclass(frozen=True)
class Population:
    """A bucket of `size` objects, `f0/00000000` and on, in folders of up to 100,000."""

    bucket: str
    size: int

    @property
    def folders(self) -> int:
        """How many folders they are in."""
        return -(-self.size // FOLDER_OBJECTS_MAX)

    def name(self, number: int) -> str:
        """The name of an object: the folders are filled one after the other."""
        return f"f{number // FOLDER_OBJECTS_MAX}/{number:08}"

    def some(self, count: int, seed: int) -> list[str]:
        """Names of objects from anywhere in the bucket, different ones as far as there are as many."""
        chosen = random.Random(seed)
        if count <= self.size:
            return [self.name(number) for number in chosen.sample(range(self.size), count)]
        return [self.name(chosen.randrange(self.size)) for _ in range(count)]

    def new(self, count: int, mark: str) -> list[str]:
        """Names of objects that are not there, in its folders in turn."""
        return [f"f{number % self.folders}/new-{mark}-{number}" for number in range(count)]


def populate(data: Path, population: Population, say: Callable[[str], None]) -> None:
    """Lay a bucket down below the daemon's data folder, and have it on the disk. Raises OSError."""
    root = data / "objects" / population.bucket
    root.mkdir(parents=True, exist_ok=True)
    body = random.Random(population.size).randbytes(OBJECT_BYTES)
    modified_ns = time.time_ns()
    kept = describe(OBJECT_BYTES, modified_ns, Metadata(CONTENT_TYPE), {"sha256": sha256(body).digest()})
    layout, attribute, made = Objects(), encode(kept), ""
    for number in range(population.size):
        path = root / layout.to_path(population.name(number))
        if (folder := os.path.dirname(path)) != made:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            made = folder
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, body)
            os.utime(fd, ns=(modified_ns, modified_ns))
            attach(fd, attribute)
        finally:
            os.close(fd)
        if number % PROGRESS_EVERY == PROGRESS_EVERY - 1:
            say(f"{population.bucket}: {number + 1:,} of {population.size:,} objects laid down")
    os.sync()


@contextmanager
def populated(bench: Bench) -> Iterator[tuple[Gateway, Load, list[Population]]]:
    """A daemon with a bucket of each size, and the load."""
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        gateway = stack.enter_context(Gateway(folder / "gateway"))
        load = stack.enter_context(Load())
        populations = [Population(f"of-{size}", size) for size in (QUICK_SIZES if bench.quick else SIZES)]
        for population in populations:
            bench.say(f"objects: laying down {population.size:,}")
            populate(gateway.data, population, bench.say)
        yield gateway, load, populations
