"""Apps and their functions."""

from __future__ import annotations

from collections import Counter

from flask import Response

from orchestrator.api.answers import envelope, plain
from orchestrator.api.current import current_server
from orchestrator.api.render import app_shape, function_shape
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import AppShape, ErrorShape, FunctionBody, FunctionShape, enveloped
from orchestrator.engine.hold import pause, resume
from orchestrator.errors import NotFoundError
from orchestrator.store import functions

_ACTOR = "api"

routes = blueprint("apps", "Apps and their functions.")


@routes.route("/v1/apps")
@routes.response(200, enveloped(AppShape, many=True))
def list_apps() -> Response:
    """List the apps, those included that were added by URL and have not been synced yet."""
    with current_server().parts.database.read() as conn:
        apps = functions.all_apps(conn)
        count = Counter(function.app_id for function in functions.functions_of(conn))
    return envelope([app_shape(app, count[app.id]) for app in apps])


@routes.route("/v1/functions/<path:slug>", methods=["PATCH"])
@routes.arguments(FunctionBody, location="json", as_kwargs=True)
@routes.response(200, enveloped(FunctionShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def set_function(wait_look_back: bool, slug: str) -> Response:
    """Set what the SDKs cannot say of a function; it stays through syncs."""
    with current_server().parts.database.write() as conn:
        known = "\0" not in slug and functions.set_wait_look_back(conn, slug, wait_look_back)
        found = functions.function(conn, slug) if known else None
    if found is None:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return envelope(function_shape(found))


@routes.route("/v1/functions/<path:slug>/pause", methods=["POST"])
@routes.response(200, enveloped(FunctionShape))
@routes.alt_response(404, schema=ErrorShape)
def pause_function(slug: str) -> Response:
    """Let a function start no runs; those that have begun go on."""
    return envelope(function_shape(pause(current_server().parts, _plain(slug), _ACTOR)))


@routes.route("/v1/functions/<path:slug>/resume", methods=["POST"])
@routes.response(200, enveloped(FunctionShape))
@routes.alt_response(404, schema=ErrorShape)
def resume_function(slug: str) -> Response:
    """Let a paused function start runs again, those first that were held."""
    return envelope(function_shape(resume(current_server().parts, _plain(slug), _ACTOR)))


@routes.route("/v1/apps/<path:app_name>/functions")
@routes.response(200, FunctionShape(many=True))
@routes.alt_response(404, schema=ErrorShape)
def list_functions(app_name: str) -> Response:
    """List the functions of an app, without an envelope."""
    with current_server().parts.database.read() as conn:
        # Databases refuse a zero byte instead of finding nothing.
        app = functions.app_by_name(conn, app_name) if "\0" not in app_name else None
        if app is None:
            raise NotFoundError(f"there is no app {app_name[:200]}")
        found = functions.functions_of(conn, app.id)
    return plain([function_shape(function) for function in found])


def _plain(slug: str) -> str:
    """Databases refuse a zero byte instead of finding nothing."""
    if "\0" in slug:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return slug
