"""The shop, served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from orchestrator.api import connection as connections
from orchestrator.api import server as servers

if TYPE_CHECKING:
    pass
from tests.api.server.site import Served, Shop, serving


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def served(shop: Shop) -> Iterator[Served]:
    with serving(shop) as served:
        yield served


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server's patience with clients end within a second."""
    monkeypatch.setattr(servers, "LOOK", 0.05)
    monkeypatch.setattr(connections, "SILENCE", 0.4)
    monkeypatch.setattr(connections, "LINGER", 0.2)
