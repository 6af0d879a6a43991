"""API tokens: making, listing, revoking."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import envelope
from orchestrator.api.current import current_server
from orchestrator.api.render import token_shape
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import ErrorShape, enveloped
from orchestrator.api.token_schemas import NewTokenShape, TokenBody, TokenShape, TokensQuery
from orchestrator.core.scope import Scope
from orchestrator.engine.tokens import create, revoke
from orchestrator.store import tokens

routes = blueprint("tokens", "Who may ask what, besides the bearers of the signing key.")


@routes.route("/v1/tokens", methods=["POST"])
@needs(Scope.ADMIN)
@routes.arguments(TokenBody, location="json", as_kwargs=True)
@routes.response(200, enveloped(NewTokenShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(409, schema=ErrorShape, description="There are as many as may be")
def create_token(name: str, scopes: Sequence[str]) -> Response:
    """Make a token; its secret is told this once and not kept."""
    server = current_server()
    token, secret = create(server.parts, name, map(Scope, scopes), actor())
    server.keyring.forget()
    return envelope(token_shape(token) | {"token": secret})


@routes.route("/v1/tokens")
@needs(Scope.ADMIN)
@routes.arguments(TokensQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(TokenShape, many=True))
def list_tokens(limit: int, cursor: str | None = None) -> Response:
    """List the tokens, revoked ones too, the newest first."""
    with current_server().parts.database.read() as conn:
        found = tokens.page(conn, limit=limit, before=cursor)
    return envelope([token_shape(token) for token in found])


@routes.route("/v1/tokens/<ulid:token_id>", methods=["DELETE"])
@needs(Scope.ADMIN)
@routes.response(200, enveloped(TokenShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def revoke_token(token_id: str) -> Response:
    """Revoke a token: every process refuses it within a second. One that was revoked stays so."""
    server = current_server()
    token = revoke(server.parts, check_ulid("token_id", token_id), actor())
    server.keyring.forget()
    return envelope(token_shape(token))
