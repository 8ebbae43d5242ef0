"""Two ways to open below a folder; one answer."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valetstore.storage import beneath
from valetstore.storage.beneath import FILE, open_by_kernel, open_by_steps
from valetstore.storage.trouble import denied

WAYS = {"kernel": open_by_kernel, "steps": open_by_steps}
CASES = {
    "a/b/file": None,
    "file": None,
    "a/b/file/x": "not_found",
    "nothing": "not_found",
    "a/nothing/x": "not_found",
    "link": "not_found",
    "a/link-up": "not_found",
    "folder-link/file": "not_found",
    "a/loop/x": "not_found",
    "broken": "not_found",
}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[int]:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_bytes(b"below")
    (root / "file").write_bytes(b"here")
    (tmp_path / "outside").write_bytes(b"secret")
    (root / "link").symlink_to("file")
    (root / "a/link-up").symlink_to(tmp_path / "outside")
    (root / "folder-link").symlink_to("a/b")
    (root / "a/loop").symlink_to("loop")
    (root / "broken").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("path", "code"), CASES.items())
def test_both_ways_open_the_same_and_refuse_the_same(tree: int, way: str, path: str, code: str | None) -> None:
    if code is None:
        fd = WAYS[way](tree, path, FILE)
        assert os.read(fd, 10) in {b"below", b"here"}
        os.close(fd)
        return
    with pytest.raises(OSError, match=r".") as caught:
        WAYS[way](tree, path, FILE)
    with pytest.raises(OSError, match=r".") as other:
        open_by_kernel(tree, path, FILE)
    assert denied(caught.value, "read").code == code
    assert caught.value.errno == other.value.errno


@pytest.mark.parametrize("way", WAYS)
def test_a_link_in_the_way_of_a_write_is_a_conflict(tree: int, way: str) -> None:
    for path in ("folder-link", "folder-link/x", "a/link-up/x"):
        with pytest.raises(OSError, match="symbolic links") as caught:
            WAYS[way](tree, path, beneath.FOLDER)
        assert denied(caught.value, "write").code == "conflict"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd", "file\0x"])
def test_the_way_out_is_closed(tree: int, way: str, path: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        WAYS[way](tree, path, FILE)
    assert caught.value.errno in {errno.EXDEV, errno.ENOENT}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_only_regular_files_are_objects(
    tree: int, tmp_path: Path, way: Callable[[int, str, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO does not hang, a socket and a folder are not there; no descriptor is lost."""
    monkeypatch.setattr(beneath, "open_beneath", way)
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path / "root")
        listening.bind("socket")
        before = len(os.listdir("/proc/self/fd"))
        for path in ("fifo", "socket", "a", "a/b"):
            with pytest.raises(FileNotFoundError):
                beneath.open_file(tree, path)
        assert len(os.listdir("/proc/self/fd")) == before
    fd, state = beneath.open_file(tree, "a/b/file")
    assert state.st_size == 5
    os.close(fd)
