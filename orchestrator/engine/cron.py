"""Cron: take ticks as they come, and plan them as apps are registered.

A tick is taken in one transaction, without a lease because no user code runs in it: the job moves on to the next tick,
and the tick's event and the run of its function are written.  Whoever comes second finds the job moved and writes
nothing, so that any number of workers start one run a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import orjson

from orchestrator import log
from orchestrator.core.cron import jitter_of, next_tick
from orchestrator.core.effect import Status
from orchestrator.core.event import SCHEDULED_TIMER, Event
from orchestrator.core.function import Function
from orchestrator.engine.branch import Held
from orchestrator.engine.outcome import Outcome
from orchestrator.engine.parts import Parts
from orchestrator.engine.start import after, chosen, held, start_of, tell_admission, write
from orchestrator.engine.versions import Versions
from orchestrator.ids import named_uuid, new_ulid
from orchestrator.protocol.function_config import read_function
from orchestrator.store import crons, events, functions
from orchestrator.store.crons import CronJob, CronLine, Target
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.events import StoredEvent
from orchestrator.store.jobs import Hint
from orchestrator.store.runs import NewRun

_log = log.get(__name__)

#: When a cron job or a timer that we failed at is tried again.
_AGAIN = timedelta(seconds=2)


def fire(parts: Parts, job_id: int, room: int) -> list[Held]:
    """Take the ticks of a cron job that are due; returns first calls, `room` at most, that the caller must go on with.

    A failure of ours is logged, and the job comes back; it is never given up.
    """
    try:
        return _fire(parts, job_id, room)
    except Exception as error:
        _log.exception("cron crashed", job_id=job_id)
        put_off(parts, job_id, error)
        return []


@undisturbed
def put_off(parts: Parts, job_id: int, error: Exception) -> None:
    """Let the job of a cron line or a timer, at which we failed, come back."""
    with parts.database.write() as conn:
        crons.put_off(conn, job_id, parts.clock.now(), _AGAIN, f"{type(error).__name__}: {error}"[:500])


def replan(conn: Connection, before: Sequence[CronLine], declared: Sequence[Function], now: datetime) -> list[Hint]:
    """Give each declared cron line a job and delete those of lines that are gone; returns the hints.

    A line that was there before keeps its job, and with it the ticks that are still to be taken.
    """
    wanted = [
        CronLine(named_uuid("function", function.slug), trigger.cron)
        for function in declared
        for trigger in function.triggers
        if trigger.cron is not None
    ]
    if gone := set(before).difference(wanted):
        crons.unplan(conn, sorted(gone, key=lambda line: line.key))
    if not wanted:
        return []
    known = crons.planned(conn, wanted)
    ticks = {line: next_tick(line.line, now) for line in wanted if line not in known}
    return [crons.plan(conn, line, tick) for line, tick in ticks.items() if tick is not None]


@undisturbed
def _fire(parts: Parts, job_id: int, room: int) -> list[Held]:
    by = parts.holder()
    with parts.database.write() as conn:
        job = crons.due(conn, job_id, by.now)
        if job is None:
            return []
        target = crons.target(conn, job.cron)
        following = next_tick(job.cron.line, max(job.tick, by.now)) if target is not None else None
        taken = crons.move(conn, job, following) if following is not None else crons.end(conn, job)
        if not taken or target is None:
            return []
        jitter = _jitter(conn, job.cron)
        ticks = parts.settings.cron_catch_up.ticks(job.cron.line, job.tick, by.now)
        made = [_outcome(parts.versions, conn, job, target, tick, jitter, by.now) for tick in ticks]
        outcomes = [outcome for _, outcome in made]
        leases, hints = write(conn, outcomes, chosen(outcomes, room, by.now), by)
        started = [(event, outcome) for event, outcome in made if outcome.functions]
        if started:
            events.add(conn, [event for event, _ in started], by.now, match=False)
        for event, outcome in started:
            if outcome.warnings:
                events.warn(conn, event.id, "\n".join(outcome.warnings))
    if following is not None:
        hints.append(Hint(job.job_id, crons.CRON, following))
    after(parts, outcomes, hints)
    _tell(job, target, ticks, outcomes, following, by.now)
    for outcome in outcomes:
        tell_admission(outcome, by)
    return held(parts, outcomes, leases, by.now)


def _jitter(conn: Connection, line: CronLine) -> timedelta | None:
    stored = functions.function(conn, line.function_id)
    if stored is None or '"jitter"' not in stored.config:
        return None
    function = read_function(orjson.loads(stored.config), "the stored function", ours=True)
    return next((trigger.jitter for trigger in function.triggers if trigger.cron == line.line), None)


def _outcome(
    versions: Versions,
    conn: Connection,
    job: CronJob,
    target: Target,
    tick: datetime,
    jitter: timedelta | None,
    now: datetime,
) -> tuple[Event, Outcome]:
    """The tick's event, and the run of the line's function that it starts; its id keeps the tick from a second run."""
    at = tick + jitter_of(f"{job.cron.key}:{_rfc3339(tick)}", jitter)
    data = {"cron": job.cron.line, "scheduledAt": _rfc3339(tick), "fireAt": _rfc3339(at)}
    ts = int(at.timestamp() * 1000)
    event = Event(new_ulid(), SCHEDULED_TIMER, orjson.dumps(data).decode(), ts, now, external_id=_rfc3339(tick))
    stored = StoredEvent(event.id, event.name, event.external_id, ts, event.wire(), now)
    run = NewRun(new_ulid(), target.function_id, target.version, event.id, event.name, Status.QUEUED, queued_at=now)
    function = versions.function(conn, run.function_id, run.function_version)
    start, warnings = start_of(function, run, stored, max(at, now), target.slug, now, paused=target.paused)
    return event, Outcome(stored, [start], warnings)


def _tell(
    job: CronJob,
    target: Target,
    ticks: Sequence[datetime],
    outcomes: Sequence[Outcome],
    following: datetime | None,
    now: datetime,
) -> None:
    line = job.cron.line
    for outcome in outcomes:
        tick = outcome.event.external_id
        for start in outcome.starts:
            _log.info("cron fired", function=target.slug, cron=line, tick=tick, run_id=start.run.id, next_at=following)
    if not ticks or ticks[0] > job.tick:
        late = round((now - job.tick) / timedelta(seconds=1))
        _log.warning("cron missed", function=target.slug, cron=line, since=job.tick, seconds=late, runs=len(ticks))


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
