"""The list of runs: what is asked for stands in the address, so that a list can be kept and passed on."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import ROWS, SPANS, address, mark
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.run_filters import Wanted
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor, safe_next
from orchestrator.api.routing import check_ulid
from orchestrator.core.effect import Status
from orchestrator.engine.cancel import cancel
from orchestrator.engine.rerun import rerun
from orchestrator.engine.search import count_runs, search_runs
from orchestrator.errors import ConflictError, NotFoundError, RequestError
from orchestrator.store import functions
from orchestrator.store.database import Connection
from orchestrator.store.filters import Count, Page
from orchestrator.store.search import RunRow

#: Counting goes no further.
_MOST_COUNTED = 1_000
#: Runs that are acted on at once by hand.
_MOST_CHOSEN = ROWS


@routes.page("/runs")
def show_runs() -> Response:
    """Show the newest runs that are asked for."""
    wanted = Wanted.read()
    with current_server().parts.database.read() as conn:
        known, apps = functions.functions_of(conn), functions.all_apps(conn)
        found, error = _found(conn, wanted)
        count = count_runs(conn, wanted.filter(conn), _MOST_COUNTED)
    return page(
        "runs.html",
        400 if error else 200,
        wanted=wanted,
        functions=known,
        apps=apps,
        statuses=list(Status),
        spans=SPANS,
        error=error,
        **_list(wanted, found, count),
    )


@routes.page("/runs/list")
def list_runs() -> Response:
    """The list alone, for a page that is open: nothing where nothing changed."""
    wanted = Wanted.read()
    with current_server().parts.database.read() as conn:
        found, error = _found(conn, wanted)
        if error or mark(found.items) == request.args.get("seen"):
            return nothing_new()
        count = count_runs(conn, wanted.filter(conn), _MOST_COUNTED)
    return page("runs_list.html", wanted=wanted, **_list(wanted, found, count))


@routes.action("/runs/cancel")
def cancel_runs() -> Response:
    """Cancel the runs that were chosen; those that have ended stay as they are."""
    run_ids = _chosen()
    left = len(run_ids) - sum(_cancelled(run_id) for run_id in run_ids)
    return go(_back(), f"Cancelled {_runs(len(run_ids) - left)}" + (f"; {left} had ended before" if left else ""))


@routes.action("/runs/rerun")
def rerun_runs() -> Response:
    """Run again what the runs that were chosen did; one that cannot be is passed over, and told."""
    made, refused = list[str](), list[ConflictError | NotFoundError]()
    for run_id in _chosen():
        try:
            made.append(rerun(current_server().parts, run_id, actor=actor()))
        except (ConflictError, NotFoundError) as error:
            refused.append(error)
    if not made:
        raise refused[0]
    told = f"; {len(refused)} could not be: {refused[0].message}" if refused else ""
    path = f"/runs/{made[0]}" if len(made) == 1 else "/runs"
    return go(path, f"Began {_runs(len(made))} anew{told}", bad=bool(refused))


def _cancelled(run_id: str) -> bool:
    """Cancel one run; False: it had ended before, and may be gone by now."""
    reason = f"cancelled by {actor() or 'the dashboard'}"
    try:
        return cancel(current_server().parts, run_id, reason, actor())
    except NotFoundError:
        return False


def _found(conn: Connection, wanted: Wanted) -> tuple[Page[RunRow], str]:
    """The runs, and what is wrong with what is asked for."""
    try:
        return search_runs(conn, wanted.filter(conn), wanted.order, wanted.after or None, ROWS), ""
    except RequestError as error:
        return Page((), (), False, None), error.message


def _list(wanted: Wanted, found: Page[RunRow], count: Count) -> dict[str, Any]:
    args = request.args.copy()
    args.poplist("seen")
    return {
        "found": found,
        "count": count,
        "here": address("/runs", args),
        "bulk": address("/runs/bulk", args, after=""),
        "poll": address("/runs/list", args, seen=mark(found.items)),
        "first": address("/runs", args, after="") if wanted.after else "",
        "older": address("/runs", args, after=found.end_cursor or "") if found.has_next else "",
    }


def _chosen() -> list[str]:
    chosen = [check_ulid("run", it) for it in request.form.getlist("run")]
    if not 1 <= len(chosen) <= _MOST_CHOSEN:
        raise RequestError(f"choose 1 to {_MOST_CHOSEN} runs")
    return chosen


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def _back() -> str:
    here = safe_next(request.form.get("here", ""))
    return here if here == "/runs" or here.startswith("/runs?") else "/runs"
