"""Killed at any system call: what is visible is whole, what was answered is there, the rest can be swept."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from valetstore.conditions import Conditions
from valetstore.storage.disk import DiskStore
from valetstore.storage.promise import Metadata

from .contract import Client, check_digests, succeeds
from .test_disk_contract import ROOMY, store_at

CALLS = (
    *("open", "mkdir", "writev", "fstat", "setxattr", "fsync", "link", "rename", "unlink", "rmdir", "close"),
    *("utime", "copy_file_range"),
)
OLD = b"old" * 1000
NEW = b"new" * 2000
ACKNOWLEDGED = 0
KILLED = 9


async def _create(client: Client) -> None:
    await client.put("a/b", NEW, Metadata("text/new"))


async def _create_in_two_steps(client: Client) -> None:
    await client.put("a/b", NEW, Metadata("text/new"), in_one_step=False)


async def _create_only(client: Client) -> None:
    await client.put("a/b", NEW, Metadata("text/new"), create_only=True)


async def _delete(client: Client) -> None:
    await client.delete("a/b")


STORIES = {
    "create": _create,
    "create-only": _create_only,
    "replace": _create,
    "replace-in-two-steps": _create_in_two_steps,
    "delete": _delete,
}
STARTS_WITH_OLD = {"replace", "replace-in-two-steps", "delete"}


def die_before_call(number: int, calls: Iterable[str] = CALLS) -> None:
    """From here on the `number`th of the counted calls is the end of this process."""
    left = number

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(KILLED)
            return real(*args, **kwargs)

        return call

    for name in calls:
        setattr(os, name, counted(getattr(os, name)))


def _tell(data: str, story: str, named: bool, number: int) -> None:
    async def told() -> None:
        store = DiskStore(Path(data), {}, ROOMY)
        store._temp.has_anonymous_files = not named
        die_before_call(number)
        await STORIES[story](Client(store, "b"))
        os._exit(ACKNOWLEDGED)

    asyncio.run(told())


def _tell_until_it_survives(base: str, story: str, named: bool) -> None:
    """Once for each call, each on data of its own; the last one finds no call left to die before."""
    for number in range(1, 1000):
        data = Path(base, str(number))
        _prepared(data, story)
        child = os.fork()
        if not child:
            _tell(str(data), story, named, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (data / "exit-code").write_text(str(code))
        if code != KILLED:
            return


def _prepared(data: Path, story: str) -> None:
    async def old() -> None:
        store = store_at(data)
        if story in STARTS_WITH_OLD:
            await Client(store, "b").put("a/b", OLD, Metadata("text/old"))
        await store.close()

    asyncio.run(old())


async def _check(data: Path, story: str) -> None:
    acknowledged = (data / "exit-code").read_text() == str(ACKNOWLEDGED)
    store = store_at(data)
    store.sweep()
    assert list((data / "state/tmp").iterdir()) == []
    client = Client(store, "b")
    exists = await succeeds(client.info("a/b"), unless={"not_found"})
    if exists:
        body, info = await client.get("a/b"), await client.info("a/b")
        assert (body, info.metadata.content_type) in {(OLD, "text/old"), (NEW, "text/new")}
        check_digests(info.digests, body)
        assert (body == OLD) <= (story in STARTS_WITH_OLD and not acknowledged)
        assert await client.names() == ["a/b"]
    assert exists or story == "delete" or story not in STARTS_WITH_OLD
    assert not acknowledged or exists == (story != "delete")
    await client.put("a/b", b"goes on")
    assert await client.get("a/b") == b"goes on"
    await store.close()


@pytest.mark.parametrize("named", [False, True], ids=["unnamed-temp", "named-temp"])
@pytest.mark.parametrize("story", STORIES)
def test_killed_before_any_call_everything_is_old_or_new(tmp_path: Path, story: str, named: bool) -> None:
    # Spawned: a fork of the test process itself would inherit threads' locks.
    spawn = multiprocessing.get_context("spawn")
    teller = spawn.Process(target=_tell_until_it_survives, args=(str(tmp_path), story, named))
    teller.start()
    teller.join()
    assert teller.exitcode == 0
    outcomes = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(outcomes) > 8
    assert (outcomes[-1] / "exit-code").read_text() == str(ACKNOWLEDGED)
    for data in outcomes:
        asyncio.run(_check(data, story))


def _note(name: str, told: list[str], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, tell each of these calls and where it was made."""
    real = getattr(os, name)

    def call(*args: object, **kwargs: object) -> object:
        fd = args[0] if isinstance(args[0], int) else kwargs.get("dir_fd", kwargs.get("dst_dir_fd"))
        place = os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(data / "objects"))
        place = "temp" if "(deleted)" in place else place
        told.append(f"{name} {place}")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


def test_everything_is_synced_in_the_order_that_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes and attribute before the name; each folder in its parent before the name; the name before the end."""
    store = store_at(tmp_path)
    told: list[str] = []

    async def story() -> None:
        client = Client(store, "b")
        upload = await client.begin("x/y/z", 3)
        for name in ("writev", "setxattr", "fsync", "link", "rename", "mkdir"):
            _note(name, told, tmp_path, monkeypatch)
        await upload.write(b"abc")
        await upload.seal(Metadata())
        await upload.publish(Conditions(), create_only=False)
        assert told == [
            "writev temp",
            "setxattr temp",
            "fsync temp",
            "fsync ",  # the bucket in the folder of all buckets
            "mkdir /b",
            "fsync /b",
            "mkdir /b/x+",
            "fsync /b/x+",
            "link /b/x+/y+",
            "fsync /b/x+/y+",
        ]
        told.clear()
        await client.put("x/y/other", b"abc")
        assert told[3:] == ["link /b/x+/y+", "fsync /b/x+/y+"]
        await store.close()

    asyncio.run(story())


def test_a_delete_is_synced_before_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path)
    told: list[str] = []

    async def story() -> None:
        client = Client(store, "b")
        await client.put("x/y", b"abc")
        await client.put("x/z", b"keeps the folder")
        for name in ("fsync", "unlink"):
            _note(name, told, tmp_path, monkeypatch)
        assert await client.delete("x/y")
        assert told == ["unlink /b/x+", "fsync /b/x+"]
        await store.close()

    asyncio.run(story())


def test_a_folder_that_another_process_has_made_is_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been killed between mkdir and fsync."""
    store = store_at(tmp_path)
    (tmp_path / "objects/b/x+/y+").mkdir(parents=True)
    synced: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)

    async def story() -> None:
        await Client(store, "b").put("x/y/z", b"")
        await store.close()

    asyncio.run(story())
    assert synced[1:] == ["objects", "b", "x+", "y+"]
