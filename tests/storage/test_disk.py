"""What only a disk can get wrong: links, edits by hand, full and failing disks, crashes, other processes."""

import asyncio
import errno
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from valetstore.conditions import Conditions
from valetstore.config import Bucket, Storage
from valetstore.errors import ConfigInvalid, Denied
from valetstore.storage import metadata, naming, space
from valetstore.storage.disk import DiskStore
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.locks import Locks
from valetstore.storage.promise import Metadata

from .admissions import admitted
from .contract import Client, code_of, succeeds
from .test_disk_contract import MEMORY, ROOMY, store_at


def run(store: DiskStore, bucket: str, story: Callable[[Client], Awaitable[None]]) -> None:
    async def told() -> None:
        try:
            await story(Client(store, bucket))
        finally:
            await store.close()

    asyncio.run(told())


def files_store(tmp_path: Path) -> tuple[DiskStore, Path]:
    media = tmp_path / "media"
    media.mkdir()
    return store_at(tmp_path / "data", {"m": Bucket(root=str(media), layout="files")}), media


def failing(number: int, *, after: int = 0) -> Callable[..., None]:
    calls = 0

    def fail(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number))

    return fail


# --- links and plain files ---------------------------------------------------------------------------


def test_no_symbolic_link_is_followed(tmp_path: Path) -> None:
    store, media = files_store(tmp_path)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (media / "link").symlink_to(tmp_path / "secret")
    (media / "folder").symlink_to(tmp_path / "elsewhere")

    async def story(client: Client) -> None:
        for name in ("link", "folder/x"):
            assert await code_of(client.get(name)) == "not_found"
            assert await code_of(client.put(name, b"overwritten")) == "conflict"
            assert await code_of(client.put(name, b"overwritten", create_only=True)) == "conflict"
            assert await code_of(client.delete(name)) == "conflict"
        assert await client.names() == []

    run(store, "m", story)
    assert (tmp_path / "secret").read_text() == "secret"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_in_the_way_is_a_conflict_before_any_byte_is_sent(tmp_path: Path) -> None:
    store, _ = files_store(tmp_path)

    async def story(client: Client) -> None:
        await client.put("a", b"1")
        await client.put("d/x", b"1")
        assert await code_of(client.begin("a/b")) == "conflict"
        assert await code_of(client.begin("d")) == "conflict"
        assert await code_of(client.begin("d//x")) == "object_key_invalid"
        early = await client.begin("new/file")
        await client.put("new", b"came first")
        await early.seal(Metadata())
        assert await code_of(early.publish(Conditions(), create_only=False)) == "conflict"
        await early.abort()
        assert await client.names() == ["a", "d/x", "new"]

    run(store, "m", story)


def test_files_that_came_by_hand_are_served_with_what_the_file_system_knows(tmp_path: Path) -> None:
    store, media = files_store(tmp_path)
    for name in ("cat.jpg", "notes.txt", "data.tar.gz", "data:text.html", "unknown", "x.zzz"):
        (media / name).write_text("by hand")

    async def story(client: Client) -> None:
        types = {name: (await client.info(name)).metadata.content_type for name in await client.names()}
        assert types == {
            "cat.jpg": "image/jpeg",
            "notes.txt": "text/plain",
            "data.tar.gz": "application/gzip",
            "data:text.html": "text/html",
            "unknown": "application/octet-stream",
            "x.zzz": "application/octet-stream",
        }
        state = os.stat(media / "cat.jpg")
        info = await client.info("cat.jpg")
        assert info.etag == f'"{state.st_mtime_ns:x}-{state.st_size:x}-{state.st_ino:x}"'
        assert info.digests == {}

    run(store, "m", story)


def test_a_file_edited_in_place_is_no_longer_what_was_uploaded(tmp_path: Path) -> None:
    store, media = files_store(tmp_path)

    async def story(client: Client) -> None:
        await client.put("note.txt", b"one", Metadata("application/x-own", user={"by": "me"}))
        before = await client.info("note.txt")
        time.sleep(0.01)
        (media / "note.txt").write_text("two")
        after = await client.info("note.txt")
        assert after.etag != before.etag
        assert after.metadata == Metadata("text/plain")
        assert after.digests == {}
        stale = Conditions(if_match=(before.etag,))
        assert await code_of(client.put("note.txt", b"3", conditions=stale)) == "precondition_failed"
        assert not await client.put("note.txt", b"3", conditions=Conditions(if_match=(after.etag,)))

    run(store, "m", story)


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x81\xa1v\x09", b"\xc1" * 100, bytes(4000)])
def test_an_unreadable_attribute_is_as_if_there_were_none(tmp_path: Path, raw: bytes) -> None:
    store, media = files_store(tmp_path)
    (media / "x.txt").write_text("x")
    os.setxattr(media / "x.txt", metadata.ATTRIBUTE, raw)

    async def story(client: Client) -> None:
        assert (await client.info("x.txt")).metadata == Metadata("text/plain")

    run(store, "m", story)


