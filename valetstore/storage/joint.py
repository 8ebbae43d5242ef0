"""The folders of one bucket in which names are given together: each is opened once, and synced once, at the end.

Rule 1: a folder's sync starts after the last name was given in it; where it fails, it has failed for all of them
(group commit).
"""

import os
from typing import Self

from valetstore.errors import Denied
from valetstore.storage.durable import Durable
from valetstore.storage.folders import Folders
from valetstore.storage.roots import Root, Roots


class Joint:
    """Open folders, by their paths below the root. Use it as a context manager. Blocks; raises Denied and OSError."""

    def __init__(self, roots: Roots, folders: Folders, durable: Durable, root: Root) -> None:
        self.root = root
        self._roots = roots
        self._folders = folders
        self._durable = durable
        self._root_fd = -1
        self._open: dict[str, int] = {}
        self._left: list[int] = []  # of folders that were pruned meanwhile
        self._named: set[int] = set()
        self._failed: dict[int, Denied] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (*self._open.values(), *self._left):
            os.close(fd)
        if self._root_fd >= 0:
            os.close(self._root_fd)

    @property
    def root_fd(self) -> int:
        """The open root, for writing. Raises as `Roots.open_to_write`."""
        if self._root_fd < 0:
            self._root_fd = self._roots.open_to_write(self.root, create=False)
        return self._root_fd

    def folder(self, path: str) -> int:
        """A folder that is there and durable: see `Folders.make`."""
        fd = self._open.get(path)
        if fd is None:
            fd = self._open[path] = self._folders.make(self.root, self.root_fd, path)
        return fd

    def forget(self, path: str) -> None:
        """The folder was pruned: the next one who asks for it gets a new one."""
        fd = self._open.pop(path, None)
        if fd is not None:
            self._left.append(fd)

    def named(self, folder: int) -> None:
        """A name was given in it."""
        self._named.add(folder)

    def settle(self) -> None:
        """Make all names durable, after the last one; `check` says what came of it."""
        for folder in self._named:
            try:
                self._durable.sync_name(folder, self.root.bucket)
            except Denied as denied:
                self._failed[folder] = denied

    def check(self, folder: int) -> None:
        """Raise `storage_error` where the names in it may not be durable."""
        denied = self._failed.get(folder)
        if denied is not None:  # a new one for each: what is learned about a request is added to it
            raise Denied(denied.code, denied.detail, **denied.evidence)
