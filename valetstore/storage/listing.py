"""Lists in the order of names' UTF-8 bytes, a page at a time, whatever order the folders are in.

A heap holds what is yet to be shown, by the least name it can have: a file its name, a folder what all names
below it start with. The least is taken: a file is a row, a folder is read and replaced by its entries.

With a delimiter, names that hold it after the prefix are shown as one group, up to its end. A folder whose names are
all of one group is not read: it is only looked into for one of them.

Rule 1: a folder is read only if a name of this page can be below it.
Rule 2: of one folder no more files are remembered than a page has rows; a mark says where its rest begins.
Rule 3: links, devices and foreign files have no row. What vanishes or cannot be read meanwhile is left out.
Rule 4: a page says that there are more only where there is one more; a group has a name in it.
"""

import errno
import heapq
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Final, NamedTuple

from valetstore.storage.beneath import open_folder
from valetstore.storage.layout import ROOT, Folder
from valetstore.storage.promise import Listed, Page
from valetstore.storage.reading import look
from valetstore.storage.roots import Root

# A folder before a file of the same bound: names below it are not less, and they must be on the heap first.
_FOLDER: Final = 0
_GROUP: Final = 1
_FILE: Final = 2
_REST: Final = 3

_GLANCE: Final = 64
"""Entries of a folder, and folders, that are looked at before a whole tree is searched for one name."""

_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.EXDEV})


class _Bound(NamedTuple):
    least: bytes
    kind: int
    path: str
    folder: Folder | None = None


class _Wanted(NamedTuple):
    prefix: bytes
    after: bytes
    delimiter: bytes = b""

    def row(self, name: bytes) -> bool:
        return name > self.after and name.startswith(self.prefix) and not self._passed(name)

    def below(self, start: bytes) -> bool:
        """Whether a name that starts with this can be wanted."""
        if not (start.startswith(self.prefix) or self.prefix.startswith(start)) or self._passed(start):
            return False
        return start >= self.after or self.after.startswith(start)

    def group(self, start: bytes) -> bytes | None:
        """The group of every name that starts with this; None where they are of many, or of none."""
        if not self.delimiter:
            return None
        found = start.find(self.delimiter, len(self.prefix))
        return start[: found + len(self.delimiter)] if found >= 0 else None

    def _passed(self, start: bytes) -> bool:
        """Whether this is in a group that the page before has shown."""
        return bool(self.delimiter) and start.startswith(self.after) and self.group(self.after) == self.after


class _Shown:
    """What a page has so far."""

    def __init__(self, limit: int) -> None:
        self.rows: list[Listed] = []
        self.prefixes: list[str] = []
        self.group: bytes | None = None
        self.last = ""
        self._limit = limit

    @property
    def is_full(self) -> bool:
        return len(self.rows) + len(self.prefixes) == self._limit

    def add_group(self, group: bytes) -> None:
        self.group, self.last = group, group.decode()
        self.prefixes.append(self.last)

    def add(self, row: Listed) -> None:
        self.last = row.name
        self.rows.append(row)

    def page(self, next_after: str | None) -> Page:
        return Page(self.rows, next_after, self.prefixes)


def list_page(root: Root, root_fd: int, prefix: str, after: str, limit: int, delimiter: str = "") -> Page:
    """Up to `limit` rows and groups with this prefix, after this name or group. Raises OSError."""
    start = root.layout.folder_of(prefix)
    if start is None or limit < 1:
        return Page([], None)
    wanted = _Wanted(prefix.encode(), after.encode(), delimiter.encode())
    heap = [_Bound(start.start.encode(), _FOLDER, start.path, start)]
    shown = _Shown(limit)
    while heap:
        least = heapq.heappop(heap)
        group = least.least if least.kind == _GROUP else wanted.group(least.least)
        if least.kind == _REST:
            return shown.page(least.least.decode())
        if group is not None:
            if group == shown.group or not (least.folder is None or _holds(root, root_fd, least.folder, wanted)):
                continue
            if shown.is_full:
                return shown.page(shown.last)
            shown.add_group(group)
        elif least.folder is not None:
            for bound in _expanded(root, root_fd, least.folder, wanted, limit):
                heapq.heappush(heap, bound)
        elif shown.is_full:
            return shown.page(shown.last)
        else:
            row = _row(root, root_fd, least)
            if row is not None:
                shown.add(row)
    return shown.page(None)


