"""Where SDKs save steps while a call still runs."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.access import Way, needs
from orchestrator.api.answers import empty
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import ErrorShape
from orchestrator.engine.checkpoint import checkpoint
from orchestrator.protocol.checkpoint import read_checkpoint

routes = blueprint("checkpoints", "Steps that an SDK saves while a call still runs.")

_BODY = {
    "description": "The steps done since the last checkpoint, as the TypeScript SDK writes them",
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["qi_id", "steps"],
                "properties": {
                    "qi_id": {"type": "string"},
                    "steps": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}


@routes.route("/v1/checkpoint/<ulid:run_id>/async", methods=["POST"])
@needs(Way.SIGNING_KEY)
@routes.doc(requestBody=_BODY, responses={200: {"description": "Saved"}})
@routes.alt_response(400, schema=ErrorShape, description="There is no such run, or a step that cannot be saved so")
@routes.alt_response(409, schema=ErrorShape, description="The call is not the run's present one")
@routes.alt_response(413, schema=ErrorShape)
def save_steps(run_id: str) -> Response:
    """Save steps of a call that still runs; each is saved once however often it comes."""
    server = current_server()
    body = read_body(request.environ, server.max_request_bytes)
    taken = read_checkpoint(body, server.parts.clock.now())
    checkpoint(server.parts, check_ulid("run_id", run_id), taken)
    return empty()
