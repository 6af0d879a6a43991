"""Timers: jobs without a lease, one for each gate at which something waits for a time.

A timer has its gate's key, and is set, moved and ended by whoever holds the gate's lock: a timer that is found under
the lock, and is due, is the finder's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select, update

from orchestrator.store import jobs
from orchestrator.store.jobs import Hint
from orchestrator.store.tables import jobs as table

_READY = jobs.THIS_IS_READY
_BY_ID = select(table.c.id, table.c.kind, table.c.key, table.c.run_at).where(table.c.id == bindparam("job_id"), _READY)
_BY_KEY = select(table.c.id, table.c.run_at).where(table.c.key == bindparam("of_key"), _READY)
_MOVE = (
    update(table)
    .where(table.c.id == bindparam("job_id"), _READY)
    .values(run_at=bindparam("at"), announced_at=None, crashes=0, error=None)
)
_END = delete(table).where(table.c.key == bindparam("of_key"), _READY)


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer of a gate."""

    job_id: int
    kind: str
    gate: str
    run_at: datetime


def get(conn: Connection, job_id: int) -> Timer | None:
    """A job without a lease, if it is there still; its kind may be another."""
    row = conn.execute(_BY_ID, {"job_id": job_id}).first()
    return Timer(row.id, row.kind, row.key, row.run_at) if row is not None else None


def at(conn: Connection, gate: str) -> datetime | None:
    """When the gate's timer goes off; None: nothing waits there."""
    row = conn.execute(_BY_KEY, {"of_key": gate}).first()
    return row.run_at if row is not None else None


def wind(conn: Connection, kind: str, gate: str, at: datetime) -> Hint:
    """Let the gate's timer go off at `at`, whatever it was wound to before."""
    row = conn.execute(_BY_KEY, {"of_key": gate}).first()
    if row is None:
        return jobs.add(conn, kind, gate, at)
    if row.run_at != at:
        conn.execute(_MOVE, {"job_id": row.id, "at": at})
    return Hint(row.id, kind, at)


def end(conn: Connection, gate: str) -> None:
    """Delete the gate's timer."""
    conn.execute(_END, {"of_key": gate})
