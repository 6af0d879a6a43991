"""Statements that change rows and tell of them; deletes that lock in an order; inserts of what is new.

On SQLite and PostgreSQL each is one statement, as they have RETURNING.  MySQL has not: there the rows are locked first,
in the order of their keys, then changed by those, and read.  Nobody else comes at them in between: it means the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Row,
    Table,
    Update,
    bindparam,
    case,
    delete,
    insert,
    select,
)
from sqlalchemy.dialects import mysql as mysql_dialect
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.sql import visitors

from orchestrator.store import mysql

#: The name of the value that is a list of keys.
_FOUND = "found_keys"


class Change:
    """An update, or a delete, that tells what became of the rows, or what they were."""

    def __init__(self, statement: Update | Delete, *told: Column[Any]) -> None:
        """`told` are columns; for nothing but a count of rows a plain statement will do."""
        table = statement.table
        assert isinstance(table, Table)
        assert statement.whereclause is not None
        self._at_once = statement.returning(*told)
        self._deletes = isinstance(statement, Delete)
        self._locking = _Locking(table, statement.whereclause, *told)
        self._by_key = statement.where(self._locking.is_found)
        self._tell = select(*told).where(self._locking.is_found)

    def run(self, conn: Connection, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Change the rows, and tell of those that were changed, in any order."""
        if conn.dialect.name not in mysql.NAMES:
            return conn.execute(self._at_once, values).all()
        found = self._locking.lock(conn, values)
        if not found:
            return []
        keys = {_FOUND: [row.found_key for row in found]}
        conn.execute(self._by_key, dict(values) | keys)
        return found if self._deletes else conn.execute(self._tell, keys).all()


class OrderedDelete:
    """A delete that locks the rows in the order of their keys, as everybody does who wants several of them."""

    def __init__(self, table: Table, where: ColumnElement[bool], *told: Column[Any]) -> None:
        """`told` are columns of the deleted rows; without any, nothing is told."""
        [key] = table.primary_key
        plain = delete(table).where(where)
        ordered = delete(table).where(key.in_(select(key).where(where).order_by(key).with_for_update()))
        # SQLite has one writer.
        at_once: dict[str, Any] = {"sqlite": plain, "postgresql": ordered}
        self._tells = bool(told)
        self._at_once = {name: it.returning(*told) if told else it for name, it in at_once.items()}
        self._locking = _Locking(table, where, *told)
        self._by_key = delete(table).where(self._locking.is_found)

    def run(self, conn: Connection, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Delete the rows; returns what they were."""
        at_once = self._at_once.get(conn.dialect.name)
        if at_once is not None:
            done = conn.execute(at_once, values)
            return done.all() if self._tells else []
        found = self._locking.lock(conn, values)
        if found:
            conn.execute(self._by_key, {_FOUND: [row.found_key for row in found]})
        return found


class _Locking:
    """Rows that meet a condition, locked by their keys and in the order of these.

    InnoDB locks the entries of the index by which it finds rows, and those who change a row lock its entries after the
    row: so rows are looked for without a lock, and those found are locked, if they still are what was looked for.
    """

    def __init__(self, table: Table, where: ColumnElement[bool], *told: Column[Any]) -> None:
        [key] = table.primary_key
        self.is_found = key.in_(bindparam(_FOUND, expanding=True))
        self._look = None if any(part is key for part in visitors.iterate(where)) else select(key).where(where)
        self._lock = (
            select(key.label("found_key"), case((where, 1), else_=0).label("still"), *told)
            .where(where if self._look is None else self.is_found)
            .order_by(key)
            .with_for_update()
        )

    def lock(self, conn: Connection, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """The locked rows: `found_key`, and what was to be told."""
        if self._look is not None:
            keys = conn.execute(self._look, values).scalars().all()
            if not keys:
                return []
            values = dict(values) | {_FOUND: keys}
        return [row for row in conn.execute(self._lock, values) if row.still]


class InsertMany:
    """An insert of many rows in one statement: with RETURNING where drivers else send one for each."""

    def __init__(self, table: Table) -> None:
        self._plain = insert(table)
        self._returning = self._plain.returning(next(iter(table.primary_key)))

    def run(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows."""
        alone = len(rows) == 1 or conn.dialect.name in mysql.NAMES
        conn.execute(self._plain if alone else self._returning, rows)


class NewOnly:
    """An insert that leaves out rows of which there is one already, by any unique key."""

    def __init__(self, table: Table) -> None:
        key = next(iter(table.primary_key))
        # Not IGNORE, which would also let pass what does not fit.
        self._on_mysql = mysql_dialect.insert(table).on_duplicate_key_update({key.name: key})
        self._by_dialect = {
            "sqlite": sqlite_dialect.insert(table).on_conflict_do_nothing(),
            "postgresql": postgresql_dialect.insert(table).on_conflict_do_nothing(),
        }

    def run(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert those of the rows that are new."""
        conn.execute(self._by_dialect.get(conn.dialect.name, self._on_mysql), rows)
