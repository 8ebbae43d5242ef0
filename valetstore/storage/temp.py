"""Unfinished uploads: files without a name, or with one that nobody looks up.

Rule 1: a temp file is on the file system of its target, so that a link or a rename gives it its name.
Rule 2: without a name (O_TMPFILE) a crash leaves nothing. Where that is not supported, and for the moment
between link and rename, it has a name in a temp folder; `sweep` removes those.
Rule 3: a temp file with a name is flocked while its process lives, so a sweep never takes one in use.
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from valetstore.storage.beneath import FILE, FOLDER
from valetstore.storage.layout import TEMP_FOLDER

Bytes = bytes | memoryview

_FILE_MODE: Final = 0o666
"""The umask decides. A bucket without a root of its own is below a folder that only the server may enter."""
_VECTOR_MAX: Final = 64
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})


class TempFolder:
    """A folder for unfinished uploads, by its absolute path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.has_anonymous_files = True

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of it. Raises OSError, also where a symbolic link is in its place."""
        fd = os.open(self.path, FOLDER)
        try:
            yield fd
        finally:
            os.close(fd)

    def sweep(self) -> int:
        """Remove what crashed uploads have left; the number of files. Harmless while others upload."""
        try:
            with self.opened() as fd, os.scandir(fd) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
                return sum(_remove_if_abandoned(fd, os.fsencode(name)) for name in names)
        except FileNotFoundError:
            return 0


def _remove_if_abandoned(folder: int, name: bytes) -> bool:
    with suppress(OSError):
        fd = os.open(name, FILE, dir_fd=folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(fd)
        return True
    return False


def folder_for(root_fd: int, root_path: str, shared: TempFolder) -> TempFolder:
    """The shared folder where it can be linked from, else one in the root itself. Raises OSError."""
    with shared.opened() as fd:
        if _link_domain(fd) == _link_domain(root_fd):
            return shared
    with suppress(FileExistsError):
        os.mkdir(TEMP_FOLDER, 0o700, dir_fd=root_fd)
    return TempFolder(f"{root_path}/{TEMP_FOLDER}")


def _link_domain(fd: int) -> tuple[int, str]:
    """Links work within one file system and one mount of it: the same disk bound twice is two (EXDEV)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        mount = next((line for line in lines if line.startswith("mnt_id:")), "")
    return os.fstat(fd).st_dev, mount


class TempFile:
    """One file on its way to a name. Raises OSError."""

    def __init__(self, folder: TempFolder) -> None:
        self._folder = folder
        self._name = b""
        self.fd = self._open_anonymous() if folder.has_anonymous_files else -1
        if self.fd < 0:
            with folder.opened() as at:
                self.fd = self._open_named(at)

    def _open_anonymous(self) -> int:
        try:
            flags = os.O_TMPFILE | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(self._folder.path, flags, _FILE_MODE)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._folder.has_anonymous_files = False
            return -1

    def _open_named(self, at: int) -> int:
        while True:
            name = secrets.token_hex(16).encode()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, _FILE_MODE, dir_fd=at)
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    self._name = name
                    return fd
            os.close(fd)  # a sweep came between open and flock

    def write(self, chunks: Sequence[Bytes]) -> None:
        """All of the chunks, at the end of the file."""
        parts: list[Bytes] = list(chunks) if len(chunks) <= _VECTOR_MAX else [b"".join(chunks)]
        left = sum(map(len, parts))
        while left:
            written = os.writev(self.fd, parts)
            left -= written
            if left:  # a short write: a signal, a limit, or the disk is about to be full
                parts = [memoryview(b"".join(parts))[written:].tobytes()]

    def link(self, folder: int, name: bytes) -> None:
        """Give it a name that must not exist; FileExistsError decides races."""
        if self._name:
            with self._folder.opened() as at:
                os.link(self._name, name, src_dir_fd=at, dst_dir_fd=folder, follow_symlinks=False)
        else:
            # Both descriptors make it linkat(AT_SYMLINK_FOLLOW), without which /proc is "another device".
            source = f"/proc/self/fd/{self.fd}"
            os.link(source, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)

    def replace(self, folder: int, name: bytes) -> None:
        """Give it a name in place of the file that has it, in one step."""
        with self._folder.opened() as at:
            if not self._name:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                spare = secrets.token_hex(16).encode()
                self.link(at, spare)
                self._name = spare
            os.rename(self._name, name, src_dir_fd=at, dst_dir_fd=folder)
            self._name = b""

    def close(self) -> None:
        """Let go; a temp name goes too, a published one stays. Never fails: a sweep takes what is left."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        if self._name:
            with suppress(OSError), self._folder.opened() as at:
                os.unlink(self._name, dir_fd=at)
        with suppress(OSError):
            os.close(fd)
