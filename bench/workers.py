"""Workers: what 1, 2 and 4 of them serve, what a single use costs them, and how they are told, killed and replaced.

    python -m bench.workers [--quick]

Servers and load share all cores of this machine, so that the load takes from the workers what it needs itself; one
worker is the owner too, several ask it over a channel. Gateways take turns within each round. Single use is
measured beside the same requests with keys of any number of uses: each key is used once either way, and signed
before the clock starts.
"""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, Self

import uvloop

from bench.gateway import Gateway
from bench.ground import ground
from bench.load import Job, Load, Outcome
from bench.machine import CORES
from bench.options import Bench, measure, parser
from bench.table import Spread, Table, size_text
from valetstore.grants.claims import Claims
from valetstore.grants.native import REVOCATIONS_PATH
from valetstore.keys.ring import INTERNAL_NAME
from valetstore.keys.ringfile import RingFile
from valetstore.signing import Signer, token_for

WORKERS: Final = (1, 2, 4)
SIZES: Final = (2**10, 64 * 2**10)
RATE_CONNECTIONS: Final = 32
CLAIM_BYTES: Final = 2**10
CLAIMS: Final = (("GET", 1), ("GET", 16), ("GET", 64), ("PUT", 16))
FRESH_PER_SECOND: Final = {("GET", 16): 6_000, ("GET", 64): 6_000}
"""How many keys are made for each second of a round, where it is not FEW_PER_SECOND; one that runs out ends early."""
FEW_PER_SECOND: Final = 3_000
WARM_SECONDS: Final = 0.2

RELOADS: Final = 20
REVOCATIONS: Final = 200
SETTLED_SECONDS: Final = 10.5
"""A worker that ends earlier than this is replaced after a pause: it might be unable to live."""
WATCHED_SECONDS: Final = 3.0
"""How long clients are watched after a kill, and before it for comparison."""
CLIENTS: Final = 8
EVERY_SECONDS: Final = 0.01
ANSWER_SECONDS: Final = 30

RATE_COLUMNS: Final = ("what", "workers", "requests/s", "to 1 worker (min-max)", "p99 ms", "CPU a request")
CLAIM_COLUMNS: Final = (
    "what",
    "connections",
    "workers",
    "one use /s",
    "to 1 worker (min-max)",
    "to any number of uses (min-max)",
    "p50 ms",
    "p99 ms",
    "CPU a request",
    "CPU, unlimited",
    "of it the owner",
)
CREW_COLUMNS: Final = (
    "workers",
    "RSS supervisor MiB",
    "RSS a worker MiB",
    "PSS in all MiB",
    "SIGHUP ms (max)",
    "revoke ms (p99)",
    "SIGKILL to served ms (max)",
    "longest pause ms (max)",
    "without a kill ms (max)",
    "connections cut",
)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


Target = Callable[[str, str], str]
"""Signs a method and a path: what stands in the request line."""


class Crew(Gateway):
    """A gateway with so many workers, each on whichever core is free. Alone it is supervisor and worker at once."""

    def __init__(self, folder: Path, workers: int, cores: Sequence[int] = CORES) -> None:
        super().__init__(folder)
        self.workers = workers
        self._cores = cores
        self._command += ["--workers", str(workers)]
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.settimeout(ANSWER_SECONDS)

    def __enter__(self) -> Self:
        name = f"valetstore-bench-{os.getpid()}-{id(self)}"
        self._notices.bind(f"\0{name}")
        os.environ["NOTIFY_SOCKET"] = f"@{name}"
        try:
            super().__enter__()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        self._wait_until_ready()
        for pid in (self.pid, *self.crew()):
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), self._cores)  # later ones inherit it
        return self

    def __exit__(self, *what: object) -> None:
        super().__exit__(*what)
        self._notices.close()

    def crew(self) -> list[int]:
        """The workers' processes, the oldest first; none where the only process serves itself."""
        files = Path(f"/proc/{self.pid}/task").glob("*/children")
        return sorted((int(pid) for file in files for pid in file.read_text().split()), key=lambda pid: -_age(pid))

    def cpu_seconds(self) -> float:
        """Processor time of supervisor and workers together."""
        return self.owner_cpu_seconds() + sum(_cpu_seconds(pid) for pid in self.crew())

    def owner_cpu_seconds(self) -> float:
        """The supervisor's own; with one worker that is all there is."""
        return super().cpu_seconds()

    def reload(self) -> float:
        """Seconds from SIGHUP until it says that every worker serves by what was read."""
        began = time.perf_counter()
        os.kill(self.pid, signal.SIGHUP)
        self._wait_until_ready()
        return time.perf_counter() - began

    def _wait_until_ready(self) -> None:
        while b"READY=1" not in self._notices.recv(4096).split(b"\n"):
            pass


