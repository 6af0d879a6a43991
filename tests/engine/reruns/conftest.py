"""An engine with one function."""

from __future__ import annotations

import pytest

from orchestrator.store.database import Database
from tests.engine.reruns.again import made
from tests.engine.world import World


@pytest.fixture
def world(database: Database) -> World:
    return made(database)
