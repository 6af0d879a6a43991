"""One suite for all databases: every test that asks for `database` runs on each of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.tables import metadata
from tests.services import own_database
from tests.store.factories import be_impatient

SERVED = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(scope="session", params=SERVED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def migrated(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of this session with the schema in it; for SQLite a template."""
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('template') / 'state.db'}"
        schema.upgrade(url)
        yield url
        return
    with own_database(kind) as url:
        schema.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def shared(migrated: str) -> Iterator[Database]:
    """The session's database, connected once: on PostgreSQL connecting costs more than most tests."""
    database = Database(migrated)
    yield database
    database.close()


@pytest.fixture
def database(shared: Database, tmp_path: Path) -> Iterator[Database]:
    """A migrated database without a row."""
    if shared.kind == "sqlite":
        path = tmp_path / "state.db"
        shutil.copy(str(shared.url.database), path)
        own = Database(f"sqlite:///{path}", synchronous="OFF")
        yield own
        own.close()
        return
    yield shared
    _empty(shared)


@pytest.fixture
def url(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


@pytest.fixture
def concurrent(database: Database) -> Database:
    """A database that can have two transactions open at once."""
    if database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    return database


@pytest.fixture
def blank_url(kind: str, tmp_path: Path) -> Iterator[str]:
    """A database without a table."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'blank.db'}"
        return
    with own_database(kind) as url:
        yield url


def _empty(database: Database) -> None:
    tables = [table.name for table in reversed(metadata.sorted_tables)]
    with database.write() as conn:
        # A test that leaves a transaction open shall be told, not waited for.
        be_impatient(conn)
        deleted = sum(conn.exec_driver_sql(f"DELETE FROM {_quoted(conn, table)}").rowcount for table in tables)
        # Truncating gives the space back, and takes forty times as long where there is none to give.
        if deleted > 1_000 and database.kind == "postgresql":
            conn.exec_driver_sql(f"TRUNCATE {', '.join(tables)}")


def _quoted(conn: Connection, table: str) -> str:
    """MySQL has a word `keys`."""
    return conn.dialect.identifier_preparer.quote(table)
