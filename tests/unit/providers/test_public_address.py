"""The address tables, held against the IANA special-purpose registries copied here by hand."""

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.public_address import IpAddress, IpNetwork, is_metadata, is_public

# https://www.iana.org/assignments/iana-ipv4-special-registry, every row, and multicast.
IANA_V4 = """
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32
192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16
192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32
224.0.0.0/4
"""
# https://www.iana.org/assignments/iana-ipv6-special-registry, every row, multicast, site-local.
IANA_V6 = """
::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48
2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20
5f00::/16 fc00::/7 fe80::/10 ff00::/8 fec0::/10
"""
CLOUD = ("168.63.129.16", "192.0.0.192", "100.100.100.200", "169.254.169.254", "169.254.170.2")

BLOCKS: list[IpNetwork] = [ipaddress.ip_network(block) for block in (IANA_V4 + IANA_V6).split()]
SPECIAL_V4 = [ipaddress.IPv4Network(block) for block in IANA_V4.split()]
SPECIAL_V6 = [ipaddress.IPv6Network(block) for block in IANA_V6.split()]


def expected(address: IpAddress) -> bool:
    if isinstance(address, IPv4Address):
        return str(address) not in CLOUD and not any(address in block for block in SPECIAL_V4)
    in_global_unicast = int(address) >> 125 == 1
    return in_global_unicast and not any(address in block for block in SPECIAL_V6)


def edges(block: IpNetwork) -> list[IpAddress]:
    kind = IPv4Address if isinstance(block, IPv4Network) else IPv6Address
    first, last = int(block.network_address), int(block.broadcast_address)
    numbers = {first - 1, first, last, last + 1}
    return [kind(number) for number in numbers if 0 <= number < 2**block.max_prefixlen]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_edge_of_every_special_block_is_decided_as_the_registry_says(
    block: IpNetwork,
) -> None:
    decided = {str(address): is_public(address) for address in edges(block)}

    assert decided == {str(address): expected(address) for address in edges(block)}
    assert not is_public(block.network_address)
    assert not is_public(block.broadcast_address)


@given(st.sampled_from(BLOCKS), st.data())
def test_no_address_inside_a_special_block_is_public(block: IpNetwork, data: st.DataObject) -> None:
    inside = st.integers(int(block.network_address), int(block.broadcast_address))
    kind = IPv4Address if isinstance(block, IPv4Network) else IPv6Address

    assert not is_public(kind(data.draw(inside)))


@given(st.ip_addresses())
def test_any_address_is_decided_as_the_registry_says_and_never_more_freely_than_python(
    address: IpAddress,
) -> None:
    assert is_public(address) == expected(address)
    assert address.is_global or not is_public(address)


@given(st.ip_addresses(v=4), st.sampled_from([0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96]))
def test_an_ipv4_address_inside_an_ipv6_address_is_never_public(
    address: IPv4Address, prefix: int
) -> None:
    assert not is_public(IPv6Address(prefix | int(address)))
    assert not is_public(IPv6Address(0x2002 << 112 | int(address) << 80))


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "8.8.8.8", "168.63.129.15", "2606:4700::1111", "2a00:1450:4001:81b::200e"]
)
def test_addresses_of_the_open_internet_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_an_address_with_a_zone_is_not_public() -> None:
    assert not is_public(IPv6Address("2606:4700::1111%eth0"))


@pytest.mark.parametrize(
    "text",
    [
        *CLOUD,
        "169.254.0.1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "fe80::a9fe:a9fe%eth0",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a83f:8110",
        "2002:a9fe:a9fe::1",
    ],
)
def test_metadata_is_known_in_every_disguise(text: str) -> None:
    assert is_metadata(ipaddress.ip_address(text))
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "1.1.1.1"])
def test_other_addresses_are_no_metadata(text: str) -> None:
    assert not is_metadata(ipaddress.ip_address(text))
