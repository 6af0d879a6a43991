"""Where SDKs send spans of users' code and words about themselves: taken, so that they do not fail, and not kept."""

from __future__ import annotations

from flask import Response, request

from orchestrator.api.access import Way, needs
from orchestrator.api.answers import empty, plain
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import ErrorShape

routes = blueprint("telemetry", "Spans and usage data of SDKs: taken, and not kept.")

#: Of one batch of spans, or one word.
MAX_BODY = 8 * 1024 * 1024
_PROTOBUF = "application/x-protobuf"


@routes.route("/v1/traces/userland", methods=["POST"])
@needs(Way.SIGNING_KEY)
@routes.doc(responses={200: {"description": "Taken, in the encoding of the request"}})
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(413, schema=ErrorShape)
def take_spans() -> Response:
    """Take spans of users' code (OTLP over HTTP, JSON or protobuf)."""
    _read()
    # The empty answer of OTLP, which says that all spans were taken, has no bytes in protobuf.
    return Response(b"", 200, mimetype=_PROTOBUF) if request.mimetype == _PROTOBUF else plain({})


@routes.route("/v0/telemetry", methods=["POST"])
@needs(Way.SIGNING_KEY)
@routes.doc(responses={200: {"description": "Taken"}})
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(413, schema=ErrorShape)
def take_telemetry() -> Response:
    """Take what an SDK tells of its use."""
    _read()
    return empty()


def _read() -> None:
    """Read it to its end, within the limit, so that the connection can be used again."""
    read_body(request.environ, min(MAX_BODY, current_server().max_request_bytes))
