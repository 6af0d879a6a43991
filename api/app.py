"""The Flask app, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Flask, Request, Response, request

from orchestrator import __version__
from orchestrator.api import apps, cancellations, checkpoint, dev, events, jobs, runs, signals, state, sync, telemetry
from orchestrator.api.cors import cors_headers
from orchestrator.api.current import Server, current_server, install
from orchestrator.api.errors import register_errors
from orchestrator.api.openapi import make_api
from orchestrator.api.ready import Readiness
from orchestrator.engine.parts import Parts

#: Open to everybody: whether the server is up and ready, and how to talk to it.
_OPEN = frozenset({"server.health", "server.ready", "api-docs.openapi_json"})
_GROUPS = (
    events.routes,
    runs.routes,
    jobs.routes,
    cancellations.routes,
    signals.routes,
    apps.routes,
    sync.routes,
    state.routes,
    checkpoint.routes,
    telemetry.routes,
    dev.routes,
)


def create_app(
    parts: Parts,
    *,
    server_kind: str = "dev",
    authorize: Callable[[Request], None] | None = None,
    version: str = __version__,
    start_options: Mapping[str, object] | None = None,
    max_request_bytes: int = 16 * 1024 * 1024,
    readiness: Readiness | None = None,
) -> Flask:
    """Make the app that serves everything but `/e/`.

    `authorize` raises `UnauthorizedError` for a request that may not pass, and is asked before every view but the open
    ones; None: nobody is asked for anything, as in development.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_request_bytes
    ready = readiness or Readiness(parts)
    install(app, Server(parts, server_kind, version, ready, authorize, max_request_bytes, start_options or {}))
    api = make_api(app, version, guarded=authorize is not None)
    for group in _GROUPS:
        api.register_blueprint(group)
    register_errors(app)
    app.before_request(_admit)
    app.after_request(_sign)
    return app


def _admit() -> None:
    """Ask for the credential.  Paths that lead nowhere need none, and browsers ask for leave (OPTIONS) without it."""
    authorize = current_server().authorize
    if authorize is None or request.endpoint is None or request.endpoint in _OPEN or request.method == "OPTIONS":
        return
    authorize(request)


def _sign(response: Response) -> Response:
    """Say on every answer what kind of server this is, and that pages of any origin may read it."""
    response.headers.extend(cors_headers())
    response.headers["X-Inngest-Server-Kind"] = current_server().kind
    return response
