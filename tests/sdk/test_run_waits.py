"""Functions in process that wait for events, signals and each other, on the real engine and both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from orchestrator.sdk.context import Context
from orchestrator.sdk.triggers import Event, NewEvent
from tests.sdk.local_world import Make


def test_waits_for_events_by_match_any_all_and_in_vain(make: Make) -> None:
    def fn(ctx: Context) -> list[Any]:
        one = ctx.step.wait_for_event("one", Event("paid", match="data.order"), "1d")
        some = ctx.step.wait_for_any("some", [Event("x"), Event("y", if_="async.data.n > 1")], "1d")
        both = ctx.step.wait_for_all("both", ["p", "q"], "1d")
        none = ctx.step.wait_for_event("none", "never", "1h")
        assert one is not None
        assert some is not None
        return [one.data["by"], some.name, [it and it.name for it in both], none]

    world = make(fn)
    event = world.send("fn", {"order": 7})
    world.settle()
    for name, data in (("paid", {"order": 8}), ("paid", {"order": 7, "by": "ann"}), ("y", {"n": 1}), ("y", {"n": 2})):
        world.send(name, data)
        world.settle()
    world.send("q")
    world.settle()
    world.send("p")
    world.settle()
    world.skip(timedelta(hours=1))

    assert ["ann", "y", ["p", "q"], None] == world.output(event)


def test_a_wait_that_looks_back_takes_what_came_before_it(make: Make) -> None:
    def fn(ctx: Context) -> Any:
        ctx.step.sleep("nap", "1h")
        late = ctx.step.wait_for_event("late", Event("paid", match="data.order"), "1h", look_back=True)
        return late and late.data["by"]

    world = make(fn)
    event = world.send("fn", {"order": 7})
    world.settle()
    world.send("paid", {"order": 7, "by": "ann"})
    world.settle()
    world.skip(timedelta(hours=1))

    assert "ann" == world.output(event)


def test_functions_invoke_each_other_and_send_events(make: Make) -> None:
    def child(ctx: Context) -> int:
        return int(ctx.event.data["n"]) + 1

    def heard(ctx: Context) -> Any:
        return ctx.event.data

    def fn(ctx: Context) -> list[Any]:
        ids = ctx.step.send_event("tell", [NewEvent("heard", {"a": 1}), NewEvent("heard", {"a": 2})])
        return [ctx.step.invoke("ask", "shop-child", {"n": 41}), len(ids)]

    world = make(fn, child, heard)
    event = world.send("fn")
    world.settle()

    assert [42, 2] == world.output(event)


def test_signals_are_sent_and_waited_for(make: Make) -> None:
    def waits(ctx: Context) -> Any:
        return ctx.step.wait_for_signal("go", "green", "1h")

    def fn(ctx: Context) -> list[bool]:
        return [ctx.step.send_signal("first", "green", {"n": 1}), ctx.step.send_signal("second", "green")]

    world = make(fn, waits)
    waiting = world.send("waits")
    world.settle()
    event = world.send("fn")
    world.settle()

    assert [True, False] == world.output(event)
    assert {"n": 1} == world.output(waiting)
