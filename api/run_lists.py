"""Lists of runs: those that are looked for, and the jobs of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import Response

from orchestrator.api.access import needs
from orchestrator.api.answers import envelope, paged
from orchestrator.api.current import current_server
from orchestrator.api.render import listed_run_shape, run_job_shape
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.run_queries import RunsQuery
from orchestrator.api.run_schemas import ListedRunShape, RunJobShape
from orchestrator.api.schemas import ErrorShape, enveloped, paginated
from orchestrator.core.effect import Status
from orchestrator.core.scope import Scope
from orchestrator.engine.search import search_runs
from orchestrator.errors import NotFoundError
from orchestrator.store import functions, run_jobs, runs, search
from orchestrator.store.database import Connection
from orchestrator.store.filters import RunFilter, RunOrder, TimeField

routes = blueprint("run lists", "Runs, looked for.")


@routes.route("/v1/runs")
@needs(Scope.READ)
@routes.arguments(RunsQuery, location="query", as_kwargs=True)
@routes.response(200, paginated(ListedRunShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape, description="There is no such function or app")
def list_runs(limit: int, include_output: bool, cursor: str | None = None, **asked: object) -> Response:
    """List runs by time, status, function, app and a condition, a page at a time."""
    with current_server().parts.database.read() as conn:
        page = search_runs(conn, _filter(conn, **asked), _order(**asked), cursor, limit)  # type: ignore[arg-type]
        outputs = search.outputs(conn, [row.id for row in page.items]) if include_output else None
    return paged([listed_run_shape(row, outputs) for row in page.items], page)


@routes.route("/v1/runs/<ulid:run_id>/jobs")
@needs(Scope.READ)
@routes.response(200, enveloped(RunJobShape, many=True))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def list_jobs_of_run(run_id: str) -> Response:
    """List what is to be done for a run, now or later."""
    parts, known = current_server().parts, check_ulid("run_id", run_id)
    with parts.database.read() as conn:
        if runs.get(conn, known) is None:
            raise NotFoundError(f"there is no run {run_id}")
        found = run_jobs.of_run(conn, known, parts.clock.now())
    return envelope([run_job_shape(job) for job in found])


def _filter(
    conn: Connection,
    status: Sequence[str] = (),
    function: Sequence[str] = (),
    app: Sequence[str] = (),
    event_name: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    time_field: str = "queued_at",
    query: str | None = None,
    failure: str | None = None,
    **_: object,
) -> RunFilter:
    return RunFilter(
        since,
        until,
        _field(time_field),
        tuple(Status(it) for it in status),
        tuple(_function(conn, it) for it in function),
        tuple(_app(conn, it) for it in app),
        event_name,
        query=query,
        failure=failure,
    )


def _order(order_by: str = "queued_at", order: str = "desc", **_: object) -> RunOrder:
    return RunOrder(_field(order_by), order == "desc")


def _field(name: str) -> TimeField:
    return TimeField(name.removesuffix("_at"))


def _function(conn: Connection, name: str) -> str:
    found = functions.function(conn, name)
    if found is None:
        raise NotFoundError(f"there is no function {name}")
    return found.id


def _app(conn: Connection, name: str) -> str:
    found = functions.app_by_name(conn, name) or functions.app_by_id(conn, name)
    if found is None:
        raise NotFoundError(f"there is no app {name}")
    return found.id
