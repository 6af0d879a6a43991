"""What tells a run's present state from any other: so cheap that a page may ask every second."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from orchestrator.store.tables import history, jobs, runs, steps

_MARK = select(
    runs.c.status,
    runs.c.pending,
    runs.c.open,
    runs.c.request_version,
    runs.c.requeues,
    runs.c.ended_at,
    select(func.max(history.c.id)).where(history.c.run_id == bindparam("of_run")).scalar_subquery(),
).where(runs.c.id == bindparam("of_run"))
_STEPS = select(
    func.count(),
    func.sum(steps.c.attempts),
    func.count(steps.c.ended_at),
    func.max(steps.c.seq),
    func.max(steps.c.started_at),
).where(steps.c.run_id == bindparam("of_run"))
_WORK = (
    select(jobs.c.id, jobs.c.state, jobs.c.run_at)
    .where(jobs.c.run_id == bindparam("of_run"))
    .order_by(jobs.c.id)
    .limit(100)
)


def run_mark(conn: Connection, run_id: str) -> str | None:
    """A text that changes whenever the run, a step, its story or its work does; None: there is no such run."""
    of_run = {"of_run": run_id}
    run = conn.execute(_MARK, of_run).first()
    if run is None:
        return None
    done, work = conn.execute(_STEPS, of_run).one(), conn.execute(_WORK, of_run).all()
    return repr((tuple(run), tuple(done), [tuple(it) for it in work]))
