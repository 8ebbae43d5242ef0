"""The daemon collects what nobody comes back for: at its start, in one of its processes."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gate import Gate
from valetstore.config import Storage

from .contract import Client
from .contract_uploads import Parting
from .test_disk_contract import store_at

Start = Callable[..., Gate]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_abandoned_upload_is_gone_soon_after_a_start(start: Start, workers: int) -> None:
    gate = start(f"[listen]\nworkers = {workers}\n[storage]\nmultipart-seconds-max = 3600\n")
    gate.stop()

    async def story() -> tuple[str, str]:
        store = store_at(gate.data)
        client = Client(store, "b")
        old, new = [await Parting.started(client, name) for name in ("old", "new")]
        await old.put(1, b"part")
        await store.close()
        return old.id, new.id

    old, new = asyncio.run(story())
    folder = gate.data / "state/uploads/b"
    moment = folder.stat().st_mtime - 4000
    os.utime(folder / old, (moment, moment))
    gate.start()
    assert gate.says("collected 1 abandoned uploads")
    assert [path.name for path in folder.iterdir()] == [new]


@pytest.mark.parametrize(("left_alone", "pause"), [(60, 60), (604_800, 3600)])
def test_what_is_left_alone_goes_an_hour_late_at_most_and_never_after_twice_its_time(
    tmp_path: Path, left_alone: int, pause: int
) -> None:
    store = store_at(tmp_path / "data", storage=Storage(multipart_seconds_max=left_alone))
    assert store.collector.pause_seconds == pause
