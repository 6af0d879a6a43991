"""Bury a job: whoever worked on it was lost, or we failed at it, too often; its run fails and says why.

The job is kept as a dead one, and the run can be requeued once the cause is gone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator import log
from orchestrator.core.effect import Record
from orchestrator.core.message import Threw
from orchestrator.core.run import advance
from orchestrator.engine.defer import deferred_by
from orchestrator.engine.enter import follow_up
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import ending_of, tell
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.queue.admit import admit
from orchestrator.store import audit, gates, history, jobs, losses, run_timeouts, runs, slots, steps
from orchestrator.store.apply import apply
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Lease
from orchestrator.store.runs import StoredRun

_log = log.get(__name__)

#: The name of the error that such a run ends with.
ERROR_NAME = "WorkerLost"


@undisturbed
def bury(parts: Parts, lease: Lease, why: str) -> None:
    """End the job's run with the reason, and keep the job as a dead one."""
    _log.error("job buried", job_id=lease.job_id, kind=lease.kind, run_id=lease.run_id, why=why)
    with parts.database.read() as conn:
        loaded = runs.load(conn, lease.run_id) if lease.run_id is not None else None
    by = parts.holder()
    with parts.database.write() as conn:
        before = runs.lock(conn, loaded.run.id, []) if loaded is not None else None
        if loaded is None or before is None or before.status.final:
            losses.bury(conn, lease, why)
            return
        error = json.dumps({"name": ERROR_NAME, "message": why})
        decision = advance(before, Threw(None, 0, error, retryable=False), parts.settings.policy(1), by.now, 0.0)
        ending = ending_of(loaded, decision, by.now)
        ending += deferred_by(conn, loaded, decision, by.now)
        limited = loaded.run.limits is not None
        correlation_id = loaded.run.correlation_id
        applied = apply(conn, lease, before, decision, ending, by, correlation_id=correlation_id, limited=limited)
        if applied.accepted:
            losses.keep_dead(conn, lease, by.now, why)
    follow_up(parts, applied)
    if applied.accepted:
        tell(loaded, decision, by, max_attempts=1)


@undisturbed
def crashed(parts: Parts, lease: Lease, error: Exception) -> None:
    """We failed at the job: it comes back after a while that grows, and is buried when that has happened too often."""
    why = _in_short(error)
    with parts.database.read() as conn:
        before = losses.crashes_so_far(conn, lease)
    if before is None:
        return
    if before + 1 >= parts.settings.max_crashes:
        bury(parts, replace(lease, crashes=before), f"it crashed {before + 1} times, last with {why}")
        return
    now = parts.clock.now()
    with parts.database.write() as conn:
        noted = losses.crash(conn, lease, now + timedelta(seconds=2**before), why)
        freed = slots.leave(conn, lease.run_id, lease.job_id) if noted and lease.run_id is not None else set()
    admit(parts.database, parts.announcer, freed, now)


def _in_short(error: Exception) -> str:
    """What a failure of ours was, without what a database tells of the statement: people see it at the run."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:500]


@undisturbed
def requeue(parts: Parts, run_id: str, actor: str | None = None) -> None:
    """Let a run whose job was buried go on from its memoised steps.

    Raises `NotFoundError`, or `ConflictError` for a run that did not end so, or whose place another one has taken.
    """
    by = parts.holder()
    with parts.database.write() as conn:
        loaded = runs.load(conn, run_id)
        if loaded is None:
            raise NotFoundError(f"there is no run {run_id}")
        _check_alone(conn, loaded.run, by.now)
        if not losses.drop_dead(conn, run_id) or not runs.reopen(conn, run_id):
            raise ConflictError(f"run {run_id} did not fail for a dead job, so there is nothing to requeue")
        steps.forget_open(conn, run_id)
        history.add(conn, run_id, [Record("requeued")], by.now)
        audit.record(conn, "run requeued", run_id, by.now, actor=actor)
        hints = [jobs.add(conn, jobs.CALL, jobs.call_key(run_id), by.now, run_id=run_id)]
        hints += run_timeouts.begin(conn, run_id, parts.versions.read(loaded).function.timeouts, by.now)
    parts.announcer.announce(hints)
    _log.info("run requeued", run_id=run_id)


def _check_alone(conn: Connection, run: StoredRun, now: datetime) -> None:
    """Of the runs of a singleton one is active, also when one is that had ended."""
    if run.singleton is None:
        return
    gates.lock(conn, {run.singleton: run.function_id}, now)
    active = runs.active(conn, run.singleton)
    if active not in (None, run.id):
        raise ConflictError(f"run {active} is active, and of its singleton there may be one; cancel it first")
