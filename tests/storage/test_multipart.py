"""Uploads in parts on a disk: what is kept where, what a quota counts, what a scrub finds, what goes when."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from valetstore.conditions import Conditions
from valetstore.config import Bucket, Storage
from valetstore.storage import draft, metadata
from valetstore.storage.disk import DiskStore
from valetstore.storage.layout import TEMP_FOLDER
from valetstore.storage.multipart import collector, keeping
from valetstore.storage.multipart.disk import DiskUploads
from valetstore.storage.promise import CRC64NVME, DIGESTS, Metadata, Part
from valetstore.storage.roots import Root
from valetstore.storage.scrub import Scrub
from valetstore.storage.uploads import Started

from .admissions import admitted
from .contract import NONE, PLAIN, Client, code_of
from .contract_uploads import BOTH, Parting, copied, opened, tag_of
from .test_disk_contract import MEMORY, store_at
from .test_scrub import rot

Story = Callable[[Client], Awaitable[None]]
MANY = 100
"""More parts than fit an attribute."""
DAY = 86_400


def run(store: DiskStore, story: Story, bucket: str = "b") -> None:
    async def told() -> None:
        try:
            await story(Client(store, bucket))
        finally:
            await store.close()

    asyncio.run(told())


def spills(data: Path) -> list[Path]:
    return sorted((data / "state/spill").iterdir())


def uploads(data: Path, bucket: str = "b") -> list[Path]:
    return sorted((data / "state/uploads" / bucket).iterdir())


async def with_parts(client: Client, name: str, count: int, digests: frozenset[str] = BOTH) -> Parting:
    parting = await Parting.started(client, name)
    await asyncio.gather(*(parting.put(number, b"%d" % number, digests) for number in range(1, count + 1)))
    return parting


async def completed(client: Client, name: str, count: int, digests: frozenset[str] = BOTH) -> Parting:
    parting = await with_parts(client, name, count, digests)
    await parting.complete()
    await parting.end()
    return parting


# --- part tables -----------------------------------------------------------------------------------


def test_ten_thousand_parts_become_one_object(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", 10)
        [folder] = uploads(tmp_path)
        for number in range(11, 10_001):  # as many, without ten thousand syncs
            os.link(folder / f"{number % 10 + 1:05d}", folder / f"{number:05d}")
        parts = await parting.parts()
        assert len(parts) == 10_000
        info = await parting.complete(parts)
        bodies = [b"%d" % (number if number <= 10 else number % 10 + 1) for number in range(1, 10_001)]
        assert await client.get("x") == b"".join(bodies)
        assert (info.parts, info.etag) == (10_000, tag_of(*bodies))
        found = await opened(client, "x")
        assert await found.part_table() == tuple(parts)
        found.close()
        assert len(spills(tmp_path)) == 1
        await parting.end()
        assert uploads(tmp_path) == []

    run(store_at(tmp_path), story)


def test_a_long_part_table_goes_with_its_object(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await completed(client, "x", 3)
        assert spills(tmp_path) == []  # a short one is in the attribute
        await completed(client, "x", MANY)
        [first] = spills(tmp_path)
        await completed(client, "x", MANY)
        [second] = spills(tmp_path)
        assert first != second
        await client.put("x", b"in one piece")
        assert spills(tmp_path) == []
        await completed(client, "x", MANY)
        assert await client.delete("x")
        assert spills(tmp_path) == []

    run(store_at(tmp_path), story)


def test_the_table_of_a_whole_that_gets_no_name_is_not_kept(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", MANY)
        never = Conditions(if_match=('"none"',))
        assert await code_of(parting.complete(conditions=never)) == "precondition_failed"
        whole, _ = await parting.uploads.assemble(parting.admission, parting.id, await parting.parts(), PLAIN)
        assert len(spills(tmp_path)) == 1
        await whole.abort()
        assert spills(tmp_path) == []

    run(store_at(tmp_path), story)


def test_a_table_that_was_lost_is_told_as_none(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await completed(client, "x", MANY)
        found = await opened(client, "x")
        [spill] = spills(tmp_path)
        spill.write_bytes(b"\0\0\0\1broken")
        assert await found.part_table() == ()
        spill.unlink()
        assert await found.part_table() == ()
        assert found.info.parts == MANY
        await client.delete("x")
        assert await code_of(found.part_table()) == "storage_unavailable"  # it may have had one
        found.close()

    run(store_at(tmp_path), story)


def test_a_record_from_before_parts_is_read_as_it_was(tmp_path: Path) -> None:
    """Version 0.3 wrote these members and no others."""

    async def story(client: Client) -> None:
        await client.put("x", b"abc")
        path = tmp_path / "objects/b/x"
        old = {
            "v": 1,
            "size": 3,
            "mtime_ns": path.stat().st_mtime_ns,
            "etag": '"00112233445566778899aabbccddeeff-v"',
            "digests": {"sha256": bytes(32)},
            "content_type": "text/plain",
            "user": {"note": "old"},
        }
        os.setxattr(path, metadata.ATTRIBUTE, msgspec.msgpack.encode(old))
        found = await opened(client, "x")
        assert found.info.etag == old["etag"]
        assert found.info.metadata == Metadata("text/plain", user={"note": "old"})
        assert (found.info.parts, await found.part_table()) == (0, ())
        found.close()

    run(store_at(tmp_path), story)


@pytest.mark.parametrize(
    "forged",
    [
        {"spill": "../../etc/passwd"},
        {"checksum": ["crc32", "AAAA\r\nX: y"]},
        {"checksum": ["rot13", "AAAA"]},
        {"parts": -1},
        {"parts": 1, "table": [[1, 3, 0, {}]]},
    ],
)
def test_a_record_that_the_gateway_would_not_write_is_not_believed(tmp_path: Path, forged: dict[str, object]) -> None:
    async def story(client: Client) -> None:
        await client.put("x", b"abc")
        path = tmp_path / "objects/b/x"
        record = {"v": 1, "size": 3, "mtime_ns": path.stat().st_mtime_ns, "etag": '"forged"', **forged}
        os.setxattr(path, metadata.ATTRIBUTE, msgspec.msgpack.encode(record))
        assert (await client.info("x")).etag != '"forged"'

    run(store_at(tmp_path), story)


# --- quota -----------------------------------------------------------------------------------------


def with_quota(data: Path, quota: int) -> DiskStore:
    return store_at(data, {"b": Bucket(quota_bytes=quota)})


def test_parts_count_until_their_upload_is_over(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parting = await Parting.started(client, "x")
        await parting.put(1, bytes(600))
        assert await code_of(client.put("y", bytes(500))) == "storage_full"
        assert await code_of(parting.put(2, bytes(500))) == "storage_full"
        await parting.put(1, bytes(900))  # in place of the other
        await parting.put(1, bytes(100))
        await parting.put(2, bytes(900))
        await parting.complete()  # though parts and whole together are twice the quota
        await parting.end()
        assert await code_of(client.put("y", bytes(1))) == "storage_full"
        await client.delete("x")
        await client.put("y", bytes(1000))

    run(with_quota(tmp_path, 1000), story)


def test_a_start_counts_the_parts_that_are_there(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await (await Parting.started(client, "x")).put(1, bytes(600))

    async def after(client: Client) -> None:
        assert await code_of(client.put("y", bytes(500))) == "storage_full"
        page = await client.store.uploads.page(admitted("list", "b"), "", ("", ""), 10)
        await client.store.uploads.end(admitted("write", "b", "x"), page.rows[0].id)
        await client.put("y", bytes(1000))

    run(with_quota(tmp_path, 1000), story)
    run(with_quota(tmp_path, 1000), after)


def test_no_part_is_taken_that_the_volume_has_no_room_for(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, {}, Storage(free_bytes_min=2**62))
    store.prepare()

    async def story(client: Client) -> None:
        assert await code_of(Parting.started(client, "x")) == "storage_full"

    run(store, story)


# --- copies and assemblies -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_what_the_kernel_cannot_copy_is_copied_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refuse)

    async def story(client: Client) -> None:
        data = os.urandom(3_000_000)
        parting = await Parting.started(client, "x")
        await parting.put(1, data)
        await parting.put(2, b"rest")
        await parting.complete()
        assert await client.get("x") == data + b"rest"

    run(store_at(tmp_path), story)


def test_a_copy_of_a_whole_is_not_read_where_its_digests_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(client: Client) -> None:
        await client.put("x", b"abc" * 1000, Metadata(md5_etag=True))
        source = await opened(client, "x")
        monkeypatch.setattr(draft.Draft, "_hash_back", lambda self, fd, count: self._hashes and 1 / 0)
        info = await copied(client, source, "y", metadata=Metadata(md5_etag=True))
        source.close()
        assert info.digests == source.info.digests

    run(store_at(tmp_path), story)


def test_rot_is_not_laundered_by_a_copy(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await client.put("x", b"abc" * 1000)
        rot(tmp_path / "objects/b/x", b"X")
        source = await opened(client, "x")
        await copied(client, source, "y")
        source.close()

    run(store_at(tmp_path), story)
    assert sorted(bad.name for bad in Scrub(tmp_path, {}).run().bad) == ["x", "y"]


def test_a_source_that_is_edited_meanwhile_is_not_copied_as_what_it_was(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await client.put("x", b"abc")
        source = await opened(client, "x")
        with (tmp_path / "objects/b/x").open("r+b") as file:
            file.write(b"X")
        assert await code_of(copied(client, source, "y")) == "storage_unavailable"
        source.close()
        assert await client.names() == ["x"]
        source = await opened(client, "x")
        await copied(client, source, "y")
        source.close()
        assert await client.get("y") == b"Xbc"

    run(store_at(tmp_path), story)


def test_between_devices_parts_become_objects_too(tmp_path: Path) -> None:
    """The operator moves a bucket to another disk while an upload is open."""
    if not MEMORY.is_dir() or os.stat(MEMORY).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs a second file system")
    root = MEMORY / f"valetstore-test-{os.getpid()}-{id(tmp_path)}"
    root.mkdir()
    try:
        kept: list[Parting] = []

        async def story(client: Client) -> None:
            kept.append(await with_parts(client, "x", 2))

        async def after(client: Client) -> None:
            parting = Parting(client, "x")
            parting.id = kept[0].id
            await parting.put(3, b"!")
            await parting.complete()
            await parting.end()
            assert await client.get("x") == b"12!"
            other = await with_parts(client, "y", 2)
            assert (root / TEMP_FOLDER / "uploads/b" / other.id / "00001").exists()

        run(store_at(tmp_path), story)
        run(store_at(tmp_path, {"b": Bucket(root=str(root))}), after)
    finally:
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        root.rmdir()


def test_a_long_assembly_lets_others_work_between_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one thread in the store and steps that end at once, a put comes to its end before an assembly does."""
    monkeypatch.setattr("valetstore.storage.multipart.assembly.STEP_SECONDS", 0)
    store = DiskStore(tmp_path, {}, Storage(free_bytes_min=0, storage_threads=1))
    store.prepare()

    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", MANY)
        completing = asyncio.create_task(parting.complete())
        await asyncio.sleep(0)
        await client.put("y", b"in between")
        assert not completing.done()
        await completing

    run(store, story)


