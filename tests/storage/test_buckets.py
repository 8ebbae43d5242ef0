"""Buckets from the command line: listed, made, removed only when empty."""

import asyncio
from pathlib import Path

import pytest

from valetstore.config import Bucket
from valetstore.errors import Denied
from valetstore.storage.buckets import create_bucket, delete_bucket, list_buckets

from .contract import Client
from .test_disk_contract import store_at


def test_buckets_come_and_go(tmp_path: Path) -> None:
    store_at(tmp_path / "data")
    media = tmp_path / "media"
    settings = {"media": Bucket(root=str(media), layout="files")}
    data = tmp_path / "data"
    assert list_buckets(data, settings) == []
    assert create_bucket(data, settings, "b")
    assert not create_bucket(data, settings, "b")
    assert create_bucket(data, settings, "media")
    (data / "objects" / "-stray").mkdir()
    assert list_buckets(data, settings) == ["b", "media"]
    assert delete_bucket(data, settings, "b")
    assert not delete_bucket(data, settings, "b")
    assert delete_bucket(data, settings, "media")
    assert list_buckets(data, settings) == []


def test_a_bucket_that_holds_anything_stays(tmp_path: Path) -> None:
    store = store_at(tmp_path)

    async def story() -> None:
        await Client(store, "b").put("a/b", b"")
        await store.close()

    asyncio.run(story())
    with pytest.raises(Denied, match="conflict"):
        delete_bucket(tmp_path, {}, "b")
    (tmp_path / "objects/b/a+/b").rename(tmp_path / "objects/b/foreign+name%")
    with pytest.raises(Denied, match="conflict"):
        delete_bucket(tmp_path, {}, "b")
    assert list_buckets(tmp_path, {}) == ["b"]


def test_what_may_not_be_is_refused(tmp_path: Path) -> None:
    store_at(tmp_path)
    missing = {"m": Bucket(root=str(tmp_path / "not" / "there"))}
    with pytest.raises(Denied, match="storage_unavailable"):
        create_bucket(tmp_path, missing, "m")
    with pytest.raises(Denied, match="object_key_invalid"):
        create_bucket(tmp_path, {}, "../b")
    (tmp_path / "ro").mkdir()
    with pytest.raises(Denied, match="operation_not_allowed"):
        delete_bucket(tmp_path, {"ro": Bucket(root=str(tmp_path / "ro"), read_only=True)}, "ro")
