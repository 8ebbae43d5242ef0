"""Lists in the order of names' UTF-8 bytes, a page at a time, whatever order the folders are in.

A heap holds what is yet to be shown, by the least text a name of it can be: an open folder its next entry, a folder
not read yet what all names below it start with. The least is taken: a file is a row, a folder is read.

With a delimiter, names that hold it after the prefix are shown as one group, up to its end. A folder whose names are
all of one group is not read: it is only looked into for one of them.

Rule 1: a folder is read only if a name of this page can be below it, and from where the page begins.
Rule 2: what is shown was looked at for this page: a row is the state of a file now, a group has a name in it now.
Rule 3: links, devices and foreign files have no row. What vanishes or cannot be read meanwhile is left out.
Rule 4: a page says that there are more only where there is one more.
"""

import os
import stat
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import Final, NamedTuple

from valetstore.storage import metadata
from valetstore.storage.beneath import FILE, open_folder
from valetstore.storage.catalogue import Catalogue
from valetstore.storage.entries import Entries
from valetstore.storage.layout import Folder
from valetstore.storage.promise import Listed, Page
from valetstore.storage.roots import Root
from valetstore.storage.walk import entries, is_absent, passing_absent
from valetstore.storage.wanted import Wanted, behind

# A folder before an entry of the same text: names below it are not less, and they must be on the heap first.
_FOLDER: Final = 0
_ENTRY: Final = 1

_GLANCE: Final = 64
"""Entries of a folder, and folders, that are looked at before names are searched in order for one."""


class _Bound(NamedTuple):
    """What is yet to be shown. Of an open folder `key` is its next entry, and `going` all of it."""

    least: str
    kind: int
    path: str
    folder: Folder
    key: str = ""
    going: "_Going | None" = None


class _Going:
    """An open folder that a page goes through: its keys from some text on."""

    def __init__(self, folder: Folder, held: Entries, lower: str) -> None:
        self._folder = folder
        self._entries = held
        self._keys = held.since(lower)

    def next(self) -> _Bound | None:
        """Its next entry; None at its end."""
        key = next(self._keys, None)
        if key is None:
            return None
        least = self._folder.start + key.partition("\0")[0]
        return _Bound(least, _ENTRY, self._folder.path, self._folder, key, self)

    def pass_group(self, group: str) -> None:
        """Go on behind a group that begins in this folder."""
        lower = behind(group[len(self._folder.start) :])
        self._keys = iter(()) if lower is None else self._entries.since(lower)


def list_page(
    root: Root,
    root_fd: int,
    prefix: str,
    after: str,
    limit: int,
    delimiter: str = "",
    catalogue: Catalogue | None = None,
) -> Page:
    """Up to `limit` rows and groups with this prefix, after this name or group. Raises OSError."""
    start = root.layout.folder_of(prefix)
    rows: list[Listed] = []
    prefixes: list[str] = []
    if start is None or limit < 1:
        return Page(rows, None)
    last = ""
    with Trip(root, root_fd, catalogue or Catalogue(0)) as trip:
        for found in trip.found(start, Wanted(prefix, after, delimiter)):
            if len(rows) + len(prefixes) == limit:
                return Page(rows, last, prefixes)
            if isinstance(found, str):
                last = found
                prefixes.append(found)
            else:
                last = found.name
                rows.append(found)
    return Page(rows, None, prefixes)


