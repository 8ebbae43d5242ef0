"""Blocks on a disk: where they are, what they count for, who collects them, and what a kill leaves of them."""

import asyncio
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from valetstore.config import Bucket, Storage
from valetstore.errors import Denied
from valetstore.storage.disk import DiskStore
from valetstore.storage.multipart import block
from valetstore.storage.multipart.shelf import BEING_MADE, BEING_REMOVED, RECORD, blocks_id, new_id
from valetstore.storage.uploads import Staged

from .admissions import admitted
from .contract import NONE, PLAIN, Client, code_of
from .contract_blocks import Blocking
from .contract_uploads import Parting, tag_of
from .test_crash import ACKNOWLEDGED, KILLED, die_before_call
from .test_disk_contract import ROOMY, store_at
from .test_multipart import run
from .test_multipart_crash import CHANGING

ONE, TWO, NEW = b"1" * 1000, b"2" * 2000, b"new" * 1000


def folder_of(data: Path, name: str) -> Path:
    return data / "state/uploads/b" / blocks_id(name)


def test_another_process_and_another_life_see_the_same_blocks(tmp_path: Path) -> None:
    async def before(client: Client) -> None:
        await Blocking(client, "x").put("AA", b"a")
        others = Blocking(Client(DiskStore(tmp_path, {}, ROOMY), "b"), "x")
        assert await others.labels() == ["AA"]
        assert await others.put("BB", b"bb")
        assert await Blocking(client, "x").waiting() == Staged(2, 3, 2)

    async def after(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.commit(await parts.chosen("BB", "AA"))
        assert await client.get("x") == b"bba"

    run(store_at(tmp_path), before)
    run(store_at(tmp_path), after)


@pytest.mark.parametrize("harm", ["gone", "empty", "another"])
def test_a_tally_that_does_not_fit_is_counted_anew(tmp_path: Path, harm: str) -> None:
    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        tally = folder_of(tmp_path, "x") / "tally"
        if harm == "gone":
            tally.unlink()
        elif harm == "empty":
            tally.write_bytes(b"")
        else:
            os.link(tally.with_name(f"b{b'AA'.hex()}"), tally.with_name(f"b{b'CC'.hex()}"))
        await parts.put("BB", b"bb")
        assert (await parts.waiting()).blocks == len(await parts.labels())

    run(store_at(tmp_path), story)


def test_there_are_no_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "STAGED_MAX", 2)

    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        await parts.put("BB", b"b")
        with pytest.raises(Denied) as caught:
            await parts.put("CC", b"c")
        assert (caught.value.code, caught.value.evidence["count_max"]) == ("part_invalid", 2)
        assert not await parts.put("BB", b"other")

    run(store_at(tmp_path), story)


