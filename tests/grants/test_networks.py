"""Networks are read strictly, and IPv4 is IPv4 in whatever form it arrives."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetstore.grants.networks import address_group, contains, parse_networks, plain_address


def is_no_ipv4(address: IPv4Address | IPv6Address) -> bool:
    """Not an IPv4 address in IPv6 clothes."""
    return address.version == 6 and not address.ipv4_mapped


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(is_no_ipv4))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
        ("::192.0.2.1", "::c000:201"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ],
)
def test_a_mapped_address_is_the_ipv4_address_it_is(text: str, plain: str) -> None:
    assert plain_address(text) == ip_address(plain)


@pytest.mark.parametrize(
    "text", ["", "1", "192.0.2", "192.0.2.01", "192.0.2.1:80", "[::1]", " ::1", "a", "\u0661.0.0.1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        plain_address(text)


@given(ADDRESSES, st.integers(0, 128))
def test_a_network_holds_the_addresses_that_the_standard_library_says(
    address: IPv4Address | IPv6Address, length: int
) -> None:
    network = ip_network((address, min(length, address.max_prefixlen)), strict=False)
    (parsed,) = parse_networks(str(network))
    assert contains((parsed,), address)
    if network.prefixlen:
        outside = int(address) ^ 1 << (address.max_prefixlen - network.prefixlen)
        assert not contains((parsed,), plain_address(str(type(address)(outside))))


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_ipv4_client_is_the_same_one_over_a_dual_stack_socket(address: IPv4Address, length: int) -> None:
    network = ip_network((address, length), strict=False)
    mapped = IPv6Address(f"::ffff:{address}")
    assert contains((network,), mapped)
    written = f"::ffff:{network.network_address}/{96 + length}"
    assert parse_networks(written) == (network,)
    assert contains(parse_networks(str(mapped)), address)


def test_all_of_ipv6_holds_no_ipv4() -> None:
    assert not contains(parse_networks("::/0"), ip_address("192.0.2.1"))
    assert not contains(parse_networks("::/0"), ip_address("::ffff:192.0.2.1"))
    assert not contains(parse_networks("0.0.0.0/0"), ip_address("::1"))
    assert contains(parse_networks(["::/0", "0.0.0.0/0"]), ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    "value", [[], "", "10.0.0.1/8", "10.0.0.0/33", "fe80::1%eth0", "here", "10.0.0.0/-1", ["::", "x"]]
)
def test_what_is_no_network_says_so(value: str | list[str]) -> None:
    with pytest.raises(ValueError, match=r"network|host bits|empty list|zone"):
        parse_networks(value)


def test_an_ipv6_customer_is_one_client() -> None:
    assert address_group(ip_address("2001:db8:1:2:3::4")) == address_group(ip_address("2001:db8:1:2::"))
    assert address_group(ip_address("2001:db8:1:3::")) != address_group(ip_address("2001:db8:1:2::"))
    assert address_group(ip_address("192.0.2.1")) == "192.0.2.1"
