"""What a log holds, for whoever does not write it; and what is a torn tail and what is damage, for all.

Rule: strictly read-only. Nothing is opened for writing, made, cut or locked, whether a gateway runs or not.
"""

import os
import stat
import time
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

from valetstore.journal.files import FLAGS, JournalDamaged, MarkFile
from valetstore.journal.format import Found, Mark, has_later_group, salvage, scan, time_of_torn

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.05
"""A log may be switched, or begun, between a look at its mark and one at itself: then it is looked at again."""


class Contents(NamedTuple):
    """A log: the file as it was read, its records in order, and the highest time of any group (0.0: none)."""

    data: bytes
    records: list[bytes]
    clock: float


def read(path: Path, *, expected: bool) -> Contents:
    """All of a log, judged as its owner would judge it at a start; blocks. `expected`: a missing one is damage.

    Raises JournalDamaged where it cannot be read or is not what was acknowledged.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _look(path, expected)
        except JournalDamaged:
            time.sleep(PAUSE_SECONDS)
    return _look(path, expected)


def has_tail(path: Path, found: Found, mark: Mark | None) -> bool:
    """Whether the log `path`, in which that was found, has a tail to drop.

    Raises JournalDamaged where what was acknowledged is not all there.
    """
    assert found.log_id is not None
    following = found.sequence + 1
    acknowledged = None
    if mark is not None and mark.acknowledged:
        if found.log_id not in mark.acknowledged:
            raise JournalDamaged(f"{path}: the mark beside it belongs to another log")
        acknowledged = mark.acknowledged[found.log_id]
    if acknowledged is None:
        # Without a mark anything complete may have been acknowledged.
        is_damage = found.end == "bad"
    elif acknowledged >= following:
        # A disk that lied about its last sync may have cut the last group; nothing else explains a gap.
        is_damage = not (acknowledged == following and found.end == "cut")
    else:
        is_damage = False
    if is_damage or has_later_group(found.rest, found.log_id, following):
        raise JournalDamaged(f"{path}: group {following}, at byte {found.length}, {found.why}")
    return found.end != "clean"


def mark_of(path: Path) -> MarkFile:
    """The mark beside a log."""
    return MarkFile(path.with_name(path.stem + ".mark"))


def salvaged(path: Path) -> list[bytes]:
    """Every record of a damaged log that can still be read; none where the file is missing or unreadable."""
    try:
        fd = os.open(path, os.O_RDONLY | FLAGS)
        with open(fd, "rb") as stream:
            return list(salvage(stream.read()))
    except OSError:
        return []


def _look(path: Path, expected: bool) -> Contents:
    # The mark first: what it says was acknowledged is then in the log, however that grows meanwhile.
    mark = mark_of(path).read()
    data = _bytes(path)
    if data is None:
        if expected or mark is not None:
            raise JournalDamaged(f"{path}: the log is missing")
        return Contents(b"", [], 0.0)
    records: list[bytes] = []
    try:
        found = scan(BytesIO(data), records.append)
    except ValueError as error:
        raise JournalDamaged(f"{path}: {error}") from error
    if found.log_id is None:
        raise JournalDamaged(f"{path}: it does not begin as a log does: the first group {found.why}")
    clock = found.clock
    if has_tail(path, found, mark):
        # It is being written now, or a crash cut it: what is whole of it counts, as at a start.
        records += salvage(found.rest)
        clock = max(clock, time_of_torn(found.rest, found.log_id))
    return Contents(data, records, clock)


def _bytes(path: Path) -> bytes | None:
    """The file as it is now, in one go: two looks at one that grows would not fit each other. None: missing."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, os.O_RDONLY | FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise JournalDamaged(f"{path}: is not a plain file")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalDamaged(f"{path}: cannot be read: {error.strerror}") from error
