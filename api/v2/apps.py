"""Apps and functions: lists, syncing an app, invoking a function."""

from __future__ import annotations

from collections import Counter

from flask import Response, request

from orchestrator.api.access import actor, needs
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.invoke import BODY as INVOKE
from orchestrator.api.routing import blueprint
from orchestrator.api.v2.answers import ListPage, cut, lean, listed, one
from orchestrator.api.v2.named import the_app, the_function
from orchestrator.api.v2.queries import PageQuery
from orchestrator.api.v2.render import app_id as id_of
from orchestrator.api.v2.render import app_shape, function_shape
from orchestrator.api.v2.shapes import (
    AppV2Shape,
    ErrorsShape,
    FunctionV2Shape,
    RunIdShape,
    SyncBody,
    SyncShape,
    one_of,
    page_of,
)
from orchestrator.core.scope import Scope
from orchestrator.engine.invoke import invoke_once
from orchestrator.engine.sync import SyncedApp, sync_now
from orchestrator.ids import new_ulid
from orchestrator.protocol.fields import Field
from orchestrator.protocol.function_config import read_url
from orchestrator.protocol.order import read_invoke
from orchestrator.store import allowances, functions

routes = blueprint("apps (v2)", "Apps and their functions.", ErrorsShape)


@routes.route("/v2/apps")
@needs(Scope.READ)
@routes.arguments(PageQuery, location="query", as_kwargs=True)
@routes.response(200, page_of(AppV2Shape))
def show_apps(limit: int, cursor: str | None) -> Response:
    """List the apps, those included that were added by URL and have not been synced yet."""
    with current_server().parts.database.read() as conn:
        found = sorted(functions.all_apps(conn), key=id_of)
        count = Counter(function.app_id for function in functions.functions_of(conn))
    shown, following = cut(found, [id_of(app) for app in found], cursor, limit)
    return listed(ListPage([app_shape(app, count[app.id]) for app in shown], limit, following))


@routes.route("/v2/apps/<app_id>")
@needs(Scope.READ)
@routes.response(200, one_of(AppV2Shape))
@routes.alt_response(404, schema=ErrorsShape)
def show_app(app_id: str) -> Response:
    """Show one app."""
    with current_server().parts.database.read() as conn:
        app = the_app(conn, app_id)
        return one(app_shape(app, len(functions.functions_of(conn, app.id))))


@routes.route("/v2/apps/<app_id>/syncs", methods=["POST"])
@needs(Scope.APPS)
@routes.arguments(SyncBody, location="json", as_kwargs=True, required=False)
@routes.response(200, one_of(SyncShape))
@routes.alt_response(404, schema=ErrorsShape, description="There is no such app, and no URL was given")
@routes.alt_response(413, schema=ErrorsShape)
def sync_app(app_id: str, url: str | None = None) -> Response:
    """Ask an app for its functions; one that is not known yet is asked at the URL."""
    parts = current_server().parts
    if url is None:
        with parts.database.read() as conn:
            url = the_app(conn, app_id).url
    return one(_sync(sync_now(parts, read_url(Field("the request", "url", url)), actor())))


@routes.route("/v2/apps/<app_id>/functions")
@needs(Scope.READ)
@routes.arguments(PageQuery, location="query", as_kwargs=True)
@routes.response(200, page_of(FunctionV2Shape))
@routes.alt_response(404, schema=ErrorsShape)
def show_functions(app_id: str, limit: int, cursor: str | None) -> Response:
    """List the functions of an app."""
    with current_server().parts.database.read() as conn:
        app = the_app(conn, app_id)
        found = sorted(functions.functions_of(conn, app.id), key=lambda function: function.slug)
        shown, following = cut(found, [function.slug for function in found], cursor, limit)
        limits = allowances.of_each(conn, [function.id for function in shown])
    shapes = [function_shape(function, app, limits.get(function.id, ())) for function in shown]
    return listed(ListPage(shapes, limit, following))


@routes.route("/v2/apps/<app_id>/functions/<function_id>")
@needs(Scope.READ)
@routes.response(200, one_of(FunctionV2Shape))
@routes.alt_response(404, schema=ErrorsShape)
def show_function(app_id: str, function_id: str) -> Response:
    """Show one function of an app."""
    with current_server().parts.database.read() as conn:
        app = the_app(conn, app_id)
        function = the_function(conn, app, function_id)
        return one(function_shape(function, app, allowances.of_function(conn, function.id)))


@routes.route("/v2/apps/<app_id>/functions/<function_id>/invoke", methods=["POST"])
@needs(Scope.WRITE)
@routes.doc(requestBody=INVOKE)
@routes.response(200, one_of(RunIdShape))
@routes.alt_response(400, schema=ErrorsShape)
@routes.alt_response(404, schema=ErrorsShape)
@routes.alt_response(413, schema=ErrorsShape)
def invoke_function(app_id: str, function_id: str) -> Response:
    """Start a function, whatever its triggers; the run is there a moment after its id."""
    server = current_server()
    body = read_body(request.environ, server.max_request_bytes)
    wanted = read_invoke(body, server.parts.clock.now(), server.event_limits)
    with server.parts.database.read() as conn:
        function = the_function(conn, the_app(conn, app_id), function_id)
    return one({"runId": invoke_once(server.parts, function.slug, wanted.data, wanted.key, actor())})


def _sync(came_to: SyncedApp) -> dict[str, object]:
    status = "error" if came_to.error is not None else "success" if came_to.modified else "duplicate"
    app = came_to.app
    return lean(
        {"id": new_ulid(), "status": status, "appId": id_of(app) if app is not None else None, "error": came_to.error}
    )
