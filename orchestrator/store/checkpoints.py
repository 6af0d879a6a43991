"""The lease that a checkpoint names."""

from __future__ import annotations

from sqlalchemy import Connection, select

from orchestrator.store.jobs import FENCE, Lease, as_lease
from orchestrator.store.tables import jobs

_LEASED = select(jobs).where(FENCE)


def leased(conn: Connection, job_id: int, generation: int) -> Lease | None:
    """The lease as the job's row has it now; None: it stands no more.

    The run must be locked: then nobody changes the job but by taking the lease away.
    """
    row = conn.execute(_LEASED, {"job_id": job_id, "held_generation": generation}).first()
    return as_lease(row) if row is not None else None
