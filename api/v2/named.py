"""The things that a path of /v2 names.  What is not there is a `NotFoundError`."""

from __future__ import annotations

from orchestrator.api.routing import check_ulid
from orchestrator.api.v2.render import app_id
from orchestrator.errors import NotFoundError
from orchestrator.store import events, functions, search
from orchestrator.store.database import Connection
from orchestrator.store.functions import App, StoredFunction
from orchestrator.store.search import RunRow

_SHOWN = 200


def the_run(conn: Connection, run_id: str) -> RunRow:
    """The run with an id."""
    found = search.row(conn, check_ulid("run_id", run_id))
    if found is None:
        raise NotFoundError(f"there is no run {run_id}")
    return found


def the_event(conn: Connection, event_id: str) -> str:
    """The canonical id of an event that there is."""
    canonical = check_ulid("event_id", event_id)
    if events.get(conn, canonical) is None:
        raise NotFoundError(f"there is no event {event_id}")
    return canonical


def the_app(conn: Connection, named: str) -> App:
    """The app in service with a name, or with an id."""
    found = next((app for app in functions.all_apps(conn) if named in (app_id(app), app.id)), None)
    if found is None:
        raise NotFoundError(f"there is no app {named[:_SHOWN]}")
    return found


def the_function(conn: Connection, app: App, named: str) -> StoredFunction:
    """The function of an app by its id within the app, by its whole slug, or by its UUID."""
    of_app = {function.slug: function for function in functions.functions_of(conn, app.id)}
    found = of_app.get(f"{app.name}-{named}") or of_app.get(named)
    found = found or next((it for it in of_app.values() if it.id == named), None)
    if found is None:
        raise NotFoundError(f"the app {app_id(app)[:_SHOWN]} has no function {named[:_SHOWN]}")
    return found