class Trip:
    """One way through a bucket's folders, in the order of names. It holds one of them open at a time."""

    def __init__(self, root: Root, root_fd: int, catalogue: Catalogue) -> None:
        self._root = root
        self._root_fd = root_fd
        self._catalogue = catalogue
        self._fd = -1
        self._path = ""

    def __enter__(self) -> "Trip":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def found(self, start: Folder, wanted: Wanted) -> Iterator[Listed | str]:
        """All objects and groups that are wanted below a folder, in order. Raises OSError."""
        heap: list[_Bound] = []
        self._push(heap, start, wanted)
        shown: str | None = None
        while heap:
            bound = heappop(heap)
            if bound.going is None:
                group = wanted.group(bound.least)
                if group is None:
                    self._read(heap, bound.folder, wanted)
                elif group != shown and self._holds(bound.folder, wanted):
                    shown = group
                    yield group
                continue
            if not self._is_in(bound.folder):
                continue  # it has gone, and what was in it
            group, row = self._look(heap, bound, wanted, shown)
            if group is not None and (row or group == shown):
                bound.going.pass_group(group)
            following = bound.going.next()
            if following is not None and not wanted.is_beyond(following.least):
                heappush(heap, following)
            if row is not None:
                shown = group or shown
                yield group or row

    def _read(self, heap: list[_Bound], folder: Folder, wanted: Wanted) -> None:
        """Put the first entry of a folder on the heap, and folders before it that names may be below."""
        if not self._is_in(folder):
            return
        with passing_absent():
            held = self._catalogue.entries((self._root.path, folder.path), self._fd, self._root.layout)
            lower = wanted.lower[len(folder.start) :] if wanted.lower.startswith(folder.start) else ""
            for entry in self._root.layout.above(folder, lower):
                self._push(heap, self._root.layout.enter(folder, entry), wanted)
            first = _Going(folder, held, lower).next()
            if first is not None:
                heappush(heap, first)

    @staticmethod
    def _push(heap: list[_Bound], below: Folder | None, wanted: Wanted) -> None:
        if below is not None and wanted.below(below.start):
            heappush(heap, _Bound(below.start, _FOLDER, below.path, below))

    def _look(
        self, heap: list[_Bound], bound: _Bound, wanted: Wanted, shown: str | None
    ) -> tuple[str | None, Listed | None]:
        """Of an entry of the open folder its name's group, and its row where it is a file; else it may be a folder."""
        layout, folder = self._root.layout, bound.folder
        entry = layout.entry(bound.key)
        name = layout.leaf(folder, entry)
        group, row = None, None
        if name is not None and wanted.row(name):
            group = wanted.group(name)
            if group is not None and group == shown:
                return group, None
            try:
                row = self._row(name, entry)
            except OSError as error:
                if not is_absent(error):
                    raise
        if row is None:
            self._push(heap, layout.enter(folder, entry), wanted)
        return group, row

    def _row(self, name: str, entry: str) -> Listed | None:
        """A file of the folder that is open; None for what is none. Raises OSError."""
        # To open a pipe or a device can do something to whoever has its other end.
        if not stat.S_ISREG(os.stat(entry, dir_fd=self._fd, follow_symlinks=False).st_mode):
            return None
        fd = os.open(entry, FILE, dir_fd=self._fd)
        try:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                return None
            info = metadata.read(fd, state, name)
        finally:
            os.close(fd)
        return Listed(name, info.size, info.etag, info.modified_ns, info.metadata, info.digests, info.parts)

    def _holds(self, folder: Folder, wanted: Wanted) -> bool:
        """Whether a wanted name is below a folder. Most have one near, so a glance comes before a search."""
        if self._glance(folder, wanted):
            return True
        return next(self.found(folder, wanted.within(folder.start)), None) is not None

    def _glance(self, folder: Folder, wanted: Wanted) -> bool:
        waiting, looks = [folder], 0
        layout = self._root.layout
        while waiting and looks < _GLANCE:
            looks += 1
            at = waiting.pop()
            with passing_absent():
                for entry, is_folder in islice(entries(self._root_fd, at.path), _GLANCE):
                    if not is_folder:
                        name = layout.leaf(at, entry)
                        if name is not None and wanted.row(name):
                            return True
                    elif (below := layout.enter(at, entry)) is not None and wanted.below(below.start):
                        waiting.append(below)
        return False

    def _is_in(self, folder: Folder) -> bool:
        """Have this folder open; False where it cannot be. Raises OSError."""
        if self._fd < 0 or self._path != folder.path:
            self._leave()
            with passing_absent():
                self._fd, self._path = open_folder(self._root_fd, folder.path), folder.path
        return self._fd >= 0

    def _leave(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
