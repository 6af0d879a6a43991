"""Events: sending one."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.access import needs
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.openapi import EVENT
from orchestrator.api.routing import blueprint
from orchestrator.api.v2.answers import one
from orchestrator.api.v2.shapes import ErrorsShape, EventIdShape, one_of
from orchestrator.core.scope import Scope
from orchestrator.errors import RequestError
from orchestrator.ids import new_ulid
from orchestrator.protocol.events import parse_events

routes = blueprint("events (v2)", "Events.", ErrorsShape)

_BODY = {"description": "One event", "required": True, "content": {"application/json": {"schema": EVENT}}}


@routes.route("/v2/events", methods=["POST"])
@needs(Scope.EVENTS)
@routes.doc(requestBody=_BODY)
@routes.response(200, one_of(EventIdShape))
@routes.alt_response(400, schema=ErrorsShape)
@routes.alt_response(413, schema=ErrorsShape)
def send_event(**_: object) -> Response:
    """Send one event; the answer comes once it is stored."""
    server = current_server()
    body = read_body(request.environ, server.max_request_bytes)
    parsed = parse_events(body, id_at=lambda _: new_ulid(), now=server.parts.clock.now(), limits=server.event_limits)
    if parsed.error is not None:
        raise parsed.error
    if len(parsed.events) != 1 or body.lstrip()[:1] == b"[":
        raise RequestError("the body must be one event; lists of them go to /e/KEY")
    return one({"eventId": server.accept(parsed.events)[0]})
