"""Doing something to many runs: how many are meant stands there first, then how far it is, and it can be stopped."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, request

from orchestrator.api.current import current_server
from orchestrator.api.dashboard.lists import address, mark
from orchestrator.api.dashboard.pages import routes
from orchestrator.api.dashboard.run_filters import Wanted
from orchestrator.api.dashboard.templating import go, nothing_new, page
from orchestrator.api.dashboard.visitor import actor
from orchestrator.api.routing import check_ulid
from orchestrator.core.role import Role
from orchestrator.engine.bulk import MOST_RATE, Wish, count, give, stop
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.store import orders
from orchestrator.store.filters import Count, RunFilter, TimeField
from orchestrator.store.orders import Kind, Order

#: Milliseconds between two looks at an order under way.
EVERY = 1_000
_EARLIER = 20
#: Seconds that counting by a condition may take before the page is there; whoever wants to know more asks for it.
_QUICKLY = 0.1


@dataclass(frozen=True, slots=True)
class Prospect:
    """What an order of a kind would be about; or why there can be none."""

    kind: Kind
    count: Count | None
    why_not: str = ""


@routes.page("/runs/bulk", Role.OPERATOR)
def show_bulk() -> Response:
    """Say how many runs the address means, for each thing that can be done to them; nothing is done."""
    wanted, meant = _meant()
    with current_server().parts.database.read() as conn:
        earlier = orders.page(conn, limit=_EARLIER)
    args = request.args
    return page(
        "bulk.html",
        wanted=wanted,
        prospects=[_prospect(kind, meant) for kind in Kind],
        count_on=address("/runs/bulk", args, exact="1"),
        here=address("/runs/bulk", args, **_now_meant(wanted)),
        back=address("/runs", args),
        earlier=earlier,
        most_rate=MOST_RATE,
    )


@routes.action("/runs/bulk")
def give_order() -> Response:
    """Have it done; workers carry it out."""
    _, meant = _meant()
    form = request.form
    given = give(current_server().parts, Wish(_kind(form.get("kind", "")), meant, _rate(form.get("rate", ""))), actor())
    return go(f"/orders/{given.id}")


@routes.page("/orders/<order_id>")
def show_order(order_id: str) -> Response:
    """Show how far an order is."""
    order = _order(order_id)
    return page("order.html", order=order, every=_every(order), seen=_seen(order))


@routes.page("/orders/<order_id>/live")
def watch_order(order_id: str) -> Response:
    """The same for a page that is open."""
    order = _order(order_id)
    if request.args.get("seen") == _seen(order):
        return nothing_new()
    return page("order_live.html", order=order, every=_every(order), seen=_seen(order))


@routes.action("/orders/<order_id>/stop")
def stop_order(order_id: str) -> Response:
    """Let an order do nothing more; what it has done stays."""
    stop(current_server().parts, check_ulid("order_id", order_id), actor())
    return go(f"/orders/{order_id}", "Stopped; what was done stays")


def _meant() -> tuple[Wanted, RunFilter]:
    wanted = Wanted.read()
    with current_server().parts.database.read() as conn:
        return wanted, wanted.filter(conn)


def _now_meant(wanted: Wanted) -> dict[str, str]:
    """The times of the address as they are now: what is ordered is what was counted, however long one thinks."""
    times, now = wanted.times, current_server().parts.clock.now()
    meant = {"span": "", "from": times.since.isoformat() if times.since is not None else ""}
    # Runs that have not begun have no time of that.
    return meant | ({"until": now.isoformat()} if times.until is None and wanted.by is not TimeField.STARTED else {})


def _prospect(kind: Kind, meant: RunFilter) -> Prospect:
    try:
        parts, wish = current_server().parts, Wish(kind, meant)
        return Prospect(kind, count(parts, wish) if request.args.get("exact") else count(parts, wish, _QUICKLY))
    except RequestError as error:
        return Prospect(kind, None, error.message)


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise RequestError(f"kind must be one of {', '.join(Kind)}") from None


def _rate(text: str) -> int | None:
    """How many runs a second at most; empty: as many as can be."""
    if not text.strip():
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise RequestError(f"rate must be a whole number from 1 to {MOST_RATE}, not {text[:40]}")
    return int(text)


def _seen(order: Order) -> str:
    return mark([order.done, order.failed, order.error, order.ended_at, order.dead])


def _order(order_id: str) -> Order:
    with current_server().parts.database.read() as conn:
        order = orders.get(conn, check_ulid("order_id", order_id))
    if order is None:
        raise NotFoundError(f"there is no order {order_id}")
    return order


def _every(order: Order) -> int | None:
    return EVERY if order.ended_at is None and not order.dead else None
