"""Revocation: which keys are refused although their signature holds and their time has not come.

Rule 1: pure. Whoever keeps the table durable, and tells every worker, is `owner/revocations.py`.
Rule 2: a table that could not be read refuses every key (`trouble`); it never takes nothing for an answer.
Rule 3: what was revoked comes back only by `undo`, or where nothing it could name is valid any longer.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, Literal, Protocol, get_args

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Grant
from valetstore.objectkey import RESERVED_BUCKET

Kind = Literal["key", "signing-key", "subject", "prefix"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_KEY: Final = KINDS.index("key")


KEEP_SECONDS: Final = 3600
"""An expired entry stays in the table for so long: a clock that is set back by less finds it again."""

EXPIRE_AT_ONCE: Final = 1_000
"""Entries that are looked at in one go, about a millisecond: a million must not stop the loop."""


RETRY_SECONDS: Final = 5

_ID_DIGITS_MAX: Final = 16
_RESERVED: Final = f"/{RESERVED_BUCKET}/"
FOREVER: Final = float("inf")


class Revocation(msgspec.Struct, frozen=True, array_like=True):
    """One entry: keys that are refused from now on. Times are seconds since the epoch.

    `value` is a key's identity (32 hexadecimal digits), a signing key's name, a subject, or a prefix that ends in a
    slash. With `issued_before` only keys issued before that moment are meant, and those that do not say when they
    were issued. `expires_at`, for one key alone, is when that key is valid nowhere any longer. `reason` and `by` are
    for the operator. `id` and `created_at` are given by the store: before that they are "" and 0.

    A signing key is meant by its name: one that is created later under the same name (the command line allows none)
    is refused as well until the entry is undone, unless `issued_before` says that only earlier keys are meant.
    """

    id: str
    kind: Kind
    value: str
    issued_before: float | None = None
    expires_at: float | None = None
    created_at: float = 0.0
    reason: str = ""
    by: str = ""


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry as the table holds it, packed (as a list, in this order); its id is the number it is found by."""

    kind: int
    value: bytes
    issued_before: float | None
    expires_at: float | None
    created_at: float
    reason: str
    by: str


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Row).decode

_Named = int | list[tuple[float, int]]
"""Entries of one kind and value: the number of the only one, or all as (issued before, number), ascending."""

_Index = dict[bytes | str, _Named]


