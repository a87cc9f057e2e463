"""Which IP addresses are public: own tables, because `ipaddress.is_global` lets too much pass.

IPv4 is denied by table, IPv6 allowed by rule. Sources: the IANA special-purpose address
registries (RFC 6890 and successors), the IANA multicast blocks, and what cloud providers
publish about their metadata services.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_NOT_PUBLIC_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is Alibaba's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's WireServer
            "169.254.0.0/16",  # link-local; cloud metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF protocols; 192.0.0.192 is Oracle's metadata
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT relays
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)
_GLOBAL_UNICAST_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocols: Teredo, ORCHID, benchmarking
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
_METADATA_V4: Final = tuple(
    map(
        IPv4Network,
        ("169.254.0.0/16", "168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32"),
    )
)
_METADATA_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "fe80::/10",  # link-local: OpenStack's fe80::a9fe:a9fe
            "fd00:ec2::/32",  # Amazon
            "fd20:ce::254/128",  # Google
            "fd00:c1::a9fe:a9fe/128",  # Oracle
            "fd00:42::42/128",  # Scaleway
            "fd00:a9fe:a9fe::1/128",  # Akamai (Linode)
            "fd00:100::100:200/128",  # Alibaba
        ),
    )
)
_LAST_32_BITS_ARE_V4: Final = tuple(
    map(
        IPv6Network,
        (
            "::/96",  # IPv4-compatible
            "::ffff:0:0/96",  # IPv4-mapped
            "::ffff:0:0:0/96",  # IPv4-translated (SIIT)
            "64:ff9b::/96",  # NAT64
            "64:ff9b:1::/48",  # NAT64 of local use
        ),
    )
)
_6TO4: Final = IPv6Network("2002::/16")


def is_public(address: IpAddress) -> bool:
    """Tell whether the address is one on the open internet that an endpoint may have."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.scope_id is not None:
        return False
    return address in _GLOBAL_UNICAST_V6 and not any(
        address in network for network in _NOT_PUBLIC_V6
    )


def is_metadata(address: IpAddress) -> bool:
    """Tell whether a cloud serves its machines' credentials here, or in the IPv4 inside it."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in _METADATA_V4)
    return any(address in network for network in _METADATA_V6) or any(
        map(is_metadata, _embedded(address))
    )


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that a translator or tunnel would take out of this one."""
    number = int(address)
    if any(address in network for network in _LAST_32_BITS_ARE_V4):
        yield IPv4Address(number & 0xFFFF_FFFF)
    if address in _6TO4:
        yield IPv4Address(number >> 80 & 0xFFFF_FFFF)