def test_blocks_count_for_a_quota_until_they_are_used_or_discarded(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", bytes(600))
        assert await code_of(client.put("y", bytes(500))) == "storage_full"
        assert await code_of(parts.put("BB", bytes(500))) == "storage_full"
        await parts.put("BB", bytes(400))
        await parts.commit(await parts.chosen("AA"))  # though blocks and whole together are more than the quota
        await client.put("y", bytes(400))
        assert await code_of(client.put("z", bytes(1))) == "storage_full"

    run(store_at(tmp_path, {"b": Bucket(quota_bytes=1000)}), story)


def test_blocks_that_were_left_alone_are_collected(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        await Blocking(client, "y").put("AA", b"a")
        moment = folder_of(tmp_path, "x").stat().st_mtime - 3600
        os.utime(folder_of(tmp_path, "x"), (moment, moment))
        store = client.store
        assert isinstance(store, DiskStore)
        store.collector.run()
        assert await parts.labels() == []
        assert await Blocking(client, "y").labels() == ["AA"]
        assert [path.name for path in folder_of(tmp_path, "x").parent.iterdir()] == [blocks_id("y")]

    run(store_at(tmp_path, storage=Storage(free_bytes_min=0, multipart_seconds_max=60)), story)


def test_a_bucket_takes_its_blocks_along(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        await client.store.buckets.delete(admitted("delete", "b"))
        assert await parts.labels() == []
        assert not folder_of(tmp_path, "x").exists()

    run(store_at(tmp_path), story)


def test_a_block_into_a_bucket_that_went_meanwhile_is_refused(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        late = await parts.blocks.begin(parts.admission, "BB", 1, frozenset())
        await late.write(b"b")
        await late.seal(PLAIN)
        await client.store.buckets.delete(admitted("delete", "b"))
        assert await code_of(late.publish(NONE, create_only=False)) == "not_found"
        await late.abort()

    run(store_at(tmp_path), story)


@pytest.mark.parametrize("moment", ["the record is written", "it gets its name"])
def test_a_bucket_that_goes_leaves_nothing_half_of_what_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another process makes the folder of a name's blocks while the bucket goes, and is done with the next step."""
    unnamed = folder_of(tmp_path, "y").parent / (new_id() + BEING_MADE)
    unnamed.mkdir(parents=True)
    (unnamed / RECORD).write_bytes(b"record")
    rmdir = os.rmdir

    def late(path: str, *, dir_fd: int | None = None) -> None:
        with suppress(FileNotFoundError):
            if moment == "it gets its name" and unnamed.name in path:
                unnamed.rename(folder_of(tmp_path, "x"))
            elif path.endswith((BEING_MADE, BEING_REMOVED)):
                os.close(os.open(f"{path}/{RECORD}", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=dir_fd))
        rmdir(path, dir_fd=dir_fd)

    async def story(client: Client) -> None:
        await client.store.buckets.create(admitted("write", "b"))
        with monkeypatch.context() as patched:
            patched.setattr(os, "rmdir", late)
            await client.store.buckets.delete(admitted("delete", "b"))
        await client.store.buckets.create(admitted("write", "b"))
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        assert await parts.labels() == ["AA"]

    run(store_at(tmp_path), story)


def test_an_upload_by_id_is_never_the_blocks_of_a_name(tmp_path: Path) -> None:
    """Their id can be guessed: whoever guesses it can do nothing with it."""

    async def story(client: Client) -> None:
        parts = Blocking(client, "x")
        await parts.put("AA", b"a")
        guess = Parting(client, "x")
        guess.id = blocks_id("x")
        assert await code_of(guess.parts()) == "upload_not_found"
        assert await code_of(guess.put(1, b"b")) == "upload_not_found"
        await guess.end()
        assert await parts.labels() == ["AA"]

    run(store_at(tmp_path), story)


# --- killed at any call --------------------------------------------------------------------------------------------


async def _first(client: Client) -> None:
    await Blocking(client, "a/c").put("AA", NEW)


async def _another(client: Client) -> None:
    await Blocking(client, "a/b").put("CC", NEW)


async def _in_place(client: Client) -> None:
    await Blocking(client, "a/b").put("AA", NEW)


async def _commit(client: Client) -> None:
    parts = Blocking(client, "a/b")
    await parts.commit([*await parts.chosen("BB", "AA"), (await parts.present())["AA"]])


async def _discard(client: Client) -> None:
    await Blocking(client, "a/b").discard()


STORIES: dict[str, Callable[[Client], Awaitable[None]]] = {
    "first": _first,
    "another": _another,
    "in-place": _in_place,
    "commit": _commit,
    "discard": _discard,
}


def _prepare(data: Path) -> None:
    """`a/b` of one block, and two that wait."""

    async def before(client: Client) -> None:
        parts = Blocking(client, "a/b")
        await parts.put("AA", b"old")
        await parts.commit(await parts.chosen("AA"))
        await parts.put("AA", ONE)
        await parts.put("BB", TWO)

    run(store_at(data), before)


def _tell_until_it_survives(base: str, story: str) -> None:
    for number in range(1, 2000):
        data = Path(base, str(number))
        _prepare(data)
        child = os.fork()
        if not child:
            _tell(data, story, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (data / "exit-code").write_text(str(code))
        if code != KILLED:
            return


def _tell(data: Path, story: str, number: int) -> None:
    async def told() -> None:
        store = DiskStore(data, {}, ROOMY)
        die_before_call(number, CHANGING)
        await STORIES[story](Client(store, "b"))
        os._exit(ACKNOWLEDGED)

    asyncio.run(told())


async def _check(client: Client, story: str, acknowledged: bool) -> None:
    """What is visible is whole; what was answered is there; what waits can be used."""
    parts = Blocking(client, "a/b")
    labels, body = await parts.labels(), await client.get("a/b")
    assert body in (b"old", TWO + ONE + b"old")
    assert (body != b"old") >= (story == "commit" and acknowledged)
    if story == "first":
        found = await Blocking(client, "a/c").labels()
        assert found in ([], ["AA"])
        assert found or not acknowledged
    if acknowledged:
        assert labels == {"another": ["AA", "BB", "CC"], "commit": [], "discard": []}.get(story, ["AA", "BB"])
    assert labels or story in {"commit", "discard"}
    assert (await parts.waiting()).blocks == len(labels)
    await parts.put("DD", b"d")
    info = await parts.commit([*await parts.chosen("DD"), next(iter((await parts.present()).values()))])
    assert info.etag == tag_of(b"d", b"old" if body == b"old" else TWO)
    assert await parts.labels() == []


@pytest.mark.parametrize("story", STORIES)
def test_killed_before_any_call_no_block_is_half_and_what_was_answered_waits(tmp_path: Path, story: str) -> None:
    spawn = multiprocessing.get_context("spawn")  # a fork of the test process itself would inherit threads' locks
    teller = spawn.Process(target=_tell_until_it_survives, args=(str(tmp_path), story))
    teller.start()
    teller.join()
    assert teller.exitcode == 0
    outcomes = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(outcomes) > 3
    assert (outcomes[-1] / "exit-code").read_text() == str(ACKNOWLEDGED)
    for data in outcomes:
        acknowledged = (data / "exit-code").read_text() == str(ACKNOWLEDGED)
        store = store_at(data)
        store.sweep()
        assert list((data / "state/tmp").iterdir()) == []
        run(store, partial(_check, story=story, acknowledged=acknowledged))
        left = store_at(data)
        for path in (data / "state/uploads/b").glob("*.new"):
            os.utime(path, (0, 0))
        left.collector.run()
        assert {path.name for path in (data / "state/uploads/b").iterdir()} <= {blocks_id("a/c")}
        asyncio.run(left.close())
