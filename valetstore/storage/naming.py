"""Giving an object its name, and taking it away: the only place where what readers see changes.

Rule 1: one system call decides. A link that fails where the name is taken, a rename that replaces whole, an
unlink. A reader before it sees the old state, a reader after it the new one.
Rule 2: where no object is, no lock is needed: the link decides. Whoever judges the present object (for its
conditions, to replace or delete it) holds the key's lock from the look to the call.
Rule 3: what returns is durable: the folder is synced after the call, the folders above it before.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from valetstore.conditions import ANY, Conditions, Outcome
from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file, open_folder
from valetstore.storage.durable import Durable
from valetstore.storage.folders import Folders
from valetstore.storage.locks import Locks
from valetstore.storage.quota import Quota
from valetstore.storage.roots import Root
from valetstore.storage.temp import TempFile

_TRIES: Final = 64
"""How often a folder may be pruned under a publish, or a name be taken between look and link."""


class Target(NamedTuple):
    """Where an object's name lives: its bucket, its name, the open root, folder and entry below it."""

    root: Root
    name: str
    root_fd: int
    folder: str
    entry: bytes

    @classmethod
    def of(cls, root: Root, root_fd: int, name: str) -> "Target":
        """By its layout. Raises `object_key_invalid`."""
        folder, _, entry = root.layout.to_path(name).rpartition("/")
        return cls(root, name, root_fd, folder, entry.encode())


class Naming:
    """Publishes and removes; blocks, so it runs in worker threads. Raises Denied and OSError."""

    def __init__(self, folders: Folders, locks: Locks, quota: Quota, durable: Durable) -> None:
        self._folders = folders
        self._locks = locks
        self._quota = quota
        self._durable = durable

    def publish(self, temp: TempFile, target: Target, size: int, conditions: Conditions, *, create_only: bool) -> bool:
        """Give a sealed file its name; True where no object was replaced."""
        for _ in range(_TRIES):
            folder = -1
            try:
                folder = self._folders.make(target.root, target.root_fd, target.folder)
                if create_only or conditions.if_none_match == ANY:
                    _proceed(conditions, None, None)  # it may ask for an object that must not be there either
                    taken = "exists" if create_only else "precondition_failed"
                    created = self._create(temp, target, folder, size, taken)
                else:
                    created = self._put(temp, target, folder, size, conditions)
                self._sync_name(folder, target)
            except (FileNotFoundError, _NameTaken):
                continue  # the folder was pruned, or the name was taken, between two of our calls
            else:
                return created
            finally:
                if folder >= 0:
                    os.close(folder)
        raise Denied("storage_unavailable", reason="the folder or the name changed with every try")

    def _create(self, temp: TempFile, target: Target, folder: int, size: int, taken: str) -> bool:
        try:
            return self._link(temp, target, folder, size)
        except _NameTaken:
            _present(folder, target.entry)
            raise Denied(taken) from None

    def _put(self, temp: TempFile, target: Target, folder: int, size: int, conditions: Conditions) -> bool:
        # Most uploads have no conditions and are new: no lock, no look. (A quota must know what is replaced.)
        if conditions == _UNCONDITIONAL and target.root.quota is None:
            with suppress(_NameTaken):
                return self._link(temp, target, folder, size)
        with self._locks.of(target.root.bucket, target.name):
            present = _judge(folder, target, conditions)
            if present is None:
                return self._link(temp, target, folder, size)
            with self._quota.charged(target.root, size - present.st_size), _deciding():
                temp.replace(folder, target.entry)
        return False

    def _link(self, temp: TempFile, target: Target, folder: int, size: int) -> bool:
        with self._quota.charged(target.root, size):
            try:
                with _deciding():
                    temp.link(folder, target.entry)
            except FileExistsError:
                raise _NameTaken from None
        return True

    def remove(self, target: Target, conditions: Conditions) -> bool:
        """Take the object's name away; False where there is none."""
        try:
            folder = open_folder(target.root_fd, target.folder)
        except (FileNotFoundError, NotADirectoryError):
            _proceed(conditions, None, None)
            return False
        try:
            with self._locks.of(target.root.bucket, target.name):
                present = _judge(folder, target, conditions, for_removal=True)
                if present is None:
                    return False
                with _deciding():
                    os.unlink(target.entry, dir_fd=folder)
                with self._quota.charged(target.root, -present.st_size):
                    pass
            self._sync_name(folder, target)
        finally:
            os.close(folder)
        if target.root.tidies:
            self._folders.prune(target.root, target.root_fd, target.folder)
        return True

    def _sync_name(self, folder: int, target: Target) -> None:
        try:
            self._durable.sync(folder, target.root.bucket)
        except Denied as denied:
            raise Denied(denied.code, _MAYBE, **denied.evidence, unsure=True) from denied


_MAYBE: Final = "The change may have been made all the same."


@contextmanager
def _deciding() -> Iterator[None]:
    """Around the call that decides: after EIO nobody knows whether it has."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise Denied("storage_error", _MAYBE, errno=error.errno, error=error.strerror, unsure=True) from error


class _NameTaken(Exception):  # noqa: N818 - not an error: look again
    pass


def _judge(folder: int, target: Target, conditions: Conditions, *, for_removal: bool = False) -> os.stat_result | None:
    """The present object, None where there is none. Raises `precondition_failed`, `conflict`."""
    state = _present(folder, target.entry, folder_is_none=for_removal)
    if state is None or conditions == _UNCONDITIONAL:
        _proceed(conditions, None, None)
        return state
    fd, state = open_file(folder, os.fsdecode(target.entry))
    try:
        info = metadata.read(fd, state, target.name)
    finally:
        os.close(fd)
    _proceed(conditions, info.etag, info.modified)
    return state


_UNCONDITIONAL: Final = Conditions()


def _proceed(conditions: Conditions, etag: str | None, modified: int | None) -> None:
    if conditions.judge(etag, modified, is_read=False) is not Outcome.PROCEED:
        raise Denied("precondition_failed")


def _present(folder: int, entry: bytes, *, folder_is_none: bool = False) -> os.stat_result | None:
    """The file of this name, None where there is none. Raises `conflict` where it is no regular file."""
    try:
        state = os.stat(entry, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(state.st_mode):
        return state
    if folder_is_none and stat.S_ISDIR(state.st_mode):
        return None
    raise Denied("conflict", "It is not a plain file.")


def size_standing(target: Target) -> int:
    """The size of the object that an upload would replace, 0 where there is none.

    Raises `conflict` where the name can never be kept as things stand: early, before bytes are sent.
    """
    try:
        folder = open_folder(target.root_fd, target.folder)
    except FileNotFoundError:
        return 0
    try:
        present = _present(folder, target.entry)
        return present.st_size if present else 0
    finally:
        os.close(folder)
