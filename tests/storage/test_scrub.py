"""A scrub tells rot from edits, and takes rot out of the way without losing it."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from valetstore.config import Bucket
from valetstore.storage import metadata
from valetstore.storage.scrub import Report, Scrub

from .contract import Client, code_of
from .test_disk_contract import store_at


def filled(data: Path, names: list[str], buckets: dict[str, Bucket] | None = None, bucket: str = "b") -> Path:
    store = store_at(data, buckets)

    async def story() -> None:
        for name in names:
            await Client(store, bucket).put(name, name.encode() * 100)
        await store.close()

    asyncio.run(story())
    return data / "objects" / "b"


def rot(path: Path, data: bytes) -> None:
    """Change bytes as a disk would: no time stamp says so."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_rot_is_set_aside_and_edits_are_left(tmp_path: Path) -> None:
    folder = filled(tmp_path, ["sound", "a/rotten", "edited", "longer"])
    rot(folder / "a+/rotten", b"X")
    rot(folder / "longer", b"X" * 10_000)
    time.sleep(0.01)
    (folder / "edited").write_text("by hand")
    (folder / "by-hand").write_text("by hand")
    seen: list[int] = []
    report = Scrub(tmp_path, {}, progress=lambda report: seen.append(report.sound)).run()
    assert (report.sound, report.edited, report.foreign) == (1, 1, 1)
    assert len(seen) == 5
    assert sorted((bad.bucket, bad.name) for bad in report.bad) == [("b", "a/rotten"), ("b", "longer")]
    for bad in report.bad:
        assert bad.set_aside is not None
        assert Path(bad.set_aside).is_relative_to(tmp_path / "state/quarantine/b")
        assert Path(bad.set_aside).read_bytes().startswith(b"X")
    store = store_at(tmp_path)

    async def story() -> None:
        assert await code_of(Client(store, "b").get("a/rotten")) == "not_found"
        assert await Client(store, "b").names() == ["by-hand", "edited", "sound"]
        await store.close()

    asyncio.run(story())
    assert Scrub(tmp_path, {}).run().bad == []


def test_the_same_name_can_rot_twice(tmp_path: Path) -> None:
    for _ in range(2):
        folder = filled(tmp_path, ["x"])
        rot(folder / "x", b"X")
        assert len(Scrub(tmp_path, {}).run().bad) == 1
    assert sorted(path.name for path in (tmp_path / "state/quarantine/b").iterdir()) == ["x", "x%2"]


@pytest.mark.parametrize("read_only", [False, True])
def test_nothing_is_moved_where_that_is_not_wanted(tmp_path: Path, read_only: bool) -> None:
    root = tmp_path / "root"
    filled(tmp_path / "data", ["x"], {"b": Bucket(root=str(root))})
    rot(root / "x", b"X")
    settings = {"b": Bucket(root=str(root), read_only=read_only)}
    report = Scrub(tmp_path / "data", settings, set_aside=read_only).run()
    assert [bad.set_aside for bad in report.bad] == [None]
    assert (root / "x").exists()


def test_what_cannot_be_read_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path, ["x"])

    def fail(fd: int, count: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    [bad] = Scrub(tmp_path, {}).run().bad
    assert "Input/output error" in bad.reason
    assert not (folder / "x").exists()


def test_an_object_replaced_meanwhile_is_not_taken_for_the_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path, ["x"])
    rot(folder / "x", b"X")
    stored = metadata.stored

    def replaced_meanwhile(fd: int) -> object:
        record = stored(fd)
        monkeypatch.undo()
        filled(tmp_path, ["x"])
        return record

    monkeypatch.setattr(metadata, "stored", replaced_meanwhile)
    [bad] = Scrub(tmp_path, {}).run().bad
    assert bad.set_aside is None
    assert (folder / "x").read_bytes() == b"x" * 100


def test_reading_keeps_to_its_rate(tmp_path: Path) -> None:
    filled(tmp_path, ["x" * 100])
    started = time.monotonic()
    report: Report = Scrub(tmp_path, {}, bytes_per_second=50_000).run()
    assert time.monotonic() - started >= report.bytes_read / 50_000
    assert report.bytes_read == 10_000
