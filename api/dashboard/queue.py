"""The queue: how far behind it is and why, who works, how database and broker are, and what was given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import ROWS, mark, text
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor, safe_next
from orchestrator.api.schemas import MAX_JOB
from orchestrator.engine.dead import MOST, Requeued, delete_job, requeue_jobs, requeue_oldest
from orchestrator.engine.survey import Survey, Surveyor
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.store import backlog, dead
from orchestrator.store.backlog import MOST as MOST_COUNTED
from orchestrator.store.dead import DeadJob
from orchestrator.store.filters import Count

#: Milliseconds between two looks of an open page.
EVERY = 3_000
#: Functions, and dead jobs, that the page shows of all.
_LINES, _DEAD = 50, 5


@dataclass(frozen=True, slots=True)
class Sight:
    """What the page shows; `away` is what is wrong with a database that cannot be asked."""

    survey: Survey | None
    dead: list[DeadJob]
    away: str = ""


@routes.page("/queue")
def show_queue() -> Response:
    """Show what there is to do, and who does it."""
    surveyor = current_server().surveyor
    sight = _sight(surveyor, fresh=True)
    return page("queue.html", 503 if sight.away else 200, **_shown(sight, surveyor))


@routes.page("/queue/live")
def watch_queue() -> Response:
    """The same for a page that is open: nothing where nothing changed."""
    surveyor = current_server().surveyor
    shown = _shown(_sight(surveyor, fresh=False), surveyor)
    if shown["seen"] == request.args.get("seen"):
        return nothing_new()
    return page("queue_live.html", **shown)


@routes.page("/queue/dead")
def show_dead() -> Response:
    """List the jobs that were given up, the newest first."""
    before = _number("before", text(request.args, "before")) if text(request.args, "before") else None
    with current_server().parts.database.read() as conn:
        found = dead.page(conn, limit=ROWS + 1, before=before)
        counted = backlog.dead(conn)
    shown = found[:ROWS]
    return page(
        "dead.html",
        jobs=shown,
        count=Count(min(counted, MOST_COUNTED), counted <= MOST_COUNTED),
        first="/queue/dead" if before is not None else "",
        older=f"/queue/dead?before={shown[-1].id}" if len(found) > ROWS else "",
        most=MOST,
    )


@routes.action("/queue/dead/requeue")
def requeue_chosen() -> Response:
    """Let the dead jobs that were chosen be done after all."""
    chosen = [_number("job", it) for it in request.form.getlist("job")]
    if not 1 <= len(chosen) <= ROWS:
        raise RequestError(f"choose 1 to {ROWS} jobs")
    return go(_back(), _told(requeue_jobs(current_server().parts, chosen, actor())))


@routes.action("/queue/dead/requeue-oldest")
def requeue_many() -> Response:
    """Let those be done after all that were given up first, as many as one request may."""
    parts = current_server().parts
    came = requeue_oldest(parts, actor())
    with parts.database.read() as conn:
        left = backlog.dead(conn)
    return go("/queue/dead", f"{_told(came)}. {_jobs(min(left, MOST_COUNTED))} left")


@routes.action("/queue/dead/delete")
def delete_dead() -> Response:
    """Give a dead job up for good."""
    job_id = _number("job", request.form.get("job", ""))
    delete_job(current_server().parts, job_id, actor())
    return go(_back(), f"Job {job_id} is deleted")


def _sight(surveyor: Surveyor, *, fresh: bool) -> Sight:
    server = current_server()
    away = server.readiness.wait()
    if away is not None:
        return Sight(None, [], away)
    survey = surveyor.survey() if fresh else surveyor.lately()
    with server.parts.database.read() as conn:
        return Sight(survey, dead.page(conn, limit=_DEAD) if survey.dead.number else [])


def _shown(sight: Sight, surveyor: Surveyor) -> dict[str, Any]:
    survey = sight.survey
    broker = survey.broker if survey is not None else surveyor.broker()
    told = (survey.lines, survey.waits, survey.workers, survey.database, _numbers(survey)) if survey else ()
    seen = mark([told, broker, sight.dead, sight.away])
    return {
        "survey": survey,
        "broker": broker,
        "dead": sight.dead,
        "away": sight.away,
        "lines": survey.lines[:_LINES] if survey is not None else (),
        "most": MOST,
        "seen": seen,
        "poll": f"/queue/live?seen={seen}",
        "every": EVERY,
    }


def _numbers(survey: Survey) -> tuple[object, ...]:
    counts = (survey.due, survey.working, survey.parked, survey.held, survey.later, survey.dead)
    return (*counts, survey.oldest_due_at)


def _number(name: str, given: str) -> int:
    """A number that a job can have: databases choke on larger ones."""
    if not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise RequestError(f"{name} must be the number of a job, not {given[:40]}")
    if int(given) > MAX_JOB:
        raise NotFoundError(f"there is no dead job {given}")
    return int(given)


def _told(came: Requeued) -> str:
    told = f"Requeued {_jobs(came.done)}"
    if came.gone:
        told += f"; {came.gone} {'was' if came.gone == 1 else 'were'} dead no more"
    if came.refused:
        told += f"; {len(came.refused)} could not be: {came.refused[0]}"
    return told


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _back() -> str:
    here = safe_next(request.form.get("here", ""))
    return here if here == "/queue" or here.startswith("/queue/dead") else "/queue/dead"
