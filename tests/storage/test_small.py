"""Small objects on the event loop: the present state or none, no disk that is waited for, no more memory than given."""

import mmap
import os
import socket
import threading
import time
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from valetstore.config import Bucket
from valetstore.errors import Denied
from valetstore.objectkey import ObjectKey
from valetstore.storage import beneath, near, small
from valetstore.storage.near import Near
from valetstore.storage.reading import look
from valetstore.storage.roots import Roots
from valetstore.storage.settled import SETTLED_COARSE_NS, SETTLED_NS
from valetstore.storage.small import ENTRY_BYTES, REOPEN_SECONDS, SMALL_BYTES, SmallObjects

NAME: Final = "folder/x.txt"
KEY: Final = ObjectKey.of("b", NAME)
OLD, NEW = b"old content", b"NEW CONTENT"
SETTLED_SECONDS: Final = SETTLED_NS / 1e9


class Shelf:
    """A bucket of plain files, and what is remembered of it. `later` moves its clocks."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, bytes_max: int = 2**20) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        (folder / "data" / "objects").mkdir(parents=True)
        self.roots = Roots(folder / "data", {"b": Bucket(root=str(self.root), layout="files")}, create=True)
        self.near = Near()
        self.small = SmallObjects(self.roots, self.near, bytes_max)
        self._ahead = 0.0
        self.opened = 0
        monkeypatch.setattr(small, "time", self)
        monkeypatch.setattr(small, "open_file_cached", self._open)

    def _open(self, folder: int, path: str) -> tuple[int, os.stat_result] | None:
        self.opened += 1
        return beneath.open_file_cached(folder, path)

    def time_ns(self) -> int:
        """Of day."""
        return time.time_ns() + int(self._ahead * 1e9)

    def monotonic(self) -> float:
        """Of the loop."""
        return time.monotonic() + self._ahead

    def later(self, seconds: float) -> None:
        """So much time goes by for what is remembered; files keep their stamps."""
        self._ahead += seconds

    def path(self, name: str = NAME) -> Path:
        """Where an object is."""
        return self.root / name

    def put(self, body: bytes = OLD, name: str = NAME) -> Path:
        """By somebody else, with a page in the kernel's memory."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return path

    def look(self) -> None:
        """What a thread of the store does at the first open."""
        root = self.roots.of("b")
        fd = self.roots.open(root)
        try:
            self.near.look(root, fd)
        finally:
            os.close(fd)

    def body(self, key: ObjectKey = KEY) -> bytes | None:
        """What is handed out; None for nothing."""
        found = self.small.get(key)
        return None if found is None else found.body

    def settled(self) -> None:
        """Get what is there, and get it remembered."""
        self.look()
        self.later(SETTLED_SECONDS + 1)
        assert self.body() is not None
        count = self.opened
        assert self.body() is not None
        assert self.opened == count  # from memory


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """An empty one."""
    return Shelf(tmp_path, monkeypatch)


def test_a_bucket_is_not_touched_before_a_thread_has_looked_where_it_lies(shelf: Shelf) -> None:
    """It may be a network's."""
    shelf.put()
    assert shelf.body() is None
    assert not shelf.opened
    shelf.look()
    assert shelf.body() == OLD


