"""Cancellations: orders to cancel many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import Response

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
from orchestrator.engine.cancel_all import Wish, order
from orchestrator.errors import NotFoundError
from orchestrator.store import cancellations, functions
from orchestrator.store.cancellations import Cancellation
from orchestrator.store.database import Connection

routes = blueprint("cancellations", "Orders to cancel many runs at once.")


@routes.route("/v1/cancellations", methods=["POST"])
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
    ordered = order(parts, Wish(app_id, function_id, started_after, started_before, condition))
    with parts.database.read() as conn:
        return envelope(_shapes(conn, [ordered])[0])


@routes.route("/v1/cancellations")
@routes.arguments(CancellationsQuery, location="query", as_kwargs=True)
@routes.response(200, enveloped(CancellationShape, many=True))
def list_cancellations(limit: int, cursor: str | None = None) -> Response:
    """List the orders, the newest first, and how far each got."""
    with current_server().parts.database.read() as conn:
        found = cancellations.page(conn, limit=limit, before=cursor)
        return envelope(_shapes(conn, found))


@routes.route("/v1/cancellations/<ulid:cancellation_id>", methods=["DELETE"])
@routes.doc(responses={200: {"description": "It cancels nothing more; what it has cancelled stays so"}})
@routes.alt_response(400, schema=ErrorShape)
@routes.alt_response(404, schema=ErrorShape)
def delete_cancellation(cancellation_id: str) -> Response:
    """Stop an order and take it off the list."""
    with current_server().parts.database.write() as conn:
        known = cancellations.remove(conn, check_ulid("cancellation_id", cancellation_id))
    if not known:
        raise NotFoundError(f"there is no cancellation {cancellation_id}")
    return empty()


def _shapes(conn: Connection, orders: Sequence[Cancellation]) -> list[dict[str, object]]:
    apps = {order.app_id: functions.app_by_id(conn, order.app_id) for order in orders}
    wanted = {order.function_id for order in orders if order.function_id is not None}
    meant = {function_id: functions.function(conn, function_id) for function_id in wanted}
    return [cancellation_shape(order, apps[order.app_id], meant.get(order.function_id or "")) for order in orders]
