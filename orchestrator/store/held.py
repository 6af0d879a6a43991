"""Jobs that are held because their function was paused before their runs began."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, false, literal_column, select

from orchestrator.store import gates, timers
from orchestrator.store.jobs import CALL, Hint, free
from orchestrator.store.tables import gates as gate_table
from orchestrator.store.tables import jobs, runs, throttled

_IN_QUEUE = exists().where(throttled.c.run_id == jobs.c.run_id, throttled.c.let_go == false())
_OF_FUNCTION = (
    select(jobs.c.id)
    .join(runs, runs.c.id == jobs.c.run_id)
    .where(
        jobs.c.state == literal_column("0"),
        runs.c.function_id == bindparam("function"),
        runs.c.status == literal_column("'queued'"),
        ~_IN_QUEUE,
    )
    .order_by(jobs.c.id)
    .limit(bindparam("most"))
)
# A gate at which somebody waits does not expire.
_THROTTLES = select(gate_table.c.key).where(
    gate_table.c.function_id == bindparam("function"),
    gate_table.c.expires_at.is_(None),
    gate_table.c.key.like("throttle:%"),
)
_PAGE = 1000


def of_function(conn: Connection, function_id: str, most: int) -> list[int]:
    """The held jobs of a function, but for those that a throttle holds."""
    return [row.id for row in conn.execute(_OF_FUNCTION, {"function": function_id, "most": most})]


def throttles_of(conn: Connection, function_id: str) -> list[str]:
    """The gates of a function at which runs wait for a throttle."""
    return [row.key for row in conn.execute(_THROTTLES, {"function": function_id})]


def let_go(conn: Connection, function_id: str, now: datetime) -> list[Hint]:
    """Make ready what a pause held, and let the timers of throttles go off; returns hints of the first of them."""
    hints = [timers.wind(conn, gates.THROTTLE, key, now) for key in throttles_of(conn, function_id)]
    while freed := free(conn, of_function(conn, function_id, _PAGE), now):
        if len(hints) < _PAGE:
            hints += [Hint(job_id, CALL, now) for job_id in sorted(freed)]
    return hints
