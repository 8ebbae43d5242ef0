"""Connections: what the daemon weighs with up to 10,000 idle ones, and with up to 1,000 downloads that trickle.

Memory is the daemon's resident set, and for downloads the highest it was (the kernel's mark, set back before). What the
kernel holds for sockets is not in it; it stands beside, of both ends, since both are here (proc(5), net/sockstat).
"""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.curve import Curve
from bench.gateway import Gateway
from bench.ground import ground
from bench.load import Job, Load
from bench.memory import idle_connections
from bench.options import Bench
from bench.table import Spread, size_text

IDLE: Final = (10, 100, 1_000, 10_000)
IDLE_KIB_MAX: Final = 16
SLOW: Final = (1, 10, 100, 1_000)
SLOW_MIB_MAX: Final = 100
OBJECT_BYTES: Final = 64 * 2**20
SIP_BYTES: Final = 16 * 2**10
SIP_EVERY_SECONDS: Final = 0.5
RECEIVE_BUFFER_BYTES: Final = 64 * 2**10
ANSWER_SECONDS: Final = 30
MIB: Final = 2**20


@contextmanager
def alone(bench: Bench) -> Iterator[tuple[Gateway, Load]]:
    """A fresh daemon that has answered before, and the load."""
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        gateway = stack.enter_context(Gateway(folder / "gateway"))
        load = stack.enter_context(Load())
        with idle_connections(gateway, 1):
            pass
        yield gateway, load


def idle(bench: Bench) -> Curve:
    """What one idle connection more weighs, by how many there are. Each has asked once."""
    curve = Curve.of(
        "idle",
        "An idle keep-alive connection, by how many there are",
        "idle connections",
        "KiB each",
        ("one connection more",),
        ("the daemon in all",),
    )
    counts = IDLE[:-1] if bench.quick else IDLE
    each: dict[int, list[float]] = {count: [] for count in counts}
    whole: dict[int, list[float]] = {count: [] for count in counts}
    for number in range(1 if bench.quick else 3):
        bench.say(f"idle connections: round {number + 1}")
        with alone(bench) as (gateway, _), ExitStack() as stack:
            open_by_now, memory = 0, gateway.memory()
            for count in counts:
                stack.enter_context(idle_connections(gateway, count - open_by_now))
                grown = gateway.memory() - memory
                each[count].append(grown / (count - open_by_now) / 1024)
                whole[count].append(gateway.memory())
                open_by_now, memory = count, gateway.memory()
    for count in counts:
        curve.measured(count, [Spread.of(each[count])], f"{Spread.of(whole[count]).middle / MIB:.1f} MiB")
    curve.notes.append("Memory comes in pages of 4 KiB and the allocator's larger pieces: ten connections tell little.")
    curve.expect_under("one connection more", IDLE_KIB_MAX)
    return curve


def slow(bench: Bench) -> Curve:
    """The daemon's memory while so many clients take a large object a sip at a time."""
    curve = Curve.of(
        "slow",
        f"Slow downloads at once, each of {size_text(OBJECT_BYTES)} at {_pace()} KiB/s",
        "slow downloads at once",
        "MiB",
        ("the daemon at its peak", "growth"),
        ("sockets, in the kernel", "CPU a second"),
    )
    for count in SLOW:
        bench.say(f"slow downloads: {count:,} at once")
        with alone(bench) as (gateway, load):
            _put(gateway, load)
            sockets, cpu = _socket_bytes(), gateway.cpu_seconds()
            started = time.perf_counter()
            with gateway.memory_watched() as watch, _sipping(gateway, count) as sips:
                sips(2 if bench.quick else 10)
                held = _socket_bytes() - sockets
            share = (gateway.cpu_seconds() - cpu) / (time.perf_counter() - started)
        spreads: list[Spread | None] = [Spread.of([figure / MIB]) for figure in (watch.peak, watch.growth)]
        curve.measured(count, spreads, f"{max(0, held) / MIB:.0f} MiB", f"{share * 1e3:.0f} ms")
    curve.expect_under("the daemon at its peak", SLOW_MIB_MAX)
    return curve


def _pace() -> int:
    return int(SIP_BYTES / SIP_EVERY_SECONDS / 1024)


def _put(gateway: Gateway, load: Load) -> None:
    target = gateway.target("PUT", "/bench/slow")
    load.run(
        Job(gateway.host, gateway.port, "PUT", [target], [201], 0, body_bytes=OBJECT_BYTES, requests=1, whole=True)
    )


class Sips:
    """Clients that have begun a download and take a little of it at a time."""

    def __init__(self, clients: list[socket.socket]) -> None:
        self._clients = clients

    def __call__(self, seconds: float) -> None:
        """Take sips for so long. Raises RuntimeError where a download has ended."""
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            for client in self._clients:
                if not client.recv(SIP_BYTES):
                    raise RuntimeError("a slow download was cut by the server")
            time.sleep(max(0.0, began + SIP_EVERY_SECONDS - time.monotonic()))


@contextmanager
def _sipping(gateway: Gateway, count: int) -> Iterator[Sips]:
    """So many downloads that have begun; each has its own connection and receive buffer of a small device."""
    target = gateway.target("GET", "/bench/slow")
    request = f"GET {target} HTTP/1.1\r\nHost: {gateway.host}:{gateway.port}\r\n\r\n".encode()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(count)]
        for client in clients:
            client.settimeout(ANSWER_SECONDS)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            client.connect((gateway.host, gateway.port))
            client.sendall(request)
        for client in clients:
            if not client.recv(SIP_BYTES).startswith(b"HTTP/1.1 200 "):
                raise RuntimeError("a slow download was not answered 200")
        yield Sips(clients)


def _socket_bytes() -> int:
    """What the kernel holds for TCP sockets of the whole machine."""
    found = re.search(r"^TCP: .* mem ([0-9]+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * os.sysconf("SC_PAGESIZE")
