"""The contract, on every way a disk can be laid out."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from valetstore.config import Bucket, Storage
from valetstore.storage import beneath
from valetstore.storage.disk import DiskStore

from .contract import Client
from .contract_blocks import BlocksContract

ROOMY = Storage(free_bytes_min=0)
MEMORY = Path("/dev/shm")


def store_at(data: Path, buckets: dict[str, Bucket] | None = None, storage: Storage = ROOMY) -> DiskStore:
    store = DiskStore(data, buckets or {}, storage)
    store.prepare()
    return store


class TestDefaultBucket(BlocksContract):
    @pytest.fixture
    def client(self, tmp_path: Path) -> Client:
        return Client(store_at(tmp_path / "data"), "b")


class TestFilesRoot(BlocksContract):
    @pytest.fixture
    def client(self, tmp_path: Path) -> Client:
        buckets = {"media": Bucket(root=str(tmp_path / "media"), layout="files")}
        return Client(store_at(tmp_path / "data", buckets), "media")


class TestRootOnAnotherVolume(BlocksContract):
    @pytest.fixture
    def client(self, tmp_path: Path) -> Iterator[Client]:
        if not MEMORY.is_dir() or os.stat(MEMORY).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("needs a second file system")
        with tempfile.TemporaryDirectory(dir=MEMORY) as root:
            yield Client(store_at(tmp_path / "data", {"far": Bucket(root=root, layout="files")}), "far")


class TestWithoutUnnamedFilesAndOpenat2(BlocksContract):
    """Older kernels and network file systems: temp files have names, paths are walked."""

    @pytest.fixture
    def client(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
        monkeypatch.setattr(beneath, "open_beneath", beneath.open_by_steps)
        store = store_at(tmp_path / "data")
        store._temp.has_anonymous_files = False
        return Client(store, "b")


class TestBucketWithQuota(BlocksContract):
    @pytest.fixture
    def client(self, tmp_path: Path) -> Client:
        return Client(store_at(tmp_path / "data", {"q": Bucket(quota_bytes=2**30)}), "q")
