"""The hall, on each database."""

from __future__ import annotations

import pytest

from orchestrator.store.database import Database
from tests.store.slots.hall import Hall


@pytest.fixture(params=["general", "hot"])
def hall(request: pytest.FixtureRequest, database: Database) -> Hall:
    """The statements that every database is given, and those that PostgreSQL is given for the frequent case."""
    if request.param == "general":
        return Hall(database, None)
    if database.hot is None:
        pytest.skip("this database has none")
    return Hall(database, database.hot.slots)
