"""Rules of steps that Celery tasks do, on the real engine and both databases; the sender is the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import celery
import pytest

from orchestrator.core.waiting import sentence
from orchestrator.engine import task as steps
from orchestrator.engine.recover import recover
from orchestrator.engine.why import why
from orchestrator.sdk.context import AsyncContext, Context
from orchestrator.sdk.errors import NonRetriable, StepError
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options, Retry
from orchestrator.sdk.triggers import Event
from orchestrator.store import steps as stored_steps
from orchestrator.store.database import Database
from tests.sdk.local_world import LocalWorld
from tests.sdk.task_world import MINUTE, Make, fn, make, resize

__all__ = ["make"]


def test_a_task_is_sent_with_its_arguments_and_options_and_its_result_is_the_steps(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    [(call, _)] = world.sent.messages
    assert ("shop.resize", ["a.png"], {"quality": 0.9}) == (call.task, list(call.args), dict(call.kwargs))
    assert "images" == call.options["queue"]

    world.finish(world.claimed(), {"made": [1, 2]})

    assert {"made": [1, 2]} == world.output(event)
    assert [("resize", "completed")] == world.steps(event)


def test_a_message_that_comes_twice_or_late_finds_nothing_to_do(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    taken = world.claimed()

    assert world.claim() is None
    world.finish(taken, 1)

    assert world.claim() is None
    assert 1 == world.output(event)


def test_a_lost_message_is_sent_anew_after_a_time_that_doubles_up_to_a_quarter_of_an_hour(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()

    for sends, minutes in enumerate((1, 2, 4, 8, 15, 15), start=1):
        world.skip(minutes * MINUTE - timedelta(seconds=1))
        assert sends == len(world.sent.messages)
        world.skip(timedelta(seconds=1))
        assert sends + 1 == len(world.sent.messages)

    world.finish(world.claimed(at=0), "by the first message, late")
    assert "by the first message, late" == world.output(event)


def test_a_run_tells_which_task_it_waits_for(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()

    with world.parts.database.read() as conn:
        open_steps = stored_steps.of_run(conn, world.run(event).id)
        told = sentence(why(conn, world.run(event), None, open_steps, [], world.now))

    assert 'step "resize" waits for the Celery task shop.resize' == told


def test_while_the_task_runs_nothing_is_sent(make: Make) -> None:
    world = make(fn)
    world.send("fn")
    world.settle()
    world.claimed()

    for _ in range(6):
        world.clock.advance(timedelta(seconds=20))
        world.parts.holdings.beat(world.now)
        recover(world.parts)
        world.settle()

    assert 1 == len(world.sent.messages)


def test_when_the_worker_dies_the_task_is_sent_anew_at_once_and_what_it_did_last_is_refused(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    dead = world.claimed()

    world.clock.advance(timedelta(seconds=31))
    recover(world.parts)
    world.settle()

    assert 2 == len(world.sent.messages)
    second = world.claimed()
    world.finish(dead, "from the dead")
    world.finish(second, "second")
    assert "second" == world.output(event)


def test_a_task_that_kills_its_workers_fails_the_run(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()

    for _ in range(5):
        world.claimed()
        world.clock.advance(timedelta(seconds=31))
        recover(world.parts)
        world.settle()

    assert "WorkerLost" == world.error(event)["name"]


def test_a_task_that_fails_for_good_fails_the_step_with_its_error(make: Make) -> None:
    caught = list[StepError]()

    def catching(ctx: Context) -> str:
        try:
            return str(ctx.step.task("resize", resize.s("a.png")))
        except StepError as error:
            caught.append(error)
            return f"{error.name}: {error.message}"

    world = make(catching)
    event = world.send("catching")
    world.settle()

    try:
        raise KeyError("no such bucket")
    except KeyError as error:
        world.fail(world.claimed(), error)

    assert "KeyError: 'no such bucket'" == world.output(event)
    assert "no such bucket" in (caught[0].stack or "")
    assert 1 == len(world.sent.messages)


def test_with_a_policy_of_the_step_the_task_is_sent_anew_and_late_messages_of_before_are_not_heard(make: Make) -> None:
    def patient(ctx: Context) -> Any:
        return ctx.step.task("resize", resize.s(1), retry=Retry(2, "constant", MINUTE, on=(OSError,)))

    world = make(patient)
    event = world.send("patient")
    world.settle()
    world.fail(world.claimed(), ConnectionError("away"))
    assert world.claim(at=0) is None

    world.skip(MINUTE)

    assert [0, 1] == [ticket.attempt for _, ticket in world.sent.messages]
    assert world.claim(at=0) is None
    world.finish(world.claimed(at=1), "at last")
    assert "at last" == world.output(event)


def test_a_policy_counts_its_tries_and_is_for_its_errors_only(make: Make) -> None:
    def patient(ctx: Context) -> Any:
        return ctx.step.task("resize", resize.s(1), retry=Retry(1, "constant", MINUTE, on=(OSError,)))

    world = make(patient, retries=0)
    other, tired = world.send("patient"), world.send("patient")
    world.settle()
    world.fail(world.claimed(at=0), ValueError("no image"))
    world.fail(world.claimed(at=1), OSError("away"))
    world.skip(MINUTE)
    world.fail(world.claimed(at=2), OSError("still away"))

    failed = {world.error(event)["message"] for event in (other, tired)}

    assert {"no image", "still away"} == failed


def test_tasks_run_beside_each_other_and_beside_other_steps(make: Make) -> None:
    async def album(ctx: AsyncContext) -> list[Any]:
        return await asyncio.gather(
            ctx.step.task("a", resize.s("a")), ctx.step.task("b", resize.s("b")), ctx.step.run("c", lambda: "c")
        )

    world = make(album)
    event = world.send("album")
    world.settle()
    assert 2 == len(world.sent.messages)

    for at in (1, 0):
        taken = world.claimed(at)
        world.finish(taken, taken.call.args[0].upper())

    assert ["A", "B", "c"] == world.output(event)


def test_a_plain_function_groups_tasks_too(make: Make) -> None:
    def album(ctx: Context) -> list[Any]:
        return list(
            ctx.group.parallel(
                [lambda: ctx.step.task("a", resize.s("a")), lambda: ctx.step.run("c", lambda: "c")],
            )
        )

    world = make(album)
    event = world.send("album")
    world.settle()
    world.finish(world.claimed(), "A")

    assert ["A", "c"] == world.output(event)


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        (celery.chain(resize.s(1), resize.s()), "a chain cannot be one step"),
        (celery.group(resize.s(1), resize.s(2)), "a group cannot be one step"),
        (celery.chord([resize.s(1)], resize.s()), "a chord cannot be one step"),
        (resize, "give it with its arguments, as name.s(...)"),
        ("shop.resize", "is no signature of a Celery task"),
        (resize.s(object()), "JSON cannot hold"),
    ],
)
def test_what_is_no_single_signature_fails_the_run_at_once_with_a_sentence(
    make: Make, signature: Any, sentence: str
) -> None:
    world = make(lambda_named("odd", lambda ctx: ctx.step.task("resize", signature)))
    event = world.send("odd")
    world.settle()

    assert sentence in world.error(event)["message"]
    assert [] == world.sent.messages


def test_a_result_that_json_cannot_hold_is_an_error_of_the_step(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    world.finish(world.claimed(), object())

    assert "JSON cannot hold" in world.error(event)["message"]


def test_a_task_that_cannot_be_sent_fails_the_step(make: Make) -> None:
    world = make(fn)
    world.sent.error = NonRetriable("the task shop.resize cannot be sent: missing argument")
    event = world.send("fn")
    world.settle()

    assert "the task shop.resize cannot be sent: missing argument" == world.error(event)["message"]


def test_a_broker_that_is_away_is_tried_again_in_seconds(make: Make) -> None:
    world = make(fn)
    world.sent.error = ConnectionError("refused")
    event = world.send("fn")
    world.settle()
    world.skip(timedelta(seconds=5))
    world.sent.error = None

    world.skip(timedelta(seconds=5))

    world.finish(world.claimed(), "sent")
    assert "sent" == world.output(event)


def test_celerys_own_retry_gives_the_job_to_the_message_that_comes_next(make: Make) -> None:
    world = make(fn)
    event = world.send("fn")
    world.settle()
    steps.give_back(world.parts, world.claimed(), world.now + timedelta(minutes=10))

    world.skip(timedelta(minutes=10))
    assert 1 == len(world.sent.messages)
    world.finish(world.claimed(), "second try")

    assert "second try" == world.output(event)


def test_a_retry_whose_message_is_lost_is_sent_anew(make: Make) -> None:
    world = make(fn)
    world.send("fn")
    world.settle()
    steps.give_back(world.parts, world.claimed(), world.now + timedelta(minutes=10))

    world.skip(timedelta(minutes=11))

    assert 2 == len(world.sent.messages)


def test_an_app_without_a_celery_application_is_told_so(database: Database) -> None:
    registry = Registry("shop")
    registry.add(fn, Event("fn"), options=Options())
    world = LocalWorld(database, registry)
    event = world.send("fn")
    world.settle()

    assert 'attached to no Celery application: Orchestrator("shop", celery=app)' in world.error(event)["message"]


def test_a_cancelled_run_takes_no_result_of_its_task(make: Make) -> None:
    from orchestrator.engine.cancel import cancel

    world = make(fn)
    event = world.send("fn")
    world.settle()
    taken = world.claimed()
    cancel(world.parts, world.run(event).id, "enough")

    world.finish(taken, "too late")

    assert "cancelled" == world.run(event).status
    assert world.claim() is None


def lambda_named(name: str, handler: Callable[[Context], Any]) -> Callable[[Context], Any]:
    handler.__name__ = name
    return handler
