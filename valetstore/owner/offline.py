"""The logs of a data directory as another process finds them: what they say of one key.

Rule 1: strictly read-only, whether a gateway runs or not.
Rule 2: a log is judged as its owner would judge it at a start. What cannot be read is JournalDamaged, never a guess.
Rule 3: of a log only what concerns the one key is taken in: tables of a million entries would take seconds.

A use that an upload has set aside is in no log: it is known only to the gateway that serves it.
"""

from pathlib import Path
from typing import Final

import msgspec

from valetstore.grants.grant import Grant, Use
from valetstore.journal import JournalDamaged, read
from valetstore.owner.revocations import FILE, RevocationStore
from valetstore.policy.revocation import RevocationTable
from valetstore.replay.logged import LOG_NAME
from valetstore.replay.records import IDENTITY_BYTES, RECORD_BYTES
from valetstore.replay.table import SPENT, ReplayTable

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
        until = self._windows.end(int.from_bytes(use.identity, "big"), use.source)
        return until if now < until else None

    def _spent(self, use: Use) -> int:
        return self._entries.get(int.from_bytes(use.identity, "big"), 0) & SPENT


def uses(folder: Path, identity: bytes, *, expected: bool, skew: float = 0) -> KeyUses:
    """What the replay log in `folder` says of one key; blocks. `skew` as a ReplayTable has it.

    `expected`: the data directory was served, so that a missing log is damage; where it is not, nothing was used.
    Raises JournalDamaged where the log cannot be read or is damaged.
    """
    path = folder / LOG_NAME
    whole = read(path, expected=expected)
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
    whole = read(path, expected=expected)
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


def troubles(folder: Path, *, expected: bool, now: float, skew: float = 0) -> dict[str, str]:
    """What is wrong with each log in `folder`, by "replay" and "revocations"; {} where all is well. Blocks."""
    found = {}
    try:
        clock = uses(folder, bytes(IDENTITY_BYTES), expected=expected, skew=skew).why_not_believed(now)
        if clock:
            found["replay"] = f"{folder / LOG_NAME}: {clock}"
    except JournalDamaged as damaged:
        found["replay"] = str(damaged)
    try:
        store = _Store(folder)
        for record in read(folder / FILE, expected=expected).records:
            store.restore(record)
    except JournalDamaged as damaged:
        found["revocations"] = str(damaged)
    except ValueError as error:
        found["revocations"] = f"{folder / FILE}: {error}"
    return found


class _Store(RevocationStore):
    """One that is never opened: it only knows what a record means."""

    def restore(self, record: bytes) -> None:
        """Take in one record. Raises ValueError."""
        self._take(record)
