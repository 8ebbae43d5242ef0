"""What the edge's tests share: a gate whose log and files are looked through when its module is done."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.edge.doors import Door
from tests.gate import Gate

TOKEN: Final = re.compile(rb"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+")
QUERY: Final = re.compile(rb"valet=[^*]")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway with default settings, shared by a module's tests, inspected at the end."""
    with Gate(tmp_path_factory.mktemp("gate")) as running:
        yield running
        inspect(running)


@pytest.fixture(scope="module")
def door(gate: Gate) -> Door:
    """The plain way in."""
    return Door("http", gate, gate.address)


def inspect(gate: Gate) -> None:
    """No traceback, no failed request, no key and no query in anything the gateway wrote."""
    gate.audit()  # waits until the writer has caught up
    assert "Traceback" not in gate.log, gate.log[-4000:]
    assert "failed" not in gate.log, gate.log[-4000:]
    for path in written(gate):
        data = path.read_bytes()
        assert not TOKEN.search(data), f"{path.name} holds a key: {TOKEN.search(data)}"
        assert not QUERY.search(data), f"{path.name} holds a query"


def written(gate: Gate) -> list[Path]:
    """The log and every file of the data directory that is not somebody's object."""
    files = [path for path in gate.data.rglob("*") if path.is_file() and "objects" not in path.parts]
    return [gate.folder / "stderr.log", *files]