def test_an_assembly_that_is_cancelled_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valetstore.storage.multipart.assembly.STEP_SECONDS", 0)
    store = store_at(tmp_path)
    store._temp.has_anonymous_files = False

    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", 50)
        completing = asyncio.create_task(parting.complete())
        while not list((tmp_path / "state/tmp").iterdir()):
            await asyncio.sleep(0)
        completing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await completing
        assert list((tmp_path / "state/tmp").iterdir()) == []
        assert await client.names() == []
        await parting.complete()

    run(store, story)


# --- scrub -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, MANY])
def test_a_scrub_finds_rot_in_one_part(tmp_path: Path, count: int) -> None:
    async def story(client: Client) -> None:
        for name in ("sound", "rotten"):
            await completed(client, name, count)

    run(store_at(tmp_path), story)
    path = tmp_path / "objects/b/rotten"
    rot(path, path.read_bytes()[:2] + b"X")
    report = Scrub(tmp_path, {}).run()
    assert (report.sound, report.foreign) == (1, 0)
    [bad] = report.bad
    assert (bad.name, bad.reason) == ("rotten", "part 3's md5 is not the one that was stored")


def test_a_scrub_judges_what_lost_its_table_by_the_whole_if_it_can(tmp_path: Path) -> None:
    """A CRC that all parts have is the whole's as well; of MD5s there is none."""

    async def story(client: Client) -> None:
        await completed(client, "with a CRC", MANY)
        await completed(client, "rotten", MANY)
        await completed(client, "without", MANY, frozenset())

    run(store_at(tmp_path), story)
    path = tmp_path / "objects/b/rotten"
    rot(path, path.read_bytes()[:2] + b"X")
    for spill in spills(tmp_path):
        spill.unlink()
    report = Scrub(tmp_path, {}).run()
    assert (report.sound, report.foreign) == (1, 1)
    assert [bad.reason for bad in report.bad] == ["its crc32 is not the one that was stored"]


