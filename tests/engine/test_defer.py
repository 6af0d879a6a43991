"""What a run defers is started by an event when the run ends by itself, on every database and way to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, DeferAsked, DeferDropped, Op, Returned, SleepAsked, StepDone, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.cancel import cancel
from orchestrator.engine.defer import MOST_DEFERRED
from orchestrator.store import events
from orchestrator.store.database import Database
from tests.engine.world import NOW, World

ERROR = '{"name":"E","message":"m"}'
DROP = DeferDropped("n", "N", "DeferAbort", "l0")


def later(number: int = 0) -> DeferAsked:
    return DeferAsked(f"l{number}", f"L{number}", "DeferAdd", "app-later", f'{{"n":{number}}}')


def step(name: str) -> StepDone:
    return StepDone(name, name, "StepRun", "1")


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def answers(world: World, *replies: Callable[[Call], Any]) -> list[dict[str, bool]]:
    """Let the app answer so, one call after the other; returns what each call says is deferred."""
    left, told = list(replies), list[dict[str, bool]]()

    def answer(call: Call) -> Answer:
        told.append(dict(call.defers))
        return Answer(left.pop(0)(call))

    world.driver.answer = answer
    return told


def asked(*ops: Op) -> Callable[[Call], Asked]:
    return lambda call: Asked(call.target, call.attempt, ops)


def returned(*ops: Op) -> Callable[[Call], Returned]:
    return lambda call: Returned(call.target, call.attempt, '"done"', ops)


def threw(*ops: Op, retryable: bool = False) -> Callable[[Call], Threw]:
    return lambda call: Threw(call.target, call.attempt, ERROR, retryable, ops=ops)


def live(world: World) -> None:
    """Let the run go on as far as it goes."""
    world.start()
    for _ in range(4):
        world.work()
        world.clock.advance(timedelta(minutes=2))


def started(world: World) -> list[dict[str, Any]]:
    """The data of the events that start deferred functions."""
    with world.parts.database.read() as conn:
        found = events.page(conn, limit=100, name="inngest/deferred.schedule")
    return sorted((json.loads(it.payload)["data"] for it in found), key=lambda data: data["n"])


def test_what_was_deferred_along_the_way_is_started_at_the_end(world: World):
    told = answers(world, asked(step("a"), later()), asked(step("b"), later(1)), returned())

    live(world)

    assert Status.COMPLETED is world.run.status
    assert [0, 1] == [data["n"] for data in started(world)]
    assert [{}, {"l0": True}, {"l0": True, "l1": True}] == told


def test_the_event_says_who_deferred_what(world: World):
    answers(world, returned(later()))

    live(world)

    [data] = started(world)
    about = data["_inngest"]
    assert ("app-later", "app-fn", world.run.id) == (about["fn_slug"], about["parent_fn_slug"], about["parent_run_id"])
    assert world.run.function_id == about["parent_fn_id"]
    assert about["parent_app_id"]


@pytest.mark.parametrize(
    "end", [threw(), threw(later(1)), returned(later(1)), threw(retryable=True)], ids=["error", "last", "both", "tried"]
)
def test_every_end_that_a_run_comes_to_by_itself_starts_it(world: World, end: Callable[[Call], Any]):
    answers(world, asked(step("a"), later()), end, returned())

    live(world)

    assert world.run.status.final
    assert 0 == started(world)[0]["n"]


def test_a_cancelled_run_starts_nothing(world: World):
    answers(world, asked(step("a"), later()), asked(SleepAsked("s", "s", "Sleep", NOW + timedelta(days=1))))
    live(world)

    cancel(world.parts, world.run.id, "enough")

    assert [] == started(world)


def test_what_was_dropped_is_not_started_and_every_call_says_so(world: World):
    told = answers(world, asked(step("a"), later(), later(1)), asked(step("b"), DROP), returned())

    live(world)

    assert [1] == [data["n"] for data in started(world)]
    assert {"l0": False, "l1": True} == told[-1]


def test_what_is_dropped_with_the_end_is_not_started(world: World):
    answers(world, asked(step("a"), later()), returned(DROP))

    live(world)

    assert [] == started(world)


def test_a_run_that_slept_still_knows_what_it_deferred(world: World):
    nap = SleepAsked("s", "s", "Sleep", NOW + timedelta(seconds=30))
    told = answers(world, asked(nap, later()), returned())
    world.start()
    world.work()
    before = list(world.heard.hints)

    world.clock.advance(timedelta(minutes=1))
    world.heard.hints = before
    world.work()

    assert [0] == [data["n"] for data in started(world)]
    assert {"l0": True} == told[-1]


@pytest.mark.parametrize("at_once", [True, False])
def test_at_most_twenty_are_started(world: World, at_once: bool):
    many = [later(number) for number in range(MOST_DEFERRED + 5)]
    answers(world, *([returned(*many)] if at_once else [asked(step("a"), *many), returned()]))

    live(world)

    assert MOST_DEFERRED == len(started(world))
