"""Where SDKs report the runs of durable endpoints, which they begin by themselves."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.access import Way, needs
from orchestrator.api.answers import empty, envelope
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import ErrorShape
from orchestrator.engine.endpoint import begin, report
from orchestrator.protocol.endpoint import read_new_run, read_report

routes = blueprint("endpoints", "Runs of durable endpoints, which SDKs begin by themselves.")

_STEPS = {"type": "array", "items": {"type": "object"}}


def _body(description: str, required: list[str], **properties: object) -> dict[str, object]:
    schema = {"type": "object", "required": required, "properties": properties}
    return {"description": description, "required": True, "content": {"application/json": {"schema": schema}}}


@routes.route("/v1/checkpoint", methods=["POST"])
@needs(Way.SIGNING_KEY)
@routes.doc(
    requestBody=_body(
        "The run, the request that it answers, and what it has done so far",
        ["run_id", "event"],
        run_id={"type": "string"},
        event={"type": "object"},
        steps=_STEPS,
        retries={"type": "integer"},
    ),
    responses={200: {"description": "Where the run belongs, and the token for its output"}},
)
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(409, schema=ErrorShape, description="There is another run of this id, or it was given up")
@routes.alt_response(413, schema=ErrorShape)
def begin_run() -> Response:
    """Begin a run that answers a request; the same once more changes nothing."""
    server = current_server()
    new = read_new_run(read_body(request.environ, server.max_request_bytes), server.parts.clock.now())
    begun = begin(server.parts, new)
    token = server.outputs.make(begun.run_id)
    ids = {"app_id": begun.app_id, "fn_id": begun.function_id, "run_id": begun.run_id}
    return envelope(ids | {"token": token, "realtime_token": token})


@routes.route("/v1/checkpoint/<ulid:run_id>/steps", methods=["POST"])
@needs(Way.SIGNING_KEY)
@routes.doc(
    requestBody=_body("What the run has done since the last report", ["steps"], steps=_STEPS),
    responses={200: {"description": "Saved"}},
)
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(409, schema=ErrorShape, description="The run has ended, or was given up")
@routes.alt_response(413, schema=ErrorShape)
def report_steps(run_id: str) -> Response:
    """Take what an SDK did for a run that it began; each step is saved once however often it comes."""
    server = current_server()
    told = read_report(read_body(request.environ, server.max_request_bytes), server.parts.clock.now())
    report(server.parts, check_ulid("run_id", run_id), told)
    return empty()
