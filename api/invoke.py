"""Functions started from outside, whatever their triggers."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import envelope
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint
from orchestrator.api.run_schemas import StartedShape
from orchestrator.api.schemas import ErrorShape, enveloped
from orchestrator.core.scope import Scope
from orchestrator.engine.invoke import invoke_once
from orchestrator.protocol.order import MAX_KEY, read_invoke

routes = blueprint("invoke", "Functions started from outside.")

#: What the body may be, for every route that starts a function.
BODY = {
    "description": "What the function gets, and a key that makes a second request the same as the first for 24 h",
    "required": False,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "data": {
                        "type": ["object", "null"],
                        "description": "What the function gets as the data of its event",
                    },
                    "idempotencyKey": {
                        "type": ["string", "null"],
                        "minLength": 1,
                        "maxLength": MAX_KEY,
                        "description": "The same key within a day is the same run",
                    },
                },
            }
        }
    },
}


@routes.route("/invoke/<slug:slug>", methods=["POST"])
@needs(Scope.WRITE)
@routes.doc(requestBody=BODY)
@routes.response(200, enveloped(StartedShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(413, schema=ErrorShape)
def invoke_function(slug: str) -> Response:
    """Start exactly this function with these data; the run is there a moment after its id."""
    server = current_server()
    body = read_body(request.environ, server.max_request_bytes)
    wanted = read_invoke(body, server.parts.clock.now(), server.event_limits)
    return envelope({"run_id": invoke_once(server.parts, slug, wanted.data, wanted.key, actor())})
