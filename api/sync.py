"""Where apps make themselves known, and are forgotten."""

from __future__ import annotations

from flask import Response, request

from orchestrator import log
from orchestrator.api.access import actor, needs
from orchestrator.api.answers import empty, json_answer
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import ErrorShape, RegisteredShape, UrlQuery
from orchestrator.core.scope import Scope
from orchestrator.engine.register import Synced, register, remove
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.protocol.fields import Field
from orchestrator.protocol.function_config import read_url
from orchestrator.protocol.sync import check_server_kind, parse_registration, registration_answer

routes = blueprint("sync", "Apps register their functions here.")
_log = log.get(__name__)

_BODY = {
    "description": "The app and its functions, as the SDKs write them",
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["url", "appName", "functions"],
                "properties": {
                    "url": {"type": "string"},
                    "appName": {"type": "string"},
                    "sdk": {"type": "string"},
                    "framework": {"type": "string"},
                    "functions": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}


@routes.route("/fn/register", methods=["POST", "PUT"])
@needs(Scope.APPS)
@routes.doc(requestBody=_BODY)
@routes.response(200, RegisteredShape)
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(413, schema=ErrorShape)
def register_app() -> Response:
    """Register an app: its functions become those it declares, the missing ones are archived."""
    try:
        synced = _registered()
    except RequestError as error:
        # The Python SDK reports success to whoever asked for the sync, so that only this line tells.
        _log.warning("registration refused", error=error.message)
        raise
    return json_answer(registration_answer(synced.modified, synced.sync_id, synced.app_id))


@routes.route("/fn/remove", methods=["DELETE"])
@needs(Scope.APPS)
@routes.arguments(UrlQuery, location="query", as_kwargs=True)
@routes.doc(responses={200: {"description": "Removed"}})
@routes.alt_response(404, schema=ErrorShape)
def remove_app(url: str) -> Response:
    """Take an app and its functions out of service; their runs stay."""
    address = read_url(Field("the request", "url", url))
    if not remove(current_server().parts, address, actor()):
        raise NotFoundError(f"there is no app at {address}")
    return empty()


def _registered() -> Synced:
    server = current_server()
    headers = {name.lower(): value for name, value in request.headers.items()}
    check_server_kind(headers, server.kind)
    body = read_body(request.environ, server.max_request_bytes)
    return register(server.parts, parse_registration(body, headers))
