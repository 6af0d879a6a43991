"""Decisions into rows: everything one decision of the core causes is written in the caller's one transaction.

The job that brought the message is the fence: unless the lease still stands, nothing is written at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from orchestrator.core.effect import (
    AddCall,
    AddFetch,
    AddWake,
    ClosePause,
    Continue,
    Discover,
    End,
    Finish,
    Record,
    Retry,
    SaveStep,
)
from orchestrator.core.event import Event
from orchestrator.core.run import Decision, Run
from orchestrator.store import events, history, jobs, pauses, runs, slots, steps
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.jobs import call_key as call_key
from orchestrator.store.pauses import Pause


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes, and until when the leases made on the way shall last."""

    owner: str
    now: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """A pause that a decision opens, and what goes with it."""

    pause: Pause
    #: The error (JSON object) of its timeout, where that is a failure.
    late: str | None = None
    #: What starts the function that is waited for.
    event: Event | None = None
    #: Events that came before count, too.
    looks_back: bool = False
    #: Nobody else goes on waiting for the same signal.
    replaces: bool = False
    #: Another pause of the same step has the timer.
    timer: bool = True


@dataclass(slots=True)
class Applied:
    """What came of it.  `lease` is what the same worker goes on with, if anything; `hints` are to be announced."""

    accepted: bool
    lease: Lease | None = None
    hints: list[Hint] = field(default_factory=list)
    #: With a lease to discover the run by, where it is known: the outcome memoised last, and the steps still open.
    last_seq: int | None = None
    open: int | None = None
    #: Pools with a slot for somebody who waits.
    freed: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class CancelledRun:
    """A run to be cancelled among others, and what is to be written of it."""

    id: str
    records: Sequence[Record]
    ending: Sequence[Event]
    correlation_id: str | None
    #: Its calls need slots.
    limited: bool = False


def apply(
    conn: Connection,
    lease: Lease | None,
    before: Run,
    decision: Decision,
    ending: list[Event],
    by: Holder,
    *,
    opened: Sequence[Opened] = (),
    correlation_id: str | None = None,
    limited: bool = False,
) -> Applied:
    """Write a decision; `ending` are the events that tell of the run's end, if it ends; `opened` the pauses it opens.

    `correlation_id` names the run and the step that invoked the run, if any: they are told of its end.  `limited` says
    that the run's calls need slots.

    Without a lease (a cancellation from outside) the run's own status is the fence.  Not accepted: the lease was lost,
    or the run was over; the caller then rolls nothing back, because nothing was written.
    """
    applied = Applied(accepted=True)
    finish = next((effect for effect in decision.effects if isinstance(effect, Finish)), None)
    if finish is not None:
        gone = _finish(conn, lease, decision, finish, by)
        if gone is None:
            return Applied(accepted=False)
    elif not _settle_job(conn, lease, decision, applied, by):
        return Applied(accepted=False)
    _write_steps(conn, before, decision, by.now, _sent(opened))
    _write_jobs(conn, before.id, decision, applied, by)
    if finish is None:
        for one in opened:
            _open(conn, one, applied, by.now)
        if limited and lease is not None and lease.kind in jobs.NEED_SLOTS and not _goes_on(lease, applied):
            applied.freed = slots.leave(conn, before.id, lease.job_id)
        return applied
    pauses.close_all_of_run(conn, before.id)
    if correlation_id is not None:
        applied.hints += answer_invoker(conn, correlation_id, {"run": before.id}, by.now)
    if ending:
        applied.hints += _announce_end(conn, ending, by.now)
    if limited:
        applied.freed = slots.end_runs(conn, [before.id], lease, gone or [])
    return applied


def cancel_all(conn: Connection, cancelled: Sequence[CancelledRun], now: datetime) -> Applied:
    """End runs, which the caller has locked, as `apply` would one by one."""
    ids = [run.id for run in cancelled]
    runs.cancel_all(conn, ids, now)
    gone = jobs.end_all_of_runs(conn, ids)
    pauses.close_all_of_runs(conn, ids)
    history.add_to_many(conn, [(run.id, record) for run in cancelled for record in run.records], now)
    applied = Applied(accepted=True)
    for run in cancelled:
        if run.correlation_id is not None:
            applied.hints += answer_invoker(conn, run.correlation_id, {"run": run.id}, now)
    applied.hints += _announce_end(conn, [event for run in cancelled for event in run.ending], now)
    limited = {run.id for run in cancelled if run.limited}
    if limited:
        applied.freed = slots.end_runs(conn, sorted(limited), None, [job for job in gone if job.run_id in limited])
    return applied


def answer_invoker(conn: Connection, correlation_id: str, answer: Mapping[str, str], now: datetime) -> list[Hint]:
    """Tell the step that invoked a run how that ended, if it still waits; `answer` is a resume job's payload."""
    run_id, _, step_id = correlation_id.partition(".")
    pause_id = pauses.of_step(conn, run_id, step_id, pauses.INVOKE)
    if pause_id is None or not pauses.take(conn, [pause_id]):
        return []
    return [add_resume(conn, pause_id, run_id, step_id, answer, now)]


def add_resume(
    conn: Connection, pause_id: str, run_id: str, step_id: str, answer: Mapping[str, str], now: datetime
) -> Hint:
    """Add the job that gives a pause, which the caller has taken, its answer."""
    row = resume_row(pause_id, run_id, step_id, answer, now)
    return jobs.add_all(conn, [row], "", now, room=0)[1][0]


