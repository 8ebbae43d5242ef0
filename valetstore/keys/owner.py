"""Whose a file is that root makes: the service's own user must be able to read what the command line wrote.

Rule 1: only what was made just now changes hands. A file that was there may be a link to another one.
Rule 2: it changes hands by its descriptor, before it has its name; a path could mean another file by then.
"""

import os
from pathlib import Path


def hand_over(descriptor: int, like: Path) -> None:
    """Give a new file to the owner of the folder `like`, where root has made it in another's place. Raises OSError."""
    if os.geteuid() != 0:
        return
    owner = os.stat(like)
    if owner.st_uid != os.fstat(descriptor).st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def hand_over_folder(folder: Path, like: Path) -> None:
    """The same for a folder that was made just now. Raises OSError."""
    # Who owns the folder above may have put a link in its place meanwhile.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        hand_over(descriptor, like)
    finally:
        os.close(descriptor)
