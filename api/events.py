"""Events, and the runs they started."""

from __future__ import annotations

from datetime import datetime

from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.answers import envelope
from orchestrator.api.current import current_server
from orchestrator.api.render import event_shape, reason_shape, run_shape
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.run_schemas import RunShape, WaitShape
from orchestrator.api.schemas import ErrorShape, EventShape, EventsQuery, enveloped
from orchestrator.core.scope import Scope
from orchestrator.engine.why import why_event
from orchestrator.errors import NotFoundError
from orchestrator.store import events, functions, runs
from orchestrator.store.database import Connection
from orchestrator.store.events import StoredEvent

routes = blueprint("events", "What was received, and what came of it.")


@routes.route("/v1/events")
@needs(Scope.READ)
@routes.arguments(EventsQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(EventShape, many=True))
def list_events(
    limit: int,
    cursor: str | None = None,
    name: str | None = None,
    received_after: datetime | None = None,
    received_before: datetime | None = None,
) -> Response:
    """List events, the newest first."""
    with current_server().parts.database.read() as conn:
        found = events.page(
            conn,
            limit=limit,
            before=cursor,
            name=name,
            received_after=received_after,
            received_before=received_before,
        )
    return envelope([event_shape(event) for event in found])


@routes.route("/v1/events/<ulid:event_id>")
@needs(Scope.READ)
@routes.response(200, enveloped(EventShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def get_event(event_id: str) -> Response:
    """Show one event."""
    with current_server().parts.database.read() as conn:
        return envelope(event_shape(_event(conn, event_id)))


@routes.route("/v1/events/<ulid:event_id>/runs")
@needs(Scope.READ)
@routes.response(200, enveloped(RunShape, many=True))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def list_runs_of_event(event_id: str) -> Response:
    """List the runs that an event started, the oldest first."""
    with current_server().parts.database.read() as conn:
        found = runs.of_event(conn, _event(conn, event_id).id)
        known = {run.function_id: functions.function(conn, run.function_id) for run in found}
    slugs = {function_id: function.slug for function_id, function in known.items() if function is not None}
    return envelope([run_shape(run, slugs.get(run.function_id)) for run in found])


@routes.route("/v1/events/<ulid:event_id>/waits")
@needs(Scope.READ)
@routes.response(200, enveloped(WaitShape, many=True))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def list_waits_of_event(event_id: str) -> Response:
    """List the debounces and batches in which an event waits for a run."""
    parts = current_server().parts
    with parts.database.read() as conn:
        found = why_event(parts.versions, conn, _event(conn, event_id))
    return envelope([reason_shape(reason) for reason in found])


def _event(conn: Connection, event_id: str) -> StoredEvent:
    event = events.get(conn, check_ulid("event_id", event_id))
    if event is None:
        raise NotFoundError(f"there is no event {event_id}")
    return event
