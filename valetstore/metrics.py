"""Counters for Prometheus.

Rule 1: counting is a dictionary and an addition: it happens on the hot path, in one thread.
Rule 2: labels come from closed sets. What is in none of them is counted as `other`, so that no request
can make a series.
Rule 3: what belongs to others (how full the replay set is, how much disk is free) is asked for when the
metrics are read, and kept nowhere.
"""

import logging
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from valetstore.errors import REFUSALS
from valetstore.grants.grant import OPERATIONS

__all__ = ["CONTENT_TYPE", "Metrics", "Snapshot", "lasting", "merge"]

log = logging.getLogger(__name__)

Direction = Literal["in", "out"]
Labels = tuple[str, ...]
Callback = Callable[[], float]
_Row = TypeVar("_Row")
_Value = TypeVar("_Value")

OK: Final = "ok"
"""The code of an admitted request."""

NONE: Final = "none"
"""The dialect or operation of a request that was refused before it was known."""

OTHER: Final = "other"

CONNECTION_LOST: Final = "connection_lost"
"""The code of an admitted request whose connection ended first."""

DIALECTS_MAX: Final = 32
"""Dialects are named by their files in grants/, which this file does not know; it knows there are few."""

_CODES: Final = frozenset(REFUSALS) | {OK}
_FAILURES: Final = frozenset(REFUSALS) | {CONNECTION_LOST}
_OPERATIONS: Final = OPERATIONS | {NONE}
_DIALECT: Final = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,31}", re.ASCII)

# Seconds. A small object from the page cache takes less than a millisecond, one from a cold disk some
# ten; beyond 5 s a client gives up.
_FIRST_BYTE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Seconds. Transfers run from a thumbnail to a film over a slow line.
_DURATION_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0)
_ALL_BUCKETS: Final = tuple(sorted({*_FIRST_BYTE_BUCKETS, *_DURATION_BUCKETS}))
"""What falls between two of these falls into one bucket of each."""


class _Asked(NamedTuple):
    """A metric whose value is asked for: its help text, label names, and how several processes' add up."""

    help: str
    labels: Labels
    join: Callable[[Iterable[float]], float]
    is_counter: bool = False


_ASKED: Final[Mapping[str, _Asked]] = {
    "valetstore_transfers_in_flight": _Asked("Bodies on their way.", ("direction",), math.fsum),
    "valetstore_connections": _Asked("Open client connections.", (), math.fsum),
    "valetstore_fast_lane_total": _Asked(
        "Requests answered in the fast lane, by what was known of them.", ("known",), math.fsum, is_counter=True
    ),
    # One process owns these; no other says them.
    "valetstore_replay_entries": _Asked("Single-use keys that are remembered.", (), max),
    "valetstore_replay_entries_max": _Asked("How many single-use keys can be remembered.", (), max),
    "valetstore_replay_available": _Asked("1 where single use can be decided, else 0.", (), min),
    "valetstore_revocations": _Asked("Revocations in force.", (), max),
    "valetstore_revocations_available": _Asked("1 where revocation can be judged, else 0.", (), min),
    "valetstore_workers": _Asked("Worker processes that serve.", (), math.fsum),
    "valetstore_worker_replacements_total": _Asked("Workers replaced: dead or stuck.", (), math.fsum, is_counter=True),
    "valetstore_disk_free_bytes": _Asked("Room for objects on a volume.", ("volume",), min),
    "valetstore_audit_dropped_total": _Asked("Audit lines lost.", (), math.fsum, is_counter=True),
    # What every process says of itself. A page that several share counts for each.
    "process_cpu_seconds_total": _Asked("CPU seconds used by all processes.", (), math.fsum, is_counter=True),
    "process_resident_memory_bytes": _Asked("Memory of all processes.", (), math.fsum),
    "process_virtual_memory_bytes": _Asked("Address space of all processes.", (), math.fsum),
    "process_start_time_seconds": _Asked("When the first process started.", (), min),
    "process_open_fds": _Asked("Descriptors of the process that has the most open.", (), max),
    "process_max_fds": _Asked("Descriptors that each process may have open.", (), min),
}


class Histogram(msgspec.Struct):
    """Observations by bucket (not cumulative; the last is for what is above all bounds) and their sum."""

    counts: list[int]
    total: float = 0.0


class _HandedOut(msgspec.Struct):
    """Downloads that were over as they began: how many by bucket of _ALL_BUCKETS, their seconds and bytes in all."""

    counts: list[int]
    seconds: float = 0.0
    bytes: int = 0


class Snapshot(msgspec.Struct):
    """All figures of one process at one moment, as plain data: `msgspec.msgpack` carries it to another."""

    decisions: dict[Labels, int] = {}
    failures: dict[Labels, int] = {}
    moved: dict[str, int] = {}
    first_byte: dict[str, Histogram] = {}
    duration: dict[str, Histogram] = {}
    asked: dict[str, dict[Labels, float]] = {}


