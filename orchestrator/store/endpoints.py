"""Runs of durable endpoints: the call jobs that SDKs hold, and the ends that clients wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from orchestrator.core.effect import Status
from orchestrator.store.jobs import IS_LEASED, Lease, as_lease, call_key
from orchestrator.store.tables import jobs, runs

#: Holds the jobs whose calls an SDK makes by itself; no process of ours has this name, so that none looks after it.
OWNER = "endpoint"

_HELD = select(jobs).where(jobs.c.key == bindparam("of_key"), IS_LEASED, jobs.c.owner == bindparam("by"))
_ENDED = select(runs.c.id, runs.c.status, runs.c.output, runs.c.error, runs.c.ended_at).where(
    runs.c.id.in_(bindparam("ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; its output or its error as JSON text."""

    status: Status
    output: str | None
    error: str | None


def held(conn: Connection, run_id: str) -> Lease | None:
    """The lease under which an SDK makes the run's present call; None: it holds it no more."""
    row = conn.execute(_HELD, {"of_key": call_key(run_id), "by": OWNER}).first()
    return as_lease(row) if row is not None else None


def ended(conn: Connection, run_ids: Sequence[str]) -> dict[str, Ended | None]:
    """Those of the runs that there are, with their ends (None: still under way)."""
    rows = conn.execute(_ENDED, {"ids": list(run_ids)})
    return {
        row.id: Ended(Status(row.status), row.output, row.error) if row.ended_at is not None else None for row in rows
    }
