"""Reruns of functions in process: from a step, with other arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from orchestrator.engine.rerun import FromStep, rerun
from orchestrator.sdk.context import AsyncContext, Context
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from orchestrator.sdk.values import MOST_KEPT
from orchestrator.store import runs, steps
from orchestrator.store.database import Database
from tests.sdk.local_world import LocalWorld

Ran = list[tuple[Any, ...]]


def plain(ran: Ran) -> Callable[[Context], object]:
    def fn(ctx: Context) -> object:
        price = ctx.step.run("price", note(ran), 7)
        order = ctx.step.run("order", note(ran), price, "express")
        return [order, *ctx.step.send_event("tell", "told", {})]

    return fn


def awaited(ran: Ran) -> Callable[[AsyncContext], object]:
    async def fn(ctx: AsyncContext) -> object:
        price = await ctx.step.run("price", note(ran), 7)
        order = await ctx.step.run("order", note(ran), price, "express")
        return [order, *await ctx.step.send_event("tell", "told", {})]

    return fn


def grouped(ran: Ran) -> Callable[[Context], object]:
    def fn(ctx: Context) -> object:
        price = ctx.step.run("price", note(ran), 7)
        [order] = ctx.group.parallel([lambda: ctx.step.run("order", note(ran), price, "express")])
        return [order, *ctx.step.send_event("tell", "told", {})]

    return fn


def note(ran: Ran) -> Callable[..., object]:
    def body(*args: Any) -> object:
        ran.append(args)
        return args[0]

    return body


@pytest.mark.parametrize("made", [plain, awaited, grouped])
def test_a_step_gets_other_arguments_once_and_what_came_before_is_kept(database: Database, made: Any):
    ran: Ran = []
    world, first = ended(database, made(ran))
    assert [(7,), (7, "express")] == ran

    again = rerun(world.parts, first, FromStep("order", '[8, {"slow": true}]'))
    world.settle()

    assert [(8, {"slow": True})] == ran[2:]
    assert ("completed", 8) == (status(world, again), orjson.loads(found(world, again).output or "")[0])


@pytest.mark.parametrize("made", [plain, awaited])
def test_an_input_for_a_step_without_arguments_fails_the_run_and_says_why(database: Database, made: Any):
    world, first = ended(database, made([]))

    again = rerun(world.parts, first, FromStep("tell", "[1]"))
    world.settle()

    assert "failed" == status(world, again)
    assert "has no arguments" in (found(world, again).error or "")


@pytest.mark.parametrize("made", [plain, awaited, grouped])
def test_what_steps_were_called_with_is_kept_and_what_a_rerun_gave_them(database: Database, made: Any):
    world, first = ended(database, made([]))
    again = rerun(world.parts, first, FromStep("order", '[8,{"slow":true}]'))
    world.settle()

    assert {"price": "[7]", "order": '[7,"express"]', "tell": None} == inputs(world, first)
    assert '[8,{"slow":true}]' == inputs(world, again)["order"]


def test_what_a_step_was_called_with_is_kept_when_it_fails(database: Database):
    def fn(ctx: Context) -> object:
        return ctx.step.run("divide", lambda a, b: a / b, 1, 0)

    world, first = ended(database, fn)

    assert ("failed", {"divide": "[1,0]"}) == (status(world, first), inputs(world, first))


def test_arguments_that_json_cannot_hold_or_that_are_large_are_no_fault(database: Database):
    def fn(ctx: Context) -> object:
        ctx.step.run("lock", lambda it: str(it.locked()), threading.Lock())
        ctx.step.run("surrogate", len, "\ud800")
        return ctx.step.run("large", len, "x" * MOST_KEPT)

    world, first = ended(database, fn)

    assert ("completed", str(MOST_KEPT)) == (status(world, first), found(world, first).output)
    assert {"lock": None, "surrogate": None, "large": None} == inputs(world, first)


def inputs(world: LocalWorld, run_id: str) -> dict[str, str | None]:
    """What is kept of the steps' arguments, by their names."""
    with world.parts.database.read() as conn:
        return {step.name: step.input for step in steps.of_run(conn, run_id)}


def ended(database: Database, function: Any) -> tuple[LocalWorld, str]:
    """A world in which the function has run once; and that run's id."""
    registry = Registry("shop")
    registry.add(function, Event("fn"), options=Options(retries=0))
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()
    return world, world.run(event).id


def found(world: LocalWorld, run_id: str) -> runs.StoredRun:
    with world.parts.database.read() as conn:
        run = runs.get(conn, run_id)
    assert run is not None
    return run


def status(world: LocalWorld, run_id: str) -> str:
    return found(world, run_id).status.value
