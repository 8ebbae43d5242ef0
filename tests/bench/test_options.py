"""Parts into one file: what is measured again replaces what was there; a part that fails keeps no other from it."""

import argparse
import json
from pathlib import Path

import pytest

from bench.options import Bench, measure
from bench.report import Kept
from bench.table import Table


def table_of(title: str, cell: str) -> Table:
    table = Table(title, ("what",))
    table.add(cell, figure=1)
    return table


def first(_bench: Bench) -> Table:
    return table_of("First", "old")


def again(_bench: Bench) -> Table:
    return table_of("First", "new")


def second(_bench: Bench) -> Table:
    return table_of("Second", "there")


def broken(_bench: Bench) -> Table:
    raise RuntimeError("the server did not start")


def options(folder: Path, *, quick: bool = False) -> argparse.Namespace:
    return argparse.Namespace(quick=quick, folder=folder, json=folder / "parts.json")


def rows(folder: Path) -> dict[str, list[list[str]]]:
    parts = Kept(folder).parts
    assert parts is not None
    return {sheet.title: sheet.rows for sheet in parts.tables}


@pytest.fixture(autouse=True)
def _where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' process stays on the cores it has."""
    monkeypatch.setattr("bench.machine.pin", lambda _core: None)


def test_a_table_measured_again_replaces_the_one_before_and_others_stay(tmp_path: Path) -> None:
    measure(options(tmp_path), [first, second])
    measure(options(tmp_path), [again])
    assert rows(tmp_path) == {"First": [["new"]], "Second": [["there"]]}


def test_the_whole_bench_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    measure(options(tmp_path), [first, second])
    measure(options(tmp_path), [again], whole=True)
    assert rows(tmp_path) == {"First": [["new"]]}


def test_figures_are_quick_until_all_of_them_were_measured_in_full(tmp_path: Path) -> None:
    measure(options(tmp_path, quick=True), [first, second])
    measure(options(tmp_path), [first])
    assert json.loads((tmp_path / "parts.json").read_bytes())["quick"]
    measure(options(tmp_path), [first, second])
    assert not json.loads((tmp_path / "parts.json").read_bytes())["quick"]


def test_a_part_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="broken: was not measured: the server did not start"):
        measure(options(tmp_path), [broken, second])
    parts = Kept(tmp_path).parts
    assert parts is not None
    assert [sheet.title for sheet in parts.tables] == ["Second"]
    assert parts.left_out[0].endswith("the server did not start")