# --- requests a second -------------------------------------------------------------------------------------


@dataclass
class Lane:
    """One of those that take turns: a gateway, and the job of each round (made before the clock starts)."""

    crew: Crew
    job: Callable[[float], Job]
    outcomes: list[Outcome] = field(default_factory=list)
    cpu: float = 0.0
    owner_cpu: float = 0.0

    def go(self, load: Load, seconds: float) -> None:
        """One round."""
        job = self.job(seconds)
        owner, everyone = self.crew.owner_cpu_seconds(), self.crew.cpu_seconds()
        self.outcomes.append(load.run(job))
        self.owner_cpu += self.crew.owner_cpu_seconds() - owner
        self.cpu += self.crew.cpu_seconds() - everyone

    @property
    def rates(self) -> list[float]:
        """Requests a second, by rounds."""
        return [outcome.requests / outcome.seconds for outcome in self.outcomes]

    @property
    def requests(self) -> int:
        """Of all rounds."""
        return sum(outcome.requests for outcome in self.outcomes)

    def to(self, other: "Lane") -> Spread:
        """How much faster than another, round by round."""
        return Spread.of([ours / theirs for ours, theirs in zip(self.rates, other.rates, strict=True)])

    def middle_ms(self, name: str) -> float:
        """The median over the rounds of `p50_ms` or `p99_ms`."""
        return Spread.of([getattr(outcome, name) for outcome in self.outcomes]).middle


def take_turns(bench: Bench, load: Load, lanes: Sequence[Lane]) -> None:
    """All rounds; who begins changes with every one."""
    for lane in lanes:
        load.run(lane.job(WARM_SECONDS))
    for number in range(bench.rounds):
        first = number % len(lanes)
        for lane in (*lanes[first:], *lanes[:first]):
            lane.go(load, bench.seconds)


def rates(bench: Bench) -> Table:
    """GETs with keys of any number of uses."""
    table = Table(f"GET by workers (signed, keep-alive, {RATE_CONNECTIONS} connections)", RATE_COLUMNS)
    with _crews(bench) as (crews, load):
        for size in SIZES:
            bench.say(f"workers: GET {size_text(size)}")
            for crew in crews:
                load.run(_put(crew, [crew.target("PUT", _path(size))], 0, 1, size))
            lanes = [Lane(crew, _unlimited_get(crew, size, RATE_CONNECTIONS)) for crew in crews]
            take_turns(bench, load, lanes)
            for lane in lanes:
                ratio, p99 = lane.to(lanes[0]), lane.middle_ms("p99_ms")
                cost, speed = lane.cpu / lane.requests, Spread.of(lane.rates)
                table.add(
                    f"GET {size_text(size)}",
                    str(lane.crew.workers),
                    f"{speed.middle:,.0f}",
                    str(ratio),
                    f"{p99:.1f}",
                    _cost_text(cost),
                    size=size,
                    workers=lane.crew.workers,
                    requests_per_second=speed,
                    ratio=ratio,
                    p99_ms=p99,
                    cpu_seconds_per_request=cost,
                )
    return table


