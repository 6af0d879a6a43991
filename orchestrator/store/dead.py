"""Dead jobs: work that was given up, with the reason, until somebody requeues or deletes it, or retention does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, literal_column, select, update

from orchestrator.store.events import ids_in
from orchestrator.store.jobs import MATCH, THIS_IS_DEAD, Hint
from orchestrator.store.tables import functions, jobs, runs

_IS_DEAD = jobs.c.state == literal_column("5")
_ONE = jobs.c.id == bindparam("job_id")
_SHOWN = (
    select(
        jobs.c.id,
        jobs.c.kind,
        jobs.c.run_id,
        jobs.c.step_id,
        jobs.c.crashes,
        jobs.c.error,
        jobs.c.run_at,
        jobs.c.payload,
        functions.c.slug,
    )
    .outerjoin(runs, runs.c.id == jobs.c.run_id)
    .outerjoin(functions, functions.c.id == runs.c.function_id)
    .where(_IS_DEAD)
)
_READ = _SHOWN.where(_ONE)
_PAGE = _SHOWN.order_by(jobs.c.id.desc()).limit(bindparam("most"))
_OLDER = _PAGE.where(jobs.c.id < bindparam("before"))
_OLDEST = select(jobs.c.id).where(_IS_DEAD).order_by(jobs.c.id).limit(bindparam("most"))
_COUNT = select(func.count()).where(_IS_DEAD)
_REVIVE = (
    update(jobs)
    .where(_ONE, THIS_IS_DEAD)
    .values(state=literal_column("2"), run_at=bindparam("at"), attempt=0, crashes=0, error=None, announced_at=None)
)
_DROP = delete(jobs).where(_ONE, THIS_IS_DEAD)


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A dead job; `function` is the slug of its run's, `event_ids` are what it was to match."""

    id: int
    kind: str
    run_id: str | None
    step_id: str | None
    function: str | None
    event_ids: Sequence[str]
    crashes: int
    error: str | None
    #: When it was due last.
    run_at: datetime


def page(conn: Connection, *, limit: int, before: int | None = None) -> list[DeadJob]:
    """The newest dead jobs, at most `limit`, older than the job `before`."""
    rows = conn.execute(_PAGE if before is None else _OLDER, {"most": limit} | ({"before": before} if before else {}))
    return [_job(row) for row in rows]


def get(conn: Connection, job_id: int) -> DeadJob | None:
    """One dead job."""
    row = conn.execute(_READ, {"job_id": job_id}).first()
    return _job(row) if row is not None else None


def oldest(conn: Connection, most: int) -> list[int]:
    """The ids of the oldest."""
    return [row.id for row in conn.execute(_OLDEST, {"most": most})]


def count(conn: Connection) -> int:
    """How many there are."""
    return conn.execute(_COUNT).scalar_one()


def revive(conn: Connection, job: DeadJob, now: datetime) -> list[Hint]:
    """Make a dead job ready again, as if nothing had ever been wrong; nothing: it is dead no more."""
    revived = conn.execute(_REVIVE, {"job_id": job.id, "at": now}).rowcount == 1
    return [Hint(job.id, job.kind, now)] if revived else []


def drop(conn: Connection, job_id: int) -> bool:
    """Delete a dead job; False: there is none."""
    return conn.execute(_DROP, {"job_id": job_id}).rowcount == 1


def _job(row: Any) -> DeadJob:
    return DeadJob(
        row.id,
        row.kind,
        row.run_id,
        row.step_id,
        row.slug,
        _events_of(row.kind, row.payload),
        row.crashes,
        row.error,
        row.run_at,
    )


def _events_of(kind: str, payload: str | None) -> list[str]:
    if kind != MATCH or payload is None:
        return []
    try:
        return ids_in(payload)
    except (ValueError, AttributeError, TypeError):  # it may be dead for just that
        return []
