"""What the owner and the workers say to each other: plain values, no behaviour.

Rule 1: a worker asks, the owner answers each `Asked` once, by its number. Everything else needs no answer, or
says what its answer is.
Rule 2: the owner's word comes in order: a worker that has heard of a revocation has heard of all before it.
"""

from typing import Any

import msgspec

from valetstore.config import Config
from valetstore.grants.grant import Charge, Use
from valetstore.keys.ringfile import Document
from valetstore.metrics import Snapshot
from valetstore.policy.revocation import Revocation
from valetstore.replay.promise import Reservation

Refusal = tuple[str, str, dict[str, Any]]
"""What is left of a Denied: code, detail, evidence."""


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    pass


# --- what a worker asks, each answered by `Answered` --------------------------------------------------


class Look(_Message, frozen=True):
    """`ReplaySet.look`."""

    use: Use
    now: float


class Claim(_Message, frozen=True):
    """`ReplaySet.claim`, of all that a turn of the worker's loop brought: each a use and its moment.

    Answered when the last of them is decided, with the refusals by their place among `claims`.
    """

    claims: tuple[tuple[Use, float], ...]


class Spend(_Message, frozen=True):
    """`ReplaySet.spend`."""

    use: Use
    now: float


class Reserve(_Message, frozen=True):
    """`ReplaySet.reserve`; the answer is a Reservation."""

    use: Use
    now: float


class Renew(_Message, frozen=True):
    """`ReplaySet.renew`."""

    reservation: Reservation
    now: float


class Committing(_Message, frozen=True):
    """`ReplaySet.committing`."""

    reservation: Reservation
    now: float


class Commit(_Message, frozen=True):
    """`ReplaySet.commit`."""

    reservation: Reservation
    now: float


class Release(_Message, frozen=True):
    """`ReplaySet.release`."""

    reservation: Reservation


class Enter(_Message, frozen=True):
    """`Budgets.enter`."""

    charges: tuple[Charge, ...]
    now: float


class Revoke(_Message, frozen=True):
    """`RevocationStore.add`; the answer is the entry that is in force then, and whether it is new."""

    wanted: Revocation


class Undo(_Message, frozen=True):
    """`RevocationStore.undo`; the answer says whether there was one."""

    id: str


Question = Look | Claim | Spend | Reserve | Renew | Committing | Commit | Release | Enter | Revoke | Undo


class Asked(_Message, frozen=True):
    """A question and its number."""

    number: int
    question: Question


# --- what a worker says ----------------------------------------------------------------------------


class Left(_Message, frozen=True):
    """`Budgets.leave`."""

    charges: tuple[Charge, ...]


class Failed(_Message, frozen=True):
    """`Budgets.failed`."""

    address: str
    now: float


class Done(_Message, frozen=True):
    """The owner's word of that number is heard and holds from now on."""

    number: int


class Alive(_Message, frozen=True):
    """The worker's loop turns. `serving` from the moment it accepts; `figures` now and then, and when asked for.

    `suspect` are buckets whose volume has failed to sync.
    """

    serving: bool
    figures: Snapshot | None = None
    suspect: tuple[str, ...] = ()


FromWorker = Asked | Left | Failed | Done | Alive


# --- what the owner says ---------------------------------------------------------------------------


class Answered(_Message, frozen=True):
    """The answer to `Asked`: a result, or a refusal."""

    number: int
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    refusal: Refusal | None = None


class Changed(_Message, frozen=True):
    """Revocations come into force and go. The worker says `Done`; `trouble` is why they can not be read, or ""."""

    number: int
    added: tuple[Revocation, ...] = ()
    removed: tuple[str, ...] = ()
    trouble: str = ""


class Orders(_Message, frozen=True):
    """What to serve by, from now on: settings, key ring, certificate (PEM: chain, key). The worker says `Done`.

    `ring_trouble` says why a newer ring is refused, "" where all is well; with `reopen` the audit is opened anew.
    """

    number: int
    config: Config
    ring: Document
    ring_trouble: str = ""
    tls: tuple[bytes, bytes] | None = None
    reopen: bool = False


class Begin(_Message, frozen=True):
    """The first word to a worker: what it inherits, and the `version` that speaks: these words fit that one alone.

    `sockets` and `board` are descriptors (the listening sockets; the counts of connections, of which this worker
    writes `row` of `rows`, addresses hashed with `secret`); `devices` are those that storage folders were found on.
    """

    version: str = ""
    sockets: tuple[int, ...] = ()
    board: int = -1
    rows: int = 1
    row: int = 0
    secret: bytes = b""
    devices: dict[str, int] = {}


class Blocked(_Message, frozen=True):
    """Too many verifications failed from that address: it is refused until then."""

    address: str
    until: float


class Suspect(_Message, frozen=True):
    """The volumes of these buckets are not to be trusted any more."""

    buckets: tuple[str, ...]


class Show(_Message, frozen=True):
    """Say `Alive` with figures, now."""


class Drain(_Message, frozen=True):
    """Accept no more, finish what runs, end."""


FromOwner = Answered | Changed | Orders | Begin | Blocked | Suspect | Show | Drain
