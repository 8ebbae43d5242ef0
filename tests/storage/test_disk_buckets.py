"""Buckets as things of their own: they come, go, and take along what is kept about them."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from valetstore.config import Bucket, Storage
from valetstore.errors import Denied
from valetstore.grants.grant import Admission
from valetstore.storage.bucket_settings import BucketSettings
from valetstore.storage.buckets import create_bucket, delete_bucket
from valetstore.storage.disk import DiskStore
from valetstore.storage.promise import Metadata
from valetstore.storage.roots import Roots
from valetstore.storage.uploads import Started

from .admissions import admitted
from .contract import NONE, Client, code_of
from .test_disk_contract import store_at

T = TypeVar("T")


def told(store: DiskStore, story: Callable[[DiskStore], Awaitable[T]]) -> T:
    async def whole() -> T:
        try:
            return await story(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def bucket(name: str) -> Admission:
    return admitted("list", name)


def test_a_bucket_is_made_once_and_found(tmp_path: Path) -> None:
    async def story(store: DiskStore) -> None:
        buckets = store.buckets
        assert await code_of(buckets.one(bucket("b"))) == "bucket_not_found"
        before = time.time_ns()
        assert await buckets.create(bucket("b")) is True
        assert await buckets.create(bucket("b")) is False
        made = await buckets.one(bucket("b"))
        assert before - 10**9 <= made.created_ns <= time.time_ns() + 10**9
        await Client(store, "auto").put("x", b"1")
        await Client(store, "b").put("x/y", b"1")
        assert await buckets.one(bucket("b")) == made, "what is stored in it changes no date of its own"
        assert [info.name for info in await buckets.all(bucket("b"))] == ["auto", "b"]

    told(store_at(tmp_path), story)


def test_only_an_empty_bucket_goes(tmp_path: Path) -> None:
    async def story(store: DiskStore) -> None:
        client, buckets = Client(store, "b"), store.buckets
        await client.put("a/b", b"")
        assert await code_of(buckets.delete(bucket("b"))) == "conflict"
        assert await client.get("a/b") == b""
        await client.delete("a/b")
        (tmp_path / "objects/b/left+/over+").mkdir(parents=True)  # as after a crash
        await buckets.delete(bucket("b"))
        assert not (tmp_path / "objects/b").exists()
        assert await code_of(buckets.delete(bucket("b"))) == "bucket_not_found"

    told(store_at(tmp_path), story)


@pytest.mark.parametrize("by", ["store", "command line"])
def test_unfinished_uploads_go_with_their_bucket(tmp_path: Path, by: str) -> None:
    settings = {"b": Bucket(quota_bytes=1000)}

    async def story(store: DiskStore) -> None:
        await store.buckets.create(bucket("b"))
        await store.buckets.create(bucket("other"))
        await store.uploads.start(admitted("write", "b", "y"), Started())
        for name in ("b", "other"):
            upload_id = (await store.uploads.start(admitted("write", name, "x"), Started())).id
            part = await store.uploads.begin_part(admitted("write", name, "x"), upload_id, 1, 900, frozenset())
            await part.write(bytes(900))
            await part.finish()
            await part.seal(Metadata())
            await part.publish(NONE, create_only=False)
            await part.abort()
        assert len((await store.uploads.page(bucket("b"), "", ("", ""), 9)).rows) == 2
        if by == "store":
            await store.buckets.delete(bucket("b"))
        else:
            assert delete_bucket(tmp_path, settings, "b")
        await store.buckets.create(bucket("b"))
        assert (await store.uploads.page(bucket("b"), "", ("", ""), 9)).rows == []
        assert len((await store.uploads.page(bucket("other"), "", ("", ""), 9)).rows) == 1
        await Client(store, "b").put("whole quota", bytes(1000))

    told(store_at(tmp_path, settings), story)


def test_a_bucket_of_the_settings_is_there_and_stays(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    settings = {
        "media": Bucket(root=str(tmp_path / "media"), layout="files"),
        "ro": Bucket(read_only=True),
    }
    (tmp_path / "data/objects/ro").mkdir(parents=True)

    async def story(store: DiskStore) -> None:
        assert await store.buckets.create(bucket("media")) is False
        assert await code_of(store.buckets.delete(bucket("media"))) == "operation_not_allowed"
        assert await code_of(store.buckets.delete(bucket("ro"))) == "operation_not_allowed"
        assert (tmp_path / "media").is_dir()

    told(store_at(tmp_path / "data", settings), story)


def test_where_the_operator_lets_nobody_make_buckets_nobody_does(tmp_path: Path) -> None:
    async def story(store: DiskStore) -> None:
        assert await code_of(store.buckets.create(bucket("b"))) == "operation_not_allowed"

    told(store_at(tmp_path, storage=Storage(free_bytes_min=0, create_buckets=False)), story)


def test_settings_are_kept_for_all_workers_and_go_with_the_bucket(tmp_path: Path) -> None:
    other = DiskStore(tmp_path, {}, Storage(free_bytes_min=0))

    async def story(store: DiskStore) -> None:
        buckets = store.buckets
        assert await code_of(buckets.keep(bucket("b"), "cors", b"1")) == "bucket_not_found"
        assert await code_of(buckets.setting(bucket("b"), "cors")) == "bucket_not_found"
        await buckets.create(bucket("b"))
        assert await buckets.setting(bucket("b"), "cors") is None
        await buckets.keep(bucket("b"), "cors", None)
        for value in (b"first", b"other", b""):
            await buckets.keep(bucket("b"), "cors", value)
            for seen in (store, other):
                assert seen.buckets.setting_now("b", "cors") == value
                assert await seen.buckets.setting(bucket("b"), "cors") == value
        await buckets.keep(bucket("b"), "cors", None)
        assert other.buckets.setting_now("b", "cors") is None
        await buckets.keep(bucket("b"), "cors", b"last")
        await buckets.delete(bucket("b"))
        await Client(store, "b").put("x", b"")
        assert await buckets.setting(bucket("b"), "cors") is None
        assert other.buckets.setting_now("b", "cors") is None
        await other.close()

    told(store_at(tmp_path), story)


def test_the_command_line_takes_the_settings_along_too(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    create_bucket(tmp_path, {}, "b")

    async def story(store: DiskStore) -> None:
        await store.buckets.keep(bucket("b"), "cors", b"1")
        delete_bucket(tmp_path, {}, "b")
        assert store.buckets.setting_now("b", "cors") is None
        await store.buckets.create(bucket("c"))
        await store.buckets.keep(bucket("c"), "cors", b"1")
        os.rmdir(tmp_path / "objects/c")  # by hand
        assert await store.buckets.create(bucket("c"))
        assert store.buckets.setting_now("c", "cors") is None

    told(store, story)


def test_what_is_remembered_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BucketSettings(str(tmp_path / "buckets"))
    settings.keep("b", "cors", b"1")
    assert settings.now("b", "cors") == b"1"
    monkeypatch.setattr("valetstore.storage.bucket_settings.open", None, raising=False)  # any read would fail
    assert settings.now("b", "cors") == b"1"
    assert settings.now("absent", "cors") is None


def test_a_setting_that_could_not_be_kept_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BucketSettings(str(tmp_path / "buckets"))
    settings.keep("b", "cors", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            settings.keep("b", "cors", b"new")
    assert settings.now("b", "cors") == b"old"
    assert os.listdir(tmp_path / "buckets" / "b") == ["cors"]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".cors", "CORS", "a" * 40])
def test_only_plain_words_name_settings(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name of a setting"):
        BucketSettings(str(tmp_path)).read("b", name)


@pytest.mark.parametrize("name", ["", "..", "../..", "a/b", "_valet", "x" * 64])
def test_no_other_path_is_looked_at_for_a_bucket_that_cannot_be(tmp_path: Path, name: str) -> None:
    async def story(store: DiskStore) -> None:
        with pytest.raises(Denied, match="object_key_invalid"):
            store.buckets.setting_now(name, "cors")

    told(store_at(tmp_path), story)


def test_a_bucket_that_another_writer_makes_meanwhile_is_no_lost_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two writers that find no folder, the one that comes second does not take the first's for an unmounted disk."""
    objects = tmp_path / "objects"
    objects.mkdir()
    roots = Roots(tmp_path, {"b": Bucket(root=str(tmp_path / "media"))}, create=True)
    root = roots.of("b")
    real, turns = os.open, ["another writer's"]

    def open_between(path: str, flags: int, *rest: int) -> int:
        if path != root.path or not turns:
            return real(path, flags, *rest)
        turns.clear()
        try:
            return real(path, flags, *rest)
        finally:
            os.close(roots.open_to_write(root))

    monkeypatch.setattr(os, "open", open_between)
    os.close(roots.open_to_write(root))
