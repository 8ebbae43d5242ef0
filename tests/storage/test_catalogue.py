"""What is remembered of a folder is what reading it again would give, whoever changes it and however quickly."""

import os
import shutil
import threading
import time
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from valetstore.config import Bucket
from valetstore.storage import catalogue as catalogues
from valetstore.storage.catalogue import Catalogue
from valetstore.storage.entries import Entries, read_entries
from valetstore.storage.layout import LAYOUTS, Layout
from valetstore.storage.listing import list_page
from valetstore.storage.promise import Page
from valetstore.storage.roots import Roots
from valetstore.storage.settled import SETTLED_COARSE_NS, SETTLED_NS

PLACE = ("root", "")
OBJECTS = LAYOUTS["objects"]


class Reader:
    """Reads folders as ever, and counts how often."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, fd: int, layout: Layout) -> Entries:
        self.reads += 1
        return read_entries(fd, layout)


def keys(catalogue: Catalogue, folder: Path) -> list[str]:
    fd = os.open(folder, os.O_RDONLY)
    try:
        return list(catalogue.entries((str(folder), ""), fd, OBJECTS).since(""))
    finally:
        os.close(fd)


def settle(*folders: Path) -> None:
    """Give the folders' last changes the age at which they are remembered."""
    while any(time.time_ns() - os.stat(folder).st_ctime_ns < SETTLED_NS for folder in folders):
        time.sleep(0.01)


names = st.sampled_from(["a", "b", "b-", "c", "long" * 70])


class Machine(RuleBasedStateMachine):
    """Folders are changed behind the store's back, and pages of two lists are compared: one remembers, one does not."""

    @initialize(layout=st.sampled_from(["objects", "files"]))
    def begin(self, layout: str) -> None:
        self.top = Path(mkdtemp(prefix="valetstore-catalogue-"))
        self.root = Roots(self.top, {"b": Bucket(root=str(self.top), layout=layout)}, create=True).of("b")  # type: ignore[arg-type]
        self.fd = os.open(self.top, os.O_PATH)
        self.catalogue = Catalogue(count_min=0)
        self.mark = "+" if layout == "objects" else ""

    def teardown(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)
            shutil.rmtree(self.top)

    def path(self, folder: str, name: str) -> Path:
        return self.top / f"{folder}{self.mark}" / name[:200]

    @rule(folder=names, name=names)
    def make_or_replace(self, folder: str, name: str) -> None:
        path = self.path(folder[:200], name)
        path.parent.mkdir(exist_ok=True)
        if not path.is_dir():
            fresh = path.with_name("fresh")
            fresh.write_bytes(b"x")
            fresh.replace(path)

    @rule(folder=names, name=names)
    def remove(self, folder: str, name: str) -> None:
        path = self.path(folder[:200], name)
        if path.is_file():
            path.unlink()

    @rule(folder=names, name=names, other=names)
    def rename(self, folder: str, name: str, other: str) -> None:
        path = self.path(folder[:200], name)
        if path.is_file():
            path.replace(path.with_name(other[:200]))

    @rule(folder=names, name=names)
    def prune_and_make_anew(self, folder: str, name: str) -> None:
        """Most file systems give it the number of the one that has just gone."""
        path = self.path(folder[:200], name)
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        path.touch()

    @rule(folder=names, other=names)
    def move_folder(self, folder: str, other: str) -> None:
        source, target = self.path(folder[:200], "x").parent, self.path(other[:200], "x").parent
        if source.is_dir() and not target.exists():
            source.rename(target)

    @rule()
    def wait(self) -> None:
        settle(self.top, *(path for path in self.top.iterdir() if path.is_dir()))

    @rule(after=st.one_of(st.just(""), names), delimiter=st.sampled_from(["", "/", "-"]), limit=st.integers(1, 4))
    def list(self, after: str, delimiter: str, limit: int) -> None:
        # Twice: what the first has remembered the second goes by.
        for _ in range(2):
            assert self.page(self.catalogue, after, delimiter, limit) == self.page(
                Catalogue(0), after, delimiter, limit
            )

    def page(self, catalogue: Catalogue, after: str, delimiter: str, limit: int) -> Page:
        return list_page(self.root, self.fd, "", after, limit, delimiter, catalogue)


TestRememberedAndFresh = Machine.TestCase
TestRememberedAndFresh.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("tick_ns", [1, 4_000_000, 10_000_001, 10**9, 2 * 10**9])
def test_a_change_right_after_a_list_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tick_ns: int) -> None:
    """Within one tick of the file system's clock both changes bear the same stamp."""
    really = catalogues._Stamp.of

    def by_ticks(fd: int) -> catalogues._Stamp:
        stamp = really(fd)
        return stamp._replace(
            modified_ns=stamp.modified_ns // tick_ns * tick_ns, changed_ns=stamp.changed_ns // tick_ns * tick_ns
        )

    monkeypatch.setattr(catalogues._Stamp, "of", by_ticks)
    catalogue = Catalogue(count_min=0)
    for number in range(0, 100, 2):
        (tmp_path / f"{number:03}").touch()
        assert len(keys(catalogue, tmp_path)) == number + 1
        (tmp_path / f"{number + 1:03}").touch()
        assert len(keys(catalogue, tmp_path)) == number + 2


