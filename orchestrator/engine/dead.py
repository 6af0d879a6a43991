"""Dead jobs in the hands of an operator: requeued once the cause is gone, or deleted; either is noted in the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator import log
from orchestrator.engine.bury import requeue
from orchestrator.engine.parts import Parts
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import audit, dead
from orchestrator.store.disturbance import undisturbed

_log = log.get(__name__)

#: Jobs that are requeued by one request.
MOST = 100


@dataclass(frozen=True, slots=True)
class Requeued:
    """What came of many: how many are done after all, how many were dead no more, and why the others stay."""

    done: int
    gone: int
    refused: Sequence[str]


@undisturbed
def requeue_job(parts: Parts, job_id: int, actor: str | None = None) -> None:
    """Let a dead job be done after all: one of a run by letting the run go on, any other as it was.

    Raises `NotFoundError`, or `ConflictError` for a job whose run did not fail for it.
    """
    now = parts.clock.now()
    with parts.database.read() as conn:
        job = dead.get(conn, job_id)
    if job is None:
        raise _unknown(job_id)
    if job.run_id is not None:
        requeue(parts, job.run_id, actor)
        return
    with parts.database.write() as conn:
        hints = dead.revive(conn, job, now)
        if not hints:
            raise _unknown(job_id)
        told = {"kind": job.kind, "error": job.error}
        audit.record(conn, "job requeued", str(job_id), now, actor=actor, data=told)
    parts.announcer.announce(hints)
    _log.info("job requeued", job_id=job_id, kind=job.kind)


def requeue_jobs(parts: Parts, job_ids: Sequence[int], actor: str | None = None) -> Requeued:
    """Requeue these jobs, each by itself; one that cannot be is passed over."""
    done, gone, refused = 0, 0, list[str]()
    for job_id in job_ids:
        try:
            requeue_job(parts, job_id, actor)
            done += 1
        except NotFoundError:  # by somebody else, or with another job of its run
            gone += 1
        except ConflictError as error:
            refused.append(error.message)
    return Requeued(done, gone, refused)


def requeue_oldest(parts: Parts, actor: str | None = None) -> Requeued:
    """Requeue those that died first, `MOST` of them."""
    with parts.database.read() as conn:
        job_ids = dead.oldest(conn, MOST)
    return requeue_jobs(parts, job_ids, actor)


@undisturbed
def delete_job(parts: Parts, job_id: int, actor: str | None = None) -> None:
    """Give a dead job up for good; a run that failed for it stays failed.  Raises `NotFoundError`."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        job = dead.get(conn, job_id)
        if job is None or not dead.drop(conn, job_id):
            raise _unknown(job_id)
        told = {"kind": job.kind, "run_id": job.run_id}
        audit.record(conn, "job deleted", str(job_id), now, actor=actor, data=told)
    _log.info("job deleted", job_id=job_id, kind=job.kind)


def _unknown(job_id: int) -> NotFoundError:
    return NotFoundError(f"there is no dead job {job_id}")
