"""The logs of a data directory as another process finds them: what they say of one key.

Rule 1: strictly read-only. Nothing is opened for writing, made, cut or locked, whether a gateway runs or not.
Rule 2: a log is judged as its owner would judge it at a start. What cannot be read is JournalDamaged, never a guess.
Rule 3: of a log only what concerns the one key is taken in: tables of a million entries would take seconds.

A use that an upload has set aside is in no log: it is known only to the gateway that serves it.
"""

import os
import stat
import time
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from valetstore.grants.grant import Grant, Use
from valetstore.journal import Journal, JournalDamaged
from valetstore.journal_format import salvage, scan, time_of_torn
from valetstore.owner.revocations import FILE, RevocationStore
from valetstore.policy.revocation import RevocationTable
from valetstore.replay.logged import LOG_NAME
from valetstore.replay.table import RECORD_BYTES, SPENT, ReplayTable

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.05
"""A log may be switched, or begun, between a look at its mark and one at itself: then it is looked at again."""

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_ADDED: Final = b"\x92\xa1+"  # how a RevocationStore begins a record that puts an entry in force

_encode = msgspec.msgpack.Encoder().encode


class KeyUses(ReplayTable):
    """A ReplayTable that knows one key alone, and says how much is left of it."""

    def left(self, use: Use) -> int:
        """How many uses are left of those it allows."""
        return max(0, use.allowed - self._spent(use))

    def released(self, use: Use) -> bool:
        """Whether its holder has given it back."""
        return self._spent(use) == SPENT

    def repeatable_until(self, use: Use, now: float) -> float | None:
        """When the window ends in which this source may repeat a use; None where none is open."""
        until = self._windows.get(int.from_bytes(use.identity, "big"), {}).get(use.source, 0.0)
        return until if now < until else None

    def _spent(self, use: Use) -> int:
        return self._entries.get(int.from_bytes(use.identity, "big"), 0) & SPENT


def uses(folder: Path, identity: bytes, *, expected: bool, skew: float = 0) -> KeyUses:
    """What the replay log in `folder` says of one key; blocks. `skew` as a ReplayTable has it.

    `expected`: the data directory was served, so that a missing log is damage; where it is not, nothing was used.
    Raises JournalDamaged where the log cannot be read or is damaged.
    """
    path = folder / LOG_NAME
    whole = _Log(path).whole(expected=expected)
    # One of each kind, so that an unknown one is found out; what says something of all keys is short.
    kinds = {record[0]: record for record in whole.records}
    table = KeyUses(1, skew)
    try:
        for record in kinds.values():
            table.restore(record)
        for record in whole.records:
            if identity in record or len(record) < RECORD_BYTES:
                table.restore(record)
    except ValueError as error:
        raise JournalDamaged(f"{path}: {error}") from error
    table.settle(whole.clock)
    return table


def revocations(folder: Path, grant: Grant, *, expected: bool) -> RevocationTable:
    """Those revocations in `folder` that may mean this key, on whatever path; blocks. Else as `uses`."""
    named = (("key", grant.identity.hex()), ("signing-key", grant.signing_key), ("subject", grant.subject))
    path = folder / FILE
    whole = _Log(path).whole(expected=expected)
    # Kind and value stand side by side in a record. Most logs do not mention the key at all.
    said = [*(_encode(kind) + _encode(value) for kind, value in named), _encode("prefix")]
    said = [words for words in said if words in whole.data]
    store = _Store(folder)
    try:
        for record in whole.records:
            if not record.startswith(_ADDED) or (said and any(words in record for words in said)):
                store.restore(record)
    except ValueError as error:
        raise JournalDamaged(f"{path}: {error}") from error
    return store.table


class _Whole(NamedTuple):
    """A log: the file as it was read, its records in order, and the highest time of any group (0.0: none)."""

    data: bytes
    records: list[bytes]
    clock: float


class _Log(Journal):
    """A log that is read and judged as `open` does it. Nothing else of a Journal is used, so nothing is written."""

    def whole(self, *, expected: bool) -> _Whole:
        """All of it, looked at until it is whole. Raises JournalDamaged where it never is."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self._look(expected)
            except JournalDamaged:
                time.sleep(PAUSE_SECONDS)
        return self._look(expected)

    def _look(self, expected: bool) -> _Whole:
        # The mark first: what it says was acknowledged is then in the log, however that grows meanwhile.
        mark = self._mark.read()
        data = self._bytes()
        if data is None:
            if expected or mark is not None:
                raise JournalDamaged(f"{self.path}: the log is missing")
            return _Whole(b"", [], 0.0)
        records: list[bytes] = []
        try:
            found = scan(BytesIO(data), records.append)
        except ValueError as error:
            raise JournalDamaged(f"{self.path}: {error}") from error
        if found.log_id is None:
            raise JournalDamaged(f"{self.path}: it does not begin as a log does: the first group {found.why}")
        clock = found.clock
        if self._has_tail(found, mark):
            # It is being written now, or a crash cut it: what is whole of it counts, as at a start.
            records += salvage(found.rest)
            clock = max(clock, time_of_torn(found.rest, found.log_id))
        return _Whole(data, records, clock)

    def _bytes(self) -> bytes | None:
        """The file as it is now, in one go: two looks at one that grows would not fit each other. None: missing."""
        try:
            with open(self.path, "rb", opener=lambda path, _: os.open(path, _FLAGS)) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise JournalDamaged(f"{self.path}: is not a plain file")
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalDamaged(f"{self.path}: cannot be read: {error.strerror}") from error


class _Store(RevocationStore):
    """One that is never opened: it only knows what a record means."""

    def restore(self, record: bytes) -> None:
        """Take in one record. Raises ValueError."""
        self._take(record)