def test_file_systems_that_are_not_known_to_be_near_are_never_touched(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file would be in the kernel's memory."""
    monkeypatch.setattr(near, "_LOCAL", {})
    shelf.put()
    shelf.look()
    assert shelf.near.device_of("b") is None
    assert shelf.body() is None
    assert not shelf.opened


def test_another_volume_below_the_root_is_left_to_threads(shelf: Shelf) -> None:
    """Its device is not the one that was looked at."""
    shelf.put()
    shelf.look()
    shelf.near._devices["b"] = -1
    assert shelf.body() is None


def test_where_the_kernel_cannot_say_what_it_remembers_threads_are_asked(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No openat2, as before Linux 5.6 and in some sandboxes."""
    shelf.put()
    shelf.look()
    monkeypatch.setattr(beneath, "open_beneath", beneath.open_by_steps)
    assert shelf.body() is None
    shelf.small = SmallObjects(shelf.roots, shelf.near, 2**20)
    assert shelf.body() is None


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES - 1, SMALL_BYTES])
def test_all_bytes_of_a_small_object_are_handed_out(shelf: Shelf, size: int) -> None:
    """Up to the bound, and with what a thread would say of it."""
    shelf.put(b"x" * size)
    shelf.settled()
    found = shelf.small.get(KEY)
    assert found is not None
    assert found.body == b"x" * size
    root = shelf.roots.of("b")
    fd = shelf.roots.open(root)
    opened, info = look(root, fd, NAME, root.layout.to_path(NAME))
    os.close(opened)
    os.close(fd)
    assert found.info == info


def test_a_larger_one_is_left_to_threads_and_that_is_remembered(shelf: Shelf) -> None:
    """Until it is opened anew, by when it may be small."""
    path = shelf.put(b"x" * (SMALL_BYTES + 1))
    shelf.look()
    shelf.later(SETTLED_SECONDS + 1)
    assert shelf.body() is None
    count = shelf.opened
    assert shelf.body() is None
    assert shelf.opened == count
    path.write_bytes(OLD)
    shelf.later(REOPEN_SECONDS)
    assert shelf.body() == OLD


def test_what_has_just_changed_is_read_and_not_remembered(shelf: Shelf) -> None:
    """Two changes within one tick of a file system's clock look alike."""
    path = shelf.put()
    shelf.look()
    state = path.stat()
    for body in (OLD, NEW, OLD[::-1]):
        with path.open("r+b") as file:
            file.write(body)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert shelf.body() == body
    count = shelf.opened
    shelf.body()
    assert shelf.opened == count + 1


def test_where_stamps_may_be_coarse_more_time_must_go_by(shelf: Shelf) -> None:
    """A second may hold any number of changes with one stamp."""
    path = shelf.put()
    os.utime(path, (10**9, 10**9))
    shelf.look()
    for seconds, opened in ((SETTLED_SECONDS, 2), (SETTLED_COARSE_NS / 1e9, 1)):
        shelf.later(seconds + 0.1)
        before = shelf.opened
        assert shelf.body() == shelf.body() == OLD
        assert shelf.opened == before + opened


def test_a_change_that_is_stamped_in_the_future_is_never_remembered(shelf: Shelf) -> None:
    """Whose clock is wrong cannot be told."""
    path = shelf.put()
    shelf.look()
    ahead = time.time() + 10**6
    os.utime(path, (ahead, ahead))
    for _ in range(3):
        shelf.later(SETTLED_SECONDS + 1)
        count = shelf.opened
        assert shelf.body() == OLD
        assert shelf.opened == count + 1


def test_a_new_file_of_the_same_number_size_and_time_is_another(shelf: Shelf) -> None:
    """File systems give a freed number to the next file; its last change cannot be set back."""
    path = shelf.put()
    shelf.settled()
    before = path.stat()
    for _ in range(200):
        path.unlink()
        path.write_bytes(NEW)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if path.stat().st_ino == before.st_ino:
            break
    assert shelf.body() == NEW


def test_a_name_that_is_another_file_now_is_that_file(shelf: Shelf) -> None:
    """By rename, by a hard link; and the old one by its new name is what it was."""
    path = shelf.put()
    shelf.settled()
    other = shelf.put(NEW, "folder/other")
    path.unlink()
    path.hardlink_to(other)
    assert shelf.body() == NEW
    with other.open("r+b") as file:  # by its other name
        file.write(OLD)
    assert shelf.body() == OLD


def test_what_is_said_of_it_changes_with_its_attribute(shelf: Shelf) -> None:
    """No byte of it changed."""
    path = shelf.put()
    shelf.settled()
    mine = shelf.small.get(KEY)
    os.setxattr(path, "user.valetstore", b"not a record")
    theirs = shelf.small.get(KEY)
    assert theirs is not None
    assert theirs is not mine


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "link", "dangling", "nothing", "not below"])
def test_what_is_no_object_is_not_handed_out_and_nothing_waits(shelf: Shelf, kind: str) -> None:
    """Nor is it, where a moment ago there was one."""
    path = shelf.put()
    shelf.settled()
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                os.chdir(path.parent)
                sock.bind(path.name)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(shelf.put(NEW, "target"))
        case "dangling":
            path.symlink_to("nowhere")
        case "not below":
            away = path.parent.with_name("away")
            path.parent.rename(away)
            (away / path.name).write_bytes(NEW)
            path.parent.symlink_to(away)
    assert shelf.body() is None
    shelf.later(REOPEN_SECONDS + SETTLED_SECONDS)
    assert shelf.body() is None


def test_bytes_that_are_not_in_memory_are_left_to_threads(shelf: Shelf) -> None:
    """A hole that nobody has read; a file that was dropped from the page cache."""
    path = shelf.put(b"")
    os.truncate(path, 8_192)
    shelf.look()
    assert shelf.body() in (None, bytes(8_192))  # a file system may know holes by heart
    path.write_bytes(b"d" * 8_192)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert shelf.body() in (None, b"d" * 8_192)
    path.read_bytes()
    assert shelf.body() == b"d" * 8_192


