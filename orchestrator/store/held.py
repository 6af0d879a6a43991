"""Held jobs: not to be done until somebody lets them go.

A throttle holds those of its queue, and a pause those that its function had before their runs began.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, false, literal_column, select, update

from orchestrator.store import gates, timers
from orchestrator.store.changing import Change
from orchestrator.store.jobs import CALL, FENCE, HELD, THIS_IS_HELD, Hint, Lease, fence, insert_one, new_row
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

_FREE = Change(
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), THIS_IS_HELD)
    .values(state=literal_column("2"), run_at=bindparam("at"), announced_at=None),
    jobs.c.id,
)
_HOLD = (
    update(jobs)
    .where(FENCE)
    .values(state=literal_column("0"), admitted=False, owner=None, lease_until=None, announced_at=None)
)


def add(conn: Connection, kind: str, key: str, run_at: datetime, run_id: str, priority: int = 0) -> None:
    """Add one job that is not to be done until somebody lets it go."""
    row = new_row(kind, key, run_at, run_id, None, None)
    insert_one(conn, row | {"state": HELD, "priority": priority})


def free(conn: Connection, ids: Sequence[int], at: datetime) -> set[int]:
    """Make held jobs ready; returns those that were held."""
    return {row.id for row in _FREE.run(conn, {"ids": list(ids), "at": at})} if ids else set()


def hold(conn: Connection, lease: Lease) -> bool:
    """Give the job back, not to be done until somebody lets it go; False: the lease is lost.

    Its slots are the caller's to give back.
    """
    return conn.execute(_HOLD, fence(lease)).rowcount == 1


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
