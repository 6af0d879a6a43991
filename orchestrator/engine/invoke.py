"""Start a function because somebody outside wants it, whatever its triggers."""

from __future__ import annotations

from orchestrator import log
from orchestrator.core.event import ordered_event
from orchestrator.engine.parts import Parts
from orchestrator.errors import NotFoundError
from orchestrator.ids import new_ulid
from orchestrator.store import audit, events, functions, keys
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.functions import StoredFunction
from orchestrator.store.jobs import Hint

_log = log.get(__name__)


@undisturbed
def invoke(parts: Parts, slug: str, data: str, user: str | None = None, actor: str | None = None) -> str:
    """Write the event that starts a run of the function; returns the event's id.  Raises `NotFoundError`.

    `data` and `user` are JSON objects, checked as those of events are.  Asked twice it makes two runs.
    """
    with parts.database.write() as conn:
        found = _found(conn, slug)
        event_id, hints = _order(parts, conn, found, data, user, actor)
    parts.announcer.announce(hints)
    _log.info("function invoked", function=found.slug, event_id=event_id)
    return event_id


@undisturbed
def invoke_once(parts: Parts, slug: str, data: str, key: str | None, actor: str | None = None) -> str:
    """The same for whoever wants the run's id, which is promised before the run is there.

    The same `key` again within 24 h gives the id of the first one's run and starts nothing.  Raises `NotFoundError`.
    """
    now, run_id, hints = parts.clock.now(), new_ulid(), list[Hint]()
    with parts.database.write() as conn:
        found = _found(conn, slug)
        first = run_id
        if key is not None:
            first = keys.claim(conn, ("invoke", found.id, key), run_id, now, now + keys.WINDOW)
        if first == run_id:
            event_id, hints = _order(parts, conn, found, data, None, actor, run_id)
    if first != run_id:
        return first
    parts.announcer.announce(hints)
    _log.info("function invoked", function=found.slug, event_id=event_id)
    return run_id


def _found(conn: Connection, slug: str) -> StoredFunction:
    found = functions.function(conn, slug)
    if found is None or found.archived_at is not None:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return found


def _order(
    parts: Parts,
    conn: Connection,
    function: StoredFunction,
    data: str,
    user: str | None,
    actor: str | None,
    run_id: str | None = None,
) -> tuple[str, list[Hint]]:
    now = parts.clock.now()
    event = ordered_event(function.slug, data, user, now, new_ulid(), run_id)
    hints = events.add(conn, [event], now)
    audit.record(conn, "function invoked", function.slug, now, actor=actor, data={"event_id": event.id})
    return event.id, hints
