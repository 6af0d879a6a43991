"""A request that follows redirects, as browsers do: a few of them, within one time, each connection guarded anew.

What leads to another server takes no header along that could be a secret.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

from orchestrator.drivers.base import HttpClient, Response
from orchestrator.errors import TransportError

MOST_REDIRECTS = 5
#: What may go along to another server: nothing that could be a secret.
HARMLESS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_MOVED = frozenset({301, 302, 303, 307, 308})
#: The method and the body stay as they were.
_KEPT = frozenset({307, 308})


def request_following(
    client: HttpClient, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout: timedelta
) -> tuple[Response, str]:
    """Send a request, and the ones it is redirected to; returns the last answer and where it came from.

    Raises `TransportError` as `HttpClient` does, and for more redirects than `MOST_REDIRECTS`.
    """
    ends = time.monotonic() + timeout.total_seconds()
    for _ in range(MOST_REDIRECTS + 1):
        left = timedelta(seconds=max(0.001, ends - time.monotonic()))
        response = client.request(method, url, headers=headers, body=body, timeout=left)
        target = response.headers.get("location")
        if response.status not in _MOVED or not target:
            return response, url
        there = _target(url, target)
        if _origin(there) != _origin(url):
            headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS}
        if response.status not in _KEPT and method not in ("GET", "HEAD"):
            method, body = "GET", b""
            headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        url = there
    raise TransportError(f"The request was redirected more than {MOST_REDIRECTS} times.", "too_many_redirects")


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location.partition("#")[0])
    except ValueError as error:
        raise TransportError("The URL of a redirect cannot be read.", "invalid_url") from error


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()
