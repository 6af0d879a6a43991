"""Short ways to ask a site, and to be told why there is no answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.drivers.base import Response
from orchestrator.drivers.curl import CurlClient
from orchestrator.drivers.guard import AddressPolicy
from orchestrator.errors import TransportError

SOON = timedelta(seconds=10)
OPEN = AddressPolicy(allow_private=True)


def post(client: CurlClient, url: str, body: bytes = b"", timeout: timedelta = SOON, **headers: str) -> Response:
    return client.request("POST", url, headers=headers, body=body, timeout=timeout)


def failure(client: CurlClient, url: str, timeout: timedelta = SOON) -> TransportError:
    with pytest.raises(TransportError) as caught:
        post(client, url, b"{}", timeout)
    return caught.value
