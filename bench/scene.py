"""Scene: a gateway, baselines and the load, all running, with data in a temp folder that goes at the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from bench.baseline import Baseline
from bench.gateway import Gateway
from bench.ground import ground
from bench.load import Job, Load
from bench.options import Bench
from bench.process import Process

SENDFILE_FROM_BYTES: Final = 2**20
"""From this size on aiohttp does better on asyncio's own loop, where it sends by sendfile; below, on uvloop."""


@dataclass(frozen=True)
class Scene:
    """All that runs. Of the two baselines, a case is measured against the one that is better at it."""

    gateway: Gateway
    quick_loop: Baseline
    sendfile_loop: Baseline
    load: Load

    def baseline_for(self, size: int) -> Baseline:
        """The better baseline for downloads of this size."""
        return self.sendfile_loop if size >= SENDFILE_FROM_BYTES else self.quick_loop

    def put_everywhere(self, name: str, size: int) -> None:
        """The same name with as many bytes at the gateway and in the baselines' folder."""
        self.put(self.gateway, self.gateway.target("PUT", f"/bench/{name}"), size)
        self.put(self.quick_loop, f"/{name}", size)

    def put(self, process: Process, target: str, size: int) -> None:
        """One upload."""
        job = Job(process.host, process.port, "PUT", [target], [200, 201], 0, body_bytes=size, requests=1, whole=True)
        self.load.run(job)


@contextmanager
def open_scene(bench: Bench) -> Iterator[Scene]:
    """Start everything, end everything."""
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        gateway = stack.enter_context(Gateway(folder / "gateway"))
        quick_loop = stack.enter_context(Baseline(folder / "baseline", "uvloop"))
        sendfile_loop = stack.enter_context(Baseline(folder / "baseline", "asyncio"))
        load = stack.enter_context(Load())
        yield Scene(gateway, quick_loop, sendfile_loop, load)
