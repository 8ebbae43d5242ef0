"""Lists in the order of names' UTF-8 bytes, a page at a time, whatever order the folders are in.

A heap holds what is yet to be shown, by the least name it can have: a file its name, a folder what all names
below it start with. The least is taken: a file is a row, a folder is read and replaced by its entries.

Rule 1: a folder is read only if a name of this page can be below it.
Rule 2: of one folder no more files are remembered than a page has rows; a mark says where its rest begins.
Rule 3: links, devices and foreign files have no row. What vanishes or cannot be read meanwhile is left out.
"""

import errno
import heapq
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from valetstore.storage.beneath import open_folder
from valetstore.storage.layout import ROOT, Folder
from valetstore.storage.promise import Listed, Page
from valetstore.storage.reading import look
from valetstore.storage.roots import Root

# A folder before a file of the same bound: names below it are not less, and they must be on the heap first.
_FOLDER: Final = 0
_FILE: Final = 1
_REST: Final = 2

_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.EXDEV})


class _Bound(NamedTuple):
    least: bytes
    kind: int
    path: str
    folder: Folder | None = None


class _Wanted(NamedTuple):
    prefix: bytes
    after: bytes

    def row(self, name: bytes) -> bool:
        return name > self.after and name.startswith(self.prefix)

    def below(self, start: bytes) -> bool:
        """Whether a name that starts with this can be wanted."""
        if not (start.startswith(self.prefix) or self.prefix.startswith(start)):
            return False
        return start >= self.after or self.after.startswith(start)


def list_page(root: Root, root_fd: int, prefix: str, after: str, limit: int) -> Page:
    """Up to `limit` rows with this prefix, after this name. Raises OSError."""
    start = root.layout.folder_of(prefix)
    if start is None or limit < 1:
        return Page([], None)
    wanted = _Wanted(prefix.encode(), after.encode())
    heap = [_Bound(start.start.encode(), _FOLDER, start.path, start)]
    rows: list[Listed] = []
    while heap:
        least = heapq.heappop(heap)
        if least.folder is not None:
            for bound in _expanded(root, root_fd, least.folder, wanted, limit):
                heapq.heappush(heap, bound)
        elif len(rows) == limit:
            return Page(rows, rows[-1].name)
        elif least.kind == _REST:
            return Page(rows, least.least.decode())
        else:
            row = _row(root, root_fd, least)
            if row is not None:
                rows.append(row)
    return Page(rows, None)


def _expanded(root: Root, root_fd: int, folder: Folder, wanted: _Wanted, limit: int) -> Iterator[_Bound]:
    files: list[_Bound] = []
    with _ignoring_absent():
        for entry, is_folder in entries(root_fd, folder.path):
            if is_folder:
                below = root.layout.enter(folder, entry)
                if below is not None and wanted.below(below.start.encode()):
                    yield _Bound(below.start.encode(), _FOLDER, below.path, below)
                continue
            name = root.layout.leaf(folder, entry)
            if name is not None and wanted.row(name.encode()):
                files.append(_Bound(name.encode(), _FILE, folder.join(entry)))
    if len(files) <= limit:
        yield from files
        return
    # One more than a page: its being there says that there is a next one.
    kept = heapq.nsmallest(limit + 1, files)
    yield from kept
    yield _Bound(kept[-1].least, _REST, "")


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
    return Listed(name, info.size, info.etag, info.modified_ns)


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
