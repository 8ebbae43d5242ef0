"""The end of an upload of many files: who ended it is answered before they are gone, and they go all the same."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valetstore.config import Bucket
from valetstore.storage.multipart import ending
from valetstore.storage.multipart.shelf import BEING_REMOVED

from .contract import Client, code_of
from .contract_blocks import Blocking
from .test_disk_contract import store_at
from .test_multipart import run


class SlowDisk:
    """One on which the first block of every folder is removed at once, and each other only when it is let."""

    def __init__(self, unlink: Callable[..., None]) -> None:
        self.goes_on = threading.Event()
        self.waiting = 0
        self._unlink = unlink
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    def unlink(self, path: str | bytes, *, dir_fd: int | None = None) -> None:
        if isinstance(path, bytes) and path.startswith(b"b") and dir_fd is not None:
            folder = os.fstat(dir_fd).st_ino
            with self._lock:
                is_first = folder not in self._seen
                self._seen.add(folder)
                self.waiting += not is_first
            if not is_first:
                assert self.goes_on.wait(20)
        self._unlink(path, dir_fd=dir_fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    """Nobody waits for it longer than one step."""
    slow = SlowDisk(os.unlink)
    monkeypatch.setattr(os, "unlink", slow.unlink)
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.0)
    yield slow
    slow.goes_on.set()


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.01)


async def staged(client: Client, name: str, count: int = 5) -> Blocking:
    parts = Blocking(client, name)
    for number in range(count):
        await parts.put(f"{number:02d}", bytes(100))
    return parts


def left(data: Path) -> list[str]:
    return [path.name for path in (data / "state/uploads/b").iterdir()]


def test_who_ends_an_upload_does_not_wait_for_all_its_files(tmp_path: Path, disk: SlowDisk) -> None:
    async def story(client: Client) -> None:
        parts = await staged(client, "x")
        await parts.discard()
        assert await parts.labels() == []
        assert [name.endswith(BEING_REMOVED) for name in left(tmp_path)] == [True]
        # Its bytes count until they are gone: four of five are not.
        assert await code_of(client.put("y", bytes(700))) == "storage_full"
        assert (await (await staged(client, "x", 1)).waiting()).blocks == 1
        disk.goes_on.set()
        await until(lambda: len(left(tmp_path)) == 1)
        assert await parts.labels() == ["00"]
        await client.put("y", bytes(900))

    run(store_at(tmp_path, {"b": Bucket(quota_bytes=1000)}), story)


def test_one_thread_clears_whatever_is_left(tmp_path: Path, disk: SlowDisk) -> None:
    async def story(client: Client) -> None:
        for parts in [await staged(client, name) for name in "abc"]:
            await parts.discard()
        await until(lambda: disk.waiting)
        await client.put("others", b"go on")
        assert disk.waiting == 1
        disk.goes_on.set()
        await until(lambda: not left(tmp_path))

    run(store_at(tmp_path), story)


def test_where_much_is_left_already_the_end_is_waited_for(
    tmp_path: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "LEFT_MAX", 1)

    async def story(client: Client) -> None:
        first, second = [await staged(client, name) for name in "ab"]
        await first.discard()
        waits = asyncio.ensure_future(second.discard())
        await until(lambda: disk.waiting == 2)
        assert not waits.done()
        disk.goes_on.set()
        await waits
        await until(lambda: not left(tmp_path))

    run(store_at(tmp_path), story)


def test_a_store_closes_without_them_and_the_next_one_collects_them(tmp_path: Path, disk: SlowDisk) -> None:
    async def story(client: Client) -> None:
        await (await staged(client, "x")).discard()
        await until(lambda: disk.waiting)
        closing = asyncio.ensure_future(client.store.close())
        await asyncio.sleep(0)  # it has begun
        disk.goes_on.set()
        await closing

    run(store_at(tmp_path), story)
    assert len(left(tmp_path)) == 1
    collected = store_at(tmp_path).collector.run()
    assert collected is not None
    assert (collected.remains, left(tmp_path)) == (1, [])


def test_what_cannot_be_removed_now_is_left_to_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.0)
    unlink, failed = os.unlink, []

    def fails(path: str | bytes, *, dir_fd: int | None = None) -> None:
        if isinstance(path, bytes) and path.endswith(b"3033"):
            failed.append(path)
            raise PermissionError(1, "not now")
        unlink(path, dir_fd=dir_fd)

    async def story(client: Client) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", fails)
            await (await staged(client, "x")).discard()
            await until(lambda: "could not be removed now" in caplog.text)
        # It goes on with others.
        await (await staged(client, "y")).discard()
        await until(lambda: len(left(tmp_path)) == 1)

    run(store_at(tmp_path), story)
    assert len(failed) == 1
    store_at(tmp_path).collector.run()
    assert left(tmp_path) == []
