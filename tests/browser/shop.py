"""A shop on the official SDK with runs of every kind: done, failed, retried, asleep, waiting, wide, large, attacked."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

import inngest

from tests.wire.harness import App, Server

#: Typed into names, payloads and errors by somebody who wishes us ill; it must be read, and never run.
ATTACK = '<img src=x onerror="window.attacked=1"><script>window.attacked=1</script>\'"><svg/onload=window.attacked=1>'


class OutOfStockError(Exception):
    """What one of the functions fails with."""


@dataclass
class Shop:
    """The app, and the runs of its functions by what became of them."""

    app: App
    runs: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    #: An order to many runs.
    order: str = ""


#: Steps at the same time, of the run that has many.
SHELVES = 60
#: Longer than any line, and of more than one script.
LONG = (
    "Prüfe die Bestände aller Lagerhäuser 在庫を確認する и перенеси остатки " + "sehr-langer-name-ohne-leerzeichen-" * 4
)


def functions(app: App) -> list[inngest.Function]:
    """The shop's functions."""

    @app.function("bill", "shop/order.billed", name="Write the bill")
    def bill(ctx: inngest.ContextSync) -> dict[str, object]:
        return {"bill": f"B-{ctx.event.data.get('order')}", "total": 129.9}

    @app.function("fulfil-order", "shop/order.paid", name="Fulfil an order", retries=2)
    def fulfil(ctx: inngest.ContextSync) -> dict[str, object]:
        order = ctx.step.run("load order", lambda: {"order": ctx.event.data.get("order"), "lines": [1, 2, 3]})
        ctx.group.parallel(
            (
                lambda: ctx.step.run("reserve stock", lambda: {"warehouse": "Lyon", "reserved": True}),
                lambda: ctx.step.run("charge card", lambda: "ch_1Nq8"),
                lambda: ctx.step.run("write to the customer", lambda: None),
            )
        )
        ctx.step.sleep("let the dust settle", datetime.timedelta(milliseconds=400))
        paid = ctx.step.invoke("write the bill", function=bill, data={"order": ctx.event.data.get("order")})
        return {"order": order, "bill": paid}

    @app.function("ship-order", "shop/order.packed", name="Ship an order", retries=1)
    def ship(ctx: inngest.ContextSync) -> None:
        ctx.step.run("print label", lambda: "label-77.pdf")

        def hand_over() -> None:
            raise OutOfStockError(f"no lorry goes to {ctx.event.data.get('city', 'Lyon')} today")

        ctx.step.run("hand over to the carrier", hand_over)

    @app.function("remind", "shop/cart.left", name="Remind of a cart")
    def remind(ctx: inngest.ContextSync) -> None:
        ctx.step.run("note the cart", lambda: "noted")
        ctx.step.sleep("for three days", datetime.timedelta(days=3))

    @app.function("await-review", "shop/order.delivered", name="Await a review")
    def await_review(ctx: inngest.ContextSync) -> None:
        ctx.step.wait_for_event(
            "for the review",
            event="shop/review.written",
            if_exp="event.data.order == async.data.order",
            timeout=datetime.timedelta(days=7),
        )

    @app.function("attacked", "shop/attack", name=f"Attacked {ATTACK}", retries=0)
    def attacked(ctx: inngest.ContextSync) -> None:
        ctx.step.run(f"step {ATTACK}", lambda: {"<b>": ATTACK})
        raise ValueError(ATTACK)

    @app.function("count-stock", "shop/stock.counted", name="Count the stock")
    def count_stock(ctx: inngest.ContextSync) -> int:
        def shelf(number: int) -> Callable[[], object]:
            return lambda: ctx.step.run(f"shelf {number}", lambda: {"shelf": number, "pieces": number * 7})

        return len(ctx.group.parallel(tuple(shelf(number) for number in range(SHELVES))))

    @app.function("large", "shop/catalogue.sent", name=LONG)
    def large(ctx: inngest.ContextSync) -> object:
        text = ctx.step.run(f"read {LONG}", lambda: 'líne with "quotes" and spaces\n' * 8_000)
        return {"lines": str(text).count("\n"), "catalogue": text}

    return [bill, fulfil, ship, remind, await_review, attacked, count_stock, large]


def opened(server: Server) -> Shop:
    """The shop, open, with a run of every kind."""
    app = App(server.url, "shop", server.keys)
    app.serve(functions(app))
    shop = Shop(app)
    kinds = {
        "completed": ("shop/order.paid", {"order": 1042, "customer": {"name": "Ada", "vip": True}, "amount": 129.9}),
        "failed": ("shop/order.packed", {"order": 1043, "city": "Lyon"}),
        "asleep": ("shop/cart.left", {"cart": 7}),
        "waiting": ("shop/order.delivered", {"order": 1042}),
        "attacked": ("shop/attack", {"payload": ATTACK, "deep": {ATTACK: [ATTACK]}}),
        "wide": ("shop/stock.counted", {"shelves": SHELVES}),
        "large": ("shop/catalogue.sent", {"pages": ["página " * 20] * 1_400}),
    }
    for kind, (name, data) in kinds.items():
        shop.events[kind] = server.send(name, data)
    for kind, event_id in shop.events.items():
        [run] = server.runs_of(event_id)
        shop.runs[kind] = run["run_id"]
    server.step(shop.runs["asleep"], "for three days", "Sleeping")
    server.step(shop.runs["waiting"], "for the review", "Waiting")
    server.send("shop/review.written", {"order": 99})
    for kind in ("completed", "failed", "attacked", "wide", "large"):
        server.run_ended(shop.runs[kind])
    shop.order = _bills_again(server)
    return shop


def _bills_again(server: Server) -> str:
    """An order to run a few runs again; returns its id."""
    wanted = {"function": ["shop-bill"], "status": ["completed"]}
    status, answer = server.request("POST", "/v1/bulk", {"kind": "rerun", "filter": wanted})
    assert 200 == status, answer
    return answer["data"]["id"]
