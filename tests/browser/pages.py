"""Every page of the dashboard: each is looked at by axe, photographed, and asked for what its policy forbids."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.ids import new_ulid
from tests.browser.shop import Shop

#: The path of each page by its name.
PAGES: dict[str, Callable[[Shop], str]] = {
    "overview": lambda shop: "/overview",
    "overview-month": lambda shop: "/overview?span=30d",
    "runs": lambda shop: "/runs",
    "runs-filtered": lambda shop: "/runs?status=failed&q=event.data.order+%3E+1000&span=24h",
    "runs-none": lambda shop: "/runs?function=nothing-of-the-kind",
    "run": lambda shop: f"/runs/{shop.runs['completed']}",
    "run-failed": lambda shop: f"/runs/{shop.runs['failed']}",
    "run-waiting": lambda shop: f"/runs/{shop.runs['waiting']}",
    "run-asleep": lambda shop: f"/runs/{shop.runs['asleep']}",
    "run-wide": lambda shop: f"/runs/{shop.runs['wide']}",
    "run-large": lambda shop: f"/runs/{shop.runs['large']}",
    "run-soon": lambda shop: f"/runs/{new_ulid()}",
    "run-attacked": lambda shop: f"/runs/{shop.runs['attacked']}",
    "bulk": lambda shop: "/runs/bulk?function=shop-bill&status=completed",
    "bulk-none": lambda shop: "/runs/bulk?function=nothing-of-the-kind",
    "order": lambda shop: f"/orders/{shop.order}",
    "events": lambda shop: "/events",
    "events-none": lambda shop: "/events?name=nothing/of.the.kind",
    "event": lambda shop: f"/events/{shop.events['completed']}",
    "event-large": lambda shop: f"/events/{shop.events['large']}",
    "event-attacked": lambda shop: f"/events/{shop.events['attacked']}",
    "apps": lambda shop: "/apps",
    "functions": lambda shop: "/functions",
    "functions-none": lambda shop: "/functions?q=nothing-of-the-kind",
    "function": lambda shop: "/functions/shop-bill",
    "function-attacked": lambda shop: "/functions/shop-attacked",
    "queue": lambda shop: "/queue",
    "queue-dead": lambda shop: "/queue/dead",
    "users": lambda shop: "/users",
    "account": lambda shop: "/account",
    "missing": lambda shop: "/runs/nothing-of-the-kind",
}
