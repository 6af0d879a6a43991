"""The append-only story of a run: what its row and its steps do not tell (failed attempts, who cancelled)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from orchestrator.core.effect import Record
from orchestrator.store.changing import InsertMany
from orchestrator.store.tables import history

_INSERT = InsertMany(history)
_OF_RUN = select(history).where(history.c.run_id == bindparam("of_run")).order_by(history.c.id).limit(10_000)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the story; `data` is JSON text."""

    kind: str
    step_id: str | None
    attempt: int | None
    data: str | None
    at: datetime


def add(conn: Connection, run_id: str, records: Sequence[Record], now: datetime) -> None:
    """Append to the story of a run."""
    add_to_many(conn, [(run_id, record) for record in records], now)


def add_to_many(conn: Connection, records: Sequence[tuple[str, Record]], now: datetime) -> None:
    """Append to the stories of several runs, each record with the id of its run."""
    rows = [
        {"run_id": run_id, "kind": it.kind, "step_id": it.step_id, "attempt": it.attempt, "data": it.data, "at": now}
        for run_id, it in records
    ]
    _INSERT.run(conn, rows)


def of_run(conn: Connection, run_id: str) -> list[Entry]:
    """The story so far."""
    rows = conn.execute(_OF_RUN, {"of_run": run_id})
    return [Entry(row.kind, row.step_id, row.attempt, row.data, row.at) for row in rows]