class RevocationTable:
    """All entries, with what is needed to look a key up in them.

    The order of entries is that of their ids, which is that of their making. An entry takes about 290 bytes with a
    short reason (`bench/revocations.py`); there is no other limit to their number than memory. `trouble` is "" or
    why the entries could not be read: then every key is refused.
    """

    def __init__(self, entries: Iterable[Revocation] = ()) -> None:
        self.trouble = ""
        self._last = 0  # the greatest number there ever was
        self.replace(entries)

    def replace(self, entries: Iterable[Revocation]) -> None:
        """Hold these entries and no others."""
        self._rows: dict[int, bytes] = {}
        self._order = array("Q")  # numbers, ascending; those that are gone stay until their part is swept
        self._swept = 0
        self._keys: _Index = {}
        self._signing_keys: _Index = {}
        self._subjects: _Index = {}
        self._prefixes: _Index = {}
        self._lengths: dict[int, int] = {}  # of prefixes, and how many have it: most folders of a path need no look
        for entry in entries:
            self.add(entry)

    def add(self, entry: Revocation) -> None:
        """Put an entry in force; harmless where it is already. Raises ValueError where its id is none."""
        number = _number(entry.id)
        if number in self._rows:
            return
        name = _name_of(entry)
        self._rows[number] = _pack(
            (
                KINDS.index(entry.kind),
                name if isinstance(name, bytes) else name.encode(),
                entry.issued_before,
                entry.expires_at,
                entry.created_at,
                entry.reason,
                entry.by,
            )
        )
        if number > self._last:
            self._last = number
            self._order.append(number)
        else:
            self._place(number)
        index = self._index(entry.kind)
        found = index.setdefault(name, number)
        if found is not number:
            if isinstance(found, int):
                found = index[name] = [(_before(self._entry(found)), found)]
            insort(found, (_before(entry), number))
        elif entry.kind == "prefix":
            self._lengths[len(name)] = self._lengths.get(len(name), 0) + 1

    def remove(self, entry_id: str) -> bool:
        """Take an entry out; whether it was there."""
        try:
            number = _number(entry_id)
        except ValueError:
            return False
        if number not in self._rows:
            return False
        self._unname(number, self._entry(number))
        del self._rows[number]
        if len(self._order) > 2 * len(self._rows) + EXPIRE_AT_ONCE:
            self._sweep()
        return True

    def check(self, grant: Grant, path: str, now: float) -> None:
        """Raise `key_revoked` where an entry means this key, or this path; `revocation_unavailable` in trouble.

        `path` is the one that the request touches: for a list `/bucket/` and the prefix asked for, so that what lies
        below a revoked prefix may still be named by a list from above it. A prefix means objects: the gateway's
        own paths lie below none, so a revocation of everything can be undone.
        """
        if self.trouble:
            raise Denied("revocation_unavailable", retry_after=RETRY_SECONDS, reason=self.trouble)
        if not self._rows:
            return
        found = self._keys.get(grant.identity)
        if found is not None:
            self._judge(found, grant, now)
        if self._signing_keys:
            found = self._signing_keys.get(grant.signing_key)
            if found is not None:
                self._judge(found, grant, now)
        # The gateway's own key says who runs the command: no revocation of that name may stand in its own way.
        if self._subjects and grant.subject and not grant.signing_key.startswith("_"):
            found = self._subjects.get(grant.subject)
            if found is not None:
                self._judge(found, grant, now)
        if self._prefixes and not path.startswith(_RESERVED):
            end = path.find("/") + 1
            while end:
                if end in self._lengths:
                    found = self._prefixes.get(path[:end])
                    if found is not None:
                        self._judge(found, grant, now)
                end = path.find("/", end) + 1

    def get(self, entry_id: str) -> Revocation | None:
        """The entry of that id."""
        try:
            number = _number(entry_id)
        except ValueError:
            return None
        return self._entry(number) if number in self._rows else None

    def same(self, wanted: Revocation) -> Revocation | None:
        """An entry that says what `wanted` does, and at least as long; None where there is none."""
        found = self._index(wanted.kind).get(_name_of(wanted))
        for number in [] if found is None else _alike(found, wanted.issued_before):
            entry = self._entry(number)
            if entry.issued_before != wanted.issued_before:
                continue
            if entry.expires_at is None or (wanted.expires_at or FOREVER) <= entry.expires_at:
                return entry
        return None

    def page(self, after: str, limit: int) -> list[Revocation]:
        """Up to `limit` entries whose id is greater than `after` ("" for the first ones). Raises ValueError."""
        start = bisect_right(self._order, _number(after)) if after else 0
        numbers = (self._order[at] for at in range(start, len(self._order)))
        return [self._entry(number) for number in islice((n for n in numbers if n in self._rows), limit)]

    def next_id(self, now: float) -> str:
        """An id that is greater than every other here; made of the time, so that one that is gone is not met again."""
        return _id(max(self._last + 1, int(now * 1000)))

    def expire(self, now: float, ends: Callable[[Revocation], float | None] | None = None) -> list[str]:
        """Drop what has expired among the next EXPIRE_AT_ONCE entries, in turn; the ids of what was dropped.

        `ends` says of an entry when nothing it names is valid any longer (`Bounds`).
        """
        gone = []
        for number in self._order[self._swept : self._swept + EXPIRE_AT_ONCE]:
            row = _unpack(self._rows[number]) if number in self._rows else None
            # Most entries that name many keys have no end: they need no second thought.
            if row is None or (row.expires_at is None and (row.issued_before is None and row.kind != _KEY)):
                continue
            entry = self._entry(number)
            end = entry.expires_at if ends is None else ends(entry)
            if end is not None and end + KEEP_SECONDS <= now:
                gone.append(entry.id)
        for entry_id in gone:
            number = _number(entry_id)
            self._unname(number, self._entry(number))
            del self._rows[number]
        self._sweep()
        return gone

    def __iter__(self) -> Iterator[Revocation]:
        """All entries, oldest first. What comes or goes meanwhile may be missing or not."""
        for number in self._order[:]:
            if number in self._rows:
                yield self._entry(number)

    def __len__(self) -> int:
        return len(self._rows)

    def _entry(self, number: int) -> Revocation:
        row = _unpack(self._rows[number])
        kind = KINDS[row.kind]
        value = row.value.hex() if kind == "key" else row.value.decode()
        times = row.issued_before, row.expires_at, row.created_at
        return Revocation(_id(number), kind, value, *times, row.reason, row.by)

    def _judge(self, found: _Named, grant: Grant, now: float) -> None:
        """Raise `key_revoked` where one of these entries means the grant."""
        named = [(FOREVER, found)] if isinstance(found, int) else reversed(found)
        for before, number in named:
            # The rest says no more: of those, each is for keys issued even earlier.
            if grant.issued_at is not None and before <= grant.issued_at:
                return
            packed = self._rows.get(number)
            if packed is None:  # taken back while a thread of the store asks
                continue
            row = _unpack(packed)
            issued_before = row.issued_before is None or grant.issued_at is None or grant.issued_at < row.issued_before
            if issued_before and (row.expires_at is None or now < row.expires_at):
                raise Denied("key_revoked", "", revocation=_id(number), reason=row.reason)

    def _index(self, kind: Kind) -> _Index:
        return (self._keys, self._signing_keys, self._subjects, self._prefixes)[KINDS.index(kind)]

    def _unname(self, number: int, entry: Revocation) -> None:
        index, name = self._index(entry.kind), _name_of(entry)
        found = index[name]
        if isinstance(found, int):
            del index[name]
            if entry.kind == "prefix":
                self._lengths[len(name)] -= 1
                if not self._lengths[len(name)]:
                    del self._lengths[len(name)]
            return
        del found[bisect_left(found, (_before(entry), number))]
        if len(found) == 1:
            index[name] = found[0][1]

    def _place(self, number: int) -> None:
        """Into the order of numbers, where it may stand already as one that is gone."""
        at = bisect_left(self._order, number)
        if at == len(self._order) or self._order[at] != number:
            self._order.insert(at, number)

    def _sweep(self) -> None:
        """Take what is gone out of the next part of the order, and go on to the one after it."""
        part = self._order[self._swept : self._swept + EXPIRE_AT_ONCE]
        living = array("Q", (number for number in part if number in self._rows))
        if len(living) < len(part):
            self._order[self._swept : self._swept + len(part)] = living
        self._swept += len(living)
        if self._swept >= len(self._order):
            self._swept = 0


