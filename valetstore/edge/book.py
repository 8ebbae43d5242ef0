"""ConnectionBook: who is connected, how many may be, and who takes too long to ask."""

import asyncio
from collections import Counter
from typing import Final

from valetstore.config import Limits
from valetstore.edge.protocol import GatewayProtocol
from valetstore.edge.proxies import TrustedProxies
from valetstore.errors import Denied
from valetstore.grants.networks import address_group, plain_address
from valetstore.metrics import Metrics

SWEEP_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5


class ConnectionBook:
    """All connections of one process; `limits` may be replaced. Trusted proxies and Unix sockets are not counted by address."""

    def __init__(self, limits: Limits, proxies: TrustedProxies, metrics: Metrics) -> None:
        self.limits = limits
        self._proxies = proxies
        self._metrics = metrics
        self._open: set[GatewayProtocol] = set()
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: GatewayProtocol) -> Denied | None:
        """Write a connection in; what it is to be refused with, None where it may stay."""
        if len(self._open) >= self.limits.connections_max:
            return Denied("overloaded", retry_after=RETRY_SECONDS)
        address = _address(connection)
        if address is not None and not self._proxies.trusts(plain_address(address)):
            group = address_group(plain_address(address))
            if self._by_address[group] >= self.limits.connections_per_address_max:
                return Denied("rate_limited", "Too many connections from this address.", retry_after=RETRY_SECONDS)
            self._by_address[group] += 1
            connection.connected_from = group
        self._open.add(connection)
        return None

    def leave(self, connection: GatewayProtocol) -> None:
        """Strike a connection out; harmless for one that was never in."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        group = connection.connected_from
        if group is not None:
            self._by_address[group] -= 1
            if not self._by_address[group]:
                del self._by_address[group]

    def refused(self, denied: Denied) -> None:
        """A refusal that never became a request."""
        self._metrics.decided("", "", denied.code)

    async def sweep(self) -> None:
        """Until cancelled: let go of connections whose request's head is late."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            late = [c for c in self._open if c.head_is_late(now, self.limits.header_seconds)]
            for connection in late:
                connection.refuse_late_head()


def _address(connection: GatewayProtocol) -> str | None:
    peername = connection.peername
    return peername[0] if peername and not isinstance(peername, str) else None
