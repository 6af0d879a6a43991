"""Where SDKs send spans of users' code, notes on runs, usage data: taken, so that they do not fail, and not kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request
from marshmallow import INCLUDE, Schema, fields, validate

from orchestrator.api.access import Way, needs
from orchestrator.api.answers import empty, plain
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import ErrorShape
from orchestrator.core.scope import Scope
from orchestrator.errors import NotFoundError
from orchestrator.store import runs

routes = blueprint("telemetry", "Spans, notes on runs and usage data of SDKs: taken, and not kept.")

#: Of one batch of spans, or one word.
MAX_BODY = 8 * 1024 * 1024
_PROTOBUF = "application/x-protobuf"
_OPS = ("set", "merge", "delete", "add")


class _Open(Schema):
    """What may have more in it than is known here, as SDKs grow."""

    class Meta:
        """For marshmallow."""

        unknown = INCLUDE


class Note(_Open):
    """What is to be noted, or no more."""

    kind = fields.String(required=True, validate=validate.Length(1, 256))
    op = fields.String(required=True, validate=validate.OneOf(_OPS))
    values = fields.Dict(keys=fields.String(), required=True)


class Notes(_Open):
    """Notes on a run, or on a part of it."""

    target = fields.Dict(keys=fields.String(), metadata={"description": "Which step or attempt of the run, if not all"})
    metadata = fields.List(fields.Nested(Note), required=True, validate=validate.Length(1, 100))


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


@routes.route("/v1/runs/<ulid:run_id>/metadata", methods=["POST"])
@needs(Scope.WRITE)
@routes.doc(responses={200: {"description": "Taken"}})
@routes.arguments(Notes, location="json")
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def take_notes(_notes: Mapping[str, Any], run_id: str) -> Response:
    """Take notes on a run, such as scores."""
    with current_server().parts.database.read() as conn:
        if runs.get(conn, check_ulid("run_id", run_id)) is None:
            raise NotFoundError(f"there is no run {run_id}")
    return empty()


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
