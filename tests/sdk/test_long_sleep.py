"""A sleep of months: it outlives every pass of retention, a restart of everything, and goes on with its memo."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from orchestrator.engine.retain import retain
from orchestrator.sdk.context import Context
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from orchestrator.store.database import Database
from orchestrator.store.retention import Keep
from tests.engine.conftest import database, kind, migrated, shared
from tests.sdk.local_world import LocalWorld

__all__ = ["database", "kind", "migrated", "shared"]
MONTH = timedelta(days=30)


def test_a_sleep_of_eleven_months_ends_once_and_with_all_that_came_before_it(database: Database) -> None:
    calls = Counter[str]()

    def body(name: str) -> str:
        calls[name] += 1
        return name

    def fn(ctx: Context) -> list[str]:
        before = ctx.step.run("before", body, "before")
        ctx.step.sleep("hibernate", 11 * MONTH)
        return [before, ctx.step.run("after", body, "after"), ctx.event.data["x"]]

    registry = Registry("shop")
    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn", {"x": "kept"})
    world.settle()

    began = world.clock.now()
    for month in range(11):
        world = restarted(world, registry, began + month * MONTH)
        retain(database, Keep(runs=MONTH, events=MONTH), world.clock.now())
        assert ("running", 1) == (world.run(event).status, calls["before"])
    world.skip(MONTH)

    assert ["before", "after", "kept"] == world.output(event)
    assert {"before": 1, "after": 1} == calls


def restarted(world: LocalWorld, registry: Registry, now: datetime) -> LocalWorld:
    """Another process on the same database, at another time."""
    anew = LocalWorld(world.parts.database, registry)
    anew.clock.advance(now - anew.clock.now())
    anew.settle()
    return anew
