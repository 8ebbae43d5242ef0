"""Fixtures that many tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.gate import Gate

# How long an example takes says more about the machine and its other work than about the code.
settings.register_profile("valetstore", deadline=None)
settings.load_profile("valetstore")


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