class Revocations(Protocol):
    """The entries and the way to change them: the store itself, or what a worker has of it."""

    table: RevocationTable

    async def add(self, wanted: Revocation, /) -> tuple[Revocation, bool]:
        """Put it in force in every worker, durably; the one in force then, and whether it is new.

        Raises `storage_unavailable`, `revocation_unavailable`.
        """

    async def undo(self, entry_id: str, /) -> bool:
        """Take one back in every worker, durably; whether there was one. Raises as `add` does."""


def _name_of(entry: Revocation) -> bytes | str:
    """What it is looked up by: a key's identity as bytes, anything else as text."""
    return bytes.fromhex(entry.value) if entry.kind == "key" else entry.value


def _before(entry: Revocation) -> float:
    return FOREVER if entry.issued_before is None else entry.issued_before


def _alike(found: _Named, issued_before: float | None) -> list[int]:
    """The numbers of those entries that may have exactly this `issued_before`."""
    if isinstance(found, int):
        return [found]
    before = FOREVER if issued_before is None else issued_before
    return [number for _, number in found[bisect_left(found, (before, 0)) : bisect_right(found, (before, 2**64))]]


def _id(number: int) -> str:
    return f"{number:011x}"


def _number(entry_id: str) -> int:
    """An id as the number it stands for; each number has one id. Raises ValueError."""
    try:
        number = int(entry_id[:_ID_DIGITS_MAX], 16)
    except ValueError:
        number = -1
    if number < 0 or _id(number) != entry_id:
        raise ValueError(f"{entry_id!r} is not the id of a revocation")
    return number
