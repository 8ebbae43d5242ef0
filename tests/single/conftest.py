"""Uploads whose clients pause for longer than a lease: begun before all else, so that other tests run meanwhile."""

from collections.abc import Iterator

import pytest

from tests.edge.conftest import inspect
from tests.gate import Gate
from tests.single.crowd import Paused


@pytest.fixture(scope="session", autouse=True)
def paused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paused | None]:
    """Three uploads, each with a key for one use; None where no test of this run asks for them."""
    if not any("test_paused" in item.nodeid for item in request.session.items):
        yield None
        return
    settings = "[limits]\nupload-bytes-per-second-min = 0\nrate-grace-seconds = 3600\n"
    with Gate(tmp_path_factory.mktemp("paused"), settings) as gate:
        with Paused(gate) as made:
            yield made
        inspect(gate)
