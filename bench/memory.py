"""Memory: how much the daemon grows while 2 GiB go in and come out, alone and beside 1,000 idle connections.

    python -m bench.memory [--quick]

Growth is from the fresh daemon (or the one with its idle connections) to the highest it ever was meanwhile:
the kernel's own high-water mark, set back before, and samples every 10 ms.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.gateway import Gateway
from bench.load import Job
from bench.options import Bench, run_alone
from bench.process import Watch
from bench.scene import Scene, open_scene
from bench.table import Table, size_text

BYTES: Final = 2 * 2**30
GROWTH_BYTES_MAX: Final = 32 * 2**20
"""What the project promises."""
IDLE: Final = 1_000
COLUMNS: Final = ("what", "RSS before MiB", "peak MiB", "after MiB", "growth MiB")


def run(bench: Bench) -> Table:
    """Alone, then beside idle connections: each with a fresh daemon."""
    table = Table(f"Memory of the daemon (promise: growth under {GROWTH_BYTES_MAX >> 20} MiB)", COLUMNS)
    with open_scene(bench) as scene:
        _transfers(bench, scene, table, "")
    with open_scene(bench) as scene, ExitStack() as stack:
        bench.say(f"memory: {IDLE:,} idle connections")
        with scene.gateway.memory_watched() as watch:
            stack.enter_context(idle_connections(scene.gateway))
        _row(table, f"{IDLE:,} idle connections, each of one request", watch)
        table.notes.append(f"An idle connection holds {(watch.after - watch.before) / IDLE / 1024:.1f} KiB.")
        _transfers(bench, scene, table, f", beside {IDLE:,} idle connections")
    return table


def _transfers(bench: Bench, scene: Scene, table: Table, beside: str) -> None:
    """One object in and out on one connection; then as many bytes in several objects at once."""
    gateway = scene.gateway
    for connections in (1,) if bench.quick else (1, 8):
        size = BYTES // connections
        for method in ("PUT", "GET"):
            title = f"{method} {f'{connections} x ' if connections > 1 else ''}{size_text(size)}{beside}"
            bench.say(f"memory: {title}")
            targets = [gateway.target(method, f"/bench/large-{number}") for number in range(connections)]
            job = Job(
                gateway.host,
                gateway.port,
                method,
                targets,
                [200, 201],
                seconds=0,
                connections=connections,
                body_bytes=size if method == "PUT" else 0,
                requests=connections,
                once=True,
                whole=True,
            )
            with gateway.memory_watched() as watch:
                scene.load.run(job)
            _row(table, title, watch)


def _row(table: Table, title: str, watch: Watch) -> None:
    figures = {"before": watch.before, "peak": watch.peak, "after": watch.after, "growth": watch.growth}
    verdict = "" if watch.growth < GROWTH_BYTES_MAX else " (!)"
    cells = [f"{figure / 2**20:.1f}" for figure in figures.values()]
    table.add(title, *cells[:-1], cells[-1] + verdict, what=title, **figures)


@contextmanager
def idle_connections(gateway: Gateway, count: int = IDLE) -> Iterator[None]:
    """So many connections that have asked once, and stay open."""
    target = gateway.target("GET", "/bench/nothing")
    request = f"GET {target} HTTP/1.1\r\nHost: {gateway.host}:{gateway.port}\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection((gateway.host, gateway.port), timeout=20))
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 404 "):
                raise RuntimeError("an idle connection was not answered")
        yield


if __name__ == "__main__":
    run_alone(run)
