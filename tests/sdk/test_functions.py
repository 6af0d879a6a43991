"""More rules of functions in process: typed events, failure handlers, cancelling, and what async functions may do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pydantic
import pytest

from orchestrator.core.effect import Status
from orchestrator.sdk.context import AsyncContext, Context
from orchestrator.sdk.errors import NonRetriable, StepError
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options, Timeouts
from orchestrator.sdk.triggers import Event
from orchestrator.store.database import Database
from tests.sdk.local_world import LocalWorld


class Order(pydantic.BaseModel):
    number: int
    by: str = "nobody"


@dataclass
class Plain:
    number: int


@pytest.fixture
def registry() -> Registry:
    return Registry("shop")


@pytest.mark.parametrize("data_class", [Order, Plain])
def test_typed_events_are_what_their_class_says(database: Database, registry: Registry, data_class: type[Any]):
    def fn(ctx: Context) -> Any:
        assert isinstance(ctx.event.data, data_class)
        later = ctx.step.wait_for_event("later", Event("later", data=data_class), "1h")
        assert later is not None
        assert isinstance(later.data, data_class)
        return ctx.event.data.number + later.data.number

    registry.add(fn, Event("fn", data=data_class), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn", {"number": 1})
    world.settle()
    world.send("later", {"number": 2})
    world.settle()

    assert 3 == world.output(event)


def test_an_event_that_does_not_fit_its_class_fails_the_run_at_once(database: Database, registry: Registry):
    registry.add(lambda ctx: None, Event("fn", data=Order), id="fn", options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn", {"number": "seven"})
    world.settle()

    error = world.error(event)
    assert "NonRetriable" == error["name"]
    assert 'event "fn": its data are no Order' in error["message"]


def test_a_failure_handler_gets_the_error(database: Database, registry: Registry):
    told = list[Any]()

    def fn(ctx: Context) -> None:
        raise NonRetriable("it broke")

    registry.add(fn, Event("fn"), on_failure=lambda ctx: told.append(ctx.event.data["error"]), options=Options())
    world = LocalWorld(database, registry)
    world.send("fn")
    world.settle()

    assert ["it broke"] == [error["message"] for error in told]


def test_an_event_cancels_and_the_next_step_never_begins(database: Database, registry: Registry):
    ran = list[str]()

    def fn(ctx: Context) -> None:
        ctx.step.run("one", ran.append, "one")
        ctx.step.sleep("nap", "1h")
        ctx.step.run("two", ran.append, "two")

    registry.add(fn, Event("fn"), cancel_on=Event("stop", match="data.n"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn", {"n": 1})
    world.settle()
    world.send("stop", {"n": 2})
    world.settle()
    assert "running" == world.run(event).status
    world.send("stop", {"n": 1})
    world.settle()
    world.skip(timedelta(hours=2))

    assert "cancelled" == world.run(event).status
    assert ["one"] == ran


def test_a_run_that_takes_longer_than_its_function_lets_it_is_cancelled(database: Database, registry: Registry):
    def fn(ctx: Context) -> None:
        ctx.step.sleep("nap", "1d")

    registry.add(fn, Event("fn"), options=Options(timeouts=Timeouts(finish="1h")))
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()
    world.skip(timedelta(minutes=59))
    before = world.run(event).status

    world.skip(timedelta(minutes=1))

    assert (Status.RUNNING, Status.CANCELLED) == (before, world.run(event).status)


def test_bodies_of_plain_functions_may_use_a_loop_of_their_own(database: Database, registry: Registry):
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def fn(ctx: AsyncContext) -> int:
        await asyncio.sleep(0.001)
        return await ctx.step.run("own loop", lambda: asyncio.run(work()))

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()

    assert 7 == world.output(event)


def test_a_step_asked_for_while_the_body_of_another_runs_waits_for_it(database: Database, registry: Registry):
    order = list[str]()

    async def slow() -> None:
        order.append("slow begins")
        await asyncio.sleep(0.02)
        order.append("slow ends")

    async def other(ctx: AsyncContext) -> None:
        await asyncio.sleep(0.005)
        await ctx.step.run("quick", order.append, "quick")

    async def fn(ctx: AsyncContext) -> None:
        await asyncio.gather(ctx.step.run("slow", slow), other(ctx))

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()

    world.output(event)
    assert ["slow begins", "slow ends", "quick"] == order


def test_an_async_function_that_is_left_ends_cleanly(database: Database, registry: Registry):
    told = list[str]()

    async def fn(ctx: AsyncContext) -> str:
        try:
            await ctx.step.sleep("nap", "1h")
        except asyncio.CancelledError:
            told.append("left")
            raise
        finally:
            told.append("finally")
        return "done"

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()
    assert ["left", "finally"] == told
    world.skip(timedelta(hours=1))

    assert "done" == world.output(event)
    assert ["left", "finally", "finally"] == told


def test_an_error_in_one_branch_of_a_gather_reaches_the_function(database: Database, registry: Registry):
    def broken() -> None:
        raise ValueError("no")

    async def fn(ctx: AsyncContext) -> list[str]:
        results = await asyncio.gather(
            ctx.step.run("good", lambda: "good"), ctx.step.run("broken", broken), return_exceptions=True
        )
        return [it.name if isinstance(it, StepError) else str(it) for it in results]

    registry.add(fn, Event("fn"), options=Options(retries=1))
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()
    world.skip(timedelta(minutes=5))

    assert ["good", "ValueError"] == world.output(event)


def test_a_caught_interrupt_changes_nothing(database: Database, registry: Registry):
    def fn(ctx: Context) -> str:
        try:
            ctx.step.sleep("nap", "1h")
        except BaseException:
            return "caught what was not its own"
        return "slept"

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()
    assert "running" == world.run(event).status
    world.skip(timedelta(hours=1))

    assert "slept" == world.output(event)


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda step: step.sleep("s", "soon"), 'sleep "s": "soon" is neither a duration'),
        (lambda step: step.sleep("s", timedelta(days=4000)), 'sleep "s": it lies more than 366d ahead'),
        (lambda step: step.wait_for_event("w", Event("x", if_="1 +"), "1h"), 'wait "w":'),
        (lambda step: step.wait_for_event("w", "", "1h"), 'wait "w": the event name must have 1 to 255 characters'),
        (lambda step: step.wait_for_any("w", [], "1h"), 'wait "w": it names no event'),
        (lambda step: step.wait_for_signal("g", "", "1h"), "the signal must have 1 to 1024 characters"),
        (lambda step: step.invoke("i", "x-y", [1]), 'invoke "i": the data must be an object, not list'),
        (lambda step: step.run("", int), "a step's id must be a text of at least one character"),
        (lambda step: step.send_event("e", "inngest/own"), "inngest/"),
        (lambda step: step.run("big", lambda: "x" * 5_000_000), 'the output of step "big" has 5000002 bytes'),
    ],
)
def test_what_cannot_be_asked_for_fails_the_run_with_a_sentence(
    database: Database, registry: Registry, ask: Callable[[Any], object], sentence: str
):
    registry.add(lambda ctx: ask(ctx.step), Event("fn"), id="fn", options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()

    assert sentence in world.error(event)["message"]


def test_the_logger_speaks_once(database: Database, registry: Registry, caplog: pytest.LogCaptureFixture):
    def fn(ctx: Context) -> None:
        ctx.logger.warning("beginning")
        ctx.step.run("one", int)
        ctx.logger.warning("middle")
        ctx.step.sleep("nap", "1h")
        ctx.logger.warning("end")

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    world.send("fn")
    world.settle()
    world.skip(timedelta(hours=1))

    said = [record.message for record in caplog.records if record.name == "orchestrator.run"]
    assert ["beginning", "middle", "end"] == said


def test_a_step_that_became_another_kind_fails_the_run_and_is_named(database: Database, registry: Registry):
    version = [1]

    def fn(ctx: Context) -> None:
        if version == [1]:
            ctx.step.sleep("it", timedelta(minutes=1))
        else:
            ctx.step.run("it", int)
        ctx.step.sleep("nap", "1h")

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()
    world.skip(timedelta(minutes=1))
    version[0] = 2
    world.skip(timedelta(hours=1))

    error = world.error(event)
    assert "NotDeterministic" == error["name"]
    assert 'step "it" has an outcome that no StepRun leaves' in error["message"]


def test_a_run_that_remembers_too_much_fails_with_the_limit(database: Database, registry: Registry):
    def fn(ctx: Context) -> None:
        for _ in range(100):
            ctx.step.run("more", lambda: "x" * 1000)

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    world.parts = replace(world.parts, settings=replace(world.parts.settings, max_state_bytes=10_000))
    event = world.send("fn")
    world.settle()

    error = world.error(event)
    assert "InngestErrStateOverflowed" == error["name"]
    assert "the limit is 10000 (max_state_bytes)" in error["message"]


def test_a_run_of_too_many_steps_fails_with_the_limit(database: Database, registry: Registry):
    def fn(ctx: Context) -> None:
        for _ in range(100):
            ctx.step.run("more", int)

    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    world.parts = replace(world.parts, settings=replace(world.parts.settings, max_steps=20))
    event = world.send("fn")
    world.settle()

    assert "InngestErrFunctionOverflowed" == world.error(event)["name"]
