"""Doors: each way into each contender, a server with the kind of key that it is asked with.

Rule 1: a contender that is not installed is left out with a sentence that names its package, never silently.
Rule 2: all doors of a contender lead to one process, so that a kind of key is measured and not a server's start.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from bench.baseline import Baseline
from bench.gateway import Gateway
from bench.ground import ground
from bench.load import Job, Load
from bench.process import Daemon
from bench.versus import nginx, seaweedfs

LOOPS: Final = (("aiohttp", "uvloop"), ("aiohttp-sendfile", "asyncio"))
"""Large bodies do better on asyncio's own loop, where aiohttp sends them by sendfile; small ones on uvloop."""

Target = Callable[[str, str, int], str]
"""Signs a method and a path; another number makes another key. What stands in the request line."""


@dataclass(frozen=True)
class Door:
    """One way in. `fresh` ones are asked with another key each time, and one that opens `once` must be."""

    contender: str
    key: str
    server: Daemon
    target: Target
    port: int
    fresh: bool = False
    once: bool = False

    @property
    def name(self) -> str:
        """`nginx, secure_link`."""
        return f"{self.contender}, {self.key}"


@dataclass
class Stage:
    """All that runs: doors by their names in matrix.py, how servers get an object, versions, and what is left out."""

    folder: Path
    load: Load
    doors: dict[str, Door] = field(default_factory=dict)
    keepers: list[Callable[[str, int], None]] = field(default_factory=list)
    file_of: Callable[[str], Path] | None = None
    left_out: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def keep(self, name: str, size: int) -> None:
        """The same object at every server, under `/bench/NAME`."""
        for keep in self.keepers:
            keep(name, size)

    def lay(self, file: Path, name: str, size: int) -> None:
        """An object where a server looks for it: the very file that the gateway has, if there is one.

        Two files of one size lie in the page cache in pieces of different sizes, by the luck of the moment, and what
        lies in large ones is sent faster.
        """
        file.parent.mkdir(exist_ok=True)
        if self.file_of is None:
            _write(file, size)
        else:
            os.link(self.file_of(name), file)

    def put(self, door: Door, name: str, size: int) -> None:
        """One upload of random bytes through a door."""
        target = door.target("PUT", f"/bench/{name}", 0)
        statuses, host = [200, 201, 204], door.server.host
        job = Job(host, door.port, "PUT", [target], statuses, 0, body_bytes=size, requests=1, whole=True)
        self.load.run(job)


@contextmanager
def open_stage(folder: Path, without: Sequence[str]) -> Iterator[Stage]:
    """Start every contender that is installed and wanted, end them all."""
    with ExitStack() as stack:
        data = stack.enter_context(ground(folder))
        stage = Stage(data, stack.enter_context(Load()))
        for name, add in _CONTENDERS.items():
            if name in without:
                stage.left_out.append(f"{name} is left out: it was not asked for.")
            else:
                add(stage, stack)
        yield stage


def _add_valetstore(stage: Stage, stack: ExitStack) -> None:
    gateway = stack.enter_context(Gateway(stage.folder / "gateway"))
    gateway.make_s3_key()
    door = partial(Door, "valetstore", server=gateway, port=gateway.port)
    targets = {
        "native": door("native key", target=lambda method, path, _: gateway.target(method, path)),
        "v4": door("S3 V4 URL", target=lambda method, path, _: gateway.v4_target(method, path)),
        "v4-fresh": door(
            "fresh S3 V4 URL",
            target=lambda method, path, _: gateway.fresh_v4_target(method, path),
            fresh=True,
        ),
        "fresh": door(
            "fresh native key", target=lambda method, path, _: gateway.fresh_target(method, path), fresh=True
        ),
        "one-time": door(
            "fresh one-time key",
            target=lambda method, path, _: gateway.one_time_target(method, path),
            fresh=True,
            once=True,
        ),
    }
    stage.doors |= targets
    stage.keepers.append(partial(stage.put, targets["native"]))
    stage.file_of = gateway.file_of


def _add_nginx(stage: Stage, stack: ExitStack) -> None:
    binary = nginx.find(nginx.SECURE_LINK, nginx.DAV) or nginx.find(nginx.SECURE_LINK)
    if binary is None:
        stage.left_out.append(f"nginx is left out: none with secure_link is installed ({nginx.PACKAGES}).")
        return
    stage.versions.append(f"nginx {nginx.version(binary)}")
    server = stack.enter_context(nginx.Nginx(stage.folder / "nginx", binary))
    door = partial(Door, "nginx", server=server, target=server.target)
    stage.doors |= {
        "nginx": door("secure_link", port=server.port),
        "nginx-logged": door("secure_link, access log on", port=server.logged_port),
        "nginx-fresh": door("fresh secure_link", port=server.port, fresh=True),
    }
    if nginx.DAV in nginx.modules(binary):
        stage.doors["dav"] = door("dav, not synced", port=server.port)
    else:
        stage.left_out.append("nginx's uploads are left out: this one has no dav module (Debian's `nginx` has).")
    stage.keepers.append(lambda name, size: stage.lay(server.root / "bench" / name, name, size))


def _add_seaweedfs(stage: Stage, stack: ExitStack) -> None:
    binary = seaweedfs.find()
    if binary is None:
        stage.left_out.append(f"seaweedfs is left out: no `weed` is installed ({seaweedfs.PACKAGE}).")
        return
    stage.versions.append(f"SeaweedFS {seaweedfs.version(binary)}")
    server = stack.enter_context(seaweedfs.SeaweedFS(stage.folder / "seaweedfs", binary))
    door = partial(Door, "SeaweedFS", server=server, target=server.target, port=server.port)
    stage.doors |= {
        "seaweedfs": door("S3 V4 URL"),
        "seaweedfs-fresh": door("fresh S3 V4 URL", fresh=True),
        "seaweedfs-synced": Door("SeaweedFS", "S3 V4 URL, synced", server, server.synced_target, server.port),
    }
    stage.keepers.append(partial(stage.put, stage.doors["seaweedfs"]))


def _add_aiohttp(stage: Stage, stack: ExitStack) -> None:
    folder = stage.folder / "aiohttp"
    for name, loop in LOOPS:
        server = stack.enter_context(Baseline(folder, loop))
        key = "FileResponse, no check"
        stage.doors[name] = Door("aiohttp", key, server, lambda _, path, __: path.removeprefix("/bench"), server.port)
    stage.keepers.append(lambda name, size: stage.lay(folder / name, name, size))


def _write(file: Path, size: int) -> None:
    """Random bytes, as what comes by uploads is."""
    with open("/dev/urandom", "rb") as source, open(file, "wb") as out:
        while size > 0:
            size -= out.write(source.read(min(size, 2**20)))


_CONTENDERS: Final[dict[str, Callable[[Stage, ExitStack], None]]] = {
    "valetstore": _add_valetstore,
    "nginx": _add_nginx,
    "seaweedfs": _add_seaweedfs,
    "aiohttp": _add_aiohttp,
}
NAMES: Final = tuple(_CONTENDERS)
