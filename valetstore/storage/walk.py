"""Walk: a bucket's folders as they are on the disk, in no order, for those who need all objects or any one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from valetstore.storage.beneath import open_folder
from valetstore.storage.layout import ROOT
from valetstore.storage.roots import Root

_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG, errno.EXDEV})


def is_absent(error: OSError) -> bool:
    """Whether it vanished meanwhile, cannot be read, or is no longer what it was."""
    return error.errno in _ABSENT


@contextmanager
def passing_absent() -> Iterator[None]:
    """What is absent in this sense ends what is done to it, and nothing else."""
    try:
        yield
    except OSError as error:
        if not is_absent(error):
            raise


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


def walk(root: Root, root_fd: int) -> Iterator[tuple[str, str]]:
    """(name, path) of every object of a bucket, in no order. Raises OSError."""
    waiting = [ROOT]
    while waiting:
        folder = waiting.pop()
        with passing_absent():
            for entry, is_folder in entries(root_fd, folder.path):
                if is_folder:
                    below = root.layout.enter(folder, entry)
                    if below is not None:
                        waiting.append(below)
                    continue
                name = root.layout.leaf(folder, entry)
                if name is not None:
                    yield name, folder.join(entry)


def bytes_held(root: Root, root_fd: int) -> int:
    """The sizes of all objects of a bucket together. Raises OSError."""
    total = 0
    for _, path in walk(root, root_fd):
        with suppress(FileNotFoundError):  # deleted meanwhile
            total += os.stat(path.encode(), dir_fd=root_fd, follow_symlinks=False).st_size
    return total
