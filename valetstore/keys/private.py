"""Files and folders that only their owner may read: written whole, or not at all."""

import os
import secrets
from pathlib import Path

from valetstore.errors import ConfigInvalid
from valetstore.keys.owner import hand_over, hand_over_folder


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner may read: beside, synced, renamed, the folder synced.

    Written by root, it belongs to whoever owns the folder. Raises ConfigInvalid.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        make_folder(path.parent)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                hand_over(file.fileno(), path.parent)
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be written: {error.strerror}") from error


def make_folder(folder: Path) -> None:
    """Make a private folder where there is none; root's belongs to whoever owns the one above. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    hand_over_folder(folder, folder.parent)


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, which is made where there is none. Raises OSError."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    hand_over(lock, path.parent)
    return lock
