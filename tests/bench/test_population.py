"""A bucket laid down for a curve is as the store would have left it, and the walks through its lists find all of it."""

import os
from pathlib import Path

import pytest

from bench import curves_lists, population
from bench.options import Bench
from bench.population import FOLDER_OBJECTS_MAX, OBJECT_BYTES, Population, populate, populated
from valetstore.storage.layout import Objects
from valetstore.storage.metadata import read, stored


def test_objects_are_laid_down_as_the_store_would_have_left_them(tmp_path: Path) -> None:
    bucket = Population("bench", 12)
    populate(tmp_path, bucket, print)
    for number in range(12):
        name = bucket.name(number)
        with open(tmp_path / "objects" / "bench" / Objects().to_path(name), "rb") as file:
            state, record = os.fstat(file.fileno()), stored(file.fileno())
            assert record is not None
            assert record.belongs_to(state)
            known = read(file.fileno(), state, name)
            assert (known.size, known.metadata.content_type) == (OBJECT_BYTES, "application/octet-stream")
            assert known.etag.endswith('-v"')


def test_no_folder_has_more_objects_than_it_may() -> None:
    million = Population("bench", 1_000_000)
    folders = [million.name(number).partition("/")[0] for number in range(0, million.size, FOLDER_OBJECTS_MAX // 2)]
    assert million.folders == len(set(folders)) == 10
    assert Population("bench", FOLDER_OBJECTS_MAX).folders == 1


def test_names_that_are_asked_for_are_there_and_new_ones_are_not() -> None:
    bucket = Population("bench", 250_000)
    there = {bucket.name(number) for number in range(bucket.size)}
    some = bucket.some(1_000, seed=1)
    assert set(some) <= there
    assert len(set(some)) == 1_000
    assert bucket.some(1_000, seed=1) == some
    assert not set(bucket.new(1_000, "x")) & there
    assert len(Population("bench", 10).some(25, seed=1)) == 25


def test_a_walk_through_a_folder_finds_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real daemon, two small buckets: one of a page, one of two."""
    monkeypatch.setattr(population, "QUICK_SIZES", (20, 1_100))
    bench = Bench(True, tmp_path)
    with populated(bench) as (gateway, load, populations):
        curve = curves_lists.walked(bench, gateway, load, populations)
    assert [(point.line, point.x) for point in curve.points] == [
        ("first page", 20),
        ("first page", 1_100),
        ("later pages", 1_100),
    ]
    assert [row[-1] for row in curve.rows] == ["2", "4"]