def test_an_object_that_cannot_be_read_is_nobodys(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system says: a thread is asked, which can tell why."""
    shelf.put()
    shelf.look()
    for error in (PermissionError(13, "no"), OSError(24, "too many files"), OSError(5, "broken")):

        def fail(*_: object, error: OSError = error) -> tuple[int, os.stat_result]:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(small, "open_file_cached", fail)
            assert shelf.body() is None
    assert shelf.body() == OLD


def test_a_bucket_whose_folder_is_gone_is_refused_as_ever(shelf: Shelf) -> None:
    """A configured root that was there is an unmounted disk."""
    shelf.put()
    shelf.settled()
    shelf.root.rename(shelf.root.with_name("moved"))
    with pytest.raises(Denied) as caught:
        shelf.body()
    assert caught.value.code == "storage_unavailable"


def test_no_descriptor_is_left_open(shelf: Shelf) -> None:
    """After hits, misses, refusals and what is no file."""
    path = shelf.put()
    shelf.settled()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        shelf.later(REOPEN_SECONDS)
        shelf.body()
        shelf.body(ObjectKey.of("b", "none"))
        shelf.body(ObjectKey.of("b", "folder"))
    path.write_bytes(b"x" * (SMALL_BYTES + 1))
    shelf.body()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_torn_state_is_remembered(shelf: Shelf) -> None:
    """While another process writes it again and again: once it has stopped, the last state is what is shown."""
    path = shelf.put(b"0" * 4_096)
    shelf.look()
    is_over = threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            with path.open("r+b") as file:
                file.write(b"%d" % (number % 10) * 4_096)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(300):
        shelf.body()
    is_over.set()
    writer.join()
    assert shelf.body() == path.read_bytes()


def test_what_a_mapping_writes_is_shown_when_it_is_opened_anew(shelf: Shelf) -> None:
    """A mapped file is changed without a stamp."""
    path = shelf.put()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:1] = OLD[:1]
        shelf.settled()
        mapped[:] = NEW
        shelf.later(REOPEN_SECONDS)
        assert shelf.body() == NEW


def test_no_more_is_remembered_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any sizes; the longest remembered goes first; with no room nothing is."""
    for number, room in enumerate((0, ENTRY_BYTES, 5 * (ENTRY_BYTES + 1_000))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            shelf = Shelf(folder, patch, room)
            names = [f"n{index}" for index in range(12)]
            for name in names:
                shelf.put(name.encode() * 400, name)
            shelf.look()
            shelf.later(SETTLED_SECONDS + 1)
            for name in names * 2:
                assert shelf.body(ObjectKey.of("b", name)) == name.encode() * 400
                held = shelf.small._held
                assert shelf.small._bytes == sum(ENTRY_BYTES + len(one.body or b"") for one in held.values()) <= room
            assert len(shelf.small._held) == room // (ENTRY_BYTES + 1_000)


class AnyChange(RuleBasedStateMachine):
    """Whatever is done to a file, with time going by or not: the next look shows what is there."""

    folder: Path
    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf(_fresh(self.folder), self.patch, 3 * ENTRY_BYTES)
        self.was_large: set[str] = set()
        self.shelf.put()
        self.shelf.look()

    names = st.sampled_from(["folder/x.txt", "folder/y"])
    bodies = st.sampled_from([b"", OLD, NEW, bytes(SMALL_BYTES), bytes(SMALL_BYTES + 1)])

    @rule(name=names, body=bodies, keep=st.booleans())
    def write(self, name: str, body: bytes, keep: bool) -> None:
        """In place, perhaps with the time as it was."""
        path = self.shelf.path(name)
        stamps = (path.stat().st_atime_ns, path.stat().st_mtime_ns) if keep and path.exists() else None
        path.write_bytes(body)
        if stamps:
            os.utime(path, ns=stamps)

    @rule(body=bodies)
    def swap(self, body: bytes) -> None:
        """By rename."""
        self.shelf.put(body, "folder/new").rename(self.shelf.path())

    @rule(name=names)
    def remove(self, name: str) -> None:
        """For good."""
        self.shelf.path(name).unlink(missing_ok=True)

    @rule()
    def exchange(self) -> None:
        """One is the other's second name."""
        if self.shelf.path().exists():
            self.shelf.path("folder/y").unlink(missing_ok=True)
            self.shelf.path("folder/y").hardlink_to(self.shelf.path())

    @rule(seconds=st.sampled_from([0.5, REOPEN_SECONDS, SETTLED_SECONDS + 0.5]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.shelf.later(seconds)

    @invariant()
    def shows_what_is_there(self) -> None:
        """Or leaves it to threads, which is where one that was too large stays until it is opened anew."""
        for name in ("folder/x.txt", "folder/y"):
            path = self.shelf.path(name)
            there = path.read_bytes() if path.exists() else None
            found = self.shelf.body(ObjectKey.of("b", name))
            if there is None or len(there) > SMALL_BYTES:
                assert found is None
            elif name in self.was_large:
                assert found in (None, there)
            else:
                assert found == there
            if there is not None and len(there) > SMALL_BYTES:
                self.was_large.add(name)


def _fresh(folder: Path) -> Path:
    made = folder / str(len(os.listdir(folder)))
    made.mkdir()
    return made


def test_any_change_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """See AnyChange."""
    machine = type("Machine", (AnyChange,), {"folder": tmp_path, "patch": monkeypatch})
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=20, deadline=None))