def claims(bench: Bench) -> Table:
    """Requests with keys of one use each, beside the same with keys of any number of uses."""
    table = Table(f"Single use by workers ({size_text(CLAIM_BYTES)}, a fresh key each, keep-alive)", CLAIM_COLUMNS)
    with _crews(bench) as (crews, load):
        for crew in crews:
            load.run(_put(crew, [crew.target("PUT", _path(CLAIM_BYTES))], 0, 1, CLAIM_BYTES))
        names = count()
        for method, connections in CLAIMS:
            bench.say(f"workers: {method} with one use, connections: {connections}")
            make = _fresh_get if method == "GET" else partial(_fresh_put, names)
            limited = [Lane(crew, make(crew, crew.one_time_target, connections)) for crew in crews]
            free = [Lane(crew, make(crew, crew.fresh_target, connections)) for crew in crews]
            take_turns(bench, load, [lane for pair in zip(limited, free, strict=True) for lane in pair])
            for lane, beside in zip(limited, free, strict=True):
                _claim_row(table, method, connections, lane, beside, limited[0])
    return table


def _claim_row(table: Table, method: str, connections: int, lane: Lane, beside: Lane, alone: Lane) -> None:
    speed, p50, p99 = Spread.of(lane.rates), lane.middle_ms("p50_ms"), lane.middle_ms("p99_ms")
    cost, cost_beside, owner = lane.cpu / lane.requests, beside.cpu / beside.requests, lane.owner_cpu / lane.requests
    table.add(
        f"{method} with one use",
        str(connections),
        str(lane.crew.workers),
        f"{speed.middle:,.0f}",
        str(lane.to(alone)),
        str(lane.to(beside)),
        f"{p50:.1f}",
        f"{p99:.1f}",
        _cost_text(cost),
        _cost_text(cost_beside),
        _cost_text(owner) if lane.crew.workers > 1 else "-",
        method=method,
        connections=connections,
        workers=lane.crew.workers,
        requests_per_second=speed,
        unlimited_requests_per_second=Spread.of(beside.rates),
        ratio_to_one_worker=lane.to(alone),
        ratio_to_unlimited=lane.to(beside),
        p50_ms=p50,
        p99_ms=p99,
        cpu_seconds_per_request=cost,
        unlimited_cpu_seconds_per_request=cost_beside,
        owner_cpu_seconds_per_request=owner,
    )


def _unlimited_get(crew: Crew, size: int, connections: int) -> Callable[[float], Job]:
    targets = [crew.target("GET", _path(size))]
    return lambda seconds: Job(crew.host, crew.port, "GET", targets, [200], seconds, connections)


def _fresh_get(crew: Crew, target: Target, connections: int) -> Callable[[float], Job]:
    """One object, asked for with a key of its own each time."""

    def job(seconds: float) -> Job:
        targets = [target("GET", _path(CLAIM_BYTES)) for _ in range(_fresh("GET", connections, seconds))]
        return Job(crew.host, crew.port, "GET", targets, [200], seconds, connections, once=True)

    return job


def _fresh_put(names: Iterator[int], crew: Crew, target: Target, connections: int) -> Callable[[float], Job]:
    """New objects, each with a key of its own."""

    def job(seconds: float) -> Job:
        targets = [target("PUT", f"/bench/new-{next(names)}") for _ in range(_fresh("PUT", connections, seconds))]
        return _put(crew, targets, seconds, connections, CLAIM_BYTES)

    return job


def _fresh(method: str, connections: int, seconds: float) -> int:
    return int(FRESH_PER_SECOND.get((method, connections), FEW_PER_SECOND) * seconds)


def _put(crew: Crew, targets: list[str], seconds: float, connections: int, size: int) -> Job:
    requests = 0 if seconds else len(targets)
    return Job(
        crew.host,
        crew.port,
        "PUT",
        targets,
        [200, 201],
        seconds,
        connections,
        body_bytes=size,
        requests=requests,
        once=True,
        whole=True,
    )


# --- told, killed, replaced ---------------------------------------------------------------------------------


@dataclass
class Kills:
    """What came of killing workers, in seconds each: until a replacement served, the longest a client waited that
    lost no connection, and the longest without a kill; and how many connections were cut."""

    served: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    cut: int = 0


@dataclass
class Waits:
    """What clients saw while they were watched: how long answers took, and how many connections were cut."""

    seconds: list[float] = field(default_factory=list)
    cut: int = 0


