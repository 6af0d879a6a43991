"""Jobs that are due, for whoever announces them: each is told to the broker once, and again if nobody came for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, case, func, literal_column, or_, select, update

from orchestrator.store.jobs import IS_READY, THIS_IS_READY, Hint, unlocked
from orchestrator.store.tables import apps, functions, jobs, runs

_LONG = timedelta(days=36_500)  # no job is overdue so long
#: The name of the app, where that lives in processes and is not reached over the network.
_APP = (
    select(apps.c.name)
    .select_from(runs.join(functions, functions.c.id == runs.c.function_id).join(apps, apps.c.id == functions.c.app_id))
    .where(
        runs.c.id == jobs.c.run_id,
        jobs.c.kind.in_([literal_column("'call'"), literal_column("'task'")]),
        apps.c.method == literal_column("'local'"),
    )
    .scalar_subquery()
)
_DUE = (
    select(jobs.c.id, jobs.c.kind, jobs.c.run_at, _APP.label("app"), jobs.c.priority)
    .where(
        IS_READY,
        jobs.c.run_at >= bindparam("since"),
        jobs.c.run_at <= bindparam("until"),
        or_(
            # What became due this moment is being announced by whoever made it.
            and_(
                jobs.c.announced_at.is_(None),
                or_(jobs.c.run_at > bindparam("now"), jobs.c.run_at <= bindparam("settled")),
            ),
            jobs.c.announced_at <= bindparam("announced_before"),
        ),
    )
    .order_by(jobs.c.run_at)
    .limit(bindparam("most"))
)
# One that is not due yet counts as announced at its time: only some time after that it is told again.
_ANNOUNCED = (
    update(jobs)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)), THIS_IS_READY)
    .values(announced_at=case((jobs.c.run_at > bindparam("now"), jobs.c.run_at), else_=bindparam("now")))
)


def due(
    conn: Connection,
    until: datetime,
    announced_before: datetime,
    most: int,
    *,
    now: datetime | None = None,
    grace: timedelta = timedelta(),
    since: datetime | None = None,
) -> list[Hint]:
    """Ready jobs due from `since` up to `until` that were not announced since `announced_before`, oldest first.

    Those never announced that became due within `grace` before `now` are left out.
    """
    now = now or until
    values = {"until": until, "announced_before": announced_before, "most": most, "now": now, "settled": now - grace}
    rows = conn.execute(_DUE, values | {"since": since or now - _LONG})
    return [Hint(row.id, row.kind, row.run_at, row.app, row.priority) for row in rows]


def announced(conn: Connection, ids: Sequence[int], at: datetime) -> None:
    """Note that a sweep announced these jobs."""
    conn.execute(_ANNOUNCED, {"ids": unlocked(conn, ids), "now": at})


def backlog(conn: Connection, now: datetime) -> int:
    """How many jobs are ready and due."""
    return conn.execute(select(func.count()).where(IS_READY, jobs.c.run_at <= now)).scalar_one()
