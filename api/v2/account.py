"""The account, its environment and its keys: here there is one of each."""

from __future__ import annotations

from flask import Response

from orchestrator.api.access import Way, needs
from orchestrator.api.current import current_server
from orchestrator.api.render import ACCOUNT_ID, ENVIRONMENT_ID, Shape, moment
from orchestrator.api.routing import blueprint
from orchestrator.api.v2.answers import ListPage, listed, one
from orchestrator.api.v2.queries import PageQuery
from orchestrator.api.v2.shapes import AccountShape, EnvShape, ErrorsShape, HealthV2Shape, KeyShape, one_of, page_of
from orchestrator.core.scope import Scope
from orchestrator.errors import RequestError
from orchestrator.ids import is_ulid
from orchestrator.protocol.headers import KIND_DEV
from orchestrator.protocol.signature import bearer_hash
from orchestrator.store import tokens

routes = blueprint("account (v2)", "The account, its environment, its keys.", ErrorsShape)

_SIGNING_KEYS = ("signing key", "fallback signing key")
_SHOWN = 8


@routes.route("/v2/health")
@needs(Way.OPEN)
@routes.response(200, one_of(HealthV2Shape))
def tell_health() -> Response:
    """Tell that the process answers; needs no credential."""
    return one({"status": "ok"})


@routes.route("/v2/account")
@needs(Scope.READ)
@routes.response(200, one_of(AccountShape))
def show_account() -> Response:
    """Show the one account there is."""
    return one({"id": ACCOUNT_ID, "name": "Orchestrator", "email": "nobody@localhost"})


@routes.route("/v2/envs")
@needs(Scope.READ)
@routes.arguments(PageQuery(only=["limit"]), location="query", as_kwargs=True)
@routes.response(200, page_of(EnvShape))
def list_envs(limit: int) -> Response:
    """List the one environment there is."""
    dev = current_server().kind == KIND_DEV
    return listed(ListPage([{"id": ENVIRONMENT_ID, "name": _env(), "type": "TEST" if dev else "PRODUCTION"}], limit))


@routes.route("/v2/keys/events")
@needs(Scope.ADMIN)
@routes.arguments(PageQuery, location="query", as_kwargs=True)
@routes.response(200, page_of(KeyShape))
def list_event_keys(limit: int, cursor: str | None) -> Response:
    """List the tokens that may send events; keys of the configuration are not shown."""
    if cursor is not None and not is_ulid(cursor):
        raise RequestError("cursor must be that of the page before")
    with current_server().parts.database.read() as conn:
        found = tokens.page(conn, limit=limit + 1, before=cursor, scope=Scope.EVENTS, revoked=False)
    shapes: list[Shape] = [
        {"id": it.id, "name": it.name, "environment": _env(), "key": f"{it.hint}…", "createdAt": moment(it.created_at)}
        for it in found[:limit]
    ]
    return listed(ListPage(shapes, limit, found[limit - 1].id if len(found) > limit else None))


@routes.route("/v2/keys/signing")
@needs(Scope.ADMIN)
@routes.arguments(PageQuery(only=["limit"]), location="query", as_kwargs=True)
@routes.response(200, page_of(KeyShape))
def list_signing_keys(limit: int) -> Response:
    """List the signing keys by the beginnings of their hashes."""
    named = zip(_SIGNING_KEYS, current_server().parts.settings.signing_keys, strict=False)
    shapes: list[Shape] = [
        {"id": name.replace(" ", "-"), "name": name, "environment": _env(), "key": f"{bearer_hash(key)[:_SHOWN]}…"}
        for name, key in named
    ]
    return listed(ListPage(shapes[:limit], limit))


def _env() -> str:
    return "dev" if current_server().kind == KIND_DEV else "production"
