"""Worlds of functions in process, on each of the databases of the store's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from orchestrator.store.database import Database
from tests.sdk.local_world import LocalWorld, Make
from tests.store.conftest import database, kind, migrated, shared

__all__ = ["database", "kind", "migrated", "shared"]


@pytest.fixture
def make(database: Database) -> Make:
    """Give a world that holds these handlers, each started by an event of its own name."""

    def made(*handlers: Callable[..., Any], **options: Any) -> LocalWorld:
        registry = Registry("shop")
        for handler in handlers:
            registry.add(handler, Event(handler.__name__), options=Options(**options))
        return LocalWorld(database, registry)

    return made