def _expanded(root: Root, root_fd: int, folder: Folder, wanted: _Wanted, limit: int) -> Iterator[_Bound]:
    files: list[_Bound] = []
    groups: set[bytes] = set()
    with _ignoring_absent():
        for name, below, entry in _wanted_entries(root, root_fd, folder, wanted):
            if below is not None:
                yield _Bound(name, _FOLDER, below.path, below)
                continue
            group = wanted.group(name)
            if group is None:
                files.append(_Bound(name, _FILE, folder.join(entry)))
            elif group not in groups:
                groups.add(group)
                files.append(_Bound(group, _GROUP, ""))
    if len(files) <= limit:
        yield from files
        return
    # One more than a page: its being there says that there is a next one.
    kept = heapq.nsmallest(limit + 1, files)
    yield from kept
    yield _Bound(kept[-1].least, _REST, "")


def _holds(root: Root, root_fd: int, folder: Folder, wanted: _Wanted) -> bool:
    """Whether a wanted name is below a folder. Most have one near, so a glance comes before a search."""
    return _found(root, root_fd, folder, wanted, _GLANCE) or _found(root, root_fd, folder, wanted, None)


def _found(root: Root, root_fd: int, folder: Folder, wanted: _Wanted, most: int | None) -> bool:
    waiting, looks = [folder], 0
    while waiting and (most is None or looks < most):
        looks += 1
        at = waiting.pop()
        with _ignoring_absent():
            for _, below, _ in islice(_wanted_entries(root, root_fd, at, wanted), most):
                if below is None:
                    return True
                waiting.append(below)
    return False


def _wanted_entries(
    root: Root, root_fd: int, folder: Folder, wanted: _Wanted
) -> Iterator[tuple[bytes, Folder | None, str]]:
    """Of each wanted entry: its name or what names below it start with, the folder that it is, the entry."""
    for entry, is_folder in entries(root_fd, folder.path):
        if is_folder:
            below = root.layout.enter(folder, entry)
            if below is not None and wanted.below(start := below.start.encode()):
                yield start, below, entry
        else:
            name = root.layout.leaf(folder, entry)
            if name is not None and wanted.row(raw := name.encode()):
                yield raw, None, entry


def entries(root_fd: int, path: str) -> Iterator[tuple[str, bool]]:
    """The regular files (False) and folders (True) directly below a folder. Raises OSError."""
    fd = open_folder(root_fd, path)
    try:
        with os.scandir(fd) as found:
            for entry in found:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder or entry.is_file(follow_symlinks=False):
                    yield entry.name, is_folder
    finally:
        os.close(fd)


def _row(root: Root, root_fd: int, bound: _Bound) -> Listed | None:
    name = bound.least.decode()
    try:
        fd, info = look(root, root_fd, name, bound.path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    os.close(fd)
    return Listed(name, info.size, info.etag, info.modified_ns, info.metadata, info.digests, info.parts)


@contextmanager
def _ignoring_absent() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


def bytes_held(root: Root, root_fd: int) -> int:
    """The sizes of all objects of a bucket together. Raises OSError."""
    total = 0
    for _, path in walk(root, root_fd):
        with suppress(FileNotFoundError):  # deleted meanwhile
            total += os.stat(path.encode(), dir_fd=root_fd, follow_symlinks=False).st_size
    return total


def walk(root: Root, root_fd: int) -> Iterator[tuple[str, str]]:
    """(name, path) of every object of a bucket, in no order. Raises OSError."""
    waiting = [ROOT]
    while waiting:
        folder = waiting.pop()
        with _ignoring_absent():
            for entry, is_folder in entries(root_fd, folder.path):
                if is_folder:
                    below = root.layout.enter(folder, entry)
                    if below is not None:
                        waiting.append(below)
                    continue
                name = root.layout.leaf(folder, entry)
                if name is not None:
                    yield name, folder.join(entry)
