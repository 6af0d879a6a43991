"""Time-outs of runs: one job for the time by which a run must have begun, or have ended, at a time.

Only runs of functions with time-outs have such jobs.  The one for the begin is deleted as the run begins; what is left
when the run ends goes with its other jobs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from orchestrator.core.function import Timeouts
from orchestrator.core.message import Expired
from orchestrator.store import jobs
from orchestrator.store.jobs import RUN_TIMEOUT, Hint
from orchestrator.store.tables import jobs as table

Limit = Literal["start", "finish"]

_OVERDUE = select(table.c.payload).where(
    table.c.key.in_(bindparam("keys", expanding=True)), table.c.run_at <= bindparam("now")
)
_DROP = delete(table).where(table.c.key == bindparam("of_key"))


def add(conn: Connection, run_id: str, timeouts: Timeouts, limit: Limit, at: datetime) -> Hint:
    """Add the job that ends a run which has not begun, or not ended, at `at`."""
    after = timeouts.start if limit == "start" else timeouts.finish
    assert after is not None
    payload = msgspec.json.encode(Expired(limit, after)).decode()
    return jobs.add(conn, RUN_TIMEOUT, _key(limit, run_id), at, run_id=run_id, payload=payload)


def begin(conn: Connection, run_id: str, timeouts: Timeouts, now: datetime) -> list[Hint]:
    """The run begins: the one time-out is over, and the other runs from now.  The caller has locked the run."""
    if timeouts.start is not None:
        conn.execute(_DROP, {"of_key": _key("start", run_id)})
    return [add(conn, run_id, timeouts, "finish", now + timeouts.finish)] if timeouts.finish is not None else []


def overdue(conn: Connection, run_id: str, now: datetime) -> Expired | None:
    """The time-out of a run that has passed, if one has."""
    keys = [_key("start", run_id), _key("finish", run_id)]
    row = conn.execute(_OVERDUE, {"keys": keys, "now": now}).first()
    return read(row.payload) if row is not None else None


def read(payload: str) -> Expired:
    """What the payload of such a job says."""
    return msgspec.json.decode(payload, type=Expired)


def _key(limit: Limit, run_id: str) -> str:
    return f"{limit}-timeout:{run_id}"
