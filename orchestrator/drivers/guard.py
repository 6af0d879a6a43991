"""Which addresses an outgoing request may reach, judged where the name is already resolved (no rebinding gap).

A URL comes from whoever registers an app, so outside `dev` it must not open a door to this machine or its network:
whatever a name or a number in a URL turns into, the address that is about to be connected to is what counts.  An IPv6
address that carries an IPv4 one (mapped, 6to4, NAT64) is judged by the one it carries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What may be connected to: public addresses, those of `allowed`, and with `allow_private` everything."""

    allow_private: bool = False
    allowed: tuple[Network, ...] = ()

    def refusal(self, address: str) -> str | None:
        """Say what kind of forbidden address this is ("loopback"), None if it may be reached."""
        if self.allow_private:
            return None
        try:
            literal = ip_address(address)
        except ValueError:
            return "unreadable"
        reached = _carried(literal)
        if any(literal in network or reached in network for network in self.allowed):
            return None
        return next((kind for kind, holds in _FORBIDDEN if holds(reached)), None)


_NAT64 = IPv6Network("64:ff9b::/96")
#: Cloud metadata services; the last one is the only one at a public address.
_METADATA: frozenset[Address] = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)


def _carried(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _site_local(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.is_site_local


_FORBIDDEN: tuple[tuple[str, Callable[[Address], bool]], ...] = (
    ("metadata", lambda address: address in _METADATA),
    ("unspecified", lambda address: address.is_unspecified),
    ("loopback", lambda address: address.is_loopback),
    ("link-local", lambda address: address.is_link_local),
    ("multicast", lambda address: address.is_multicast),
    ("reserved", lambda address: address.is_reserved),
    ("private", lambda address: not address.is_global or _site_local(address)),
)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read networks or single addresses parted by commas; raises ValueError naming the one that is neither."""
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())