@pytest.mark.parametrize("algorithm", [None, *sorted(DIGESTS)])
def test_a_scrub_finds_rot_by_whatever_digest_was_asked_for(tmp_path: Path, algorithm: str | None) -> None:
    """And where none was, for one is kept all the same."""

    async def story(client: Client) -> None:
        for name in ("sound", "rotten"):
            upload = await client.begin(name, None, frozenset({algorithm} if algorithm else ()))
            await upload.write(b"one byte of this rots")
            await upload.finish()
            await upload.complete(PLAIN, NONE, create_only=False)

    run(store_at(tmp_path), story)
    rot(tmp_path / "objects/b/rotten", b"one byte of this r_ts")
    report = Scrub(tmp_path, {}).run()
    assert (report.sound, report.foreign) == (1, 0)
    assert [bad.reason for bad in report.bad] == [f"its {algorithm or CRC64NVME} is not the one that was stored"]


def test_neither_scrub_nor_sweep_takes_an_open_upload_for_something_else(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    settings = {"far": Bucket(root=str(root), layout="files")}

    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", 2)
        folder = root / TEMP_FOLDER / "uploads/far"
        folder.mkdir(parents=True)  # as on a disk of its own
        os.rename(tmp_path / "data/state/uploads/far" / parting.id, folder / parting.id)
        store = client.store
        assert isinstance(store, DiskStore)
        assert store.sweep() == 0
        assert len(await parting.parts()) == 2
        assert await client.names() == []

    run(store_at(tmp_path / "data", settings), story, "far")
    report = Scrub(tmp_path / "data", settings).run()
    assert (report.sound, report.foreign, report.bad) == (0, 0, [])


# --- what nobody comes back for --------------------------------------------------------------------


def aged(path: Path, seconds: float) -> None:
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def test_an_upload_that_was_left_alone_is_collected_and_another_is_not(tmp_path: Path) -> None:
    settings = {"b": Bucket(quota_bytes=1000)}
    store = DiskStore(tmp_path, settings, Storage(free_bytes_min=0, multipart_seconds_max=3600))
    store.prepare()

    async def story(client: Client) -> None:
        old, used, cut = [await with_parts(client, name, 3) for name in ("old", "used", "cut")]
        for parting in (old, used):
            aged(tmp_path / "state/uploads/b" / parting.id, 4000)
        await used.put(4, b"since then")
        made = tmp_path / "state/uploads/b" / (("A" * 32) + ".new")
        made.mkdir()
        aged(made, 4000)
        (tmp_path / "state/uploads/b" / cut.id).rename(tmp_path / f"state/uploads/b/{cut.id}.ended")
        assert store.collector.run() == collector.Collected(uploads=1, remains=2)
        assert [folder.name for folder in uploads(tmp_path)] == [used.id]
        await used.end()
        await client.put("all", bytes(1000))  # of the quota nothing is left over

    run(store, story)


def test_part_tables_without_an_object_are_collected_after_a_day(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story(client: Client) -> None:
        for name in ("kept", "replaced", "deleted", "young"):
            await completed(client, name, MANY)
        path = tmp_path / "objects/b"
        for name in ("replaced", "deleted", "young"):
            (path / name).unlink()  # by hand
        (path / "replaced").write_bytes(b"by hand")
        young = max(spills(tmp_path), key=lambda spill: spill.stat().st_mtime_ns)
        (tmp_path / "state/spill/nonsense").write_bytes(b"?")
        for spill in spills(tmp_path):
            if spill != young:
                aged(spill, 2 * DAY)
        assert store.collector.run() == collector.Collected(spills=3)
        assert len(spills(tmp_path)) == 2
        found = await opened(client, "kept")
        assert len(await found.part_table()) == MANY
        found.close()

    run(store, story)


def test_no_part_table_goes_because_a_disk_is_away(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    store = store_at(tmp_path / "data", {"far": Bucket(root=str(root))})

    async def story(client: Client) -> None:
        await completed(client, "x", MANY)
        aged(spills(tmp_path / "data")[0], 2 * DAY)
        root.rename(tmp_path / "away")
        assert store.collector.run() == collector.Collected()
        (tmp_path / "away").rename(root)
        assert len(spills(tmp_path / "data")) == 1

    run(store, story, "far")


def test_of_two_processes_one_collects(tmp_path: Path) -> None:
    first, second = store_at(tmp_path), store_at(tmp_path)
    assert first.collector.run() is not None
    assert second.collector.run() is None
    first.collector.stop()
    assert first.collector.run() is None
    assert second.collector.run() is not None
    second.collector.stop()
    for store in (first, second):
        asyncio.run(store.close())


def test_parts_named_by_another_hand_are_not_believed(tmp_path: Path) -> None:
    """A file in an upload's folder without a record of ours is no part."""

    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", 2)
        folder = tmp_path / "state/uploads/b" / parting.id
        (folder / "00003").write_bytes(b"foreign")
        os.symlink("/etc/passwd", folder / "00004")
        assert [part.number for part in await parting.parts()] == [1, 2]
        foreign = [Part(3, 7, '"x"', 0)]
        assert await code_of(parting.complete(foreign)) == "part_invalid"

    run(store_at(tmp_path), story)


def test_an_upload_into_a_bucket_that_went_is_not_found(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", 1)
        await client.store.buckets.delete(admitted("delete", "b"))
        assert await code_of(parting.uploads.find(parting.admission, parting.id)) == "upload_not_found"
        await client.store.buckets.create(admitted("write", "b"))
        assert await code_of(parting.uploads.find(parting.admission, parting.id)) == "upload_not_found"
        with pytest.raises(FileNotFoundError):
            uploads(tmp_path)

    run(store_at(tmp_path), story)


@pytest.mark.parametrize("step", ["parts", "a part", "the whole"])
def test_an_upload_that_ends_just_after_it_was_found_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It must not read as an object that is not there: who completes again would not look whether it is done."""

    async def story(client: Client) -> None:
        parting = await with_parts(client, "x", 1)
        parts = await parting.parts()
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "parts": parting.parts,
            "a part": lambda: parting.put(2, b"2"),
            "the whole": lambda: parting.complete(parts),
        }
        find = DiskUploads._find

        def found_last(uploads: DiskUploads, root: Root, name: str, upload_id: str) -> tuple[str, Started]:
            monkeypatch.setattr(DiskUploads, "_find", find)
            found = find(uploads, root, name, upload_id)
            parent, _ = found
            assert keeping.close(uploads._bench, root, parent, upload_id)
            return found

        monkeypatch.setattr(DiskUploads, "_find", found_last)
        assert await code_of(steps[step]()) == "upload_not_found"

    run(store_at(tmp_path), story)


def test_a_start_in_a_bucket_that_is_read_only_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    async def story(client: Client) -> None:
        start = client.store.uploads.start(admitted("write", "far", "x"), Started())
        assert await code_of(start) == "operation_not_allowed"

    run(store_at(tmp_path / "data", {"far": Bucket(root=str(root), read_only=True)}), story, "far")


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_an_upload_that_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Its client asks again and again: what each try leaves would fill a disk that is nearly full."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def story(client: Client) -> None:
        await Parting.started(client, "x")
        before = uploads(tmp_path)
        with monkeypatch.context() as full:
            full.setattr(os, call, refused)
            assert await code_of(Parting.started(client, "y")) in ("storage_full", "storage_error")
        assert uploads(tmp_path) == before

    run(store_at(tmp_path), story)


def test_a_part_is_durable_before_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(client: Client) -> None:
        parting = await Parting.started(client, "x")
        told: list[str] = []
        for name in ("setxattr", "fsync", "link", "rename"):
            real = getattr(os, name)

            def call(*args: object, name: str = name, real: Callable[..., object] = real, **kwargs: object) -> object:
                told.append(name)
                return real(*args, **kwargs)

            monkeypatch.setattr(os, name, call)
        await parting.put(1, b"1")
        assert told == ["setxattr", "fsync", "link", "fsync"]
        told.clear()
        await parting.put(1, b"2")
        assert told == ["setxattr", "fsync", "link", "link", "rename", "fsync"]
        await parting.complete(conditions=NONE)

    run(store_at(tmp_path), story)
