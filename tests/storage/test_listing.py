"""A list is `sorted`, whatever the folders look like."""

import os
import shutil
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valetstore.config import Bucket
from valetstore.errors import Denied
from valetstore.storage.catalogue import Catalogue
from valetstore.storage.entries import Entries
from valetstore.storage.layout import Layout
from valetstore.storage.listing import Trip, list_page
from valetstore.storage.promise import Listed
from valetstore.storage.roots import Root, Roots
from valetstore.storage.settled import SETTLED_NS
from valetstore.storage.walk import walk

from .test_layout import names

few_segments = st.text("ab.+%/\xe9", min_size=1, max_size=5)
some_names = st.one_of(names, few_segments)


def made(folder: str, layout: Literal["objects", "files"], wanted: list[str]) -> tuple[Root, list[str]]:
    """A bucket with those of the wanted names that it can hold."""
    root = Roots(Path(folder), {"b": Bucket(root=folder, layout=layout)}, create=True).of("b")
    held = []
    for name in wanted:
        try:
            path = os.path.join(folder, root.layout.to_path(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb"):
                held.append(name)
        except (Denied, FileExistsError, IsADirectoryError, NotADirectoryError, ValueError):
            continue
    return root, held


def settle(folder: Path) -> None:
    """Give a folder's last change the age at which it is remembered."""
    while time.time_ns() - os.stat(folder).st_ctime_ns < SETTLED_NS:
        time.sleep(0.01)


def all_pages(
    root: Root, folder: str, prefix: str, after: str, limit: int, catalogue: Catalogue | None = None
) -> list[str]:
    root_fd = os.open(folder, os.O_PATH)
    found: list[str] = []
    try:
        while True:
            page = list_page(root, root_fd, prefix, after, limit, "", catalogue)
            found += [row.name for row in page.rows]
            if page.next_after is None:
                return found
            assert page.next_after.encode() > after.encode()
            after = page.next_after
    finally:
        os.close(root_fd)


@pytest.mark.parametrize("layout", ["objects", "files"])
@given(
    wanted=st.lists(some_names, max_size=12, unique=True),
    prefix=st.one_of(st.just(""), st.text("ab/.+%x", max_size=3)),
    after=st.one_of(st.just(""), some_names),
    limit=st.integers(1, 6),
)
@settings(max_examples=150, deadline=None)
def test_pages_together_are_the_sorted_names(
    layout: Literal["objects", "files"], wanted: list[str], prefix: str, after: str, limit: int
) -> None:
    wanted = [name for name in wanted if "\0" not in name and not {".", ".."} & set(name.split("/"))]
    with TemporaryDirectory() as folder:
        root, held = made(folder, layout, wanted)
        expected = sorted(
            (name for name in held if name.startswith(prefix) and name.encode() > after.encode()),
            key=str.encode,
        )
        assert all_pages(root, folder, prefix, after, limit) == expected
        root_fd = os.open(folder, os.O_PATH)
        assert sorted(walk(root, root_fd)) == sorted((name, root.layout.to_path(name)) for name in held)
        os.close(root_fd)


def test_links_devices_and_foreign_files_have_no_row(tmp_path: Path) -> None:
    root, _ = made(str(tmp_path), "objects", ["a/b", "z"])
    (tmp_path / "plain-folder").mkdir()
    (tmp_path / "plain-folder" / "x").touch()
    (tmp_path / "link").symlink_to("z")
    (tmp_path / "links+").symlink_to("a+")
    (tmp_path / "a%41").touch()
    os.mkfifo(tmp_path / "fifo")
    with open(os.path.join(os.fsencode(tmp_path), b"latin-\xe9"), "xb"):
        pass
    assert all_pages(root, str(tmp_path), "", "", 10) == ["a/b", "z"]


def test_what_vanishes_during_a_list_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page of files is deleted between being found and being looked at: the next ones still show."""
    root, held = made(str(tmp_path), "objects", [f"{number:03}" for number in range(30)])
    look = Trip._row

    def look_too_late(trip: Trip, name: str, entry: str) -> Listed | None:
        if int(name) < 15:
            (tmp_path / entry).unlink(missing_ok=True)
        return look(trip, name, entry)

    monkeypatch.setattr(Trip, "_row", look_too_late)
    assert all_pages(root, str(tmp_path), "", "", 4) == held[15:]


def test_a_folder_that_vanishes_while_one_below_it_is_shown_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = made(str(tmp_path), "objects", ["a/1", "a/5/x", "a/7", "a/8", "b/1"])
    look = Trip._row

    def look_too_late(trip: Trip, name: str, entry: str) -> Listed | None:
        if name == "a/5/x":
            shutil.rmtree(tmp_path / "a+")
        return look(trip, name, entry)

    monkeypatch.setattr(Trip, "_row", look_too_late)
    assert all_pages(root, str(tmp_path), "", "", 100) == ["a/1", "b/1"]


def test_only_folders_that_can_matter_are_read(tmp_path: Path) -> None:
    root, _ = made(str(tmp_path), "objects", [f"{top}/{low}/x" for top in "abcd" for low in "12"])
    read: list[str] = []

    class Noting(Catalogue):
        def entries(self, place: tuple[str, str], fd: int, layout: Layout) -> Entries:
            read.append(place[1])
            return super().entries(place, fd, layout)

    assert all_pages(root, str(tmp_path), "b/2", "", 9, Noting()) == ["b/2/x"]
    assert set(read) == {"b+", "b+/2+"}
    read.clear()
    root_fd = os.open(tmp_path, os.O_PATH)
    assert [row.name for row in list_page(root, root_fd, "", "c/1/x", 1, "", Noting()).rows] == ["c/2/x"]
    os.close(root_fd)
    assert not {"a+", "b+"} & set(read)


def test_pages_may_begin_anywhere_among_segments_that_are_cut(tmp_path: Path) -> None:
    """Where a segment is cut depends on the character there: names of two such folders alternate."""
    tails = ("", "a", "\xe9", "\U0001f600", "%", "+", "/x", "a/x", "\xe9/", "%" * 240, "\xe9" * 130 + "/y")
    root, held = made(str(tmp_path), "objects", [f"{'P' * size}{tail}" for size in range(235, 243) for tail in tails])
    assert len(held) == 8 * len(tails)
    expected = sorted(held, key=str.encode)
    root_fd = os.open(tmp_path, os.O_PATH)
    for number, after in enumerate(["", *expected]):
        assert [row.name for row in list_page(root, root_fd, "", after, 3).rows] == expected[number : number + 3]
    for prefix in {name[:size] for name in expected for size in (236, 239, 241)}:
        wanted = [name for name in expected if name.startswith(prefix)]
        assert [row.name for row in list_page(root, root_fd, prefix, "", 99).rows] == wanted
    os.close(root_fd)


@pytest.mark.parametrize("layout", ["objects", "files"])
@pytest.mark.parametrize("limit", [1, 700, 1000])
def test_a_folder_of_many_leaves_is_in_order_from_anywhere(
    tmp_path: Path, layout: Literal["objects", "files"], limit: int
) -> None:
    """Files, folders and escaped names of one large folder, remembered and not, from its middle and to its end."""
    wanted = [f"{number * 7919 % 5003:05}" for number in range(4000)]
    wanted += [f"{number:05}/x" for number in range(10_000, 10_400)] + [f"{number:05}%" for number in range(0, 5003, 9)]
    root, held = made(str(tmp_path), layout, wanted)
    expected = sorted(held, key=str.encode)
    settle(tmp_path)
    catalogue = Catalogue()
    root_fd = os.open(tmp_path, os.O_PATH)
    for after in ("", "02500", "04999%", "10399", "~"):
        following = [name for name in expected if name > after][: limit + 1]
        for shelf in (Catalogue(0), catalogue, catalogue):
            page = list_page(root, root_fd, "", after, limit, "", shelf)
            assert [row.name for row in page.rows] == following[:limit]
            assert page.next_after == (following[limit - 1] if len(following) > limit else None)
    os.close(root_fd)


def test_a_list_opens_no_pipe(tmp_path: Path) -> None:
    """Who waits at a pipe for its other end must not be let go on by a list, and then write to nobody."""
    root, _ = made(str(tmp_path), "files", ["a"])
    os.mkfifo(tmp_path / "pipe")
    went_on = threading.Event()

    def write() -> None:
        with open(tmp_path / "pipe", "wb"):
            went_on.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all_pages(root, str(tmp_path), "", "", 10) == ["a"]
        assert not went_on.is_set()
    finally:
        with open(tmp_path / "pipe", "rb"):
            writer.join()
