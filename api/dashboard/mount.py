"""Put the dashboard into the app."""

from __future__ import annotations

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from orchestrator.api.dashboard import (
    apps,
    bulk,
    events,
    functions,
    login,
    overview,
    problems,
    queue,
    run,
    runs,
    static_files,
    users,
    visitor,
)
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.templating import protect
from orchestrator.api.dashboard.visitor import KEY, Doors
from orchestrator.api.errors import http_error

#: Each declares its routes when it is imported.
PAGES = (apps, bulk, events, functions, login, overview, problems, queue, run, runs, static_files, users)

routes.blueprint.before_request(visitor.admit)
routes.blueprint.after_request(protect)


def mount(app: Flask, doors: Doors) -> None:
    """Serve the dashboard."""
    app.extensions[KEY] = doors
    app.register_blueprint(routes.blueprint)
    app.register_error_handler(404, _nowhere)


def _nowhere(error: HTTPException) -> Response:
    """A path that leads nowhere: a page for people, JSON for programs."""
    return protect(problems.missing()) if problems.wants_page() else http_error(error)
