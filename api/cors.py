"""What browsers of any origin are told they may do with the event and SDK APIs."""

from __future__ import annotations

_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS"),
    # The star leaves Authorization out unless it is named.
    ("Access-Control-Allow-Headers", "Authorization, *"),
    ("Access-Control-Max-Age", "3600"),
)


def cors_headers() -> list[tuple[str, str]]:
    """Return the headers that let a page of any origin call us, without its cookies."""
    return list(_HEADERS)