def lasting(snapshot: Snapshot) -> Snapshot:
    """What remains of a process that has ended: what it has counted, not what it had."""
    counted = {name: dict(values) for name, values in snapshot.asked.items() if _ASKED[name].is_counter}
    return msgspec.structs.replace(snapshot, asked=counted)


class Metrics:
    """The figures of one process; `version` is what `valetstore_build_info` says."""

    # Given, not imported: the package's own file opens the whole library, which stands above this one.
    def __init__(self, version: str = "unknown") -> None:
        self._version = version
        self._decisions: dict[Labels, int] = {}
        self._failures: dict[Labels, int] = {}
        # The two directions are there from the start: a rate needs the zero before the first byte.
        self._moved: dict[str, int] = {"in": 0, "out": 0}
        self._first_byte: dict[str, Histogram] = {}
        self._duration: dict[str, Histogram] = {}
        self._handed_out: dict[tuple[str, str], _HandedOut] = {}  # by dialect and operation
        self._callbacks: dict[tuple[str, Labels], Callback] = {}
        self._dialects = {NONE}
        self._process = ProcessCollector(registry=None)

    def decided(self, dialect: str, operation: str, code: str, times: int = 1) -> None:
        """Count a decision; `code` is `ok` or of the refusal table, "" stands for what is not known."""
        try:
            self._decisions[dialect, operation, code] += times
        except KeyError:
            row = (
                self._known_dialect(dialect or NONE),
                _known(operation or NONE, _OPERATIONS),
                _known(code, _CODES),
            )
            self._decisions[row] = self._decisions.get(row, 0) + times

    def failed(self, dialect: str, operation: str, code: str) -> None:
        """Count an admitted request that came to nothing; `code` is `connection_lost` or of the refusal table."""
        row = (
            self._known_dialect(dialect or NONE),
            _known(operation or NONE, _OPERATIONS),
            _known(code, _FAILURES),
        )
        self._failures[row] = self._failures.get(row, 0) + 1

    def ended(
        self, operation: str, seconds: float, first_byte: float | None = None, *, received: int = 0, sent: int = 0
    ) -> None:
        """Note the time from a request's head to the last byte of its answer, and to the first where there was one;
        count the bytes of bodies.
        """
        if first_byte is not None:
            _observe(self._first_byte, operation, _FIRST_BYTE_BUCKETS, first_byte)
        _observe(self._duration, operation, _DURATION_BUCKETS, seconds)
        self._moved["in"] += received
        self._moved["out"] += sent

    def handed_out(self, dialect: str, operation: str, seconds: float, count: int) -> None:
        """All of a download that was over as it began: `decided` and `ended` in one."""
        # Once here, and put to where it belongs when somebody asks: most of what is asked for is a small download.
        row = self._handed_out.get((dialect, operation))
        if row is None:
            row = self._handed_out[dialect, operation] = _HandedOut([0] * (len(_ALL_BUCKETS) + 1))
        row.counts[bisect_left(_ALL_BUCKETS, seconds)] += 1
        row.seconds += seconds
        row.bytes += count

    def _count_handed_out(self) -> None:
        """Put what `handed_out` has counted to where it belongs."""
        rows, self._handed_out = self._handed_out, {}
        for (dialect, operation), row in rows.items():
            self.decided(dialect, operation, OK, sum(row.counts))
            for histograms, bounds in ((self._first_byte, _FIRST_BYTE_BUCKETS), (self._duration, _DURATION_BUCKETS)):
                histogram = _histogram_of(histograms, operation, bounds)
                for bound, count in zip((*_ALL_BUCKETS, math.inf), row.counts, strict=True):
                    histogram.counts[bisect_left(bounds, bound)] += count
                histogram.total += row.seconds
            self._moved["out"] += row.bytes

    def gauge(self, name: str, labels: Mapping[str, str], callback: Callback) -> None:
        """Ask `callback` for this metric's value whenever the metrics are read; it must not block.

        Registering a name and labels again replaces the callback. Raises ValueError for a name or for
        labels that are not of the table.
        """
        if name not in _ASKED or set(labels) != set(_ASKED[name].labels):
            raise ValueError(f"{name} with labels {sorted(labels)} is not a metric of this gateway")
        self._callbacks[name, tuple(labels[label] for label in _ASKED[name].labels)] = callback

    def snapshot(self) -> Snapshot:
        """A copy of all figures, the callbacks' among them."""
        self._count_handed_out()
        asked: dict[str, dict[Labels, float]] = {}
        for (name, labels), callback in list(self._callbacks.items()):
            try:
                asked.setdefault(name, {})[labels] = float(callback())
            except Exception:  # one owner's trouble must not hide everyone's figures
                log.exception("%s cannot be read", name)
        for family in self._process.collect():
            for sample in family.samples:
                if sample.name in _ASKED:
                    asked[sample.name] = {(): sample.value}
        return Snapshot(
            dict(self._decisions),
            dict(self._failures),
            dict(self._moved),
            {operation: _copy(histogram) for operation, histogram in self._first_byte.items()},
            {operation: _copy(histogram) for operation, histogram in self._duration.items()},
            asked,
        )

    def exposition(self, others: Iterable[Snapshot] = ()) -> bytes:
        """The Prometheus text format, joined with the snapshots of other processes; see CONTENT_TYPE."""
        registry = CollectorRegistry()
        registry.register(_Families(merge([self.snapshot(), *others]), self._version))
        return generate_latest(registry)

    def _known_dialect(self, dialect: str) -> str:
        if dialect in self._dialects:
            return dialect
        if len(self._dialects) >= DIALECTS_MAX or not _DIALECT.fullmatch(dialect):
            return OTHER
        self._dialects.add(dialect)
        return dialect


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Several processes' figures as one's. The snapshots themselves stay as they are.

    Sums of fractions are rounded once, at their end: in another order, as another worker that is asked has it, they
    would else be a last digit smaller, and Prometheus takes a counter that falls for one that began anew.
    """
    parts = list(snapshots)
    return Snapshot(
        _added(part.decisions for part in parts),
        _added(part.failures for part in parts),
        _added(part.moved for part in parts),
        _joined(part.first_byte for part in parts),
        _joined(part.duration for part in parts),
        {
            name: {labels: _ASKED[name].join(values) for labels, values in _by_row(tables).items()}
            for name, tables in _by_row(part.asked for part in parts).items()
        },
    )


class _Families(Collector):
    """A snapshot as prometheus_client wants to collect it."""

    def __init__(self, snapshot: Snapshot, version: str) -> None:
        self._snapshot = snapshot
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield _coded("valetstore_decisions_total", "Requests admitted (code ok) or refused.", self._snapshot.decisions)
        yield _coded("valetstore_failures_total", "Admitted requests that came to nothing.", self._snapshot.failures)
        moved = CounterMetricFamily("valetstore_bytes_total", "Bytes of bodies moved.", labels=("direction",))
        for direction, count in self._snapshot.moved.items():
            moved.add_metric((direction,), count)
        yield moved
        yield _histogram(
            "valetstore_time_to_first_byte_seconds",
            "From a request's head to the first byte of its answer.",
            _FIRST_BYTE_BUCKETS,
            self._snapshot.first_byte,
        )
        yield _histogram(
            "valetstore_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            _DURATION_BUCKETS,
            self._snapshot.duration,
        )
        for name, values in self._snapshot.asked.items():
            yield _asked(name, values)
        build = GaugeMetricFamily("valetstore_build_info", "The version that runs.", labels=("version",))
        build.add_metric((self._version,), 1)
        yield build


def _coded(name: str, text: str, rows: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=("dialect", "operation", "code"))
    for row, count in sorted(rows.items()):
        family.add_metric(row, count)
    return family


def _asked(name: str, values: Mapping[Labels, float]) -> Metric:
    row = _ASKED[name]
    kind = CounterMetricFamily if row.is_counter else GaugeMetricFamily
    family = kind(name, row.help, labels=row.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _histogram(name: str, text: str, bounds: tuple[float, ...], rows: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("operation",))
    for operation, histogram in sorted(rows.items()):
        buckets: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*map(str, bounds), "+Inf"), histogram.counts, strict=True):
            seen += count
            buckets.append((bound, seen))
        family.add_metric((operation,), buckets, histogram.total)
    return family


def _observe(rows: dict[str, Histogram], operation: str, bounds: tuple[float, ...], seconds: float) -> None:
    histogram = _histogram_of(rows, operation, bounds)
    # A bucket holds what is at most its bound, hence the left-most one that is not below.
    histogram.counts[bisect_left(bounds, seconds)] += 1
    histogram.total += seconds


def _histogram_of(rows: dict[str, Histogram], operation: str, bounds: tuple[float, ...]) -> Histogram:
    histogram = rows.get(operation)
    if histogram is None:
        operation = _known(operation or NONE, _OPERATIONS)
        histogram = rows.setdefault(operation, Histogram([0] * (len(bounds) + 1)))
    return histogram


def _by_row(tables: Iterable[Mapping[_Row, _Value]]) -> dict[_Row, list[_Value]]:
    found: dict[_Row, list[_Value]] = {}
    for table in tables:
        for row, value in table.items():
            found.setdefault(row, []).append(value)
    return found


def _added(tables: Iterable[Mapping[_Row, int]]) -> dict[_Row, int]:
    return {row: sum(counts) for row, counts in _by_row(tables).items()}


def _joined(tables: Iterable[Mapping[str, Histogram]]) -> dict[str, Histogram]:
    return {
        operation: Histogram(
            [sum(counts) for counts in zip(*(each.counts for each in histograms), strict=True)],
            math.fsum(each.total for each in histograms),
        )
        for operation, histograms in _by_row(tables).items()
    }


def _copy(histogram: Histogram) -> Histogram:
    return Histogram(list(histogram.counts), histogram.total)


def _known(value: str, closed: frozenset[str]) -> str:
    return value if value in closed else OTHER
