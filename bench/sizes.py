"""Sizes: the same work at several sizes, each size in every round, so that what disturbs one disturbs all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.gateway import Gateway
from bench.load import Job, Load, Outcome
from bench.process import Process
from bench.table import Spread


@dataclass
class Size:
    """One size: the server that holds it and the job of a round, by its number (made before the clock starts)."""

    x: int
    server: Process
    job: Callable[[int], Job]
    after: Callable[[int], None] = lambda _number: None
    outcomes: list[Outcome] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def go(self, load: Load, number: int) -> None:
        """One round: what the load saw, and the server's processor time a request, in microseconds."""
        job = self.job(number)
        before = self.server.cpu_seconds()
        outcome = load.run(job)
        self.cpu_us.append((self.server.cpu_seconds() - before) / max(1, outcome.requests) * 1e6)
        self.outcomes.append(outcome)
        self.after(number)

    @property
    def cpu(self) -> Spread:
        """Processor time a request in microseconds, over the rounds."""
        return Spread.of(self.cpu_us)

    @property
    def memory(self) -> int:
        """Resident bytes of the server, now."""
        return self.server.memory()

    @property
    def rate_text(self) -> str:
        """Requests a second on the wall: the median of the rounds."""
        return f"{Spread.of([outcome.requests / outcome.seconds for outcome in self.outcomes]).middle:,.0f} /s"

    @property
    def p99_text(self) -> str:
        """The 99th percentile of an answer in milliseconds: the median of the rounds."""
        return f"{Spread.of([outcome.p99_ms for outcome in self.outcomes]).middle:.1f}"


def in_turns(load: Load, sizes: Sequence[Size], rounds: int) -> None:
    """Every size in every round; another begins each time. A round before the first does not count."""
    for number in range(rounds + 1):
        first = number % len(sizes)
        for size in (*sizes[first:], *sizes[:first]):
            size.go(load, number)
        if number == 0:
            for size in sizes:
                size.outcomes.clear()
                size.cpu_us.clear()


def once(
    gateway: Gateway,
    method: str,
    targets: list[str],
    statuses: list[int],
    body_bytes: int = 0,
    connections: int = 8,
) -> Job:
    """Each of the targets once, all of them."""
    return Job(
        gateway.host,
        gateway.port,
        method,
        targets,
        statuses,
        seconds=0,
        connections=min(connections, len(targets)),
        body_bytes=body_bytes,
        requests=len(targets),
        once=True,
        whole=True,
    )
