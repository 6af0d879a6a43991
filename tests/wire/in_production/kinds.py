"""What the tests of production share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.errors import TransportError
from tests.wire.production import ProductionApp, ProductionServer

Start = Callable[..., ProductionServer]
MakeApp = Callable[..., ProductionApp]


def refusal_of(server: ProductionServer, url: str) -> TransportError:
    with pytest.raises(TransportError) as refused:
        server.sync(url)
    return refused.value
