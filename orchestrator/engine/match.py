"""Match events: decide which functions they start.

Match jobs take no lease, because no user code runs here: read, decide, then one transaction (see `engine.start`) that
begins by deleting the job.  Whoever comes second finds it gone and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator import log
from orchestrator.core.effect import Status
from orchestrator.core.event import FUNCTION_INVOKED, patterns
from orchestrator.engine.branch import Held
from orchestrator.engine.hit import InvocationKey, hits_of, invocation_in
from orchestrator.engine.outcome import Outcome, Start
from orchestrator.engine.parts import Parts
from orchestrator.engine.start import start, start_of
from orchestrator.engine.versions import Versions
from orchestrator.errors import ExpressionError
from orchestrator.expressions.cel import compile_expression
from orchestrator.expressions.stored import value_of
from orchestrator.ids import new_ulid
from orchestrator.store import events, functions, jobs, losses
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.events import StoredEvent
from orchestrator.store.functions import Listener
from orchestrator.store.runs import NewRun

_log = log.get(__name__)

#: When a match job that we failed at is tried again.
_AGAIN = timedelta(seconds=2)


def match(parts: Parts, job_ids: Sequence[int], room: int) -> list[Held]:
    """Do the match jobs; returns first calls, at most `room`, that are leased and that the caller must go on with.

    A failure of ours is logged and counted; when several jobs fail together, each is tried alone.
    """
    try:
        return _match(parts, job_ids, room)
    except Exception as error:
        if len(job_ids) > 1:
            return [held for job_id in job_ids for held in match(parts, [job_id], 0)]
        _log.exception("matching crashed", job_id=job_ids[0])
        _crashed(parts, job_ids[0], error)
        return []


@undisturbed
def _crashed(parts: Parts, job_id: int, error: Exception) -> None:
    again_at = parts.clock.now() + _AGAIN
    why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"[:500]
    with parts.database.write() as conn:
        losses.crash_match(conn, job_id, again_at, why, parts.settings.max_crashes)


@undisturbed
def _match(parts: Parts, job_ids: Sequence[int], room: int) -> list[Held]:
    now = parts.clock.now()
    hot = parts.database.hot
    # Only what was read may be ended: a job that is not there for us may be there for somebody else.
    work = hot.matching(job_ids) if hot is not None else {}
    with parts.database.read() as conn:
        if hot is None:
            work = _read(conn, job_ids)
        if not work:
            return []
        found = functions.listeners(conn, sorted({event.name for batch in work.values() for event in batch}))
        decided = {
            job_id: [_decide(parts.versions, conn, event, found, now) for event in batch]
            for job_id, batch in work.items()
        }
    return start(parts, decided, room, now)


def _read(conn: Connection, job_ids: Sequence[int]) -> dict[int, list[StoredEvent]]:
    rows = [(job_id, jobs.ready_for_matching(conn, job_id)) for job_id in sorted(job_ids)]
    return {job_id: events.load(conn, events.ids_in(row.payload)) for job_id, row in rows if row is not None}


def _decide(
    versions: Versions, conn: Connection, event: StoredEvent, found: Sequence[Listener], now: datetime
) -> Outcome:
    """The functions whose first agreeing trigger the event satisfies, each once; and the pauses that it hits."""
    outcome = Outcome(event)
    if event.awaited:
        outcome.hits, warnings = hits_of(conn, event)
        outcome.warnings += warnings
    if event.name == FUNCTION_INVOKED:
        _invoke(versions, conn, outcome, now)
    names = set(patterns(event.name))
    started = {start.run.function_id for start in outcome.starts}
    for listener in found:
        if listener.event in names and listener.function_id not in started and _agrees(listener, outcome):
            started.add(listener.function_id)
            outcome.starts.append(_start(versions, conn, outcome, listener, now))
    return outcome


def _invoke(versions: Versions, conn: Connection, outcome: Outcome, now: datetime) -> None:
    """Start exactly the function that the event names; where there is none, the invoking step is told at once."""
    invocation = invocation_in(outcome.event)
    if invocation is None:
        return
    found = functions.function(conn, invocation.function)
    if found is None or found.archived_at is not None:
        outcome.refused = invocation
        return
    listener = Listener(outcome.event.name, None, found.id, found.slug, found.version, found.paused_at is not None)
    outcome.starts.append(_start(versions, conn, outcome, listener, now, invocation))


def _agrees(listener: Listener, outcome: Outcome) -> bool:
    if not listener.expression:
        return True
    try:
        return compile_expression(listener.expression).truth(value_of(outcome.event.payload))
    except ExpressionError as error:
        outcome.warnings.append(f'trigger of "{listener.slug}": {error.message}')
        return False


def _start(
    versions: Versions,
    conn: Connection,
    outcome: Outcome,
    listener: Listener,
    now: datetime,
    invocation: InvocationKey | None = None,
) -> Start:
    event = outcome.event
    promised = invocation.run_id if invocation is not None else None
    run = NewRun(
        promised or new_ulid(),
        listener.function_id,
        listener.version,
        event.id,
        event.name,
        Status.QUEUED,
        queued_at=now,
        correlation_id=invocation.correlation_id if invocation is not None else None,
    )
    function = versions.function(conn, run.function_id, run.function_version)
    at = max(event.happens_at, now)
    invoked = invocation is not None
    new, warnings = start_of(function, run, event, at, listener.slug, now, paused=listener.paused, invoked=invoked)
    outcome.warnings += warnings
    return new
