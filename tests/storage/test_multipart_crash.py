"""Killed at any system call of an upload in parts: parts are whole or not there, and the whole can still be made."""

import asyncio
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from valetstore.config import Storage
from valetstore.storage.disk import DiskStore
from valetstore.storage.promise import Metadata, Part

from .admissions import admitted
from .contract import PLAIN, Client, succeeds
from .contract_uploads import Parting, opened, tag_of
from .test_crash import ACKNOWLEDGED, CALLS, KILLED, die_before_call
from .test_disk_contract import ROOMY, store_at

OLD, NEW, REST = b"old" * 1000, b"new" * 2000, b"rest"
MANY = 100
"""More parts than fit an attribute."""
CHANGING = tuple(call for call in CALLS if call not in {"open", "fstat", "close"})
"""To die before one of the others is to die before the next of these."""
DECIDING = ("setxattr", "fsync", "link", "rename", "rmdir")
"""Of many parts not every open and close is tried: `complete` does that with two."""


async def _start(client: Client, upload_id: str) -> None:
    await Parting.started(client, "a/c")


async def _part(client: Client, upload_id: str) -> None:
    await _parting(client, upload_id).put(1, NEW)


async def _complete(client: Client, upload_id: str) -> None:
    parting = _parting(client, upload_id)
    await parting.complete()
    await parting.end()


async def _give_up(client: Client, upload_id: str) -> None:
    await _parting(client, upload_id).end()


STORIES: dict[str, Callable[[Client, str], Awaitable[None]]] = {
    "start": _start,
    "part": _part,
    "replace-part": _part,
    "complete": _complete,
    "complete-many": _complete,
    "give-up": _give_up,
}


def _parting(client: Client, upload_id: str) -> Parting:
    parting = Parting(client, "a/b")
    parting.id = upload_id
    return parting


def _tell(data: str, story: str, named: bool, number: int) -> None:
    """The story, on prepared data, until the `number`th call of the counted ones; does not return."""

    async def told() -> None:
        store = DiskStore(Path(data), {}, ROOMY)
        store._temp.has_anonymous_files = not named
        die_before_call(number, DECIDING if story == "complete-many" else CHANGING)
        await STORIES[story](Client(store, "b"), Path(data, "upload-id").read_text())
        os._exit(ACKNOWLEDGED)

    asyncio.run(told())


