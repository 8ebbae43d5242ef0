"""Folders on the way to an object: made durably, removed once empty.

Rule 1: before an object gets its name, every folder above it is durable in its own parent - also one that
somebody else has made a moment ago, or that a process made which was killed before it could sync.
Rule 2: what was seen to be durable is remembered, so that Rule 1 costs a sync once and not with every put.
"""

import os
import threading
from collections import OrderedDict
from typing import Final

from valetstore.storage.beneath import FOLDER, open_folder
from valetstore.storage.durable import Durable
from valetstore.storage.roots import Root

_REMEMBERED_MAX: Final = 65_536
_Place = tuple[str, str]  # bucket and path below its root
_Inode = tuple[int, int]


class Folders:
    """Makes, opens and prunes the folders below a root."""

    def __init__(self, durable: Durable) -> None:
        self._durable = durable
        self._settled: OrderedDict[_Place, _Inode] = OrderedDict()
        self._lock = threading.Lock()

    def make(self, root: Root, root_fd: int, path: str) -> int:
        """An open descriptor of the folder, which is there and durable. Raises OSError.

        ENOENT says that somebody pruned it meanwhile (or that the root is gone): try again.
        """
        try:
            fd = open_folder(root_fd, path)
        except FileNotFoundError:
            return self._walk(root, root_fd, path)
        if self._is_settled((root.bucket, path), fd):
            return fd
        os.close(fd)
        return self._walk(root, root_fd, path)

    def _walk(self, root: Root, root_fd: int, path: str) -> int:
        at = open_folder(root_fd, "")
        try:
            self._settle_root(root, at)
            done = ""
            for step in path.split("/") if path else ():
                done = f"{done}/{step}" if done else step
                below = self._enter(root.bucket, at, step, done)
                os.close(at)
                at = below
        except BaseException:
            os.close(at)
            raise
        return at

    def _enter(self, bucket: str, parent: int, step: str, path: str) -> int:
        raw = step.encode()
        try:
            os.mkdir(raw, dir_fd=parent)
            is_new = True
        except FileExistsError:
            is_new = False
        fd = os.open(raw, FOLDER, dir_fd=parent)
        try:
            if is_new or not self._is_settled((bucket, path), fd):
                self._durable.sync(parent, bucket)
                self._remember((bucket, path), fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _settle_root(self, root: Root, fd: int) -> None:
        place = (root.bucket, "")
        if self._is_settled(place, fd):
            return
        if not root.is_configured:  # an operator's own folder is the operator's to make durable
            parent = os.open(os.path.dirname(root.path), FOLDER)
            try:
                self._durable.sync(parent, root.bucket)
            finally:
                os.close(parent)
        self._remember(place, fd)

    def _is_settled(self, place: _Place, fd: int) -> bool:
        # The inode is compared because a folder can be removed and made again under the same name.
        state = os.fstat(fd)
        with self._lock:
            return self._settled.get(place) == (state.st_dev, state.st_ino)

    def _remember(self, place: _Place, fd: int) -> None:
        state = os.fstat(fd)
        with self._lock:
            self._settled[place] = (state.st_dev, state.st_ino)
            if len(self._settled) > _REMEMBERED_MAX:
                self._settled.popitem(last=False)

    def prune(self, root: Root, root_fd: int, path: str) -> None:
        """Remove the folder and those above it, up to the first that is not empty. Never fails.

        Not synced: an empty folder that comes back after a power cut holds no object.
        """
        while path:
            parent, _, last = path.rpartition("/")
            with self._lock:
                self._settled.pop((root.bucket, path), None)
            try:
                fd = open_folder(root_fd, parent)
            except OSError:
                return
            try:
                os.rmdir(last.encode(), dir_fd=fd)
            except OSError:  # ENOTEMPTY: an object or a folder is in it, perhaps since just now
                return
            finally:
                os.close(fd)
            path = parent
