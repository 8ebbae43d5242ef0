"""ReplaySet: what every memory of used keys promises.

Rule 1: of any number of simultaneous uses of a key, at most as many as it allows succeed.
Rule 2: a set that cannot tell says so (`replay_unavailable`); it never guesses and never forgets a live
entry to make room.
Rule 3: a failed upload gives its use back; one that may have been published does not.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from valetstore.errors import Denied
from valetstore.grants.grant import Use

LEASE_SECONDS = 30
"""How long a reservation holds without being renewed: a dead owner's uses come back after this."""

Told = Callable[[Denied | None], None]
"""How a claim ended: None where the use is taken."""


class Reservation(msgspec.Struct, frozen=True):
    """One use set aside for an upload. `free` where it falls in the window of an earlier use.

    It may be kept, and committed or released by another worker than the one that asked for it; to a set that did not
    make it (the owner's next life) its `id` means nothing.
    """

    use: Use
    id: int
    free: bool = False


class ReplaySet(Protocol):
    """Uses by key identity. `now` is seconds since the epoch, read once for the request.

    Every method but `release` raises `replay_unavailable` where the set is full, unreadable, cannot be written,
    or its clock has gone back; nothing was used then. A set with a log answers when what it says is durable.
    """

    async def look(self, use: Use, now: float) -> None:
        """Raise `key_used` where no use is left. Uses nothing up: HEAD, 304 and refusals stop here."""

    async def claim(self, use: Use, now: float) -> None:
        """Use the key once, for good, or raise `key_used`. The last step before the first byte of a read."""

    def claim_soon(self, use: Use, now: float, told: Told) -> bool:
        """`claim` for who has no coroutine to wait in: whether the use is taken, and kept, already.

        Where it is not, `told` is called once, later: with None as soon as it is, or with what `claim` would raise, and
        then nothing was used. Raises what is known at once; `told` is not called then. One who cannot be answered any
        more when `told` is called has used the key all the same. `told` must not raise; it may claim again.
        """

    async def reserve(self, use: Use, now: float) -> Reservation:
        """Set one use aside for an upload, or raise `key_used`. It lapses unless renewed in LEASE_SECONDS."""

    async def renew(self, reservation: Reservation, now: float) -> None:
        """Bytes still arrive: hold on to it. Raises `key_used` where it has lapsed."""

    async def committing(self, reservation: Reservation, now: float) -> None:
        """Durable before the publish: from here on a crash leaves the key used. Raises `key_used` if lapsed.

        It does not lapse from here on; one that is neither committed nor released within a day died, and is spent.
        """

    async def commit(self, reservation: Reservation, now: float) -> None:
        """The upload is published: the use is spent."""

    async def release(self, reservation: Reservation) -> None:
        """The upload surely published nothing: the use comes back, also after `committing`. Harmless twice.

        Raises nothing. For an owner that has died call it only for what was not committing.
        """

    async def spend(self, use: Use, now: float) -> None:
        """Its holder gives the key back: nothing is left of it, however much it allowed, and windows end.

        Uploads that are not committing yet lose their use; one that is may finish. Idempotent.
        """


class CountedReplaySet(ReplaySet, Protocol):
    """One that can be asked how full it is: the owner's, not what a worker has of it."""

    def entries(self) -> int:
        """How many keys it remembers now."""