def crew(bench: Bench) -> Table:
    """Memory at rest, a reload, a revocation, a kill."""
    table = Table("Crews: memory at rest, reloads, revocations over HTTP, a worker killed", CREW_COLUMNS)
    with _crews(bench) as (crews, load):
        for one in crews:
            load.run(_put(one, [one.target("PUT", _path(CLAIM_BYTES))], 0, 1, CLAIM_BYTES))
            load.run(_unlimited_get(one, CLAIM_BYTES, RATE_CONNECTIONS)(bench.seconds))
        time.sleep(1)
        weights = [_weigh(one) for one in crews]
        bench.say("workers: reloads and revocations")
        reloads = [sorted(one.reload() for _ in range(RELOADS)) for one in crews]
        revoked = [sorted(_revoke(one)) for one in crews]
        kills = [Kills() for _ in crews]
        for number in range(bench.rounds):
            bench.say(f"workers: kills, round {number + 1}")
            for one, found in zip(crews, kills, strict=True):
                if one.workers > 1:
                    found.served.append(_kill_until_served(one))
                    _kill_beside_clients(one, found)
        for one, weight, reload, revoke, found in zip(crews, weights, reloads, revoked, kills, strict=True):
            _crew_row(table, one, weight, reload, revoke, found)
    table.notes.append(
        f"A killed worker's own clients lose their connections; {CLIENTS} on keep-alive connections and one that makes "
        f"a new one each time ask every {EVERY_SECONDS * 1e3:.0f} ms."
    )
    return table


@dataclass(frozen=True)
class Weight:
    """Bytes: resident in the supervisor, in each worker on average, and the proportional set of all of them."""

    supervisor: int
    worker: float
    together: int


def _weigh(one: Crew) -> Weight:
    crew = one.crew()
    resident = [_rollup(pid, "Rss") for pid in crew]
    together = sum(_rollup(pid, "Pss") for pid in (one.pid, *crew))
    return Weight(_rollup(one.pid, "Rss"), sum(resident) / len(resident) if resident else 0, together)