# --- buckets and the data directory ------------------------------------------------------------------


def test_a_read_only_bucket_is_read_and_not_written(tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    (root / "x").write_text("x")
    store = store_at(tmp_path / "data", {"m": Bucket(root=str(root), layout="files", read_only=True)})

    async def story(client: Client) -> None:
        assert await client.get("x") == b"x"
        assert await client.names() == ["x"]
        for call in (client.put("y", b""), client.delete("x")):
            with pytest.raises(Denied, match="operation_not_allowed") as caught:
                await call
            assert caught.value.detail == "This bucket is read-only."

    run(store, "m", story)
    assert [path.name for path in root.iterdir()] == ["x"]


def test_buckets_are_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data", {}, Storage(free_bytes_min=0, create_buckets=False))

    async def story(client: Client) -> None:
        assert await code_of(client.put("x", b"")) == "not_found"
        assert await code_of(client.delete("x")) == "not_found"

    run(store, "b", story)


def test_a_root_that_has_gone_is_not_made_anew(tmp_path: Path) -> None:
    """An unmounted disk: writing to its mount point would be hidden by the mount."""
    media = tmp_path / "disk" / "media"
    media.mkdir(parents=True)
    store = store_at(tmp_path / "data", {"m": Bucket(root=str(media))})

    async def story(client: Client) -> None:
        await client.put("x", b"1")
        media.rename(tmp_path / "unplugged")
        assert await code_of(client.put("y", b"")) == "storage_unavailable"
        assert await code_of(client.delete("x")) == "storage_unavailable"
        assert await code_of(client.get("x")) == "storage_unavailable"
        (tmp_path / "unplugged").rename(media)
        assert await client.get("x") == b"1"
        assert await client.put("y", b"")

    run(store, "m", story)


def test_a_root_without_its_parent_is_unavailable(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data", {"m": Bucket(root=str(tmp_path / "not" / "there"))})

    async def story(client: Client) -> None:
        assert await code_of(client.put("y", b"")) == "storage_unavailable"
        (tmp_path / "data" / "objects").rmdir()
        assert await code_of(Client(store, "b").put("y", b"")) == "storage_unavailable"

    run(store, "m", story)
    assert not (tmp_path / "not").exists()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    store_at(tmp_path)
    (tmp_path / "state" / "format").write_text("4\n")
    with pytest.raises(ConfigInvalid, match=r"format 4.* format 3"):
        store_at(tmp_path)
    (tmp_path / "state" / "format").write_text("\xb2\n")
    with pytest.raises(ConfigInvalid, match="whole number"):
        store_at(tmp_path)


@pytest.mark.parametrize("older", [1, 2])
def test_an_older_format_is_raised(tmp_path: Path, older: int) -> None:
    """By then whoever prepares has made the logs that the new one promises."""
    store_at(tmp_path)
    (tmp_path / "state" / "format").write_text(f"{older}\n")
    store_at(tmp_path)
    assert (tmp_path / "state" / "format").read_text() == "3\n"


def test_a_mount_point_without_its_mount_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is there, on another device than before."""
    media = tmp_path / "media"
    media.mkdir()
    data = tmp_path / "data"
    store = store_at(data, {"m": Bucket(root=str(media))})

    async def story(client: Client) -> None:
        for one, place in ((client, media), (Client(store, "b"), data / "objects")):
            await one.put("x", b"1")
            assert store.why_not_ready() == ""
            place.rename(tmp_path / "unplugged")
            with tempfile.TemporaryDirectory(dir=MEMORY) as elsewhere:
                place.symlink_to(elsewhere)
                assert await code_of(one.put("y", b"")) == "storage_unavailable"
                assert await code_of(one.get("x")) == "storage_unavailable"
                assert await code_of(one.delete("x")) == "storage_unavailable"
                assert str(place) in store.why_not_ready()
                assert list(Path(elsewhere).iterdir()) == []
            place.unlink()
            (tmp_path / "unplugged").rename(place)
            assert await one.get("x") == b"1"
            assert store.why_not_ready() == ""

    if not MEMORY.is_dir() or os.stat(MEMORY).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs a second file system")
    run(store, "m", story)


def test_a_probe_changes_nothing(tmp_path: Path) -> None:
    buckets = {"m": Bucket(root=str(tmp_path / "media"), quota_bytes=1000)}
    (tmp_path / "media").mkdir()

    def everything() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.rglob("*")}

    fresh = DiskStore(tmp_path / "data", buckets, ROOMY)
    with pytest.raises(ConfigInvalid, match="No such file"):
        fresh.probe()
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    assert fresh.probe() == []
    assert list((tmp_path / "data").iterdir()) == []
    store = store_at(tmp_path / "data", buckets)
    (tmp_path / "data/state/quota/m").write_bytes(bytes(8))
    (tmp_path / "media/by-hand").write_bytes(b"not counted yet")
    before = everything()
    assert store.probe() == []
    assert everything() == before


@pytest.mark.parametrize("call", ["probe", "prepare"])
def test_an_attribute_too_large_for_the_file_system_is_no_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """With small blocks ext4 answers ENOSPC, however much room there is."""
    store = store_at(tmp_path / "data")
    monkeypatch.setattr(os, "setxattr", failing(errno.ENOSPC))
    with pytest.raises(ConfigInvalid, match=r"user extended attributes .* required"):
        getattr(store, call)()


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS])
def test_a_root_that_cannot_be_written_now_is_told_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr(os, "setxattr", failing(number))
    store = store_at(tmp_path / "data")
    assert f"{tmp_path}/data/objects: cannot be written now, only read: {os.strerror(number)}" in caplog.text
    assert store.probe() == [f"{tmp_path}/data: cannot be written now, only read: {os.strerror(number)}"]


def test_a_file_system_without_attributes_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "setxattr", failing(errno.ENOTSUP))
    with pytest.raises(ConfigInvalid, match=f"{tmp_path}.*user extended attributes .* required"):
        store_at(tmp_path / "data")


def test_the_data_directory_is_its_owners_alone(tmp_path: Path) -> None:
    store_at(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data/state/format").read_text() == "3\n"


def test_empty_folders_go_with_their_last_object(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data")

    async def story(client: Client) -> None:
        await client.put("a/b/c", b"")
        await client.put("a/x", b"")
        await client.delete("a/b/c")
        assert sorted(path.name for path in (tmp_path / "data/objects/b/a+").iterdir()) == ["x"]
        await client.delete("a/x")
        assert list((tmp_path / "data/objects/b").iterdir()) == []

    run(store, "b", story)


# --- room ------------------------------------------------------------------------------------------


def test_a_quota_holds_for_what_is_stored_and_what_is_on_its_way(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data", {"q": Bucket(quota_bytes=1000)})

    async def story(client: Client) -> None:
        await client.put("a", bytes(400))
        running = await client.begin("b", 500)
        assert await code_of(client.begin("c", 200)) == "storage_full"
        unknown = await client.begin("c", None)
        await unknown.write(bytes(200))
        assert await code_of(unknown.seal(Metadata())) == "storage_full"
        await unknown.abort()
        await running.abort()
        await running.abort()
        await client.put("a", bytes(600))
        assert await code_of(client.begin("c", 401)) == "storage_full"
        await client.put("c", bytes(400))
        await client.delete("a")
        await client.put("a", bytes(600))

    run(store, "q", story)
    again = store_at(tmp_path / "data", {"q": Bucket(quota_bytes=1000)})

    async def after_a_restart(client: Client) -> None:
        assert await code_of(client.begin("d", 1)) == "storage_full"
        await client.delete("c")
        await client.put("d", bytes(400))

    run(again, "q", after_a_restart)


def test_a_put_that_comes_to_nothing_costs_no_quota(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data", {"q": Bucket(quota_bytes=1000)})

    async def story(client: Client) -> None:
        await client.put("a", bytes(400))
        for _ in range(3):
            assert await code_of(client.put("a", bytes(400), create_only=True)) == "exists"
        await client.put("b", bytes(600))

    run(store, "q", story)


def test_room_is_refused_before_bytes_are_sent_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "AHEAD_BYTES", 5 * 2**30)
    state = os.statvfs(tmp_path)
    free = state.f_bavail * state.f_frsize
    store = store_at(tmp_path / "data", {}, Storage(free_bytes_min=free - 2**33))

    async def story(client: Client) -> None:
        assert await code_of(client.begin("x", 2**40)) == "storage_full"
        for _ in range(3):
            first = await client.begin("x", 6 * 2**30)
            assert await code_of(client.begin("y", 6 * 2**30)) == "storage_full"
            await first.abort()

    run(store, "b", story)


def test_who_announces_all_there_is_keeps_nobody_out(tmp_path: Path) -> None:
    """Room is held for the next bytes only: a slow upload of a huge length must not be a denial of service."""
    state = os.statvfs(tmp_path)
    reserve = state.f_bavail * state.f_frsize - 2**33
    buckets = {"q": Bucket(quota_bytes=2**32)}

    async def story(client: Client) -> None:
        huge = await client.begin("huge", 2**32)
        assert await client.put("small", b"fits")
        await huge.abort()

    for bucket in ("b", "q"):
        run(store_at(tmp_path / "data", buckets, Storage(free_bytes_min=reserve)), bucket, story)


@pytest.mark.parametrize(
    ("call", "number", "code"),
    [
        ("writev", errno.ENOSPC, "storage_full"),
        ("writev", errno.EDQUOT, "storage_full"),
        ("writev", errno.EIO, "storage_error"),
        ("setxattr", errno.ENOSPC, "storage_full"),
        ("fsync", errno.EIO, "storage_error"),
        ("fsync", errno.ENOSPC, "storage_error"),
        ("open", errno.EROFS, "storage_unavailable"),
        ("open", errno.EMFILE, "storage_unavailable"),
        ("open", errno.EACCES, "storage_unavailable"),
        ("link", errno.EIO, "storage_error"),
    ],
)
def test_a_failing_disk_is_a_refusal_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: str
) -> None:
    store = store_at(tmp_path / "data")

    async def story(client: Client) -> None:
        await client.put("before", b"1")
        with monkeypatch.context() as broken:
            broken.setattr(os, call, failing(number))
            with pytest.raises(Denied) as caught:
                await client.put("x", b"2")
            assert caught.value.code == code
            assert caught.value.evidence["errno"] == number
        assert await client.names() == ["before"]
        assert store.suspect == (("b",) if call == "fsync" else ())
        assert await client.put("x", b"it works again without a restart")

    run(store, "b", story)


def test_an_upload_that_failed_cannot_be_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path / "data")

    async def story(client: Client) -> None:
        upload = await client.begin("x", None)
        with monkeypatch.context() as broken:
            broken.setattr(os, "writev", failing(errno.EIO))
            await upload.write(bytes(2**20))
            assert await code_of(upload.write(bytes(2**20))) == "storage_error"
        with pytest.raises(Denied):
            await upload.seal(Metadata())
        with pytest.raises(Denied):
            await upload.publish(Conditions(), create_only=False)
        await upload.abort()

    run(store, "b", story)


def test_a_failed_sync_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path / "data")

    async def story(client: Client) -> None:
        upload = await client.begin("x", 1)
        await upload.write(b"x")
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", failing(errno.EIO))
            assert await code_of(upload.seal(Metadata())) == "storage_error"
        with pytest.raises(Denied):
            await upload.seal(Metadata())
        await upload.abort()
        assert await client.names() == []

    run(store, "b", story)


def test_a_file_that_is_shorter_than_was_written_is_not_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path / "data")
    writev = os.writev

    def lossy(fd: int, parts: list[bytes]) -> int:
        return writev(fd, [b"".join(parts)[:-1]]) + 1

    async def story(client: Client) -> None:
        upload = await client.begin("x", None)
        with monkeypatch.context() as broken:
            broken.setattr(os, "writev", lossy)
            await upload.write(bytes(1000))
            assert await code_of(upload.seal(Metadata())) == "storage_error"
        await upload.abort()
        assert await client.names() == []

    run(store, "b", story)


def test_what_is_not_sealed_is_not_published(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data")

    async def story(client: Client) -> None:
        upload = await client.begin("x", None)
        await upload.write(bytes(2**20))
        await upload.finish()  # bytes are in a file, without an attribute and perhaps not on the disk
        assert await code_of(upload.publish(Conditions(), create_only=False)) == "internal_error"
        await upload.abort()
        assert await client.names() == []

    run(store, "b", story)


def test_of_two_replaces_of_one_state_exactly_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are held up between judging and replacing, where only the key's lock keeps the second out."""
    store = store_at(tmp_path / "data")
    judge = naming._judge
    both_have_judged = threading.Barrier(2)

    def judged_and_held_up(*args: Any, **kwargs: Any) -> os.stat_result | None:
        state = judge(*args, **kwargs)
        with suppress(threading.BrokenBarrierError):
            both_have_judged.wait(0.5)
        return state

    async def story(client: Client) -> None:
        await client.put("x", b"old")
        seen = Conditions(if_match=((await client.info("x")).etag,))
        monkeypatch.setattr(naming, "_judge", judged_and_held_up)
        puts = [
            succeeds(client.put("x", data, conditions=seen), unless={"precondition_failed"}) for data in (b"1", b"2")
        ]
        first, second = await asyncio.gather(*puts)
        assert (first, second) in {(True, False), (False, True)}
        assert await client.get("x") == (b"1" if first else b"2")

    run(store, "b", story)


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_at(tmp_path / "data")
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: writev(fd, [b"".join(parts)[:777]]))

    async def story(client: Client) -> None:
        data = os.urandom(100_000)
        upload = await client.begin("x", None)
        for start in range(0, len(data), 1000):
            await upload.write(data[start : start + 1000])
        await upload.seal(Metadata())
        await upload.publish(Conditions(), create_only=False)
        assert await client.get("x") == data

    run(store, "b", story)


async def descriptors_at_rest() -> int:
    """How many are open once nothing is on its way: a cancelled open closes what it got a little later."""
    counts = [0]
    while len(counts) < 4 or len(set(counts[-4:])) > 1:
        await asyncio.sleep(0.02)
        counts.append(len(os.listdir("/proc/self/fd")))
    return counts[-1]


def test_no_descriptor_is_lost(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data")

    async def story(client: Client) -> None:
        async def busy() -> None:
            await client.put("a/b", b"1")
            await client.put("a/b", b"2")
            await code_of(client.put("a/b", b"2", create_only=True))
            await code_of(client.get("a/x"))
            await client.names()
            await client.delete("a/b")
            upload = await client.begin("y", None)
            await upload.write(bytes(2**20))
            await upload.abort()
            opening = asyncio.create_task(client.store.open(admitted("read", "b", "z")))
            await asyncio.sleep(0)
            opening.cancel()
            for opened in await asyncio.gather(opening, return_exceptions=True):
                if not isinstance(opened, BaseException):  # the kernel had it: no wait, nothing to cancel
                    opened.close()

        await client.put("z", b"")
        await busy()
        before = await descriptors_at_rest()
        for _ in range(10):
            await busy()
        assert await descriptors_at_rest() <= before

    run(store, "b", story)


# --- other processes --------------------------------------------------------------------------------


def test_a_sweep_takes_what_a_crash_has_left_and_nothing_else(tmp_path: Path) -> None:
    store = store_at(tmp_path / "data")
    store._temp.has_anonymous_files = False
    temp = tmp_path / "data/state/tmp"

    async def story(client: Client) -> None:
        running = await client.begin("x", None)
        await running.write(bytes(2**20))
        await running.finish()
        (temp / "left-behind").write_bytes(b"half")
        assert len(list(temp.iterdir())) == 2
        assert store.sweep() == 1
        await running.seal(Metadata())
        assert await running.publish(Conditions(), create_only=False)
        assert list(temp.iterdir()) == []
        assert len(await client.get("x")) == 2**20

    run(store, "b", story)


def test_the_folder_for_unfinished_uploads_is_not_served(tmp_path: Path) -> None:
    store, media = files_store(tmp_path)
    (media / TEMP_FOLDER).mkdir()
    (media / TEMP_FOLDER / "left-behind").write_text("half")

    async def story(client: Client) -> None:
        assert await client.names() == []
        assert await code_of(client.get(f"{TEMP_FOLDER}/left-behind")) == "object_key_invalid"
        assert store.sweep() == 1

    run(store, "m", story)


def _add_under_lock(folder: str, counter: str, rounds: int) -> None:
    locks = Locks(folder)
    for _ in range(rounds):
        with locks.of("b", "one key"), open(counter, "r+") as file:
            value = int(file.read())
            time.sleep(0.0002)
            file.seek(0)
            file.write(str(value + 1))


def test_a_lock_holds_between_processes(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_add_under_lock, args=(str(tmp_path), str(counter), 100)) for _ in range(2)]
    for worker in workers:
        worker.start()
    _add_under_lock(str(tmp_path), str(counter), 100)
    for worker in workers:
        worker.join()
    assert counter.read_text() == "300"


def _claim(data: str, count: int) -> None:
    async def story() -> None:
        client = Client(DiskStore(Path(data), {}, ROOMY), "b")
        for number in range(count):
            if await succeeds(client.put(f"n/{number}", b"", create_only=True), unless={"exists"}):
                await client.put(f"wins/{number}/{os.getpid()}", b"")
        await client.store.close()

    asyncio.run(story())


def test_of_two_processes_exactly_one_creates(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_claim, args=(str(tmp_path), 40)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0

    async def story(client: Client) -> None:
        assert len(await client.names("wins/")) == len(await client.names("n/")) == 40

    run(store, "b", story)
