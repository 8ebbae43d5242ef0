"""Fixtures that many tests share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.gate import Again, Gate

# How long an example takes says more about the machine and its other work than about the code.
settings.register_profile("valetstore", deadline=None)
settings.load_profile("valetstore")


SPARE = 2
"""So many more tests than cores at once. On two cores four took 0.8 of the time of two."""

AGAIN = 3
"""The general way, by known fields, by heart: after so many requests each way of the fast lane was gone."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--lane`: the fast lane is switched off in every gateway, or each download is asked for again to warm it."""
    parser.addoption("--lane", choices=("on", "off", "again"), default="on", help="the gateways' fast lane")


def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: tests wait for daemons, clocks and disks more than they compute."""
    return len(os.sched_getaffinity(0)) + SPARE


def pytest_configure(config: pytest.Config) -> None:
    """See `pytest_addoption`."""
    lane = config.getoption("--lane")
    if lane == "off":
        os.environ["VALETSTORE_FAST_LANE"] = "false"
    Again.times = AGAIN if lane == "again" else 0


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with default settings, shared by a module's tests."""
    with Gate(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Start gateways of one's own; they are stopped at the end."""
    running: list[Gate] = []

    def start_one(config: str = "", *args: str, **options: Any) -> Gate:
        folder = options.pop("folder", None) or tmp_path / f"gate{len(running)}"
        folder.mkdir(exist_ok=True)
        one = Gate(folder, config, args, **options)
        running.append(one)
        return one.start()

    yield start_one
    for one in running:
        if one.process and one.process.poll() is None:
            one.kill()
