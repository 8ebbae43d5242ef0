"""The report of a run: progress while it lasts, then what came of it, for a person and as JSON."""

import time
from collections.abc import Callable
from typing import Final, TextIO

import msgspec

from bench.load.engine import LoadEngine
from bench.load.plan import Plan
from valetstore.units import show_size

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
_NAMES: Final = ("p50", "p90", "p99", "p99.9", "max")
BUSY_SHARE: Final = 0.9
"""From this share of a core on, the generator may be what is measured."""


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds that whole answers took, nearest rank."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float


class Report(msgspec.Struct, frozen=True):
    """What came of a run. Bytes are those of bodies; `failed` requests were answered otherwise or not at all."""

    method: str
    connections: int
    urls: int
    seconds: float
    requests: int
    failed: int
    cut: int
    """Still ran at the end; they count nowhere else."""
    requests_per_second: float
    bytes_received: int
    bytes_sent: int
    bytes_per_second: float
    latency_ms: Latency
    statuses: dict[str, int]
    errors: dict[str, int]
    generator_share: float
    """Of one core, what the generator itself took."""
    ended_early: str = ""

    def text(self) -> str:
        """A line for each thing a person asks about."""
        latencies = zip(_NAMES, msgspec.structs.astuple(self.latency_ms), strict=True)
        latency = "   ".join(f"{name} {value:,.2f}" for name, value in latencies)
        lines = [
            ", ".join(
                [self.method, _count(self.urls, "URL"), _count(self.connections, "connection"), f"{self.seconds:.1f} s"]
            ),
            f"requests    {self.requests:,} answered, {self.requests_per_second:,.0f} a second"
            + (f", {self.cut:,} cut at the end" if self.cut else ""),
            f"bodies      {_size(self.bytes_received + self.bytes_sent)}, {_size(self.bytes_per_second)} a second",
            f"latency ms  {latency}",
            f"statuses    {_counts(self.statuses) or 'none'}",
            f"failed      {self.failed:,}{': ' if self.errors else ''}{_counts(self.errors)}",
        ]
        if self.generator_share >= BUSY_SHARE:
            share = f"{self.generator_share:.0%}"
            lines.append(f"note        this generator used {share} of a core: the server may be faster than it can ask")
        if self.ended_early:
            lines.append(f"note        the run ended early: {self.ended_early}")
        return "\n".join(lines)


def report_of(engine: LoadEngine, urls: int, generator_seconds: float, ended_early: str) -> Report:
    """What came of a run that is over."""
    plan, tally, seconds = engine.plan, engine.tally, max(engine.seconds, 1e-9)
    times = tally.latencies
    p50, p90, p99, p99_9 = (times.percentile_ms(percent) for percent in PERCENTILES)
    latency = Latency(p50, p90, p99, p99_9, times.longest * 1000)
    return Report(
        plan.method,
        plan.connections,
        urls,
        engine.seconds,
        tally.answered,
        tally.failed,
        tally.cut,
        tally.answered / seconds,
        tally.moved,
        tally.sent,
        (tally.moved + tally.sent) / seconds,
        latency,
        {str(status): count for status, count in sorted(tally.statuses.items())},
        dict(tally.errors.most_common()),
        generator_seconds / seconds,
        engine.error or ended_early,
    )


def progress(out: TextIO, plan: Plan, every_seconds: float = 1.0) -> Callable[[LoadEngine], None]:
    """A line a second on `out`: one that is written over where a person watches, else one after the other."""
    watched = out.isatty()
    before = (0.0, 0, 0)

    def tell(engine: LoadEngine) -> None:
        nonlocal before
        elapsed, tally = engine.elapsed, engine.tally
        if elapsed - before[0] < every_seconds:
            return
        answered, moved = tally.answered, tally.moved + tally.sent
        span = elapsed - before[0]
        of = f" of {plan.seconds:g}" if plan.seconds is not None else ""
        line = (
            f"{elapsed:4.0f}{of} s  {(answered - before[1]) / span:9,.0f} requests/s"
            f"  {_size((moved - before[2]) / span):>10}/s  {tally.failed:,} failed"
        )
        before = (elapsed, answered, moved)
        out.write(f"\r\x1b[K{line}" if watched else f"{time.strftime('%H:%M:%S')} {line}\n")
        out.flush()

    return tell


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items())


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _size(count: float) -> str:
    return show_size(int(count))