def _crew_row(
    table: Table, one: Crew, weight: Weight, reloads: list[float], revoked: list[float], kills: Kills
) -> None:
    p99 = revoked[len(revoked) * 99 // 100]
    table.add(
        str(one.workers),
        _mebi_text(weight.supervisor),
        _mebi_text(weight.worker) if weight.worker else "-",
        _mebi_text(weight.together),
        _most_text(reloads),
        f"{Spread.of(revoked).middle * 1e3:.1f} ({p99 * 1e3:.1f})",
        _most_text(kills.served),
        _most_text(kills.pauses),
        _most_text(kills.calm),
        str(kills.cut) if kills.served else "-",
        workers=one.workers,
        weight=weight,
        reload_seconds=Spread.of(reloads),
        revoke_seconds=Spread.of(revoked),
        revoke_seconds_p99=p99,
        kills=kills,
    )


def _revoke(one: Crew) -> Iterator[float]:
    """Seconds that each of some revocations takes, of subjects that nobody has."""
    signer, now = Signer.from_ring(RingFile(one.data), INTERNAL_NAME), int(time.time())
    claims = Claims(exp=now + ANSWER_SECONDS, iat=now, ops=["admin"], prefix=f"{REVOCATIONS_PATH}/", sub="bench")
    headers = {"Authorization": f"Bearer {token_for(signer, claims)}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection(one.host, one.port, timeout=ANSWER_SECONDS)) as connection:
        for number in range(REVOCATIONS):
            body = json.dumps({"subject": f"nobody-{number}", "reason": "bench"})
            began = time.perf_counter()
            connection.request("POST", f"{REVOCATIONS_PATH}/", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            yield time.perf_counter() - began
            if answer.status != 201:
                raise RuntimeError(f"a revocation was answered {answer.status}: {text[:400]!r}")


def _kill_until_served(one: Crew) -> float:
    """Seconds from SIGKILL until a client is served whom only the replacement can serve: the others are stopped."""
    victim = _settled(one)
    others = [pid for pid in one.crew() if pid != victim]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        _ask_once(one)
        return time.perf_counter() - began
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def _kill_beside_clients(one: Crew, found: Kills) -> None:
    """Clients ask, a worker is killed, the others' clients must not notice."""
    victim = _settled(one)
    calm, shaken = uvloop.run(_watched(one, lambda: os.kill(victim, signal.SIGKILL)))
    found.calm.append(max(calm.seconds))
    found.pauses.append(max(shaken.seconds))
    found.cut += shaken.cut
    if calm.cut:
        raise RuntimeError("connections were cut before any worker was killed")


def _settled(one: Crew) -> int:
    """The oldest worker, once the crew is complete and it has lived for a while."""
    while len(crew := one.crew()) < one.workers or _age(crew[0]) < SETTLED_SECONDS:
        time.sleep(0.1)
    return crew[0]


def _ask_once(one: Crew) -> None:
    """A new connection, one GET. A connection that the victim had accepted already is made anew."""
    end = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end:
        with suppress(ConnectionError), socket.create_connection((one.host, one.port), ANSWER_SECONDS) as connection:
            connection.sendall(_get(one))
            if connection.recv(65536).startswith(b"HTTP/1.1 200 "):
                return
    raise RuntimeError("no replacement has served")


async def _watched(one: Crew, shake: Callable[[], None]) -> tuple[Waits, Waits]:
    """What clients see in a calm while, and in one that begins with `shake`."""
    request, calm, shaken = _get(one), Waits(), Waits()
    now = calm

    async def client(*, anew: bool) -> None:
        reader, writer = await asyncio.open_connection(one.host, one.port)
        while True:
            seen, began = now, time.perf_counter()
            try:
                if anew:
                    writer.close()
                    reader, writer = await asyncio.open_connection(one.host, one.port)
                writer.write(request)
                await _answer(reader)
                seen.seconds.append(time.perf_counter() - began)
            except (OSError, asyncio.IncompleteReadError):
                now.cut += 1
                reader, writer = await asyncio.open_connection(one.host, one.port)
            await asyncio.sleep(EVERY_SECONDS)

    clients = [asyncio.create_task(client(anew=number == CLIENTS)) for number in range(CLIENTS + 1)]
    await asyncio.sleep(WATCHED_SECONDS)
    now = shaken
    shake()
    await asyncio.wait(clients, timeout=WATCHED_SECONDS)
    for task in clients:
        task.cancel()
    for ended in await asyncio.gather(*clients, return_exceptions=True):
        if not isinstance(ended, asyncio.CancelledError):
            raise RuntimeError("a client ended early") from (ended if isinstance(ended, BaseException) else None)
    return calm, shaken


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"a client was answered {head[:400]!r}")
    await reader.readexactly(CLAIM_BYTES)


def _get(one: Crew) -> bytes:
    return f"GET {one.target('GET', _path(CLAIM_BYTES))} HTTP/1.1\r\nHost: {one.host}:{one.port}\r\n\r\n".encode()


# --- what all share -----------------------------------------------------------------------------------------


@contextmanager
def _crews(bench: Bench) -> Iterator[tuple[list[Crew], Load]]:
    """Gateways of 1, 2 and 4 workers, and the load; all end together."""
    with ExitStack() as stack:
        folder = stack.enter_context(ground(bench.folder))
        crews = [stack.enter_context(Crew(folder / f"crew-{workers}", workers)) for workers in WORKERS]
        yield crews, stack.enter_context(Load())


def _path(size: int) -> str:
    return f"/bench/object-{size}"


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process's threads so far; nothing of one that has just gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _age(pid: int) -> float:
    """Seconds since a process began; nothing for one that has just gone."""
    fields = _stat(pid)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS if fields else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5))."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _rollup(pid: int, what: str) -> int:
    """Bytes of a process's memory: `Rss`, or `Pss`, where pages that several share count as parts of one."""
    found = re.search(rf"^{what}:\s+([0-9]+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _cost_text(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs"


def _mebi_text(size: float) -> str:
    return f"{size / 2**20:.1f}"


def _most_text(seconds: list[float]) -> str:
    """Median and most, in milliseconds."""
    if not seconds:
        return "-"
    spread = Spread.of(seconds)
    return f"{spread.middle * 1e3:.1f} ({spread.most * 1e3:.1f})"


if __name__ == "__main__":
    measure(parser(__doc__).parse_args(), [rates, claims, crew])
