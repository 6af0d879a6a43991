"""Jobs that were given up: what they were about, why, and what an operator may do with them."""

from __future__ import annotations

from flask import Response

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import empty, envelope
from orchestrator.api.current import current_server
from orchestrator.api.render import dead_job_shape
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import MAX_JOB, ErrorShape, JobShape, JobsQuery, enveloped
from orchestrator.core.scope import Scope
from orchestrator.engine.dead import delete_job, requeue_job
from orchestrator.errors import NotFoundError
from orchestrator.store import dead

routes = blueprint("jobs", "Jobs that were given up.")


@routes.route("/v1/jobs")
@needs(Scope.READ)
@routes.arguments(JobsQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(JobShape, many=True))
@routes.alt_response(400, schema=ErrorShape)
def list_jobs(limit: int, state: str, cursor: int | None = None) -> Response:
    """List the dead jobs, the newest first, each with its reason."""
    del state  # The query takes no other.
    with current_server().parts.database.read() as conn:
        found = dead.page(conn, limit=limit, before=cursor)
    return envelope([dead_job_shape(job) for job in found])


@routes.route("/v1/jobs/<int:job_id>")
@needs(Scope.READ)
@routes.response(200, enveloped(JobShape))
@routes.alt_response(404, schema=ErrorShape)
def get_job(job_id: int) -> Response:
    """Show one dead job."""
    with current_server().parts.database.read() as conn:
        job = dead.get(conn, _known(job_id))
    if job is None:
        raise NotFoundError(f"there is no dead job {job_id}")
    return envelope(dead_job_shape(job))


@routes.route("/v1/jobs/<int:job_id>/requeue", methods=["POST"])
@needs(Scope.WRITE)
@routes.doc(responses={200: {"description": "It is done after all; a run goes on from its memoised steps"}})
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(409, schema=ErrorShape, description="Its run did not fail for it")
def requeue_dead_job(job_id: int) -> Response:
    """Let a dead job be done after all."""
    requeue_job(current_server().parts, _known(job_id), actor())
    return empty()


@routes.route("/v1/jobs/<int:job_id>", methods=["DELETE"])
@needs(Scope.WRITE)
@routes.doc(responses={200: {"description": "It will never be done"}})
@routes.alt_response(404, schema=ErrorShape)
def delete_dead_job(job_id: int) -> Response:
    """Give a dead job up for good."""
    delete_job(current_server().parts, _known(job_id), actor())
    return empty()


def _known(job_id: int) -> int:
    """A number that a job can have: databases choke on larger ones."""
    if job_id > MAX_JOB:
        raise NotFoundError(f"there is no dead job {job_id}")
    return job_id
