"""Where a URL leads, asked before it is taken: an early no to what `guard` would refuse at each connection."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from orchestrator.drivers.guard import AddressPolicy

#: Ends the sentence about an address that may not be called.
WAY_OUT = "If apps live there, add its network to allowed_networks (ORCHESTRATOR_ALLOWED_NETWORKS)."


def blocked(urls: Iterable[str], policy: AddressPolicy) -> str | None:
    """Say which of the URLs leads to forbidden addresses only, and why; None: none does, as far as names tell now."""
    if policy.allow_private:
        return None
    for host in dict.fromkeys(urlsplit(url).hostname for url in urls):
        addresses = _addresses(host) if host else []
        reasons = [policy.refusal(address) for address in addresses]
        if reasons and all(reasons):
            named = addresses[0] if addresses[0] == host else f"{host} ({addresses[0]})"
            return f"{named} is a {reasons[0]} address and may not be called. {WAY_OUT}"
    return None


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(location[0]) for *_, location in found]