def test_a_folder_that_rests_is_read_once(tmp_path: Path) -> None:
    reader = Reader()
    catalogue = Catalogue(count_min=0, read=reader)
    for number in range(5):
        (tmp_path / str(number)).touch()
    settle(tmp_path)
    assert [keys(catalogue, tmp_path) for _ in range(3)] == [list("01234")] * 3
    assert reader.reads == 1
    (tmp_path / "5").touch()
    assert keys(catalogue, tmp_path) == list("012345")
    assert keys(catalogue, tmp_path) == list("012345")
    assert reader.reads == 3, "a folder that has just changed is not remembered"


def test_stamps_of_whole_seconds_rest_for_longer(tmp_path: Path) -> None:
    """Of such a file system the next change may bear the same stamp for as long as a stamp lasts."""
    reader = Reader()
    moment = time.time_ns() // 10**9 * 10**9
    os.utime(tmp_path, ns=(moment, moment))
    changed = max(moment, os.stat(tmp_path).st_ctime_ns)
    for age, reads in ((SETTLED_NS, 2), (SETTLED_COARSE_NS, 3)):
        catalogue = Catalogue(count_min=0, read=reader, now_ns=lambda age=age: changed + age)  # type: ignore[misc]
        keys(catalogue, tmp_path)
        keys(catalogue, tmp_path)
        assert reader.reads == reads


def test_a_modification_time_that_was_set_back_hides_no_change(tmp_path: Path) -> None:
    catalogue = Catalogue(count_min=0)
    (tmp_path / "a").touch()
    state = os.stat(tmp_path)
    settle(tmp_path)
    assert keys(catalogue, tmp_path) == ["a"]
    (tmp_path / "b").touch()
    os.utime(tmp_path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert keys(catalogue, tmp_path) == ["a", "b"]


def test_what_is_remembered_is_believed_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back, or a file server's own, must not make an old list stand for good."""
    reader = Reader()
    catalogue = Catalogue(count_min=0, read=reader)
    settle(tmp_path)
    monkeypatch.setattr(catalogues, "LIFE_SECONDS", 0.0)
    keys(catalogue, tmp_path)
    keys(catalogue, tmp_path)
    assert reader.reads == 2


def test_what_is_remembered_has_a_bound(tmp_path: Path) -> None:
    """The folder that was not asked for longest is forgotten first; one that is more than the bound at once."""
    reader = Reader()
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        for number in range(100):
            (folder / f"{number:040}").touch()
    settle(*folders)
    weight = Entries([f"{number:040}" for number in range(100)]).weight
    catalogue = Catalogue(bytes_max=2 * weight, count_min=0, read=reader)
    for folder in (*folders, folders[1]):
        keys(catalogue, folder)
    assert reader.reads == 3
    keys(catalogue, folders[0])
    assert reader.reads == 4
    keys(catalogue, folders[1])
    assert reader.reads == 4, "it was asked for after the other"
    small = Catalogue(bytes_max=weight - 1, count_min=0, read=reader)
    keys(small, folders[0])
    keys(small, folders[0])
    assert reader.reads == 6


def test_threads_that_ask_at_once_read_once(tmp_path: Path) -> None:
    reader = Reader()
    together = threading.Barrier(4)
    found: list[list[str]] = []

    def slowly(fd: int, layout: Layout) -> Entries:
        time.sleep(0.1)
        return reader(fd, layout)

    catalogue = Catalogue(count_min=0, read=slowly)
    for number in range(3000):
        (tmp_path / f"{number:04}").touch()
    settle(tmp_path)

    def ask() -> None:
        together.wait()
        found.append(keys(catalogue, tmp_path))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[f"{number:04}" for number in range(3000)]] * 4
    assert reader.reads == 1


@given(
    wanted=st.lists(st.text("ab\xe9\U0001f600\udc80", min_size=1, max_size=4), unique=True, max_size=60),
    lowers=st.lists(st.text("ab\xe9", max_size=3), min_size=1, max_size=4),
    copies=st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_entries_are_sorted_from_anywhere(wanted: list[str], lowers: list[str], copies: int) -> None:
    """Of one leaf and of many, for who asks first and who asks then."""
    everything = [f"{key}{number}" for key in wanted for number in range(copies)]
    held = Entries(list(everything))
    for lower in lowers:
        assert list(held.since(lower)) == sorted(key for key in everything if key >= lower)


@pytest.mark.parametrize("count", [0, 1, 999, 1001, 2000, 7000])
def test_entries_are_all_there(count: int) -> None:
    """For who asks first, for who has asked and not gone through all, and for who asks then."""
    everything = [f"{number * 7919 % 10_007:05}" for number in range(count)]
    for lower in ("", "03000"):
        expected = sorted(key for key in everything if key >= lower)
        assert list(Entries(list(everything)).since(lower)) == expected
        held = Entries(list(everything))
        assert next(held.since("05000"), None) == next((key for key in expected if key >= "05000"), None)
        assert [list(held.since(lower)) for _ in range(2)] == [expected] * 2
