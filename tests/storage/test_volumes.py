"""Volumes as an operator meets them: full, read-only, unmounted. Real ones, small and in memory."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gate import Gate
from valetstore.storage.space import FRESH_SECONDS

Start = Callable[..., Gate]
Mount = Callable[[Path], None]

AUDIT_ELSEWHERE = '[audit]\naudit-to = "stdout"\n'
"""The audit's own file would be on the volume that cannot be written."""


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount an empty volume of one megabyte on a folder; all are gone at the end."""
    mounted: list[Path] = []

    def mount_one(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0:
            pytest.skip("only root can mount a volume")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"no volume can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(folder)

    yield mount_one
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


@pytest.fixture
def gate(start: Start, mount: Mount, tmp_path: Path) -> Gate:
    """A gateway with its data on a small volume and one object in it."""
    mount(tmp_path / "gate0" / "data")
    gate = start(AUDIT_ELSEWHERE + "[storage]\nfree-bytes-min = 0\n[buckets.q]\nquota-bytes = 1000\n")
    for path in ("/a/b", "/q/b"):
        assert gate.ask("PUT", gate.sign("PUT", path), b"kept").status == 201
    return gate


def test_on_a_full_volume_it_starts_and_reads_go_on(gate: Gate) -> None:
    gate.stop()
    with open(gate.data / "filler", "wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    gate.start()
    assert gate.ask("GET", gate.sign("GET", "/a/b")).body == b"kept"
    assert gate.ask("PUT", gate.sign("PUT", "/a/c"), b"x").code == "storage_full"
    assert gate.ask("DELETE", gate.sign("DELETE", "/q/b")).status == 204
    (gate.data / "filler").unlink()
    time.sleep(FRESH_SECONDS)
    assert gate.ask("PUT", gate.sign("PUT", "/a/c"), b"x" * 10).status == 201


def test_on_a_read_only_volume_it_starts_and_reads_go_on(gate: Gate) -> None:
    gate.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(gate.data)], check=True)
    gate.start()
    for path in ("/a/b", "/q/b"):
        assert gate.ask("GET", gate.sign("GET", path)).body == b"kept"
        assert gate.ask("PUT", gate.sign("PUT", path), b"x").code == "storage_unavailable"
        assert gate.ask("DELETE", gate.sign("DELETE", path)).code == "storage_unavailable"
    assert gate.says(f"{gate.data / 'objects'}: cannot be written now, only read: Read-only file system"), gate.log
    out = gate.cli("check", "--config", str(gate.folder / "valetstore.toml"))
    assert f"warning  file system: {gate.data}: cannot be written now" in out
    assert "gateway: one is serving" in out
    assert gate.stop() == 0


def test_a_read_only_root_is_read_while_others_are_written(start: Start, mount: Mount, tmp_path: Path) -> None:
    media = tmp_path / "media"
    mount(media)
    (media / "x").write_bytes(b"by hand")
    subprocess.run(["mount", "-o", "remount,ro", str(media)], check=True)
    gate = start(f'[buckets.m]\nroot = "{media}"\nlayout = "files"\n')
    assert gate.says(f"{media}: cannot be written now, only read: Read-only file system"), gate.log
    assert gate.ask("GET", gate.sign("GET", "/m/x")).body == b"by hand"
    assert gate.ask("PUT", gate.sign("PUT", "/m/y"), b"1").code == "storage_unavailable"
    assert gate.ask("PUT", gate.sign("PUT", "/a/b"), b"1").status == 201


def test_where_a_volume_was_unmounted_nothing_is_written(start: Start, mount: Mount, tmp_path: Path) -> None:
    media = tmp_path / "media"
    mount(media)
    gate = start(f'[storage]\nfree-bytes-min = 0\n[buckets.m]\nroot = "{media}"\n')
    assert gate.ask("PUT", gate.sign("PUT", "/m/x"), b"1").status == 201
    subprocess.run(["umount", str(media)], check=True)
    assert gate.ask("GET", gate.sign("GET", "/m/x")).code == "storage_unavailable"
    assert gate.ask("PUT", gate.sign("PUT", "/m/y"), b"2").code == "storage_unavailable"
    assert list(media.iterdir()) == []
