"""Small answers that tell tools whether, and as what, the server is up."""

from __future__ import annotations

from flask import Response

from orchestrator.api.access import Way, needs
from orchestrator.api.answers import empty, json_answer, plain
from orchestrator.api.current import current_server
from orchestrator.api.render import function_shape
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import ErrorShape, HealthShape, ReadyShape
from orchestrator.core.scope import Scope
from orchestrator.errors import NotFoundError
from orchestrator.protocol.headers import KIND_DEV
from orchestrator.store import allowances, functions

routes = blueprint("server", "The server itself.")


@routes.route("/health")
@needs(Way.OPEN)
@routes.response(200, HealthShape)
def health() -> Response:
    """Tell that the process answers; needs no credential."""
    return plain({"status": 200, "message": "OK"})


@routes.route("/ready")
@needs(Way.OPEN)
@routes.response(200, ReadyShape)
@routes.alt_response(503, schema=ReadyShape, description="It cannot take events now")
def ready() -> Response:
    """Tell, within 2 s, whether events can be taken; needs no credential.

    The database must answer and have the tables this version needs. A broker that is away is told of, no more.
    """
    readiness = current_server().readiness
    sentence = readiness.wait()
    return json_answer(readiness.body(sentence), 503 if sentence else 200)


@routes.route("/dev")
@needs(Scope.READ)
@routes.response(200, {"type": "object"}, description="How the server was started, and the functions it knows")
@routes.alt_response(404, schema=ErrorShape, description="This is no development server")
def dev_info() -> Response:
    """Show how a development server was started; test harnesses wait for this."""
    server = current_server()
    if server.kind != KIND_DEV:
        raise NotFoundError("this is no development server")
    with server.parts.database.read() as conn:
        found = [(function, allowances.of_function(conn, function.id)) for function in functions.functions_of(conn)]
    return plain(
        {
            "version": server.version,
            "authed": server.authorize is not None,
            "startOpts": dict(server.start_options),
            "functions": [function_shape(function, limits) for function, limits in found],
            "handlers": None,
            "isSingleNodeService": True,
            # Nothing is missing where nothing is asked for.
            "isMissingSigningKey": False,
            "isMissingEventKeys": False,
            "features": {},
        }
    )


@routes.route("/v0/connect/start", methods=["POST"])
@needs(Way.SIGNING_KEY)
@routes.doc(responses={200: {"description": "The server is up"}})
def connect_start() -> Response:
    """Tell the Python SDK's test helper that the server is up: it posts here until it is answered."""
    return empty()
