"""A list is `sorted`, whatever the folders look like."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valetstore.config import Bucket
from valetstore.errors import Denied
from valetstore.storage import listing, reading
from valetstore.storage.listing import list_page, walk
from valetstore.storage.roots import Root, Roots

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


def all_pages(root: Root, folder: str, prefix: str, after: str, limit: int) -> list[str]:
    root_fd = os.open(folder, os.O_PATH)
    found: list[str] = []
    try:
        while True:
            page = list_page(root, root_fd, prefix, after, limit)
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

    def look_too_late(root: Root, root_fd: int, name: str, path: str) -> object:
        if int(name) < 15:
            (tmp_path / path).unlink(missing_ok=True)
        return reading.look(root, root_fd, name, path)

    monkeypatch.setattr(listing, "look", look_too_late)
    assert all_pages(root, str(tmp_path), "", "", 4) == held[15:]


def test_only_folders_that_can_matter_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = made(str(tmp_path), "objects", [f"{top}/{low}/x" for top in "abcd" for low in "12"])
    read: list[str] = []
    entries = listing.entries

    def noted(root_fd: int, path: str) -> Iterator[tuple[str, bool]]:
        read.append(path)
        return entries(root_fd, path)

    monkeypatch.setattr(listing, "entries", noted)
    assert all_pages(root, str(tmp_path), "b/2", "", 9) == ["b/2/x"]
    assert set(read) == {"b+", "b+/2+"}
    read.clear()
    root_fd = os.open(tmp_path, os.O_PATH)
    assert [row.name for row in list_page(root, root_fd, "", "c/1/x", 1).rows] == ["c/2/x"]
    os.close(root_fd)
    assert not {"a+", "b+"} & set(read)
