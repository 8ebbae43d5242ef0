"""Until when a revocation has to be kept: when nothing that it could name is valid any longer."""

from collections.abc import Iterable
from typing import Final

from valetstore.config import RESUMABLE_SECONDS_MAX
from valetstore.grants.grant import Grant
from valetstore.keys.ring import KeyRing, SigningKey
from valetstore.keys.vendor import GCS
from valetstore.policy.revocation import FOREVER, Revocation

SKEW_SECONDS_MAX: Final = 900
"""The most that any dialect tolerates at a key's end, and in the future for its beginning: S3's and Google's 15
minutes, and the largest `clock-skew-seconds`. The setting may change; what is revoked must not come back by it."""


class Bounds:
    """Says of an entry from when on nothing that it could name is valid; made once for a ring and many entries.

    One key: its end, where that is known; where it is not, nobody can say. The other kinds, with `issued_before`: a
    signing key's `ttl-max` says how long what it had signed by then can live, and its retirement ends all of it; every
    signing key that could be meant must have one of the two. Without `issued_before` they name keys that are still to
    be signed: no bound.

    A key without an issue time is covered as far as it opened anything: `ttl-max` judges it by what is left of it, so
    one that outlives the bound was too long, and refused, when the entry was made. (Such a key opens in its last
    `ttl-max`, when the entry may be gone: where keys without an issue time end far off, `ttl-max` bounds little.)

    The ring counts as it is: profiles do not change, and nothing un-retires.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._all = frozenset((_ttl_of(key), key.record.retires_at) for key in ring)

    def __call__(self, entry: Revocation) -> float | None:
        """Seconds since the epoch; None where it is not known."""
        if entry.kind == "key" or entry.issued_before is None:
            return entry.expires_at
        # A dialect may take keys from the near future, and any for a while after their end.
        since = max(entry.issued_before or 0.0, entry.created_at) + SKEW_SECONDS_MAX
        ends = [_end_of(ttl_max, retires_at, since) for ttl_max, retires_at in self._meant(entry)]
        return max(ends) + SKEW_SECONDS_MAX if ends and max(ends) < FOREVER else None

    def _meant(self, entry: Revocation) -> Iterable[tuple[int | None, int | None]]:
        if entry.kind != "signing-key":
            return self._all
        key = self._ring.named(entry.value)
        return [(_ttl_of(key), key.record.retires_at)] if key else []


def _ttl_of(key: SigningKey) -> int | None:
    """How long anything may live that this signing key allows: an upload of Google's outlives the key that began it."""
    ttl_max = key.limits.ttl_max
    return ttl_max if ttl_max is None or key.record.scheme != GCS else ttl_max + RESUMABLE_SECONDS_MAX


def bound(entry: Revocation, ring: KeyRing) -> float | None:
    """What `Bounds` says of one entry."""
    return Bounds(ring)(entry)


def key_end(not_after: float) -> float:
    """The `expires_at` for one key that ends at `not_after`: no dialect takes it after that."""
    return not_after + SKEW_SECONDS_MAX


def grant_end(grant: Grant) -> float:
    """The same of a proven key: what it began may go on for a while, and is revoked with it."""
    return key_end(grant.not_after + grant.outlived_by)


def _end_of(ttl_max: int | None, retires_at: int | None, since: float) -> float:
    """When the last key ends that a signing key had signed by `since`."""
    return min(FOREVER if ttl_max is None else since + ttl_max, FOREVER if retires_at is None else retires_at)
