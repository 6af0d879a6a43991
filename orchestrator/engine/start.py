"""Start runs: what matching decided becomes runs with their first calls, in the transaction that ends the match jobs.

A first call is born leased to this worker where it has room for it, and announced otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator import log
from orchestrator.core.admission import asked, asks
from orchestrator.core.effect import Status
from orchestrator.core.function import Function
from orchestrator.engine.admit import admit
from orchestrator.engine.branch import Branch, Held
from orchestrator.engine.enter import follow_up, with_limits
from orchestrator.engine.hit import write_hits
from orchestrator.engine.outcome import Outcome, Start
from orchestrator.engine.parts import Parts
from orchestrator.engine.pause import cancel_pauses, missing_function
from orchestrator.engine.settle import tell
from orchestrator.expressions.stored import value_of
from orchestrator.store import events, jobs, keys, pauses, run_timeouts, runs
from orchestrator.store import held as held_jobs
from orchestrator.store.apply import Applied, Holder, answer_invoker, call_key
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import disturbable
from orchestrator.store.events import StoredEvent
from orchestrator.store.hits import PauseHit, answer_of
from orchestrator.store.hits import write_hits as write_hits_hot
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.postgresql import FirstCall, HotPath
from orchestrator.store.runs import NewRun

_log = log.get(__name__)


@disturbable("what matches does all of it again, reading included")
def start(parts: Parts, decided: Mapping[int, Sequence[Outcome]], room: int, now: datetime) -> list[Held]:
    """Write what the match jobs came to; returns the calls that this worker holds now."""
    outcomes = [outcome for batch in decided.values() for outcome in batch]
    # Runs under way come before new ones.
    resumed = min(room, sum(len(outcome.hits) for outcome in outcomes))
    at_once = chosen(outcomes, room - resumed, now)
    by = parts.holder()
    hot = parts.database.hot
    if hot is not None and all(outcome.plain for outcome in outcomes):
        leases, hints = _start_hot(hot, decided, at_once, by)
    elif hot is not None and all(outcome.only_resumes for outcome in outcomes):
        leases, hints = _resume_hot(hot, decided, resumed, by)
    else:
        with parts.database.write() as conn:
            outcomes = [it for job_id, batch in decided.items() if jobs.take_match(conn, job_id) for it in batch]
            leases, hints = write(conn, outcomes, at_once, by, resumed)
    after(parts, outcomes, hints)
    for outcome in outcomes:
        tell_of(outcome, by)
    return held(parts, outcomes, leases, now)


def start_of(
    function: Function | None,
    run: NewRun,
    event: StoredEvent,
    at: datetime,
    slug: str,
    now: datetime,
    *,
    paused: bool,
    invoked: bool = False,
) -> tuple[Start, list[str]]:
    """A run that the event starts, to begin at `at`: what may end it early, and what its function asks for.

    Also returns the warnings about that.
    """
    new = Start(run, at, slug, event.external_id, event.received_at)
    if function is None:
        return new, []
    cancels, timeouts = cancel_pauses(run.id, function.cancels, event.payload, now), function.timeouts
    new = replace(new, cancels=cancels, timeouts=timeouts)
    asking = paused or asks(function)
    if not (asking or function.concurrency):
        return new, []
    data = value_of(event.payload)
    limited, warnings = with_limits(run, function, data)
    new = replace(new, run=limited)
    if not asking:
        return new, warnings
    of, more = asked(function, data, paused=paused, invoked=invoked)
    return replace(new, asked=of, function=function), warnings + more


def chosen(outcomes: Sequence[Outcome], room: int, now: datetime) -> set[str]:
    """Choose the runs whose first call is to begin here and now, `room` at most; a batch is to be read first."""
    starts = [start for outcome in outcomes for start in outcome.starts]
    due = [start.run.id for start in starts if start.at <= now and start.run.batch_id is None]
    return set(due[:room])


def _running(run: NewRun, at_once: set[str], now: datetime) -> NewRun:
    """The run as it begins; one that needs slots is queued until it has them."""
    if run.id not in at_once or run.limits is not None:
        return run
    return replace(run, status=Status.RUNNING, started_at=now)


def _start_hot(
    hot: HotPath, decided: Mapping[int, Sequence[Outcome]], at_once: set[str], by: Holder
) -> tuple[list[Lease], list[Hint]]:
    calls = [
        FirstCall(job_id, _running(start.run, at_once, by.now), start.at, start.run.id in at_once)
        for job_id, batch in decided.items()
        for outcome in batch
        for start in outcome.starts
    ]
    return hot.start(list(decided), calls, by.owner, by.now, by.until)


def _resume_hot(
    hot: HotPath, decided: Mapping[int, Sequence[Outcome]], room: int, by: Holder
) -> tuple[list[Lease], list[Hint]]:
    hits = dict[str, PauseHit]()
    for job_id, batch in decided.items():
        for hit in (hit for outcome in batch for hit in outcome.hits):
            told = PauseHit(job_id, hit.pause_id, hit.run_id, hit.step_id or "", answer_of(hit.event_id))
            hits.setdefault(hit.pause_id, told)  # the first event of each wins
    return write_hits_hot(hot, list(decided), list(hits.values()), by, room)


def write(
    conn: Connection, outcomes: Sequence[Outcome], at_once: set[str], by: Holder, resumed: int = 0
) -> tuple[list[Lease], list[Hint]]:
    """Write the runs with their first calls.

    Those that are repeats or not admitted are left out of `outcomes`, and those that must wait out of `at_once`.
    Of the runs that are resumed `resumed` at most go on here and now.
    """
    _leave_out_repeats(conn, outcomes, by.now)
    hints = admit(conn, outcomes, at_once, by)
    for outcome in outcomes:
        if outcome.warnings:
            events.warn(conn, outcome.event.id, "\n".join(outcome.warnings))
    starts = [start for outcome in outcomes for start in outcome.starts]
    if starts:
        runs.add(conn, [_running(start.run, at_once, by.now) for start in starts])
    leases, resumes = write_hits(conn, [hit for outcome in outcomes for hit in outcome.hits], by, resumed)
    hints += resumes
    for outcome in outcomes:
        if outcome.refused is not None and outcome.refused.correlation_id is not None:
            answer = {"error": missing_function(outcome.refused.function)}
            hints += answer_invoker(conn, outcome.refused.correlation_id, answer, by.now)
    pauses.add(conn, [pause for start in starts for pause in start.cancels], by.now)
    ready = list[dict[str, object]]()
    for start in starts:
        key = call_key(start.run.id)
        if start.timeouts:
            begins = start.run.id in at_once and start.run.limits is None
            hints += _write_timeout(conn, start, begins, by.now)
        if start.run.id in at_once:
            leases.append(
                jobs.add_leased(conn, jobs.CALL, key, start.run.id, by.owner, by.now, by.until, priority=start.priority)
            )
        elif start.held:
            held_jobs.add(conn, jobs.CALL, key, start.at, start.run.id, start.priority)
        else:
            row = jobs.new_row(jobs.CALL, key, start.at, start.run.id, None, None)
            ready.append(row | {"priority": start.priority})
    return leases, hints + jobs.add_all(conn, ready, by.owner, by.until, room=0)[1]


def _write_timeout(conn: Connection, start: Start, begins: bool, now: datetime) -> list[Hint]:
    if begins:
        return run_timeouts.begin(conn, start.run.id, start.timeouts, now)
    if start.start_by is None:
        return []
    return [run_timeouts.add(conn, start.run.id, start.timeouts, "start", start.start_by)]


def _leave_out_repeats(conn: Connection, outcomes: Sequence[Outcome], now: datetime) -> None:
    """A sender's id starts a function once within the window, also by way of two event names.

    Keys are claimed in one order by everybody, so that two who want the same ones do not wait for each other.
    """
    claims = sorted(
        (("start", start.run.function_id, start.external_id), start.run.id)
        for outcome in outcomes
        for start in outcome.starts
        if start.external_id is not None
    )
    repeats = {run_id for scope, run_id in claims if keys.claim(conn, scope, run_id, now, now + keys.WINDOW) != run_id}
    for outcome in outcomes:
        outcome.starts = [start for start in outcome.starts if start.run.id not in repeats]


def after(parts: Parts, outcomes: Sequence[Outcome], hints: Sequence[Hint]) -> None:
    """After the commit: announce the jobs, and admit who waited for slots of runs that had to give way."""
    freed = {pool for outcome in outcomes for pool in outcome.freed}
    follow_up(parts, Applied(accepted=True, hints=list(hints), freed=freed))


def held(parts: Parts, outcomes: Sequence[Outcome], leases: Sequence[Lease], now: datetime) -> list[Held]:
    """Hand over the leases, with what is known of their runs already: they were written a moment ago."""
    made = {start.run.id: (start, outcome.event) for outcome in outcomes for start in outcome.starts}
    calls = []
    for lease in leases:
        if lease.run_id not in made:
            calls.append(Held(lease))
            continue
        start, event = made[lease.run_id or ""]
        run = _running(start.run, {start.run.id}, now)
        calls.append(Held(lease, Branch.of_new(parts, run, start.slug, event.payload)))
    return calls


def tell_of(outcome: Outcome, by: Holder) -> None:
    """Tell the log what became of an event, after the commit."""
    event = outcome.event
    _log.info("event matched", event=event.name, event_id=event.id, functions=outcome.functions)
    for start in outcome.starts:
        _log.info("run started", run_id=start.run.id, function=start.slug, at=start.at, held=start.held)
    tell_admission(outcome, by)


def tell_admission(outcome: Outcome, by: Holder) -> None:
    """Tell the log what became of starts that are none."""
    event = outcome.event
    for slug, by_what in outcome.deferred:
        _log.info("start deferred", event_id=event.id, function=slug, by=by_what)
    for start, skip in outcome.skipped:
        _log.info("run skipped", run_id=skip.run.id, function=start.slug, reason=skip.reason)
    for warning in outcome.warnings:
        _log.warning("expression failed", event_id=event.id, warning=warning)
    for loaded, decision in outcome.cancelled:
        tell(loaded, decision, by, max_attempts=1)
