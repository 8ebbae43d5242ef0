"""The figures are right, add up over processes, and no request can make a series."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from valetstore.errors import REFUSALS
from valetstore.grants.grant import OPERATIONS
from valetstore.metrics import CONTENT_TYPE, Metrics, Snapshot, merge

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: bytes) -> Samples:
    """What a Prometheus server would store."""
    found = {}
    for family in text_string_to_metric_families(text.decode("utf-8")):
        assert family.documentation, f"{family.name} has no help text"
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics.exposition()).get((name, frozenset(labels.items())))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_decisions_are_counted_by_dialect_operation_and_code(metrics: Metrics) -> None:
    for _ in range(3):
        metrics.decided("native", "read", "ok")
    metrics.decided("native", "read", "key_expired")
    name = "valetstore_decisions_total"
    assert value(metrics, name, dialect="native", operation="read", code="ok") == 3
    assert value(metrics, name, dialect="native", operation="read", code="key_expired") == 1


def test_a_refusal_before_anything_is_known_has_no_dialect_and_no_operation(metrics: Metrics) -> None:
    metrics.decided("", "", "key_missing")
    name = "valetstore_decisions_total"
    assert value(metrics, name, dialect="none", operation="none", code="key_missing") == 1


def test_every_code_of_the_refusal_table_is_a_label(metrics: Metrics) -> None:
    for code in REFUSALS:
        metrics.decided("s3", "write", code)
    found = {dict(labels).get("code") for _, labels in samples(metrics.exposition())}
    assert set(REFUSALS) <= found


def test_what_was_admitted_and_failed_is_counted_beside_the_decisions(metrics: Metrics) -> None:
    metrics.decided("native", "write", "ok")
    metrics.failed("native", "write", "storage_full")
    metrics.failed("native", "write", "connection_lost")
    name = "valetstore_failures_total"
    assert value(metrics, name, dialect="native", operation="write", code="storage_full") == 1
    assert value(metrics, name, dialect="native", operation="write", code="connection_lost") == 1
    assert value(metrics, "valetstore_decisions_total", dialect="native", operation="write", code="ok") == 1


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=200))
def test_no_text_of_a_request_can_make_more_than_a_few_series(rows: list[tuple[str, str, str]]) -> None:
    metrics = Metrics()
    for dialect, operation, code in rows:
        metrics.decided(dialect, operation, code)
        metrics.failed(dialect, operation, code)
        metrics.ended(operation, 0.1, 0.1)
    snapshot = metrics.snapshot()
    assert len({row[0] for row in snapshot.decisions}) <= 33
    operations = OPERATIONS | {"other", "none"}
    assert {row[1] for row in snapshot.decisions} <= operations
    assert {row[2] for row in snapshot.decisions} <= {*REFUSALS, "ok", "other"}
    assert {row[1] for row in snapshot.failures} <= operations
    assert {row[2] for row in snapshot.failures} <= {*REFUSALS, "connection_lost", "other"}
    assert set(snapshot.first_byte) | set(snapshot.duration) <= operations
    assert sum(snapshot.decisions.values()) == len(rows)
    samples(metrics.exposition())


def test_more_dialects_than_there_can_be_are_counted_as_other(metrics: Metrics) -> None:
    for number in range(1000):
        metrics.decided(f"d{number}", "read", "ok")
    rows = metrics.snapshot().decisions
    assert len(rows) < 40
    assert rows["other", "read", "ok"] > 900


def test_bytes_start_at_zero_in_both_directions_and_add_up(metrics: Metrics) -> None:
    assert value(metrics, "valetstore_bytes_total", direction="out") == 0
    metrics.ended("write", 1, received=5)
    metrics.ended("write", 1, received=2**40)
    assert value(metrics, "valetstore_bytes_total", direction="in") == 2**40 + 5


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (5.0, "5.0"), (5.1, "+Inf")]
)
def test_an_observation_falls_into_the_first_bucket_that_is_not_below_it(
    metrics: Metrics, seconds: float, bound: str
) -> None:
    metrics.ended("read", 9, seconds)
    name = "valetstore_time_to_first_byte_seconds"
    bounds = [
        (float(dict(labels)["le"]), found)
        for (sample, labels), found in samples(metrics.exposition()).items()
        if sample == f"{name}_bucket"
    ]
    assert all(found == (le >= float(bound)) for le, found in bounds)
    assert value(metrics, f"{name}_count", operation="read") == 1
    assert value(metrics, f"{name}_sum", operation="read") == seconds


@given(st.lists(st.tuples(st.sampled_from(("read", "list")), st.floats(0, 4000) | st.sampled_from((0.001, 0.05, 5.0)))))
def test_what_was_handed_out_at_once_is_counted_like_anything_else(rows: list[tuple[str, float]]) -> None:
    """In the same buckets, whenever somebody looks."""
    short, long = Metrics(), Metrics()
    for at, (operation, seconds) in enumerate(rows):
        short.handed_out("native", operation, seconds, 7)
        long.decided("native", operation, "ok")
        long.ended(operation, seconds, seconds, sent=7)
        if at % 3 == 0:
            short.snapshot()
    one, other = short.snapshot(), long.snapshot()
    assert (one.decisions, one.moved) == (other.decisions, other.moved)
    for mine, theirs in ((one.first_byte, other.first_byte), (one.duration, other.duration)):
        assert {name: row.counts for name, row in mine.items()} == {name: row.counts for name, row in theirs.items()}
        assert all(row.total == pytest.approx(theirs[name].total) for name, row in mine.items())


def test_what_belongs_to_others_is_asked_for_at_each_reading(metrics: Metrics) -> None:
    entries = [1]
    metrics.gauge("valetstore_replay_entries", {}, lambda: entries[0])
    metrics.gauge("valetstore_disk_free_bytes", {"volume": "data"}, lambda: 10**12)
    assert value(metrics, "valetstore_replay_entries") == 1
    entries[0] = 2
    assert value(metrics, "valetstore_replay_entries") == 2
    assert value(metrics, "valetstore_disk_free_bytes", volume="data") == 10**12


def test_an_owner_in_trouble_hides_nobody_elses_figures(metrics: Metrics) -> None:
    def broken() -> float:
        raise OSError("gone")

    metrics.gauge("valetstore_connections", {}, broken)
    metrics.gauge("valetstore_replay_entries", {}, lambda: 1)
    assert value(metrics, "valetstore_connections") is None
    assert value(metrics, "valetstore_replay_entries") == 1


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("valetstore_surprise", {}),
        ("valetstore_connections", {"path": "/x"}),
        ("valetstore_disk_free_bytes", {}),
    ],
)
def test_only_metrics_of_the_table_can_be_registered(metrics: Metrics, name: str, labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=name):
        metrics.gauge(name, labels, lambda: 0)


def test_dropped_audit_lines_are_a_counter(metrics: Metrics) -> None:
    metrics.gauge("valetstore_audit_dropped_total", {}, lambda: 3)
    assert b"# TYPE valetstore_audit_dropped_total counter" in metrics.exposition()
    assert value(metrics, "valetstore_audit_dropped_total") == 3


def test_the_version_and_the_process_are_there() -> None:
    metrics = Metrics("1.2.3")
    assert value(metrics, "valetstore_build_info", version="1.2.3") == 1
    assert value(metrics, "process_resident_memory_bytes")
    assert CONTENT_TYPE.startswith("text/plain")


def worker(number: int) -> Metrics:
    metrics = Metrics()
    metrics.decided("native", "read", "ok")
    metrics.decided("native", "read", ["ok", "key_used"][number % 2])
    metrics.failed("native", "write", ["storage_error", "connection_lost"][number % 2])
    metrics.ended(["read", "write"][number % 2], 20, 0.002, sent=100)
    metrics.gauge("valetstore_connections", {}, lambda: 10 + number)
    metrics.gauge("valetstore_disk_free_bytes", {"volume": "data"}, lambda: 1000 - number)
    metrics.gauge("valetstore_replay_entries", {}, lambda: 7)
    return metrics


def test_several_workers_figures_add_up_to_one_exposition() -> None:
    """What each has its own of is summed; what all see of one thing is not."""
    found = samples(worker(0).exposition([worker(1).snapshot(), worker(2).snapshot()]))

    def at(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert at("valetstore_decisions_total", dialect="native", operation="read", code="ok") == 5
    assert at("valetstore_decisions_total", dialect="native", operation="read", code="key_used") == 1
    assert at("valetstore_failures_total", dialect="native", operation="write", code="storage_error") == 2
    assert at("valetstore_bytes_total", direction="out") == 300
    assert at("valetstore_time_to_first_byte_seconds_count", operation="read") == 2
    assert at("valetstore_time_to_first_byte_seconds_count", operation="write") == 1
    assert at("valetstore_request_duration_seconds_sum", operation="read") == 40
    assert at("valetstore_request_duration_seconds_bucket", operation="write", le="60.0") == 1
    assert at("valetstore_connections") == 33
    assert at("valetstore_disk_free_bytes", volume="data") == 998
    assert at("valetstore_replay_entries") == 7


def test_merging_changes_none_of_the_snapshots() -> None:
    snapshots = [worker(number).snapshot() for number in range(3)]
    before = msgspec.msgpack.encode(snapshots)
    assert merge(snapshots) == merge(reversed(snapshots))
    assert merge([]) == Snapshot()
    assert msgspec.msgpack.encode(snapshots) == before


def fractions(seconds: float) -> Snapshot:
    metrics = Metrics()
    metrics.ended("read", seconds, seconds)
    snapshot = metrics.snapshot()
    snapshot.asked = {"process_cpu_seconds_total": {(): seconds}}
    return snapshot


@given(st.permutations([0.1, 0.2, 0.3, 1e15]))
def test_merging_is_the_same_in_any_order(order: list[float]) -> None:
    """Each worker that is asked begins with itself. A counter that fell by a last digit would count as begun anew."""
    merged = merge(fractions(seconds) for seconds in order)
    total = math.fsum(order)
    assert merged == merge(fractions(seconds) for seconds in sorted(order))
    assert merged.asked["process_cpu_seconds_total"][()] == total
    assert merged.first_byte["read"].total == merged.duration["read"].total == total


def test_a_snapshot_travels_between_processes_as_msgpack() -> None:
    snapshot = worker(1).snapshot()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot) == snapshot


def test_counting_goes_on_while_an_old_snapshot_stays_what_it_was(metrics: Metrics) -> None:
    metrics.ended("read", 1)
    snapshot = metrics.snapshot()
    metrics.ended("read", 1)
    assert sum(snapshot.duration["read"].counts) == 1
