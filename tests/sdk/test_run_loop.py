"""Rules of functions in process, on the real engine and both databases: steps, parallel ones, errors."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.sdk.context import AsyncContext, Context
from orchestrator.sdk.errors import NonRetriable, RetryAfter, StepError
from orchestrator.sdk.options import Retry
from tests.sdk.local_world import Make


def test_a_function_without_steps_returns(make: Make) -> None:
    def fn(ctx: Context) -> dict[str, Any]:
        return {"got": ctx.event.data["x"], "by": ctx.event.name}

    world = make(fn)
    event = world.send("fn", {"x": "äß"})
    world.settle()

    assert {"got": "äß", "by": "fn"} == world.output(event)


def test_each_step_runs_once_and_gives_its_result_back(make: Make) -> None:
    calls = Counter[str]()

    def body(name: str) -> str:
        calls[name] += 1
        return name.upper()

    def fn(ctx: Context) -> list[str]:
        made = [ctx.step.run(f"s{at}", body, f"s{at}") for at in range(3)]
        ctx.step.sleep("nap", timedelta(hours=1))
        return [*made, ctx.step.run("last", body, "last")]

    world = make(fn)
    event = world.send("fn")
    world.settle()
    assert [("s0", "completed"), ("s1", "completed"), ("s2", "completed"), ("nap", "sleeping")] == world.steps(event)

    world.skip(timedelta(hours=1))

    assert ["S0", "S1", "S2", "LAST"] == world.output(event)
    assert {1} == set(calls.values())


def test_async_functions_have_the_same_steps(make: Make) -> None:
    calls = Counter[str]()

    async def body(name: str) -> str:
        calls[name] += 1
        await asyncio.sleep(0)
        return name

    async def fn(ctx: AsyncContext) -> list[str]:
        one = await ctx.step.run("one", body, "one")
        two = await ctx.step.run("two", lambda: "two")
        await ctx.step.sleep("nap", "1h")
        return [one, two, await ctx.step.run("three", body, "three")]

    world = make(fn)
    event = world.send("fn")
    world.settle()
    world.skip(timedelta(hours=1))

    assert ["one", "two", "three"] == world.output(event)
    assert Counter(one=1, three=1) == calls


def test_gather_makes_steps_parallel_and_chains_go_on_by_themselves(make: Make) -> None:
    order = list[str]()

    def note(name: str) -> str:
        order.append(name)
        return name

    async def chain(ctx: AsyncContext, name: str, nap: bool) -> str:
        first = await ctx.step.run(f"{name}1", note, f"{name}1")
        if nap:
            await ctx.step.sleep(f"{name} nap", timedelta(hours=1))
        return first + await ctx.step.run(f"{name}2", note, f"{name}2")

    async def fn(ctx: AsyncContext) -> list[str]:
        return await asyncio.gather(chain(ctx, "a", True), chain(ctx, "b", False))

    world = make(fn)
    event = world.send("fn")
    world.settle()
    assert ["a1", "b1", "b2"] == order

    world.skip(timedelta(hours=1))

    assert ["a1a2", "b1b2"] == world.output(event)
    assert ["a1", "b1", "b2", "a2"] == order


def test_a_race_has_the_same_winner_whenever_the_function_is_called_again(make: Make) -> None:
    async def fn(ctx: AsyncContext) -> str:
        slow = asyncio.ensure_future(ctx.step.sleep("slow", timedelta(hours=2)))
        quick = asyncio.ensure_future(ctx.step.sleep("quick", timedelta(hours=1)))
        done, _ = await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
        winner = "quick" if quick in done else "slow"
        assert 1 == len(done)
        await ctx.step.sleep("rest", timedelta(hours=5))
        return await ctx.step.run("tell", lambda: winner)

    world = make(fn)
    event = world.send("fn")
    world.settle()
    for _ in range(8):
        world.skip(timedelta(hours=1))

    assert "quick" == world.output(event)


def test_plain_functions_have_groups(make: Make) -> None:
    def fn(ctx: Context) -> list[int]:
        return list(ctx.group.parallel([lambda at=at: ctx.step.run(f"s{at}", lambda: at * at) for at in range(5)]))  # type: ignore[misc]

    world = make(fn)
    event = world.send("fn")
    world.settle()

    assert [0, 1, 4, 9, 16] == world.output(event)


def test_a_step_that_fails_is_tried_again_and_its_error_reaches_the_function(make: Make) -> None:
    calls = Counter[str]()

    def flaky() -> str:
        calls["flaky"] += 1
        if calls["flaky"] < 3:
            raise ValueError("not yet")
        return "in the end"

    def hopeless() -> None:
        calls["hopeless"] += 1
        raise KeyError("never")

    def fn(ctx: Context) -> list[str]:
        first = ctx.step.run("flaky", flaky)
        try:
            ctx.step.run("hopeless", hopeless)
        except StepError as error:
            return [first, error.name, str(error), "hopeless" in (error.stack or "") and "caught"]  # type: ignore[list-item]
        return []

    world = make(fn, retries=2)
    event = world.send("fn")
    world.settle()
    for _ in range(8):
        world.skip(timedelta(minutes=5))

    assert ["in the end", "KeyError", "'never'", "caught"] == world.output(event)
    assert Counter(flaky=3, hopeless=3) == calls


def test_a_retry_policy_of_a_step_sets_times_waits_and_errors(make: Make) -> None:
    calls = Counter[str]()

    def failing(kind: type[Exception]) -> None:
        calls[kind.__name__] += 1
        raise kind("no")

    policy = Retry(times=7, first=timedelta(seconds=10), backoff="constant", on=(ValueError,))

    def fn(ctx: Context) -> str:
        names = []
        for kind in (ValueError, TypeError):
            try:
                ctx.step.run(kind.__name__, failing, kind, retry=policy)
            except StepError as error:
                names.append(error.name)
        return " ".join(names)

    world = make(fn, retries=0)
    event = world.send("fn")
    world.settle()
    for _ in range(7):
        world.skip(timedelta(seconds=10))

    assert "ValueError TypeError" == world.output(event)
    assert Counter(ValueError=8, TypeError=1) == calls


def test_a_function_that_fails_is_tried_again_and_then_fails_with_its_traceback(make: Make) -> None:
    seen = list[int]()

    def fn(ctx: Context) -> None:
        seen.append(ctx.attempt)
        raise RuntimeError("broken")

    world = make(fn, retries=2)
    event = world.send("fn")
    world.settle()
    for _ in range(5):
        world.skip(timedelta(minutes=5))

    error = world.error(event)
    assert ("RuntimeError", "broken", [0, 1, 2]) == (error["name"], error["message"], seen)
    assert 'raise RuntimeError("broken")' in error["stack"]
    assert "orchestrator/sdk" not in error["stack"]


@pytest.mark.parametrize("failure", [NonRetriable("stop"), StepError("as it was")])
def test_some_errors_are_final(make: Make, failure: Exception) -> None:
    seen = list[int]()

    def fn(ctx: Context) -> None:
        seen.append(ctx.attempt)
        raise failure

    world = make(fn, retries=2)
    event = world.send("fn")
    world.settle()

    assert [0] == seen
    assert str(failure) == world.error(event)["message"]


def test_retry_after_is_obeyed(make: Make) -> None:
    def fn(ctx: Context) -> str:
        if ctx.attempt == 0:
            raise RetryAfter("later", timedelta(hours=3))
        return "now"

    world = make(fn)
    event = world.send("fn")
    world.settle()
    world.skip(timedelta(hours=2, minutes=59))
    assert "running" == world.run(event).status
    world.skip(timedelta(minutes=1))

    assert "now" == world.output(event)


def test_a_function_that_changed_is_told_of_with_the_step_that_moved(make: Make) -> None:
    version = [1]

    def fn(ctx: Context) -> str:
        ctx.step.run("old" if version == [1] else "new", lambda: None)
        ctx.step.sleep("nap", "1h")
        return "done"

    world = make(fn)
    event = world.send("fn")
    world.settle()
    version[0] = 2
    world.skip(timedelta(hours=1))

    assert "done" == world.output(event)
    assert [("function changed", '{"steps":["old"]}')] == world.story(event)


def test_what_json_cannot_hold_and_steps_within_steps_are_refused_with_a_sentence(make: Make) -> None:
    def fn(ctx: Context) -> list[str]:
        told = []
        for name, body in (("set", lambda: object()), ("nested", lambda: ctx.step.run("inner", int))):
            try:
                ctx.step.run(name, body)
            except StepError as error:
                told.append(str(error))
        return told

    world = make(fn)
    event = world.send("fn")
    world.settle()

    first, second = world.output(event)
    assert first.startswith('step "set" gave object <object')
    assert 'step "inner" was asked for inside of step "nested": steps do not nest' == second


def test_a_lost_lease_stops_the_function_before_its_next_step(make: Make) -> None:
    calls = list[str]()

    def fn(ctx: Context) -> None:
        ctx.step.run("one", lambda: calls.append("one"))
        ctx.step.run("two", steal)
        calls.append("went on")
        ctx.step.run("three", lambda: calls.append("three"))

    def steal() -> None:
        with world.parts.database.write() as conn:
            conn.exec_driver_sql("UPDATE jobs SET generation = generation + 1")

    world = make(fn)
    event = world.send("fn")
    world.settle()

    assert ["one"] == calls
    assert [("one", "completed")] == world.steps(event)


def test_fifty_steps_in_a_loop_with_one_id(make: Make) -> None:
    def fn(ctx: Context) -> int:
        return sum(ctx.step.run("add", lambda at=at: at) for at in range(50))  # type: ignore[misc]

    world = make(fn)
    event = world.send("fn")
    world.settle()

    assert sum(range(50)) == world.output(event)
