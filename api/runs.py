"""Runs: what became of them, and stopping them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import empty, envelope
from orchestrator.api.current import current_server
from orchestrator.api.render import run_detail
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.run_schemas import RerunBody, RunDetailShape, StartedShape, from_step_of
from orchestrator.api.schemas import ErrorShape, enveloped
from orchestrator.core.effect import Status
from orchestrator.core.scope import Scope
from orchestrator.engine.bury import requeue
from orchestrator.engine.cancel import cancel
from orchestrator.engine.rerun import rerun
from orchestrator.engine.why import why
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.store import functions, history, reruns, runs, steps
from orchestrator.store.database import Connection
from orchestrator.store.runs import StoredRun

routes = blueprint("runs", "Runs with their steps.")

_REASON = "cancelled through the API"


@routes.route("/v1/runs/<ulid:run_id>")
@needs(Scope.READ)
@routes.response(200, enveloped(RunDetailShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def get_run(run_id: str) -> Response:
    """Show one run with its steps, its story, and what it waits for."""
    parts = current_server().parts
    with parts.database.read() as conn:
        run = _run(conn, run_id)
        function = functions.function(conn, run.function_id)
        done = steps.of_run(conn, run.id)
        story = history.of_run(conn, run.id)
        again = reruns.of(conn, run.id)
        reasons = why(conn, run, function, done, story, parts.clock.now())
    return envelope(run_detail(run, function.slug if function else None, done, story, reasons, again))


@routes.route("/v1/runs/<ulid:run_id>", methods=["DELETE"])
@needs(Scope.WRITE)
@routes.doc(responses={200: {"description": "Cancelled now, or ended before"}})
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def cancel_run(run_id: str) -> Response:
    """Cancel a run; one that has ended stays as it is."""
    cancel(current_server().parts, check_ulid("run_id", run_id), _REASON, actor())
    return empty()


@routes.route("/v1/runs/<ulid:run_id>/requeue", methods=["POST"])
@needs(Scope.WRITE)
@routes.doc(responses={200: {"description": "It goes on from its memoised steps"}})
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(409, schema=ErrorShape, description="It did not fail for a dead job")
def requeue_run(run_id: str) -> Response:
    """Let a run go on that failed because its workers were lost too often."""
    requeue(current_server().parts, check_ulid("run_id", run_id), actor())
    return empty()


@routes.route("/v1/runs/<ulid:run_id>/rerun", methods=["POST"])
@needs(Scope.WRITE)
@routes.arguments(RerunBody, location="json", required=False)
@routes.response(200, enveloped(StartedShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape, description="There is no such run, or it has no such step")
@routes.alt_response(409, schema=ErrorShape, description="Its function or its events are gone; no other input is taken")
def rerun_run(body: Mapping[str, Any], run_id: str) -> Response:
    """Start a new run of the same function with the same events, from its beginning or from one of its steps."""
    parts = current_server().parts
    return envelope({"run_id": rerun(parts, check_ulid("run_id", run_id), from_step_of(body), actor())})


@routes.route("/v0/runs/<ulid:run_id>", methods=["DELETE"])
@needs(Scope.WRITE)
@routes.response(204, description="Cancelled")
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape, description="Unknown, or cancelled before")
@routes.alt_response(409, schema=ErrorShape, description="Ended before")
def cancel_live_run(run_id: str) -> Response:
    """Cancel a run that is not over."""
    parts = current_server().parts
    if cancel(parts, check_ulid("run_id", run_id), _REASON, actor()):
        return empty(204)
    with parts.database.read() as conn:
        run = _run(conn, run_id)
    if run.status is Status.CANCELLED:
        raise NotFoundError(f"the run {run.id} was cancelled before")
    raise ConflictError(f"the run {run.id} has ended: it is {run.status.value}")


def _run(conn: Connection, run_id: str) -> StoredRun:
    run = runs.get(conn, check_ulid("run_id", run_id))
    if run is None:
        raise NotFoundError(f"there is no run {run_id}")
    return run
