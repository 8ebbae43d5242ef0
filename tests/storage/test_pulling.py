"""Uploads that fetch their bytes themselves: what goes wrong on the way leaves nothing."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from .contract import NONE, PLAIN, Client, code_of
from .test_disk_contract import store_at

FULL_AFTER = 3


def test_a_disk_that_is_full_in_the_middle_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, nothing visible, no file left open; what follows is refused too."""
    store, writev, calls = store_at(tmp_path), os.writev, 0

    def fills_up(fd: int, parts: list[bytes]) -> int:
        nonlocal calls
        calls += 1
        if calls > FULL_AFTER:
            raise OSError(errno.ENOSPC, "injected")
        return writev(fd, parts)

    def endless(view: memoryview) -> int:
        return len(view)

    async def told() -> None:
        client = Client(store, "b")
        await client.put("x", b"before")
        before = len(os.listdir("/proc/self/fd"))
        upload = await client.begin("x", None)
        monkeypatch.setattr(os, "writev", fills_up)
        assert await code_of(upload.pull(endless, 2**22)) == "storage_full"
        assert calls == FULL_AFTER + 1
        assert len(os.listdir("/proc/self/fd")) == before
        assert await code_of(upload.pull(endless, 2**22)) == "internal_error"
        await upload.abort()
        assert await client.get("x") == b"before"
        await store.close()

    asyncio.run(told())


def test_a_wait_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """The thread comes to its end first, and then the file goes."""
    store, is_over = store_at(tmp_path), threading.Event()

    def trickles(view: memoryview) -> int:
        return 0 if is_over.is_set() else 1

    async def told() -> None:
        client = Client(store, "b")
        upload = await client.begin("x", None)
        before = len(os.listdir("/proc/self/fd"))
        pulling = asyncio.create_task(upload.pull(trickles, 2**40))
        await asyncio.sleep(0.05)
        pulling.cancel()
        await asyncio.gather(pulling, return_exceptions=True)
        aborting = asyncio.create_task(upload.abort())
        await asyncio.sleep(0.05)
        assert not aborting.done()
        is_over.set()
        await aborting
        assert len(os.listdir("/proc/self/fd")) <= before
        assert await client.names() == []
        await store.close()

    asyncio.run(told())


def test_what_comes_in_shreds_is_written_in_large_pieces_at_even_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page cache keeps it as it was written, and every download of it pays for small pieces."""
    store, writev, writes = store_at(tmp_path), os.writev, list[int]()
    body = bytes(range(251)) * 20_000

    def write(fd: int, parts: list[bytes]) -> int:
        writes.append(writev(fd, parts))
        return writes[-1]

    async def told() -> None:
        client = Client(store, "b")
        upload = await client.begin("x", None)
        await upload.write(body[:70_000])
        left = memoryview(body)[70_000:]

        def shreds(view: memoryview) -> int:
            nonlocal left
            count = min(len(view), len(left), 100_001)
            view[:count] = left[:count]
            left = left[count:]
            return count

        monkeypatch.setattr(os, "writev", write)
        assert await upload.pull(shreds, len(left)) == len(body) - 70_000
        ends = [sum(writes[: number + 1]) for number in range(len(writes))]
        assert [end % 2**20 for end in ends[1:-1]] == [0] * (len(ends) - 2)
        assert ends[-1] == len(body)
        await upload.finish()
        await upload.complete(PLAIN, NONE, create_only=False)
        assert await client.get("x") == body
        await store.close()

    asyncio.run(told())
