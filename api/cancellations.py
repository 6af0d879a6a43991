"""Cancellations: orders to cancel many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import Response

from orchestrator.api.access import actor, needs
from orchestrator.api.answers import empty, envelope
from orchestrator.api.current import current_server
from orchestrator.api.render import cancellation_shape
from orchestrator.api.routing import blueprint, check_ulid
from orchestrator.api.schemas import (
    CancellationBody,
    CancellationShape,
    CancellationsQuery,
    ErrorShape,
    enveloped,
)
from orchestrator.core.scope import Scope
from orchestrator.engine.bulk import forget, write
from orchestrator.engine.cancel_all import Wish, ordered
from orchestrator.store import functions, orders
from orchestrator.store.database import Connection
from orchestrator.store.orders import Order

routes = blueprint("cancellations", "Orders to cancel many runs at once.")


@routes.route("/v1/cancellations", methods=["POST"])
@needs(Scope.WRITE)
@routes.arguments(CancellationBody, location="json", as_kwargs=True)
@routes.response(200, enveloped(CancellationShape))
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape, description="There is no such app, or no such function of it")
def create_cancellation(
    app_id: str,
    function_id: str | None,
    started_after: datetime | None,
    started_before: datetime | None,
    condition: str | None,
) -> Response:
    """Order the live runs of a function, or of a whole app, to be cancelled; workers do it from now on."""
    parts = current_server().parts
    wish = Wish(app_id, function_id, started_after, started_before, condition)
    order = write(parts, ordered(parts, wish, actor()))
    with parts.database.read() as conn:
        return envelope(_shapes(conn, [order])[0])


@routes.route("/v1/cancellations")
@needs(Scope.READ)
@routes.arguments(CancellationsQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(CancellationShape, many=True))
def list_cancellations(limit: int, cursor: str | None = None) -> Response:
    """List the orders, the newest first, and how far each got."""
    with current_server().parts.database.read() as conn:
        found = orders.page(conn, limit=limit, before=cursor, asked=True)
        return envelope(_shapes(conn, found))


@routes.route("/v1/cancellations/<ulid:cancellation_id>", methods=["DELETE"])
@needs(Scope.WRITE)
@routes.doc(responses={200: {"description": "It cancels nothing more; what it has cancelled stays so"}})
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def delete_cancellation(cancellation_id: str) -> Response:
    """Stop an order and take it off the list."""
    forget(current_server().parts, check_ulid("cancellation_id", cancellation_id), actor())
    return empty()


def _shapes(conn: Connection, found: Sequence[Order]) -> list[dict[str, object]]:
    asked = [order.asked for order in found if order.asked is not None]
    apps = {it.app_id: functions.app_by_id(conn, it.app_id) for it in asked}
    meant = {it.function_id: functions.function(conn, it.function_id) for it in asked if it.function_id is not None}
    return [
        cancellation_shape(order, it, apps[it.app_id], meant.get(it.function_id or ""))
        for order in found
        if (it := order.asked) is not None
    ]