def resume_row(pause_id: str, run_id: str, step_id: str, answer: Mapping[str, str], now: datetime) -> dict[str, object]:
    """That job, to be added (see `jobs.add_all`)."""
    payload = orjson.dumps(answer).decode()
    return jobs.new_row(jobs.RESUME, f"resume:{pause_id}", now, run_id, step_id, payload)


def _open(conn: Connection, opened: Opened, applied: Applied, now: datetime) -> None:
    pause = opened.pause
    if pause.signal is not None and opened.replaces:
        pauses.give_up_signal(conn, pause.signal)
    pauses.add(conn, [pause], now)
    whose: dict[str, Any] = {"run_id": pause.run_id, "step_id": pause.step_id}
    if opened.timer:
        key = pauses.timeout_key(pause.run_id, pause.step_id or "")
        applied.hints.append(jobs.add(conn, jobs.TIME_OUT, key, pause.expires_at, payload=opened.late, **whose))
    if opened.event is not None:
        applied.hints += events.add(conn, [opened.event], now)
    if opened.looks_back:
        key = f"look:{pause.id}"
        applied.hints.append(jobs.add(conn, jobs.LOOK_BACK, key, now, payload=pause.id, **whose))


def _finish(
    conn: Connection, lease: Lease | None, decision: Decision, finish: Finish, by: Holder
) -> Sequence[Any] | None:
    """End the run; the jobs that were deleted, or None: the lease was lost, or the run was over."""
    if lease is not None and not jobs.held_with_run(conn, lease):
        return None
    if not runs.finish(conn, decision.run.id, finish.status, finish.output, finish.error, by.now):
        return None
    return jobs.end_all_of_run(conn, decision.run.id)


def _settle_job(conn: Connection, lease: Lease | None, decision: Decision, applied: Applied, by: Holder) -> bool:
    if lease is None:
        return True
    match decision.then:
        case Continue():
            applied.lease = _fresh(lease)
            return jobs.reset(conn, lease) if lease.attempt or lease.crashes else jobs.held(conn, lease)
        case Retry(at, attempt, error):
            applied.hints.append(Hint(lease.job_id, lease.kind, at))
            return jobs.retry(conn, lease, at, attempt, error)
        case End():
            if jobs.end(conn, lease):
                return True
            applied.lease = _fresh(lease)
            return jobs.once_more(conn, lease)


def _goes_on(lease: Lease, applied: Applied) -> bool:
    return applied.lease is not None and applied.lease.job_id == lease.job_id


def _fresh(lease: Lease) -> Lease:
    return replace(lease, attempt=0, crashes=0, payload=None, until=None)


def _sent(opened: Sequence[Opened]) -> Mapping[str | None, str]:
    """The events by which steps invoke functions."""
    return {it.pause.step_id: it.event.id for it in opened if it.event is not None}


def _write_steps(
    conn: Connection, before: Run, decision: Decision, now: datetime, sent: Mapping[str | None, str]
) -> None:
    saved = [effect for effect in decision.effects if isinstance(effect, SaveStep)]
    if sent:
        saved = [replace(step, event_id=sent.get(step.id, step.event_id)) for step in saved]
    if saved:
        steps.save(conn, before.id, saved, now, before.last_seq)
    if not decision.run.status.final and _counts(decision.run) != _counts(before):
        runs.set_counts(conn, decision.run)
    records = [effect for effect in decision.effects if isinstance(effect, Record)]
    if records:
        history.add(conn, before.id, records, now)


def _counts(run: Run) -> tuple[int, int, int]:
    """What the run's row tells of its steps; how many are memoised only while some are open."""
    return run.pending, run.open, run.last_seq if run.open else 0


def _write_jobs(conn: Connection, run_id: str, decision: Decision, applied: Applied, by: Holder) -> None:
    if decision.run.status.final:
        return
    planned = [effect.step_id for effect in decision.effects if isinstance(effect, AddCall) and not effect.task]
    applied.hints += jobs.add_calls(conn, run_id, planned, decision.run.last_seq, by.now)
    for effect in decision.effects:
        match effect:
            case AddCall(step_id, task=True):
                key = f"step:{run_id}:{step_id}"
                applied.hints.append(jobs.add(conn, jobs.TASK, key, by.now, run_id=run_id, step_id=step_id))
            case AddWake(step_id, at):
                key = f"wake:{run_id}:{step_id}"
                applied.hints.append(jobs.add(conn, jobs.WAKE, key, at, run_id=run_id, step_id=step_id))
            case AddFetch(step_id, request):
                key = f"fetch:{run_id}:{step_id}"
                hint = jobs.add(conn, jobs.FETCH, key, by.now, run_id=run_id, step_id=step_id, payload=request)
                applied.hints.append(hint)
            case ClosePause(step_id):
                pauses.drop_timeout(conn, run_id, step_id)
            case Discover():
                applied.lease = _discover(conn, run_id, by)


def _discover(conn: Connection, run_id: str, by: Holder) -> Lease | None:
    key = call_key(run_id)
    if jobs.mark_again(conn, key):
        return None
    return jobs.add_leased(conn, jobs.CALL, key, run_id, by.owner, by.now, by.until)


def _announce_end(conn: Connection, ending: list[Event], now: datetime) -> list[Hint]:
    """Write the ending's events; a match job only for those somebody listens to."""
    hints = list[Hint]()
    for name in dict.fromkeys(event.name for event in ending):
        of_name = [event for event in ending if event.name == name]
        hints += events.add(conn, of_name, now, match=events.heard_of(conn, name))
    return hints
