"""Timed jobs that need no lease: cron ticks, and the timers of gates.

A gate's timer is taken in one transaction behind the gate's lock: what waits is started or let go, and the timer wound
anew or deleted.  Whoever comes second finds it gone or not due, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import orjson

from orchestrator import log
from orchestrator.core.effect import Record, Status
from orchestrator.engine import batch, cron, debounce, throttle
from orchestrator.engine.admit import batch_start
from orchestrator.engine.branch import Held
from orchestrator.engine.outcome import Outcome, Start
from orchestrator.engine.parts import Parts
from orchestrator.engine.start import after, chosen, held, start_of, tell_of, write
from orchestrator.ids import new_ulid
from orchestrator.store import batches, crons, events, functions, gates, history, timers
from orchestrator.store.apply import Holder
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import StoredFunction
from orchestrator.store.gates import Gate
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.runs import NewRun
from orchestrator.store.timers import Timer

_log = log.get(__name__)

#: While a function is paused, its throttles are looked at so seldom; resuming winds them.
_WHILE_PAUSED = timedelta(hours=1)


def fire(parts: Parts, job_id: int, room: int) -> list[Held]:
    """Do what a timed job stands for, if its time has come; returns first calls, `room` at most, to go on with.

    A failure of ours is logged, and the job comes back; it is never given up.
    """
    now = parts.clock.now()
    with parts.database.read() as conn:
        timer = timers.get(conn, job_id)
    if timer is None:
        return []
    if timer.kind == crons.CRON:
        return cron.fire(parts, job_id, room)
    if timer.run_at > now:  # it was wound anew since the hint was given
        parts.announcer.announce([Hint(timer.job_id, timer.kind, timer.run_at)])
        return []
    try:
        return _fire(parts, timer, room)
    except Exception as error:
        _log.exception("timer crashed", job_id=job_id, kind=timer.kind)
        cron.put_off(parts, job_id, error)
        return []


@undisturbed
def _fire(parts: Parts, timer: Timer, room: int) -> list[Held]:
    by = parts.holder()
    outcome: Outcome | None = None
    with parts.database.write() as conn:
        [gate] = gates.lock(conn, {timer.gate: ""}, by.now).values()
        found = timers.get(conn, timer.job_id)
        if found is None or found.run_at > by.now:
            return []
        leases = list[Lease]()
        if timer.kind == gates.THROTTLE:
            hints = _let_go(parts, conn, timer, gate, by)
        else:
            outcome = _STARTS[timer.kind](parts, conn, gate, by)
            outcomes = [outcome] if outcome is not None else []
            leases, hints = write(conn, outcomes, chosen(outcomes, room, by.now), by)
    after(parts, [outcome] if outcome is not None else [], hints)
    if outcome is None:
        return []
    tell_of(outcome, by)
    return held(parts, [outcome], leases, by.now)


def _let_go(parts: Parts, conn: Connection, timer: Timer, gate: Gate, by: Holder) -> list[Hint]:
    if functions.is_paused(conn, gate.function_id):
        return [timers.wind(conn, timer.kind, timer.gate, by.now + _WHILE_PAUSED)]
    stored = functions.function(conn, gate.function_id)
    means = parts.versions.function(conn, stored.id, stored.version) if stored is not None else None
    return throttle.let_go(conn, gate, by.now, means.throttle if means is not None else None)


def _debounced(parts: Parts, conn: Connection, gate: Gate, by: Holder) -> Outcome | None:
    waiting = debounce.take(conn, gate, by.now)
    function = functions.function(conn, waiting.function_id) if waiting is not None else None
    event = events.get(conn, waiting.event_id) if waiting is not None else None
    if function is None or event is None or function.archived_at is not None:
        return None
    new = NewRun(new_ulid(), function.id, function.version, event.id, event.name, Status.QUEUED, queued_at=by.now)
    declared = parts.versions.function(conn, function.id, function.version)
    at = max(by.now, event.happens_at)
    start, warnings = start_of(declared, new, event, at, function.slug, by.now, paused=_paused(function))
    if waiting is not None and waiting.events > 1:
        data = orjson.dumps({"events": waiting.events, "since": waiting.first_at}).decode()
        history.add(conn, new.id, [Record("debounced", data=data)], by.now)
    return Outcome(event, [_fired(start)], warnings)


def _batched(parts: Parts, conn: Connection, gate: Gate, by: Holder) -> Outcome | None:
    filling = batch.take(conn, gate, by.now)
    if filling is None:
        return None
    function, first, declared = functions.function(conn, filling.function_id), events.get(conn, filling.event_id), None
    if function is not None and function.archived_at is None:
        declared = parts.versions.function(conn, function.id, function.version)
    if function is None or first is None or declared is None:
        batches.drop(conn, filling.batch_id)
        return None
    start = batch_start(declared, function.id, function.version, filling, first, by, paused=_paused(function))
    return Outcome(first, [start])


def _fired(start: Start) -> Start:
    """The sender's id was claimed when the event was matched, and the first options have had their say."""
    return replace(start, external_id=None, asked=start.asked.as_fired() if start.asked is not None else None)


def _paused(function: StoredFunction) -> bool:
    return function.paused_at is not None


_STARTS: Mapping[str, Callable[[Parts, Connection, Gate, Holder], Outcome | None]] = {
    gates.DEBOUNCE: _debounced,
    gates.BATCH: _batched,
}
