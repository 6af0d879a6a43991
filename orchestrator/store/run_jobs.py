"""The jobs of one run: what is to be done for it, now or later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, literal_column, select

from orchestrator.store.jobs import DEAD, HELD, LEASED, READY, WAITING
from orchestrator.store.tables import jobs

#: Of one run.
MOST = 1_000
#: Jobs before it that are counted.
MOST_BEFORE = 1_000

STATES = {HELD: "held", WAITING: "waiting", READY: "ready", LEASED: "leased", DEAD: "dead"}

_OF_RUN = select(jobs).where(jobs.c.run_id == bindparam("of_run")).order_by(jobs.c.run_at, jobs.c.id).limit(MOST)
_BEFORE = (
    select(jobs.c.id)
    .where(jobs.c.state == literal_column("2"), jobs.c.run_at < bindparam("at", type_=jobs.c.run_at.type))
    .limit(MOST_BEFORE)
    .subquery()
)
_POSITION = select(func.count()).select_from(_BEFORE)


@dataclass(frozen=True, slots=True)
class RunJob:
    """A job; what it carries stays inside."""

    id: int
    kind: str
    state: str
    step_id: str | None
    run_at: datetime
    attempt: int
    crashes: int
    lease_until: datetime | None
    error: str | None
    #: How many jobs are due before it, counted up to `MOST_BEFORE`; 0 for one that is not waiting for a worker.
    position: int


def of_run(conn: Connection, run_id: str, now: datetime) -> list[RunJob]:
    """The jobs of a run, in the order in which they are due."""
    positions = dict[datetime, int]()
    found = list[RunJob]()
    for row in conn.execute(_OF_RUN, {"of_run": run_id}):
        due = row.state == READY and row.run_at <= now
        if due and row.run_at not in positions:
            positions[row.run_at] = conn.execute(_POSITION, {"at": row.run_at}).scalar_one()
        found.append(
            RunJob(
                row.id,
                row.kind,
                STATES.get(row.state, str(row.state)),
                row.step_id,
                row.run_at,
                row.attempt,
                row.crashes,
                row.lease_until,
                row.error,
                positions[row.run_at] if due else 0,
            )
        )
    return found
