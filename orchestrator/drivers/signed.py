"""Requests to apps that prove who sends them.

While a signing key is exchanged an app may know only the former one.  Its SDK refuses a signature before it runs
anything, so the same request, signed with the other key, is no second attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.drivers.base import HttpClient, Response
from orchestrator.drivers.reach import WAY_OUT
from orchestrator.errors import TransportError
from orchestrator.protocol import headers as names
from orchestrator.protocol import signature

UNAUTHORIZED = 401


def request_signed(
    client: HttpClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    timeout: timedelta,
    keys: Sequence[str],
    clock: Clock,
) -> Response:
    """Send one request signed with the first of `keys` that the app takes; without keys it goes out unsigned.

    Raises `TransportError` as `HttpClient` does; that of a forbidden address says how to allow it.
    """
    try:
        return _first_taken(client, method, url, headers, body, timeout, keys, clock)
    except TransportError as error:
        if error.code != "blocked_address":
            raise
        raise TransportError(f"{error.message} {WAY_OUT}", error.code) from None


def _first_taken(
    client: HttpClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout: timedelta,
    keys: Sequence[str],
    clock: Clock,
) -> Response:
    if not keys:
        return client.request(method, url, headers=headers, body=body, timeout=timeout)
    for key in keys:
        proof = signature.sign(body, key, int(clock.now().timestamp()))
        signed = {**headers, names.SIGNATURE: proof}
        response = client.request(method, url, headers=signed, body=body, timeout=timeout)
        if response.status != UNAUTHORIZED or not names.handled_by_sdk(response.headers):
            break
    return response
