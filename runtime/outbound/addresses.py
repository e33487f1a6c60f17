"""Which addresses somebody's URL may lead to. A platform stands inside a network that its users are not part of: what
they name must not reach this machine, its neighbours, or the metadata service of the cloud it runs in.

The check is of the address that is connected to, after the name has been resolved: a name may change what it means
between two looks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NetworkRange = ipaddress.IPv4Network | ipaddress.IPv6Network

# What Python's tables call global in some version of it, or what only leads on to an IPv4 address.
_ALSO_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3",
        "64:ff9b:1::/48", "2001::/23", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


@dataclass(frozen=True, slots=True)
class Guard:
    """`allowed`: ranges that the operator has opened although they are not public."""

    allowed: Sequence[NetworkRange] = ()

    def permits(self, text: str) -> bool:
        """An address as the resolver writes it, a zone (`fe80::1%eth0`) included."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return all(self._permits(each) for each in _meant(address))

    def _permits(self, address: Address) -> bool:
        if any(address.version == each.version and address in each for each in self.allowed):
            return True
        return is_public(address)


def is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local:
        return False
    return not any(address.version == each.version and address in each for each in _ALSO_PRIVATE)


def _meant(address: Address) -> Sequence[Address]:
    """An IPv6 address that stands for an IPv4 one is what that is."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


def parse_ranges(text: str) -> tuple[NetworkRange, ...]:
    """`10.0.0.0/8, 127.0.0.1`. Raises `ValueError`."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
