"""Giving an object its name, and taking it away: the only place where what readers see changes.

Rule 1: one system call decides. A link that fails where the name is taken, a rename that replaces whole, an
unlink. A reader before it sees the old state, a reader after it the new one.
Rule 2: where no object is, no lock is needed: the link decides. Whoever judges the present object (for its
conditions, to replace or delete it) holds the key's lock from the look to the call.
Rule 3: what returns is durable: the folder is synced after the call, the folders above it before.
Rule 4: the part table of an object that is gone goes after that is durable.
"""

import os
import stat
from contextlib import suppress
from typing import Final, NamedTuple

from valetstore.conditions import ANY, NONE, Conditions, Outcome
from valetstore.errors import Denied
from valetstore.storage import metadata
from valetstore.storage.beneath import open_file, open_folder
from valetstore.storage.durable import Durable
from valetstore.storage.folders import Folders
from valetstore.storage.joint import Joint
from valetstore.storage.locks import Locks
from valetstore.storage.quota import Quota
from valetstore.storage.roots import Root, Roots
from valetstore.storage.spill import Spills, spill_of
from valetstore.storage.temp import TempFile
from valetstore.storage.trouble import deciding

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

    def __init__(self, folders: Folders, locks: Locks, quota: Quota, durable: Durable, spills: Spills) -> None:
        self._folders = folders
        self._locks = locks
        self._quota = quota
        self._durable = durable
        self._spills = spills

    def joint(self, roots: Roots, root: Root) -> Joint:
        """The folders for names of this bucket that are given together."""
        return Joint(roots, self._folders, self._durable, root)

    def give(
        self,
        joint: Joint,
        name: str,
        temp: TempFile,
        size: int,
        conditions: Conditions,
        *,
        create_only: bool,
        gives_back: int = 0,
    ) -> "Given":
        """Give a sealed file its name; `joint.settle` and then `settled` must follow.

        `gives_back` bytes go from the bucket's quota when that is done: the quota may be exceeded by them meanwhile.
        """
        sealed = _Sealed(temp, size, gives_back)
        target = Target.of(joint.root, joint.root_fd, name)
        for _ in range(_TRIES):
            gone = ""
            try:
                folder = joint.folder(target.folder)
                if create_only or conditions.if_none_match == ANY:
                    _proceed(conditions, None, None)  # it may ask for an object that must not be there either
                    taken = "exists" if create_only else "precondition_failed"
                    created = self._create(sealed, target, folder, taken)
                else:
                    created, gone = self._put(sealed, target, folder, conditions)
            except FileNotFoundError:
                joint.forget(target.folder)  # it was pruned between two of our calls
            except _NameTaken:
                continue  # between two of our calls
            else:
                joint.named(folder)
                return Given(created, folder, gone)
        raise Denied("storage_unavailable", reason="the folder or the name changed with every try")

    def settled(self, joint: Joint, given: "Given") -> bool:
        """After `joint.settle`: the name is durable. True where no object was replaced."""
        joint.check(given.folder)
        self._spills.remove(given.gone)
        return given.created

    def _create(self, sealed: "_Sealed", target: Target, folder: int, taken: str) -> bool:
        try:
            return self._link(sealed, target, folder)
        except _NameTaken:
            _present(folder, target.entry)
            raise Denied(taken) from None

    def _put(self, sealed: "_Sealed", target: Target, folder: int, conditions: Conditions) -> tuple[bool, str]:
        """Whether no object was replaced, and the spill of the one that was."""
        # Most uploads have no conditions and are new: no lock, no look. (A quota must know what is replaced.)
        if conditions == NONE and target.root.quota is None:
            with suppress(_NameTaken):
                return self._link(sealed, target, folder), ""
        with self._locks.of(target.root.bucket, target.name):
            present = _judge(folder, target, conditions)
            if present is None:
                return self._link(sealed, target, folder), ""
            gone = spill_of(folder, target.entry)
            charged = self._quota.charged(target.root, sealed.size - present.st_size, sealed.gives_back)
            with charged, deciding():
                sealed.temp.replace(folder, target.entry)
        return False, gone

    def _link(self, sealed: "_Sealed", target: Target, folder: int) -> bool:
        with self._quota.charged(target.root, sealed.size, sealed.gives_back):
            try:
                with deciding():
                    sealed.temp.link(folder, target.entry)
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
                gone = spill_of(folder, target.entry)
                with deciding():
                    os.unlink(target.entry, dir_fd=folder)
                with self._quota.charged(target.root, -present.st_size):
                    pass
            self._durable.sync_name(folder, target.root.bucket)
            self._spills.remove(gone)
        finally:
            os.close(folder)
        if target.root.tidies:
            self._folders.prune(target.root, target.root_fd, target.folder)
        return True


class Given(NamedTuple):
    """A name that was given: whether no object was replaced, in which folder, and the spill of what was replaced."""

    created: bool
    folder: int
    gone: str


class _Sealed(NamedTuple):
    """A file that is about to get its name."""

    temp: TempFile
    size: int
    gives_back: int


class _NameTaken(Exception):  # noqa: N818 - not an error: look again
    pass


def _judge(folder: int, target: Target, conditions: Conditions, *, for_removal: bool = False) -> os.stat_result | None:
    """The present object, None where there is none. Raises `precondition_failed`, `conflict`."""
    state = _present(folder, target.entry, folder_is_none=for_removal)
    if state is None or conditions == NONE:
        _proceed(conditions, None, None)
        return state
    fd, state = open_file(folder, os.fsdecode(target.entry))
    try:
        info = metadata.read(fd, state, target.name)
    finally:
        os.close(fd)
    _proceed(conditions, info.etag, info.modified)
    return state


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
