"""Apps and their functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import envelope, plain
from orchestrator.api.current import current_server
from orchestrator.api.function_schemas import FunctionBody, FunctionShape
from orchestrator.api.render import app_shape, function_shape
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import AppShape, ErrorShape, enveloped
from orchestrator.core.override import Starts
from orchestrator.core.scope import Scope
from orchestrator.engine.hold import pause, resume
from orchestrator.engine.limit import CallsAtOnce, Change, LookBack, StartsWithin, change, starts_of
from orchestrator.errors import NotFoundError
from orchestrator.store import allowances, functions
from orchestrator.store.functions import StoredFunction

routes = blueprint("apps", "Apps and their functions.")


@routes.route("/v1/apps")
@needs(Scope.READ)
@routes.response(200, enveloped(AppShape, many=True))
def list_apps() -> Response:
    """List the apps, those included that were added by URL and have not been synced yet."""
    with current_server().parts.database.read() as conn:
        apps = functions.all_apps(conn)
        count = Counter(function.app_id for function in functions.functions_of(conn))
    return envelope([app_shape(app, count[app.id]) for app in apps])


@routes.route("/v1/functions/<slug:slug>", methods=["PATCH"])
@needs(Scope.WRITE)
@routes.arguments(FunctionBody, location="json")
@routes.response(200, enveloped(FunctionShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def set_function(body: Mapping[str, Any], slug: str) -> Response:
    """Set what the SDKs cannot say of a function, or another number than they say; it stays through syncs."""
    return _told(change(current_server().parts, slug, list(_changes(body)), actor()))


@routes.route("/v1/functions/<path:slug>/pause", methods=["POST"])
@needs(Scope.WRITE)
@routes.response(200, enveloped(FunctionShape))
@routes.alt_response(404, schema=ErrorShape)
def pause_function(slug: str) -> Response:
    """Let a function start no runs; those that have begun go on."""
    return _told(pause(current_server().parts, _plain(slug), actor()))


@routes.route("/v1/functions/<path:slug>/resume", methods=["POST"])
@needs(Scope.WRITE)
@routes.response(200, enveloped(FunctionShape))
@routes.alt_response(404, schema=ErrorShape)
def resume_function(slug: str) -> Response:
    """Let a paused function start runs again, those first that were held."""
    return _told(resume(current_server().parts, _plain(slug), actor()))


@routes.route("/v1/apps/<path:app_name>/functions")
@needs(Scope.READ)
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
        limits = {function.id: allowances.of_function(conn, function.id) for function in found}
    return plain([function_shape(function, limits[function.id]) for function in found])


def _told(function: StoredFunction) -> Response:
    with current_server().parts.database.read() as conn:
        return envelope(function_shape(function, allowances.of_function(conn, function.id)))


def _changes(body: Mapping[str, Any]) -> Iterator[Change]:
    if "wait_look_back" in body:
        yield LookBack(body["wait_look_back"])
    if "concurrency" in body:
        yield CallsAtOnce(body["concurrency"], body.get("concurrency_key"))
    if "throttle" in body:
        yield StartsWithin("throttle", _starts("throttle", body["throttle"]))
    if "rate_limit" in body:
        yield StartsWithin("rate_limit", _starts("rate_limit", body["rate_limit"]))


def _starts(name: str, given: Mapping[str, Any] | None) -> Starts | None:
    return starts_of(name, given["limit"], given["period"]) if given is not None else None


def _plain(slug: str) -> str:
    """Databases refuse a zero byte instead of finding nothing."""
    if "\0" in slug:
        raise NotFoundError(f"there is no function {slug[:200]}")
    return slug
