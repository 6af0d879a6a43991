"""Dead jobs in the hands of an operator: requeued once the cause is gone, or deleted; either is noted in the audit."""

from __future__ import annotations

from orchestrator import log
from orchestrator.engine.bury import requeue
from orchestrator.engine.parts import Parts
from orchestrator.errors import NotFoundError
from orchestrator.store import audit, dead

_log = log.get(__name__)


def requeue_job(parts: Parts, job_id: int) -> None:
    """Let a dead job be done after all: one of a run by letting the run go on, any other as it was.

    Raises `NotFoundError`, or `ConflictError` for a job whose run did not fail for it.
    """
    now = parts.clock.now()
    with parts.database.read() as conn:
        job = dead.get(conn, job_id)
    if job is None:
        raise _unknown(job_id)
    if job.run_id is not None:
        requeue(parts, job.run_id)
        return
    with parts.database.write() as conn:
        hints = dead.revive(conn, job, now)
        if not hints:
            raise _unknown(job_id)
        audit.record(conn, "job requeued", str(job_id), now, data={"kind": job.kind, "error": job.error})
    parts.announcer.announce(hints)
    _log.info("job requeued", job_id=job_id, kind=job.kind)


def delete_job(parts: Parts, job_id: int) -> None:
    """Give a dead job up for good; a run that failed for it stays failed.  Raises `NotFoundError`."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        job = dead.get(conn, job_id)
        if job is None or not dead.drop(conn, job_id):
            raise _unknown(job_id)
        audit.record(conn, "job deleted", str(job_id), now, data={"kind": job.kind, "run_id": job.run_id})
    _log.info("job deleted", job_id=job_id, kind=job.kind)


def _unknown(job_id: int) -> NotFoundError:
    return NotFoundError(f"there is no dead job {job_id}")
