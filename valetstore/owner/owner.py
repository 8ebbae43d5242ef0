"""Owner: single use, revocations and budgets, of which a gateway has one each, however many workers serve.

Rule 1: everything is kept in memory and every change is appended to a log before it is answered.
Rule 2: what cannot be read refuses what it would have to decide, and nothing else: keys with limited uses where
the replay log is damaged, every key where the revocations are.
"""

import time
from typing import Final

from valetstore.config import Config
from valetstore.errors import ConfigInvalid
from valetstore.keys.ring import INTERNAL_NAME, KeyRing
from valetstore.metrics import Metrics
from valetstore.owner.revocations import RevocationStore, Tell
from valetstore.policy.budget import BudgetBook
from valetstore.replay.logged import LoggedReplaySet
from valetstore.storage.state import State

_LOGS_SINCE: Final = 2


class Owner:
    """For one data directory. `open` before anything else; it blocks, and does not raise for what is damaged."""

    def __init__(self, config: Config, tell: Tell | None = None) -> None:
        folder = config.data / "state"
        self._entries_max = config.replay.replay_entries_max
        self.replay = LoggedReplaySet(folder, self._entries_max, config.keys.clock_skew_seconds)
        self.revocations = RevocationStore(folder, tell) if tell else RevocationStore(folder)
        self.budgets = BudgetBook()

    def open(self, *, expected: bool) -> None:
        """Read the logs; `expected` says that there must be some. Raises ConfigInvalid where none can be made."""
        self.replay.open(expected)
        self.revocations.open(expected)

    def apply(self, config: Config, ring: KeyRing) -> None:
        """Go by these from now on."""
        self.budgets.failures = config.budgets.failures
        self.revocations.ring = ring

    def keep(self) -> None:
        """Drop what has expired, now and then, until `close`."""
        self.revocations.keep()

    async def close(self) -> None:
        """Write what waits, let go."""
        await self.replay.close()
        await self.revocations.close()

    def name_gauges(self, metrics: Metrics) -> None:
        """Register what the owner knows of itself."""
        gauge = metrics.gauge
        gauge("valetstore_replay_entries", {}, self.replay.entries)
        gauge("valetstore_replay_entries_max", {}, lambda: self._entries_max)
        gauge("valetstore_replay_available", {}, lambda: not self.replay.why_not(time.time()))
        gauge("valetstore_revocations", {}, lambda: len(self.revocations.table))
        gauge("valetstore_revocations_available", {}, lambda: not self.revocations.table.trouble)


def logs_are_expected(config: Config, ring: KeyRing) -> bool:
    """Whether this data directory was served by a version that keeps logs: that one is missing is a loss then.

    It says so by its format, or where that is gone by the gateway's own signing key, made at its first start.
    Raises ConfigInvalid.
    """
    try:
        known = State(config.data).known_format()
    except OSError as error:
        raise ConfigInvalid(f"storage.data: {config.data}: {error.strerror}: {error.filename}") from error
    return ring.named(INTERNAL_NAME) is not None if known is None else known >= _LOGS_SINCE
