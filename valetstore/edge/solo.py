"""Solo: one process that owns and serves."""

import logging
import socket
from collections.abc import Mapping

from valetstore.edge.orders import Standing
from valetstore.edge.worker import Single, Worker
from valetstore.errors import ConfigInvalid
from valetstore.metrics import Metrics, Snapshot
from valetstore.owner.owner import Owner
from valetstore.policy.revocation import Revocation

log = logging.getLogger(__name__)


class Solo:
    """A crew of one, in this process: what it owns is asked for without a detour."""

    def __init__(self, owner: Owner, standing: Standing, devices: Mapping[str, int], metrics: Metrics) -> None:
        single = Single(owner.replay, owner.revocations, owner.budgets.session())
        self._worker = Worker(standing, single, devices, metrics=metrics)

    @property
    def is_well(self) -> bool:
        """See Crew: whoever can ask is."""
        return True

    async def start(self, sockets: list[socket.socket]) -> None:
        """See Crew."""
        await self._worker.start(sockets)

    async def apply(self, standing: Standing, *, reopen: bool) -> None:
        """See Crew."""
        try:
            self._worker.apply(standing, reopen=reopen)
        except ConfigInvalid as error:
            log.error("the change is refused, the old stays: %s", error)

    async def tell(self, _added: list[Revocation], _removed: list[str]) -> None:
        """See Crew: the table that is judged by is the owner's own."""

    async def figures(self) -> list[Snapshot]:
        """See Crew: they are counted where the owner's are."""
        return []

    async def drain(self) -> None:
        """See Crew."""
        await self._worker.drain()

    async def close(self) -> None:
        """See Crew."""
        await self._worker.close()
