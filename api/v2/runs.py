"""Runs: lists, one with its trace, stopping one, running one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request

from orchestrator.api.access import actor, needs
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.render import Shape, moment
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.v2.answers import ListPage, cut, listed, one
from orchestrator.api.v2.named import the_app, the_event, the_function, the_run
from orchestrator.api.v2.queries import OutputQuery, RunsQuery, time_field
from orchestrator.api.v2.render import output_of, run_shape, span_shape
from orchestrator.api.v2.shapes import ErrorsShape, RunIdShape, RunV2Shape, TraceShape, one_of, page_of
from orchestrator.core.scope import Scope
from orchestrator.engine import search as searching
from orchestrator.engine.cancel import cancel
from orchestrator.engine.rerun import FromStep, rerun
from orchestrator.engine.trace import trace
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.protocol.order import read_rerun
from orchestrator.store import batches, search
from orchestrator.store.database import Connection
from orchestrator.store.filters import RunFilter, RunOrder
from orchestrator.store.functions import App, StoredFunction
from orchestrator.store.search import RunRow

routes = blueprint("runs (v2)", "Runs.", ErrorsShape)

_REASON = "cancelled through the API"
_RERUN = {
    "description": "Where to begin: at a step by its id or name, with other arguments; nothing: at the beginning",
    "required": False,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "fromStep": {
                        "type": ["object", "null"],
                        "required": ["stepId"],
                        "properties": {
                            "stepId": {"type": "string", "minLength": 1},
                            "input": {"type": ["array", "null"]},
                        },
                    }
                },
            }
        }
    },
}


class EndedError(ConflictError):
    """The run has ended."""

    code = "run_already_ended"


@routes.route("/v2/runs")
@needs(Scope.READ)
@routes.arguments(RunsQuery, location="query")
@routes.response(200, page_of(RunV2Shape))
@routes.alt_response(404, schema=ErrorsShape)
def search_runs(query: Mapping[str, Any]) -> Response:
    """List runs, the newest first if nothing else is asked for."""
    with current_server().parts.database.read() as conn:
        app = the_app(conn, query["app_id"]) if query["app_id"] is not None else None
        return listed(_search(conn, query, app))


@routes.route("/v2/apps/<app_id>/functions/<function_id>/runs")
@needs(Scope.READ)
@routes.arguments(RunsQuery(exclude=["app_id"]), location="query")
@routes.response(200, page_of(RunV2Shape))
@routes.alt_response(404, schema=ErrorsShape)
def list_runs_of_function(query: Mapping[str, Any], app_id: str, function_id: str) -> Response:
    """List the runs of a function."""
    with current_server().parts.database.read() as conn:
        app = the_app(conn, app_id)
        return listed(_search(conn, query, app, the_function(conn, app, function_id)))


@routes.route("/v2/events/<ulid:event_id>/runs")
@needs(Scope.READ)
@routes.arguments(OutputQuery, location="query", as_kwargs=True)
@routes.response(200, page_of(RunV2Shape))
@routes.alt_response(404, schema=ErrorsShape)
def list_started_runs(event_id: str, limit: int, cursor: str | None, include_output: bool) -> Response:
    """List the runs that an event started, the oldest first."""
    with current_server().parts.database.read() as conn:
        found = search.runs_of_event(conn, the_event(conn, event_id))
        shown, following = cut(found, [run.id for run in found], cursor, limit)
        return listed(ListPage(_shapes(conn, shown, outputs=include_output), limit, following))


@routes.route("/v2/runs/<ulid:run_id>")
@needs(Scope.READ)
@routes.response(200, one_of(RunV2Shape))
@routes.alt_response(400, schema=ErrorsShape)
@routes.alt_response(404, schema=ErrorsShape)
def show_run(run_id: str) -> Response:
    """Show one run with what it came to."""
    with current_server().parts.database.read() as conn:
        return one(_shapes(conn, [the_run(conn, run_id)], outputs=True)[0])


@routes.route("/v2/runs/<ulid:run_id>/trace")
@needs(Scope.READ)
@routes.response(200, one_of(TraceShape))
@routes.alt_response(400, schema=ErrorsShape)
@routes.alt_response(404, schema=ErrorsShape)
def show_trace(run_id: str) -> Response:
    """Show a run as a tree: its steps, and what was tried more than once."""
    with current_server().parts.database.read() as conn:
        found = trace(conn, check_ulid("run_id", run_id))
    if found is None:
        raise NotFoundError(f"there is no run {run_id}")
    return one({"rootSpan": span_shape(found.root), "truncated": found.truncated})


@routes.route("/v2/runs/<ulid:run_id>/cancel", methods=["POST"])
@needs(Scope.WRITE)
@routes.response(200, one_of(RunV2Shape))
@routes.alt_response(400, schema=ErrorsShape)
@routes.alt_response(404, schema=ErrorsShape)
@routes.alt_response(409, schema=ErrorsShape, description="It has ended")
def stop_run(run_id: str) -> Response:
    """Cancel a run that is not over."""
    parts = current_server().parts
    cancelled = cancel(parts, check_ulid("run_id", run_id), _REASON, actor())
    with parts.database.read() as conn:
        run = the_run(conn, run_id)
        if not cancelled:
            raise EndedError(f"the run {run.id} has ended: it is {run.status.value}")
        return one(_shapes(conn, [run], outputs=False)[0])


@routes.route("/v2/runs/<ulid:run_id>/rerun", methods=["POST"])
@needs(Scope.WRITE)
@routes.doc(requestBody=_RERUN)
@routes.response(200, one_of(RunIdShape))
@routes.alt_response(400, schema=ErrorsShape)
@routes.alt_response(404, schema=ErrorsShape, description="There is no such run, or no such step")
@routes.alt_response(409, schema=ErrorsShape, description="What it needs is gone")
@routes.alt_response(413, schema=ErrorsShape)
def run_again(run_id: str) -> Response:
    """Run again what a run did, from its beginning or from a step; asked twice it makes two runs."""
    server = current_server()
    wanted = read_rerun(read_body(request.environ, server.max_request_bytes))
    step = FromStep(wanted.step, wanted.input) if wanted.step is not None else None
    return one({"runId": rerun(server.parts, check_ulid("run_id", run_id), step, actor())})


def _search(
    conn: Connection, query: Mapping[str, Any], app: App | None, function: StoredFunction | None = None
) -> ListPage:
    field = time_field(query["time_field"])
    wanted = RunFilter(
        since=query["since"],
        until=query["until"],
        time_field=field,
        statuses=query["status"],
        app_ids=(app.id,) if app is not None else (),
        function_ids=(function.id,) if function is not None else (),
        query=query["query"],
    )
    order = RunOrder(field, descending=query["order"] == "desc")
    page = searching.search_runs(conn, wanted, order, query["cursor"], query["limit"])
    shapes = _shapes(conn, page.items, outputs=query["include_output"])
    told = {"scannedUntil": moment(page.scanned_until), "queryError": page.error}
    return ListPage(shapes, query["limit"], page.end_cursor if page.has_next else None, told)


def _shapes(conn: Connection, found: Sequence[RunRow], *, outputs: bool) -> list[Shape]:
    together = batches.event_ids_of(conn, [run.batch_id for run in found if run.batch_id is not None])
    came_to = search.outputs(conn, [run.id for run in found]) if outputs else {}
    return [run_shape(run, together.get(run.batch_id or "", [run.event_id])) | output_of(run, came_to) for run in found]
