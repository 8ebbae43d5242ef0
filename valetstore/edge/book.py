"""ConnectionBook: who is connected, how many may be, and who takes too long to ask."""

import asyncio
import logging
import time
from collections import Counter
from typing import Final

from valetstore.audit import Audit, AuditEvent, rfc3339
from valetstore.config import Limits
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.proxies import TrustedProxies
from valetstore.edge.tally import Tally
from valetstore.errors import Denied
from valetstore.grants.networks import address_group
from valetstore.inbound import Address
from valetstore.metrics import Metrics

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5
HANDSHAKES_SPARE: Final = 16
"""One that has just become a connection counts as a handshake for a moment longer."""

LINGERING_MAX: Final = 256
"""Connections beyond the limits that get a moment to read why; more than these are closed at once."""


class ConnectionBook:
    """All connections of one process; `limits` may be replaced. `tally` counts those of all workers.

    Trusted proxies and Unix sockets are not counted by address.
    """

    def __init__(
        self, limits: Limits, proxies: TrustedProxies, metrics: Metrics, audit: Audit, tally: Tally | None = None
    ) -> None:
        self._audit = audit
        self.limits = limits
        self._proxies = proxies
        self._metrics = metrics
        self._open: set[GatewayProtocol] = set()
        self._lingering: set[GatewayProtocol] = set()
        self._tally = tally or Tally()
        self._is_draining = False
        self._handshakes: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def begin_handshake(self, address: Address | None) -> bool:
        """Whether one more may begin a TLS handshake: as many as there may be connections, and no more.

        One beyond the limits of connections still gets through here: only after the handshake can it be told.
        """
        group = self._group(address)
        limits, others = self.limits, self._handshakes
        if self._tally.total + others.total() >= limits.connections_max + LINGERING_MAX:
            return self._turned_away(Denied("overloaded"), address)
        if group and others[group] >= limits.connections_per_address_max + HANDSHAKES_SPARE:
            return self._turned_away(Denied("rate_limited"), address)
        others[group] += 1
        return True

    def end_handshake(self, address: Address | None) -> None:
        """It became a connection, or nothing."""
        group = self._group(address)
        self._handshakes[group] -= 1
        if not self._handshakes[group]:
            del self._handshakes[group]

    def _turned_away(self, denied: Denied, address: Address | None) -> bool:
        self.refused(denied, "", address)
        return False

    def _group(self, address: Address | None) -> str:
        """Whose connections are counted together; "" for those that are not counted by address."""
        return "" if address is None or self._proxies.trusts(address) else address_group(address)

    def enter(self, connection: GatewayProtocol) -> Denied | None:
        """Write a connection in; what it is to be refused with, None where it may stay."""
        if self._tally.total >= self.limits.connections_max:
            return Denied("overloaded", retry_after=RETRY_SECONDS)
        group = self._group(connection.address)
        if group and self._tally.of(group) >= self.limits.connections_per_address_max:
            return Denied("rate_limited", "Too many connections from this address.", retry_after=RETRY_SECONDS)
        if self._is_draining:  # accepted in the last moment
            connection.drain()
        self._tally.add(group)
        connection.connected_from = group
        self._open.add(connection)
        return None

    def may_linger(self, connection: GatewayProtocol) -> bool:
        """Whether a connection that was not let in may stay for a moment."""
        if len(self._lingering) >= LINGERING_MAX:
            return False
        self._lingering.add(connection)
        return True

    def leave(self, connection: GatewayProtocol) -> None:
        """Strike a connection out; harmless for one that was never in."""
        self._lingering.discard(connection)
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._tally.remove(connection.connected_from)

    def refused(self, denied: Denied, request_id: str, address: Address | None) -> None:
        """A refusal of what never became a request: counted, and told to the audit."""
        self._metrics.decided("", "", denied.code)
        event = AuditEvent(
            time=rfc3339(time.time()), request_id=request_id, event="decision", decision="refused", code=denied.code
        )
        event.reason = denied.detail
        event.address = "" if address is None else str(address)
        self._audit.write(event)

    def drain(self) -> None:
        """The gateway stops: each connection ends with its next answer."""
        self._is_draining = True
        for connection in list(self._open):
            connection.drain()

    def end_idle(self) -> None:
        """End the connections on which nothing is asked for."""
        for connection in list(self._open):
            connection.end_if_idle()

    async def sweep(self) -> None:
        """Until cancelled: let go of connections whose request's head is late, or whose end is."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self._sweep_once(loop.time())
            except Exception:
                log.exception("a sweep failed")  # the deadlines of all others go on

    def _sweep_once(self, now: float) -> None:
        for connection in list(self._open):
            if connection.head_is_late(now, self.limits.header_seconds):
                connection.refuse_late_head()
            elif connection.is_stuck(now, self.limits.rate_grace_seconds):
                connection.cut()
