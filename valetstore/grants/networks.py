"""Source networks: parsed strictly, matched without surprises between IPv4 and IPv6."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from valetstore.grants.grant import Network
from valetstore.inbound import Address


def parse_networks(value: str | list[str]) -> tuple[Network, ...]:
    """Networks or single addresses, v4 or v6; raises ValueError that says what is wrong."""
    texts = [value] if isinstance(value, str) else value
    if not texts:
        raise ValueError("an empty list allows no address at all")
    return tuple(_network(text) for text in texts)


def contains(networks: tuple[Network, ...], address: Address) -> bool:
    """Whether one of the networks holds the address; `::ffff:192.0.2.1` is 192.0.2.1."""
    address = _unmapped(address)
    return any(address.version == network.version and address in network for network in networks)


def plain_address(text: str) -> Address:
    """An address, with an IPv4-mapped one as the IPv4 it is and no zone; raises ValueError."""
    return _unmapped(ip_address(text.partition("%")[0]))


@lru_cache(maxsize=1024)
def address_group(address: Address) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that an IPv6 customer holds."""
    if address.version == 4:
        return str(address)
    return str(IPv6Network((address, 64), strict=False))


def _unmapped(address: Address) -> Address:
    return address if address.version == 4 else address.ipv4_mapped or address


def _network(text: str) -> Network:
    """A server on a dual-stack socket sees, and so signs, IPv4 clients as `::ffff:192.0.2.1`."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which means nothing on another machine")
    network = ip_network(text)
    if network.version == 6 and network.prefixlen >= 96 and (mapped := network.network_address.ipv4_mapped):
        return IPv4Network((mapped, network.prefixlen - 96))
    return network
