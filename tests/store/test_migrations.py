"""Upgrades of databases that are in use: rows stay as they were, and the code before goes on writing.

What the code before says is tried by the columns that it knows: it reads them, writes rows without those that came
later, changes and deletes.  Rows are made of what each revision's tables are, so a new migration is tried unasked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)

from orchestrator.store import schema
from tests.store.test_schema import config

#: Rows of each table.
ROWS = 3
#: Every revision that a database may be at when it is upgraded.
FORMER = sorted(it.revision for it in ScriptDirectory.from_config(config()).walk_revisions())[:-1]


def value(column: Column[Any], number: int) -> Any:
    """Something that fits, another for each row; what refers to a row has that row's."""
    for key in column.foreign_keys:
        return value(key.column, number)
    if column.name == "state" and column.table.name == "jobs":
        return number % 6
    if isinstance(column.type, Boolean):
        return number % 2 == 0
    kind = column.type.python_type
    if kind is str:
        name = f"{column.table.name}.{column.name}"
        length = getattr(column.type, "length", None) or 100
        return f"{number}:{name}"[:length]
    if kind is bytes:
        return number.to_bytes(16, "big")
    if kind is uuid.UUID:
        return uuid.UUID(int=number)
    if kind is datetime:
        zone = UTC if getattr(column.type, "timezone", False) else None
        return datetime(2026, 1, 2, 3, 4, 5, number, tzinfo=zone)
    return number


def fill(conn: Connection, tables: MetaData, first: int) -> None:
    """Write rows with every column that there is."""
    for table in known(tables):
        rows = [{column.name: value(column, number) for column in table.c} for number in range(first, first + ROWS)]
        conn.execute(insert(table), rows)


def known(tables: MetaData) -> list[Table]:
    return [table for table in tables.sorted_tables if table.name != "alembic_version"]


def content(conn: Connection, tables: MetaData) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, by the columns that these tables have."""
    return {
        table.name: sorted((tuple(row) for row in conn.execute(select(table))), key=repr) for table in known(tables)
    }


def expected(tables: MetaData, *firsts: int) -> dict[str, list[tuple[Any, ...]]]:
    numbers = [number for first in firsts for number in range(first, first + ROWS)]
    return {
        table.name: sorted((tuple(value(column, number) for column in table.c) for number in numbers), key=repr)
        for table in known(tables)
    }


def change_all(conn: Connection, tables: MetaData) -> None:
    """Write every column that is no key anew, as it was."""
    for table in known(tables):
        free = [column for column in table.c if not column.primary_key and not column.foreign_keys]
        for row in conn.execute(select(table)).all():
            key = [column == getattr(row, column.name) for column in table.primary_key]
            values = {column.name: getattr(row, column.name) for column in free}
            if values:
                assert 1 == conn.execute(update(table).where(*key).values(values)).rowcount


def reflected(engine: Engine) -> MetaData:
    tables = MetaData()
    tables.reflect(engine)
    return tables


@pytest.mark.parametrize("former", FORMER)
def test_an_upgrade_keeps_every_row_and_lets_the_code_before_go_on(blank_url: str, former: str) -> None:
    command.upgrade(config(blank_url), former)
    engine = create_engine(blank_url)
    tables = reflected(engine)
    with engine.begin() as conn:
        fill(conn, tables, 1)
        assert expected(tables, 1) == content(conn, tables), "what was written is what is read, before anything else"

    assert schema.head() == schema.upgrade(blank_url)

    with engine.begin() as conn:
        kept = content(conn, tables)
        fill(conn, tables, 1 + ROWS)
        change_all(conn, tables)
        written = content(conn, tables)
        for table in reversed(known(tables)):
            conn.execute(delete(table))
        left = content(conn, reflected(engine))
    engine.dispose()
    assert expected(tables, 1) == kept
    assert expected(tables, 1, 1 + ROWS) == written
    assert [] == [row for rows in left.values() for row in rows]


class Killed(BaseException):
    """The process ends."""


@contextmanager
def killed_before(nth: int) -> Iterator[None]:
    """Let the process die before it sends so many statements that change tables or indexes."""
    left = nth

    def look(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal left
        left -= statement.lstrip().startswith(("ALTER", "CREATE", "DROP"))
        if not left:
            raise Killed

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield
    except BaseException as ended:
        # What is cleaned up may fail, since the transaction was left.
        if not isinstance(ended, Killed) and not isinstance(ended.__context__, Killed):
            raise
    finally:
        event.remove(Engine, "before_cursor_execute", look)


def test_an_upgrade_that_was_killed_anywhere_goes_on_when_it_is_run_again(blank_url: str) -> None:
    engine = create_engine(blank_url)
    if engine.dialect.name == "mysql":
        pytest.skip("MySQL commits after each statement: see docs/databases.md")
    command.upgrade(config(blank_url), "0002")
    tables = reflected(engine)
    with engine.begin() as conn:
        fill(conn, tables, 1)

    tries = 0
    while schema.current(blank_url) != schema.head():
        tries += 1
        with killed_before(tries):
            schema.upgrade(blank_url)

    with engine.begin() as conn:
        kept = content(conn, tables)
    engine.dispose()
    assert expected(tables, 1) == kept
    assert tries > 5
