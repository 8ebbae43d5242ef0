"""A grouped list is what grouping the sorted names gives, whatever the folders look like; and costs what it shows."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valetstore.storage import listing, walk
from valetstore.storage.listing import Trip, list_page
from valetstore.storage.promise import Listed

from .test_layout import names
from .test_listing import made

some_names = st.one_of(st.text("ab/.+%\xe9-", min_size=1, max_size=6), names)
Items = list[tuple[str, bool]]
"""What a page shows, in order: a name or a group, and whether it is a group."""


def group_of(name: str, prefix: str, delimiter: str) -> str | None:
    found = name.find(delimiter, len(prefix)) if delimiter else -1
    return name[: found + len(delimiter)] if found >= 0 else None


def model(held: list[str], prefix: str, after: str, delimiter: str) -> Items:
    """All that follows, by hand: names after `after` (not in it, where it is a group), those of a group as one."""
    is_group = after.startswith(prefix) and group_of(after, prefix, delimiter) == after
    items: Items = []
    for name in sorted(held, key=str.encode):
        if not name.startswith(prefix) or name.encode() <= after.encode() or (is_group and name.startswith(after)):
            continue
        group = group_of(name, prefix, delimiter)
        item = (name, False) if group is None else (group, True)
        if item not in items[-1:]:
            items.append(item)
    return items


@pytest.mark.parametrize("layout", ["objects", "files"])
@given(
    wanted=st.lists(some_names, max_size=14, unique=True),
    prefix=st.one_of(st.just(""), st.text("ab/.+%x\xe9", max_size=3)),
    delimiter=st.one_of(st.sampled_from(["/", "", "-", "a", "/b", "b/", "//", "\xe9"]), st.text("ab/+-", max_size=3)),
    after=st.one_of(st.just(""), some_names, st.sampled_from(["a/", "a/b/", "-", "b-"])),
    limit=st.integers(1, 6),
)
@example(wanted=["a/x", "a/y", "b"], prefix="", delimiter="/", after="a/", limit=1)
@example(wanted=["a/x", "a/y", "b"], prefix="", delimiter="/", after="a/x", limit=1)
@settings(max_examples=250, deadline=None)
def test_grouped_pages_are_those_of_the_model(
    layout: Literal["objects", "files"], wanted: list[str], prefix: str, delimiter: str, after: str, limit: int
) -> None:
    wanted = [name for name in wanted if "\0" not in name and not {".", ".."} & set(name.split("/"))]
    with TemporaryDirectory() as folder:
        root, held = made(folder, layout, wanted)
        expected = model(held, prefix, after, delimiter)
        root_fd = os.open(folder, os.O_PATH)
        try:
            while True:
                page = list_page(root, root_fd, prefix, after, limit, delimiter)
                shown = [*((row.name, False) for row in page.rows), *((group, True) for group in page.prefixes)]
                shown.sort(key=lambda item: item[0].encode())
                assert shown == expected[:limit]
                expected = expected[limit:]
                assert page.next_after == (shown[-1][0] if expected else None)
                if page.next_after is None:
                    return
                after = page.next_after
        finally:
            os.close(root_fd)


@pytest.mark.parametrize("layout", ["objects", "files"])
def test_a_folder_that_is_one_group_is_looked_into_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Literal["objects", "files"]
) -> None:
    wanted = [f"{top}/{number:03}" for top in "abc" for number in range(600)] + [f"c/deep/{n}" for n in range(600)]
    root, _ = made(str(tmp_path), layout, wanted)
    seen = 0
    entries = walk.entries

    def counted(root_fd: int, path: str) -> Iterator[tuple[str, bool]]:
        nonlocal seen
        for entry in entries(root_fd, path):
            seen += 1
            yield entry

    monkeypatch.setattr(listing, "entries", counted)
    root_fd = os.open(tmp_path, os.O_PATH)
    page = list_page(root, root_fd, "", "", 10, "/")
    assert (page.prefixes, page.rows, page.next_after) == (["a/", "b/", "c/"], [], None)
    assert seen <= 3 + 3 * 2
    page = list_page(root, root_fd, "", "a/", 1, "/")
    assert (page.prefixes, page.next_after) == (["b/"], "b/")
    os.close(root_fd)


def test_what_holds_no_object_is_no_group(tmp_path: Path) -> None:
    """Empty folders, at any depth and in any number, and folders with foreign files only."""
    root, _ = made(str(tmp_path), "objects", ["full/z/z/z/z/x"])
    for number in range(200):
        (tmp_path / f"full+/{number}+/a+").mkdir(parents=True)
        (tmp_path / f"empty+/{number}+/a+").mkdir(parents=True)
    (tmp_path / "foreign+").mkdir()
    (tmp_path / "foreign+" / "a%41").touch()
    root_fd = os.open(tmp_path, os.O_PATH)
    assert list_page(root, root_fd, "", "", 1, "/").prefixes == ["full/"]
    assert list_page(root, root_fd, "", "", 1, "/").next_after is None
    assert list_page(root, root_fd, "full/", "", 9, "/").prefixes == ["full/z/"]
    os.close(root_fd)


def test_groups_within_one_folder_are_jumped_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a group of files one is looked at, and one more says that there is another page."""
    root, held = made(str(tmp_path), "objects", [f"{n % 50:02}-{n:04}" for n in range(500)])
    looked: list[str] = []
    look = Trip._row

    def noted(trip: Trip, name: str, entry: str) -> Listed | None:
        looked.append(name)
        return look(trip, name, entry)

    monkeypatch.setattr(Trip, "_row", noted)
    root_fd = os.open(tmp_path, os.O_PATH)
    page = list_page(root, root_fd, "", "07-", 3, "-")
    assert (page.prefixes, page.next_after) == (["08-", "09-", "10-"], "10-")
    assert looked == ["08-0008", "09-0009", "10-0010", "11-0011"]
    assert len(held) == 500
    os.close(root_fd)
