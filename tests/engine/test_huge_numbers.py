"""Python writes whole numbers that no float holds: an event that carries one is matched all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, InvokeAsked, Returned, WaitAsked
from orchestrator.drivers.base import Answer
from orchestrator.engine.match import match
from orchestrator.errors import ExpressionError
from orchestrator.expressions.stored import value_of
from orchestrator.store import runs
from orchestrator.store.database import Database
from tests.engine.world import NOW, World

HUGE = "7" * 400
HOUR = NOW + timedelta(hours=1)


def statuses(world: World, event_id: str) -> list[Status]:
    with world.parts.database.read() as conn:
        return [run.status for run in runs.of_event(conn, event_id)]


def finish(world: World) -> None:
    """Do whatever is announced, match jobs and others, until nothing is."""
    while heard := world.heard.take():
        match(world.parts, heard, room=0)
        world.work_on(heard)


def test_a_function_is_invoked_with_one(database: Database) -> None:
    world = World(database, '"concurrency":[{"limit":2,"key":"event.data.x"}]')
    ask = InvokeAsked("i", "i", "InvokeFunction", "app-fn", f'{{"x":{HUGE}}}', HOUR)
    world.driver.answer = lambda call: Answer(Asked(None, 0, (ask,)))
    world.start()
    world.work()

    world.driver.answer = lambda call: Answer(Returned(None, 0, "1"))
    finish(world)

    assert [Status.COMPLETED] == statuses(world, world.event_id)


@pytest.mark.parametrize("condition", ["async.data.result > 7", "async.data.function_id == 'app-fn'", None])
def test_the_end_of_a_run_that_returned_one_is_waited_for(database: Database, condition: str | None) -> None:
    world = World(database)
    ask = WaitAsked("w", "w", "WaitForEvent", "inngest/function.finished", HOUR, condition)
    world.driver.answer = lambda call: Answer(Asked(None, 0, (ask,)))
    world.start()
    world.work()
    waiting = world.event_id

    world.driver.answer = lambda call: Answer(Returned(None, 0, HUGE))
    world.send()
    finish(world)

    assert [Status.COMPLETED] == statuses(world, waiting)


def test_what_nothing_reads_is_an_error_of_the_expression() -> None:
    with pytest.raises(ExpressionError, match="cannot be read"):
        value_of("[" * 2_000)
