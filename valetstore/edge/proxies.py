"""Who really asked: a client's address, scheme and host, seen through trusted proxies.

Rule 1: X-Forwarded-* count only where the connection itself comes from a trusted proxy.
Rule 2: of X-Forwarded-For the right-most address that is not a trusted proxy is the client: everything
to its left was written by the client or by someone nobody vouches for.
Rule 3: what cannot be read makes the client unknown (None), never the proxy: a key bound to a network
must not open because of a header that nobody understands.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Final, NamedTuple

from valetstore.grants.networks import contains, plain_address
from valetstore.inbound import Address

UNIX: Final = "unix"
"""In the list of trusted proxies: whoever connects to a Unix socket of the gateway."""

# Some proxies write the port: 192.0.2.1:4711, [2001:db8::1]:4711.
_FORWARDED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+|([0-9A-Fa-f:.]+)", re.ASCII)


class Origin(NamedTuple):
    """The client's address (None where it is not known), whether it spoke TLS, and the Host it asked for."""

    peer: Address | None
    tls: bool
    host: str


class Forwarded(NamedTuple):
    """The X-Forwarded-For, -Proto and -Host of a request, values joined by commas; None where absent."""

    for_: str | None
    proto: str | None
    host: str | None


class TrustedProxies:
    """The proxies whose word counts. `names` are networks, addresses, or `unix`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._unix = UNIX in names
        self._networks = tuple(ip_network(name) for name in names if name != UNIX)

    def trusts(self, connected: Address | None) -> bool:
        """Whether the other end of a connection (None: a Unix socket) is one of them."""
        return self._unix if connected is None else contains(self._networks, connected)

    def origin(self, connected: Address | None, tls: bool, host: str, said: Forwarded) -> Origin:
        """The facts of a request that came over `connected`, with what its headers said."""
        if not self.trusts(connected):
            return Origin(connected, tls, host)
        if said.proto is not None:
            tls = said.proto.rpartition(",")[2].strip().lower() == "https"
        if said.host is not None:
            host = said.host.rpartition(",")[2].strip()
        peer = connected if said.for_ is None else self._client(said.for_)
        return Origin(peer, tls, host)

    def _client(self, forwarded_for: str) -> Address | None:
        address = None
        for text in reversed(forwarded_for.split(",")):
            found = _FORWARDED.fullmatch(text.strip())
            try:
                address = plain_address(found[1] or found[2] or found[3]) if found else None
            except ValueError:
                address = None
            if address is None or not contains(self._networks, address):
                return address
        return address  # the request began at a trusted proxy