def _tell_until_it_survives(base: str, story: str, named: bool) -> None:
    prepared = Path(base, "prepared")
    _prepare(prepared, story)
    for number in range(1, 2000):
        data = Path(base, str(number))
        _copy(prepared, data)
        child = os.fork()
        if not child:
            _tell(str(data), story, named, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        (data / "exit-code").write_text(str(code))
        if code != KILLED:
            return


def _copy(prepared: Path, data: Path) -> None:
    """With the attributes: `cp` keeps them, and the time stamps that they name."""
    subprocess.run(["cp", "-a", str(prepared), str(data)], check=True)


def _prepare(data: Path, story: str) -> None:
    """An upload of `a/b` as it is before the story."""

    async def before() -> None:
        store = store_at(data)
        client = Client(store, "b")
        await client.put("a/b", OLD, Metadata("text/old"))
        parting = await Parting.started(client, "a/b")
        (data / "upload-id").write_text(parting.id)
        if story != "part":
            await parting.put(1, OLD)
        await parting.put(2, REST)
        folder = data / "state/uploads/b" / parting.id
        for number in range(3, MANY if story == "complete-many" else 3):
            os.link(folder / "00002", folder / f"{number:05d}")
        await store.close()

    asyncio.run(before())


async def _check(data: Path, story: str) -> None:
    """What is visible is whole; what was answered is there; what is not over can be brought to its end."""
    acknowledged = (data / "exit-code").read_text() == str(ACKNOWLEDGED)
    store = store_at(data)
    store.sweep()
    assert list((data / "state/tmp").iterdir()) == []
    client = Client(store, "b")
    parting = _parting(client, (data / "upload-id").read_text())
    page = await store.uploads.page(admitted("list", "b"), "", ("", ""), 100)
    is_open = any(row.id == parting.id for row in page.rows)
    if story == "start":
        assert len(page.rows) == 2 or not acknowledged
        assert all(row.metadata == PLAIN for row in page.rows)
    await _check_object(client, story, is_open, acknowledged)
    if is_open:
        assert not acknowledged or story in {"start", "part", "replace-part"}
        await _check_parts(await parting.parts(), story, acknowledged)
        await parting.put(1, NEW)
        info = await parting.complete()
        assert info.etag == tag_of(NEW, *[REST] * (info.parts - 1))
        await parting.end()
    else:
        assert not await succeeds(parting.put(1, NEW), unless={"upload_not_found"})
    _age(data)
    store.collector.run()
    assert [folder.name for folder in (data / "state/uploads/b").iterdir()] == [
        row.id for row in page.rows if row.id != parting.id
    ]
    found = await opened(client, "a/b")
    assert len(await found.part_table()) == found.info.parts
    assert len(list((data / "state/spill").iterdir())) == (found.info.parts > 50)
    found.close()
    await store.close()


async def _check_object(client: Client, story: str, is_open: bool, acknowledged: bool) -> None:
    body, info = await client.get("a/b"), await client.info("a/b")
    if info.parts:
        assert story.startswith("complete")
        assert body == OLD + REST * (info.parts - 1)
        assert info.etag == tag_of(OLD, *[REST] * (info.parts - 1))
    else:
        assert (body, info.metadata.content_type) == (OLD, "text/old")
        assert is_open or story == "give-up"
        assert not (acknowledged and story.startswith("complete"))


async def _check_parts(parts: list[Part], story: str, acknowledged: bool) -> None:
    bodies = {f'"{hashlib.md5(body).hexdigest()}"': len(body) for body in (OLD, NEW, REST)}
    assert all(bodies[part.etag] == part.size for part in parts)
    numbers = [part.number for part in parts]
    assert 2 in numbers
    assert 1 in numbers or (story == "part" and not acknowledged)
    if story.endswith("part") and acknowledged:
        assert parts[0].size == len(NEW)


def _age(data: Path) -> None:
    """Two days pass for what is left lying about; not for uploads that are open."""
    left = [*(data / "state/spill").iterdir(), *(data / "state/uploads/b").glob("*.new")]
    for path in left:
        moment = path.stat().st_mtime - 2 * 86_400
        os.utime(path, (moment, moment))


@pytest.mark.parametrize(
    ("story", "named"), [*((story, False) for story in STORIES), ("part", True), ("replace-part", True)]
)
def test_killed_before_any_call_no_part_is_half_and_no_whole_either(tmp_path: Path, story: str, named: bool) -> None:
    spawn = multiprocessing.get_context("spawn")  # a fork of the test process itself would inherit threads' locks
    teller = spawn.Process(target=_tell_until_it_survives, args=(str(tmp_path), story, named))
    teller.start()
    teller.join()
    assert teller.exitcode == 0
    outcomes = sorted((path for path in tmp_path.iterdir() if path.name != "prepared"), key=lambda path: int(path.name))
    assert len(outcomes) > 5
    assert (outcomes[-1] / "exit-code").read_text() == str(ACKNOWLEDGED)
    for data in outcomes:
        asyncio.run(_check(data, story))


def complete_for(data: str) -> None:
    """The story that is told under strace: one thread, since it counts the calls of each."""

    async def told() -> None:
        store = DiskStore(Path(data), {}, Storage(free_bytes_min=0, storage_threads=1))
        await _complete(Client(store, "b"), Path(data, "upload-id").read_text())
        os._exit(ACKNOWLEDGED)

    asyncio.run(told())


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (Debian package strace)")
@pytest.mark.parametrize("call", ["fsetxattr", "fsync", "renameat", "copy_file_range"])
def test_killed_by_the_system_at_a_call_an_upload_is_whole_or_still_open(tmp_path: Path, call: str) -> None:
    """The same without a hand in Python: the kernel is told which call is the last."""
    _prepare(tmp_path / "prepared", "complete")
    code = f"from {__name__} import complete_for; import sys; complete_for(sys.argv[1])"
    for number in range(1, 20):
        data = tmp_path / str(number)
        _copy(tmp_path / "prepared", data)
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
        command = ["strace", "-f", "-o", os.devnull, *inject, sys.executable, "-c", code, str(data)]
        done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], timeout=60)
        if b"ptrace" in done.stderr:
            pytest.skip(done.stderr.decode())
        assert done.returncode in {0, -9, 137}, done.stderr
        (data / "exit-code").write_text(str(KILLED if done.returncode else ACKNOWLEDGED))
        asyncio.run(_check(data, "complete"))
        if not done.returncode:
            break
    assert number > 1
    assert done.returncode == 0
