"""The admissions of rate limits: numbered, as many as matter.  Whoever decides by them has locked the gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_

from orchestrator.store.tables import admissions as table

_BETWEEN = select(table.c.number, table.c.at).where(
    table.c.gate == bindparam("of_gate"), table.c.number.between(bindparam("first"), bindparam("last"))
)
_AT = select(table.c.gate, table.c.at).where(
    tuple_(table.c.gate, table.c.number).in_(bindparam("places", expanding=True))
)
_FORGET = delete(table).where(table.c.gate == bindparam("of_gate"), table.c.number < bindparam("least"))


def between(conn: Connection, gate: str, numbers: range) -> dict[int, datetime]:
    """The times of those of the admissions that are known."""
    if not numbers:
        return {}
    rows = conn.execute(_BETWEEN, {"of_gate": gate, "first": numbers[0], "last": numbers[-1]})
    return {row.number: row.at for row in rows}


def times_of(conn: Connection, places: Collection[tuple[str, int]]) -> dict[str, datetime]:
    """The times of admissions, each named by its gate and number and the only one of its gate; unknown ones are left
    out."""
    rows = conn.execute(_AT, {"places": list(places)}) if places else ()
    return {row.gate: row.at for row in rows}


def add(conn: Connection, gate: str, new: Mapping[int, datetime], least: int) -> None:
    """Write admissions, and forget those with numbers below `least`."""
    conn.execute(insert(table), [{"gate": gate, "number": number, "at": at} for number, at in new.items()])
    conn.execute(_FORGET, {"of_gate": gate, "least": least})
