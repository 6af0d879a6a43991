"""The Flask app, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask import Flask, Request, Response, request

from orchestrator import __version__
from orchestrator.api import (
    apps,
    bulk,
    cancellations,
    checkpoint,
    dev,
    endpoints,
    events,
    invoke,
    jobs,
    queue,
    run_lists,
    runs,
    signals,
    state,
    stats,
    sync,
    telemetry,
    tokens,
)
from orchestrator.api.access import Credential, admit
from orchestrator.api.cors import cors_headers
from orchestrator.api.current import Server, current_server, install
from orchestrator.api.dashboard.mount import mount
from orchestrator.api.dashboard.pages import is_page
from orchestrator.api.dashboard.visitor import Doors
from orchestrator.api.errors import register_errors
from orchestrator.api.graphql import routes as graphql
from orchestrator.api.openapi import make_api
from orchestrator.api.outputs import OutputTokens
from orchestrator.api.ready import Readiness
from orchestrator.api.reference import routes as reference
from orchestrator.api.v2 import GROUPS as SECOND_GENERATION
from orchestrator.api.v2 import unprefixed
from orchestrator.core.event import Event
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.keyring import Keyring
from orchestrator.engine.parts import Parts
from orchestrator.engine.survey import Surveyor
from orchestrator.protocol.events import EventLimits

_GROUPS = (
    events.routes,
    invoke.routes,
    runs.routes,
    run_lists.routes,
    jobs.routes,
    queue.routes,
    cancellations.routes,
    bulk.routes,
    signals.routes,
    apps.routes,
    sync.routes,
    state.routes,
    stats.routes,
    checkpoint.routes,
    endpoints.routes,
    telemetry.routes,
    graphql.routes,
    tokens.routes,
    dev.routes,
    *SECOND_GENERATION,
    reference.routes,
)


def create_app(
    parts: Parts,
    *,
    server_kind: str = "dev",
    authorize: Callable[[Request], Credential | None] | None = None,
    version: str = __version__,
    start_options: Mapping[str, object] | None = None,
    max_request_bytes: int = 16 * 1024 * 1024,
    readiness: Readiness | None = None,
    doors: Doors | None = None,
    keyring: Keyring | None = None,
    accept: Callable[[Sequence[Event]], list[str]] | None = None,
    event_limits: EventLimits | None = None,
    outputs: OutputTokens | None = None,
) -> Flask:
    """Make the app that serves everything but `/e/`.

    `authorize` raises `UnauthorizedError` for a request that may not pass, and tells else who asks (None: somebody who
    may do everything).  It is asked before every view but the open ones; where there is none, nobody is asked for
    anything, as in development.  The dashboard asks for itself: `doors` says how it is entered; None: there is none.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_request_bytes
    server = Server(
        parts,
        server_kind,
        version,
        readiness or Readiness(parts),
        keyring or Keyring(parts),
        accept or Ingest(parts).accept,
        Surveyor(parts),
        authorize,
        event_limits or EventLimits(),
        max_request_bytes,
        start_options or {},
        outputs or OutputTokens(()),
    )
    install(app, server)
    api = make_api(app, version, guarded=authorize is not None)
    for group in _GROUPS:
        api.register_blueprint(group)
    register_errors(app)
    if doors is not None:
        mount(app, doors)
    app.wsgi_app = unprefixed(app.wsgi_app)  # type: ignore[assignment,method-assign]  # as Flask's documents advise
    app.before_request(_admit)
    app.after_request(_sign)
    return app


def _admit() -> None:
    """Ask for the credential that the route needs."""
    authorize = current_server().authorize
    if authorize is not None:
        admit(authorize)


def _sign(response: Response) -> Response:
    """Say on every answer what kind of server this is, and that pages of any origin may read it."""
    if is_page(request):
        return response
    response.headers.extend(cors_headers())
    response.headers["X-Inngest-Server-Kind"] = current_server().kind
    return response
