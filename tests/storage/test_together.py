"""Small uploads that are kept together: one sync of a folder for many, and each one's trouble its own."""

import asyncio
import errno
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from valetstore.conditions import Conditions
from valetstore.config import Storage
from valetstore.errors import Denied
from valetstore.storage import together
from valetstore.storage.disk import DiskStore
from valetstore.storage.promise import Metadata

from .contract import Client, code_of
from .test_disk_contract import store_at

NONE = Conditions()
MANY = 24
Story = Callable[[Client], Awaitable[None]]


def run(data: Path, story: Story) -> None:
    """With a store of its own."""

    async def told() -> None:
        store = store_at(data)
        try:
            client = Client(store, "b")
            await client.put("f/first", b"")
            await story(client)
        finally:
            await store.close()

    asyncio.run(told())


async def put_many(client: Client) -> list[bool | BaseException]:
    """As many uploads at once, all in one folder."""
    puts = (client.put(f"f/{number}", b"%d" % number) for number in range(MANY))
    return await asyncio.gather(*puts, return_exceptions=True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to folders, in order: "link", "sync"."""
    told: list[str] = []
    link, fsync = os.link, os.fsync

    def noted_link(*args: object, **kwargs: object) -> None:
        link(*args, **kwargs)  # type: ignore[arg-type]
        told.append("link")

    def noted_sync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            told.append("sync")
        fsync(fd)

    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "fsync", noted_sync)
    return told


def test_many_names_in_one_folder_cost_few_syncs_that_follow_them(tmp_path: Path, calls: list[str]) -> None:
    async def story(client: Client) -> None:
        calls.clear()
        assert await put_many(client) == [True] * MANY
        assert calls.count("link") == MANY
        assert calls.count("sync") <= 3
        assert calls[-1] == "sync"
        for number in range(MANY):
            assert await client.get(f"f/{number}") == b"%d" % number

    run(tmp_path, story)


def test_a_folders_sync_that_fails_has_failed_for_all_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows of any of them whether it is durable; one in another folder is."""
    fsync = os.fsync

    def fails(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/f+"):
            raise OSError(errno.EIO, "injected")
        fsync(fd)

    async def story(client: Client) -> None:
        await client.put("g/first", b"")
        monkeypatch.setattr(os, "fsync", fails)
        outcomes, other = await asyncio.gather(put_many(client), client.put("g/other", b"other"))
        assert other
        assert len(outcomes) == MANY
        for outcome in outcomes:
            assert isinstance(outcome, Denied)
            assert (outcome.code, outcome.evidence["unsure"]) == ("storage_error", True)
        assert len({id(outcome) for outcome in outcomes}) == MANY  # what is learned about one is not told of another

    run(tmp_path, story)


def test_what_fails_for_one_is_that_ones_alone(tmp_path: Path) -> None:
    """A name that is taken, a key that was revoked, too much metadata: in the midst of others that are kept."""

    def revoked() -> None:
        raise Denied("key_revoked")

    async def refused(client: Client) -> str:
        upload = await client.begin("f/revoked", 1)
        await upload.write(b"x")
        try:
            return await code_of(upload.complete(Metadata(), NONE, create_only=False, last=revoked))
        finally:
            await upload.abort()

    async def story(client: Client) -> None:
        one, taken, withdrawn, fat, other = await asyncio.gather(
            put_many(client),
            code_of(client.put("f/first", b"taken", create_only=True)),
            refused(client),
            code_of(client.put("f/fat", b"fat", Metadata(user={"a": "x" * 5000}))),
            put_many(client),
        )
        assert (taken, withdrawn, fat) == ("exists", "key_revoked", "metadata_too_large")
        assert sorted([*one, *other], key=bool) == [False] * MANY + [True] * MANY
        assert sorted(await client.names()) == sorted(["f/first", *(f"f/{number}" for number in range(MANY))])
        assert await client.get("f/first") == b""

    run(tmp_path, story)


def test_a_store_with_one_thread_keeps_many_together(tmp_path: Path) -> None:
    """A group waits for no thread but its own."""

    async def told() -> None:
        store = DiskStore(tmp_path, {}, Storage(free_bytes_min=0, storage_threads=1))
        store.prepare()
        async with asyncio.timeout(20):
            assert await put_many(Client(store, "b")) == [True] * MANY
        await store.close()

    asyncio.run(told())


def test_a_bucket_that_is_never_idle_leaves_the_one_thread_to_another(tmp_path: Path) -> None:
    """Its next group waits behind what was asked for before."""

    async def told() -> None:
        store = DiskStore(tmp_path, {}, Storage(free_bytes_min=0, storage_threads=1))
        store.prepare()
        busy, other, is_over = Client(store, "busy"), Client(store, "other"), False

        async def go_on(number: int) -> None:
            while not is_over:
                await busy.put(f"f/{number}", b"x")

        tasks = [asyncio.ensure_future(go_on(number)) for number in range(MANY)]
        async with asyncio.timeout(20):
            for number in range(5):
                assert await other.put(f"{number}", b"y")
        is_over = True
        await asyncio.gather(*tasks)
        await store.close()

    asyncio.run(told())


def test_a_fault_of_our_own_is_told_to_all_who_wait_and_to_nobody_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(client: Client) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(together, "_sync", lambda *_: 1 / 0)
            outcomes = await asyncio.wait_for(put_many(client), 10)
            assert {outcome.code for outcome in outcomes if isinstance(outcome, Denied)} == {"internal_error"}
            assert len(outcomes) == MANY
        assert await put_many(client) == [True] * MANY

    run(tmp_path, story)


def test_who_waits_while_the_store_closes_is_told(tmp_path: Path) -> None:
    """Kept or refused, and nobody waits for ever."""

    async def story(client: Client) -> None:
        putting = asyncio.ensure_future(put_many(client))
        await asyncio.sleep(0.001)
        await client.store.close()
        outcomes = await asyncio.wait_for(putting, 10)
        codes = {outcome.code for outcome in outcomes if isinstance(outcome, Denied)}
        assert codes <= {"storage_unavailable"}
        kept = {number for number, outcome in enumerate(outcomes) if outcome is True}
        assert {int(path.name) for path in (tmp_path / "objects/b/f+").glob("[0-9]*")} >= kept

    run(tmp_path, story)


def test_one_that_nobody_waits_for_any_more_holds_up_no_other(tmp_path: Path) -> None:
    """It comes to be or not; the others do."""

    async def story(client: Client) -> None:
        before = len(os.listdir("/proc/self/fd"))
        tasks = [asyncio.ensure_future(client.put(f"f/{number}", b"x")) for number in range(MANY)]
        await asyncio.sleep(0.001)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[1::2] == [True] * (MANY // 2)
        await client.put("f/last", b"x")
        assert len(os.listdir("/proc/self/fd")) <= before + 1

    run(tmp_path, story)
