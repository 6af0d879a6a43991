"""Send an event because an operator wants it: the event and the note of who sent it are one transaction."""

from __future__ import annotations

from orchestrator.core.event import Event
from orchestrator.engine.parts import Parts
from orchestrator.store import audit, events
from orchestrator.store.disturbance import undisturbed


@undisturbed
def send(parts: Parts, event: Event, actor: str | None = None) -> str:
    """Write the event and announce its matching; returns the id that stands for it (see `store.events.accept`)."""
    now = parts.clock.now()
    with parts.database.write() as conn:
        [event_id], hints = events.accept(conn, [event], now)
        audit.record(conn, "event sent", event_id, now, actor=actor, data={"name": event.name})
    parts.announcer.announce(hints)
    return event_id
