"""Take a checkpoint: memoise steps of a call that still runs, under the lease that the call was made under.

The holder of that lease learns nothing of it.  So who invited checkpoints settles the call's answer on rows locked and
read anew (see `engine.settle`), and reads the run again before its next call.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from orchestrator.core.message import Checkpointed
from orchestrator.core.run import advance
from orchestrator.engine.defer import deferred_by
from orchestrator.engine.enter import follow_up
from orchestrator.engine.parts import Parts
from orchestrator.engine.settle import ending_of, step_ids, tell
from orchestrator.errors import ConflictError, RequestError
from orchestrator.protocol.checkpoint import Checkpoint, Kept
from orchestrator.store import checkpoints, jobs, runs
from orchestrator.store.apply import apply
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Lease


@undisturbed
def checkpoint(parts: Parts, run_id: str, taken: Checkpoint) -> None:
    """Memoise the steps, each once however often it is reported, and count attempts anew.

    Raises `RequestError` when there is no such run, and `ConflictError` when the call is not the present one: the run
    has ended, or the call was given up.  The SDK then stops the function.
    """
    dispatch = taken.dispatch
    memoise(parts, run_id, taken.steps, lambda conn: checkpoints.leased(conn, dispatch.job_id, dispatch.generation))


@undisturbed
def memoise(
    parts: Parts,
    run_id: str,
    steps: tuple[Kept, ...],
    find: Callable[[Connection], Lease | None],
    until: datetime | None = None,
) -> None:
    """Memoise steps under the lease that is found, and prolong it if `until` is given; raises as `checkpoint` does."""
    by = parts.holder()
    policy = parts.settings.policy(max_attempts=1)
    with parts.database.write() as conn:
        before = runs.lock(conn, run_id, step_ids(steps))
        loaded = runs.load(conn, run_id)
        if before is None or loaded is None:
            raise RequestError(f"there is no run {run_id}")
        lease = find(conn)
        if lease is None or lease.run_id != run_id or lease.step_id is not None:
            raise stale(run_id)
        decision = advance(before, Checkpointed(None, lease.attempt, steps), policy, by.now, parts.chance())
        ending = ending_of(loaded, decision, by.now) + deferred_by(conn, loaded, decision, by.now)
        applied = apply(conn, lease, before, decision, ending, by, limited=loaded.run.limits is not None)
        if not applied.accepted:
            raise stale(run_id)
        if until is not None:
            jobs.extend(conn, [lease], until)
    follow_up(parts, applied)
    tell(loaded, decision, by, policy.max_attempts)
    if decision.run.status.final:
        raise stale(run_id)


def stale(run_id: str) -> ConflictError:
    """Say that a report comes too late."""
    return ConflictError(f"this is not the present call of run {run_id}: the run has ended, or the call was given up")
