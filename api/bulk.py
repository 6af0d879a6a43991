"""Orders to do something to many runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import envelope
from orchestrator.api.bulk_schemas import BulkBody, BulkQuery, BulkShape
from orchestrator.api.current import current_server
from orchestrator.api.render import counted_shape, order_shape
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import ErrorShape, enveloped
from orchestrator.core.effect import Status
from orchestrator.core.scope import Scope
from orchestrator.engine.bulk import Wish, checked, count, give, stop
from orchestrator.errors import NotFoundError
from orchestrator.store import functions, orders
from orchestrator.store.database import Connection
from orchestrator.store.filters import RunFilter, TimeField
from orchestrator.store.orders import Kind

routes = blueprint("bulk", "Orders to cancel many runs, or to run them again.")


@routes.route("/v1/bulk", methods=["POST"])
@needs(Scope.WRITE)
@routes.arguments(BulkBody, location="json")
@routes.response(200, enveloped(BulkShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape, description="There is no such app or function")
def create_order(body: Mapping[str, Any]) -> Response:
    """Order many runs to be cancelled or run again, by workers from now on; `dry_run` only counts them."""
    parts = current_server().parts
    with parts.database.read() as conn:
        wish = Wish(Kind(body["kind"]), filter_of(conn, body["filter"]), body["rate"])
    if body["dry_run"]:
        now = parts.clock.now()
        return envelope(counted_shape(wish.kind, checked(wish, now), count(parts, wish), now))
    return envelope(order_shape(give(parts, wish, actor())))


@routes.route("/v1/bulk")
@needs(Scope.READ)
@routes.arguments(BulkQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(BulkShape, many=True))
def list_orders(limit: int, cursor: str | None = None) -> Response:
    """List the orders, the newest first, and how far each got."""
    with current_server().parts.database.read() as conn:
        found = orders.page(conn, limit=limit, before=cursor)
    return envelope([order_shape(order) for order in found])


@routes.route("/v1/bulk/<ulid:order_id>")
@needs(Scope.READ)
@routes.response(200, enveloped(BulkShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def get_order(order_id: str) -> Response:
    """Show one order, and how far it got."""
    with current_server().parts.database.read() as conn:
        found = orders.get(conn, check_ulid("order_id", order_id))
    if found is None:
        raise NotFoundError(f"there is no order {order_id}")
    return envelope(order_shape(found))


@routes.route("/v1/bulk/<ulid:order_id>/stop", methods=["POST"])
@needs(Scope.WRITE)
@routes.response(200, enveloped(BulkShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
@routes.alt_response(409, schema=ErrorShape, description="It is over")
def stop_order(order_id: str) -> Response:
    """Let an order do nothing more; what it has done stays."""
    return envelope(order_shape(stop(current_server().parts, check_ulid("order_id", order_id), actor())))


def filter_of(conn: Connection, body: Mapping[str, Any]) -> RunFilter:
    """The runs that are meant.  Raises `NotFoundError` for an app or a function that is none."""
    return RunFilter(
        since=body["since"],
        until=body["until"],
        time_field=TimeField(body["time_field"].removesuffix("_at")),
        statuses=tuple(Status(it) for it in dict.fromkeys(body["status"])),
        function_ids=tuple(_function(conn, slug) for slug in body["function"]),
        app_ids=tuple(_app(conn, name) for name in body["app"]),
        query=body["query"] or None,
        failure=body["failure"],
    )


def _function(conn: Connection, slug: str) -> str:
    found = functions.function(conn, slug)
    if found is None:
        raise NotFoundError(f"there is no function {slug}")
    return found.id


def _app(conn: Connection, name: str) -> str:
    found = functions.app_by_name(conn, name)
    if found is None:
        raise NotFoundError(f"there is no app {name}")
    return found.id
