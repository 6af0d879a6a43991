"""Why a run does not go on, or an event starts none yet: read the facts, and let the core say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from orchestrator.core.admission import asked
from orchestrator.core.effect import Status
from orchestrator.core.waiting import Facts, Reason, batched, debounced, reasons
from orchestrator.engine import batch, debounce
from orchestrator.engine.versions import Versions
from orchestrator.expressions.stored import value_of
from orchestrator.store import batches, events, functions, gates, timers, waits
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent
from orchestrator.store.functions import StoredFunction
from orchestrator.store.gates import BATCH, DEBOUNCE, gate_key
from orchestrator.store.history import Entry
from orchestrator.store.runs import StoredRun
from orchestrator.store.steps import StoredStep

#: An event is received, and stored, some time before it is matched.
_TOGETHER = timedelta(seconds=1)


def why(
    conn: Connection,
    run: StoredRun,
    function: StoredFunction | None,
    steps: Sequence[StoredStep],
    story: Sequence[Entry],
    now: datetime,
) -> list[Reason]:
    """All that a run waits for; empty: it is over, or at work."""
    if run.status.final:
        return []
    event = events.get(conn, run.event_id)
    app = functions.app_by_id(conn, function.app_id) if function is not None else None
    return reasons(
        Facts(
            status=run.status,
            now=now,
            event=event.payload if event is not None else "{}",
            event_at=datetime.fromtimestamp(event.ts / 1000, UTC) if event is not None else None,
            steps=waits.steps_told(steps),
            failures=list(waits.failures(story, now)),
            calls=waits.calls(conn, run),
            event_waits=waits.event_waits(conn, run),
            app_url=app.url if app is not None else "",
            paused_at=function.paused_at if function is not None else None,
            throttled=waits.throttled(conn, run) if run.status is Status.QUEUED else None,
        )
    )


def why_event(versions: Versions, conn: Connection, event: StoredEvent) -> list[Reason]:
    """The debounces and batches in which an event waits for a run."""
    found, data = list[Reason](), value_of(event.payload)
    listeners = {it.function_id: it for it in functions.listeners(conn, [event.name])}
    for listener in listeners.values():
        function = versions.function(conn, listener.function_id, listener.version)
        if function is None or not (function.debounce or function.batch):
            continue
        of, _ = asked(function, data)
        if of.debounce is not None:
            found += _debounced(conn, gate_key(DEBOUNCE, listener.function_id, of.debounce.key), listener.slug, event)
        if of.batch is not None:
            key = gate_key(BATCH, listener.function_id, of.batch.key)
            found += _batched(conn, key, listener.slug, event, of.batch.option.max_size)
    return found


def _debounced(conn: Connection, key: str, slug: str, event: StoredEvent) -> Iterator[Reason]:
    gate = gates.get(conn, key)
    waiting = debounce.waiting_at(gate) if gate is not None else None
    # One that was received before the burst began was in another one.
    if waiting is not None and event.received_at >= waiting.first_at - _TOGETHER:
        last = waiting.event_id == event.id
        yield debounced(slug, timers.at(conn, key), waiting.events, last=last)


def _batched(conn: Connection, key: str, slug: str, event: StoredEvent, size: int) -> Iterator[Reason]:
    gate = gates.get(conn, key)
    filling = batch.filling_at(gate) if gate is not None else None
    if filling is not None and event.id in batches.event_ids(conn, filling.batch_id):
        yield batched(slug, timers.at(conn, key), filling.events, size)
