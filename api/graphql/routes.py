"""Where GraphQL is asked, and the page to try it on; what answers is loaded with the first query."""

from __future__ import annotations

from importlib import resources

from flask import Response, request

from orchestrator.api import outage
from orchestrator.api.access import Way, actor, needs, require
from orchestrator.api.answers import json_answer
from orchestrator.api.body import read_body
from orchestrator.api.current import current_server
from orchestrator.api.routing import blueprint
from orchestrator.api.schemas import ErrorShape
from orchestrator.core.scope import Scope
from orchestrator.errors import NotFoundError

routes = blueprint("graphql", "GraphQL: one address for all queries.")

#: Of a request.
_MOST_BYTES = 1024 * 1024
_BODY = {
    "description": "A query, its variables, and which of its operations is meant",
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["query"],
                "properties": {
                    "query": {"type": "string"},
                    "variables": {"type": ["object", "null"]},
                    "operationName": {"type": ["string", "null"]},
                },
            }
        }
    },
}
_ANSWER = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {"type": ["object", "null"]},
        "errors": {"type": "array", "items": {"type": "object"}},
        "extensions": {"type": "object"},
    },
}
_PAGE = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@routes.route("/v0/gql", methods=["POST"])
@needs(Scope.READ)
@routes.doc(requestBody=_BODY)
@routes.response(200, _ANSWER, description="The answer; what was wrong with the query is in its `errors`")
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(413, schema=ErrorShape)
@routes.alt_response(503, schema=_ANSWER, description="The database cannot be used; what was done is in `data`")
def ask() -> Response:
    """Answer a query, or do what a mutation says."""
    from orchestrator.api.graphql.context import Caller
    from orchestrator.api.graphql.operation import answer, read_asked

    server = current_server()
    body = read_body(request.environ, min(_MOST_BYTES, server.max_request_bytes))
    told = answer(server.parts, read_asked(body), Caller(actor(), require, server.event_limits))
    made = json_answer(told.body, outage.STATUS if told.away else 200)
    if told.away:
        made.headers.extend([outage.RETRY_AFTER])
    return made


@routes.route("/v0", defaults={"name": ""})
@routes.route("/v0/playground/<name>")
@needs(Way.OPEN)
@routes.doc(security=[], responses={200: {"description": "A page, or what belongs to it"}})
@routes.alt_response(404, schema=ErrorShape)
def playground(name: str) -> Response:
    """Show the page to try queries on; it holds no data, and asks for a token where one is needed."""
    if name not in _PAGE:
        raise NotFoundError(f"the page has no {name[:60]}")
    file, kind = _PAGE[name]
    content = resources.files("orchestrator.api.graphql").joinpath("page", file).read_bytes()
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(content, headers=headers, content_type=kind)
