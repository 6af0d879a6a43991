"""Time-outs of a function: its runs are cancelled that have not begun, or not ended, in time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, SleepAsked, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.bury import requeue
from orchestrator.engine.match import match
from orchestrator.engine.register import register
from orchestrator.engine.work import take, work
from orchestrator.protocol.sync import parse_registration
from orchestrator.store import history, jobs
from orchestrator.store.database import Database
from tests.engine.world import NOW, REGISTRATION, World, returned

HOUR = timedelta(hours=1)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def timed(world: World, ahead: timedelta = timedelta(), **timeouts: str) -> None:
    """Give the function time-outs, and send it an event."""
    answer, world.driver.answer = world.driver.answer, returned
    world.start()
    world.work()  # what the world comes with
    world.driver.answer = answer
    declared: dict[str, Any] = json.loads(REGISTRATION)
    declared["functions"][0]["timeouts"] = timeouts
    register(world.parts, parse_registration(json.dumps(declared).encode(), {}))
    world.send(ahead=ahead)


def naps(call: Call) -> Answer:
    return Answer(Asked(None, call.attempt, (SleepAsked("nap", "nap", "Sleep", NOW + 24 * HOUR),)))


def work_in_order(world: World, *kinds: str) -> None:
    """Lease all that was announced, and do it by kind."""
    held = take(world.parts, world.heard.take())
    for one in sorted(held, key=lambda it: kinds.index(it.lease.kind)):
        work(world.parts, one)


def reason(world: World) -> str:
    with world.parts.database.read() as conn:
        [entry] = [it for it in history.of_run(conn, world.run.id) if it.kind == "cancelled"]
    return str(json.loads(entry.data or "")["reason"])


@pytest.mark.parametrize("order", [(jobs.RUN_TIMEOUT, jobs.CALL), (jobs.CALL, jobs.RUN_TIMEOUT)])
def test_a_run_that_has_not_begun_in_time_is_cancelled_and_never_called(world: World, order: tuple[str, str]):
    called: list[Call] = []
    world.driver.answer = lambda call: (called.append(call), naps(call))[1]
    timed(world, start="10s")
    world.start()

    world.clock.advance(timedelta(seconds=10))
    work_in_order(world, *order)

    assert (Status.CANCELLED, []) == (world.run.status, called)
    assert "not started within 10s (timeouts.start)" == reason(world)
    assert [] == world.states()


def test_a_run_that_began_in_time_is_left_alone(world: World):
    world.driver.answer = naps
    timed(world, start="10s")
    world.start()
    timeout = world.heard.hints[0]

    work_in_order(world, jobs.CALL)
    world.clock.advance(HOUR)

    assert jobs.RUN_TIMEOUT == timeout.kind
    assert [] == take(world.parts, [timeout.job_id])
    assert Status.RUNNING is world.run.status


def test_a_run_of_a_future_event_has_its_time_to_begin_from_then_on(world: World):
    timed(world, HOUR, start="10s")
    world.start()

    world.clock.advance(HOUR + timedelta(seconds=5))
    work_in_order(world, jobs.CALL)

    assert Status.COMPLETED is world.run.status


@pytest.mark.parametrize("at_once", [True, False])
def test_a_run_that_has_not_ended_in_time_is_cancelled(world: World, at_once: bool):
    world.driver.answer = naps
    timed(world, finish="5m")
    for held in match(world.parts, world.heard.take(), room=int(at_once)):
        work(world.parts, held)
    if not at_once:
        world.clock.advance(HOUR)
        work_in_order(world, jobs.CALL)

    world.clock.advance(timedelta(minutes=5))
    work_in_order(world, jobs.RUN_TIMEOUT)

    assert (Status.CANCELLED, []) == (world.run.status, world.states())
    assert "not finished within 5m (timeouts.finish)" == reason(world)


def test_an_attempt_that_comes_after_the_time_is_not_made(world: World):
    called: list[Call] = []
    no = '{"name":"Error","message":"no"}'
    world.driver.answer = lambda call: (called.append(call), Answer(Threw(None, call.attempt, no, retryable=True)))[1]
    timed(world, finish="10s")
    world.start()
    world.work()

    world.clock.advance(HOUR)
    work_in_order(world, jobs.CALL, jobs.RUN_TIMEOUT)

    assert (Status.CANCELLED, 1) == (world.run.status, len(called))


def test_one_at_which_the_database_went_away_is_done_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch):
    world.driver.answer = naps
    timed(world, finish="5m")
    for held in match(world.parts, world.heard.take(), room=1):
        work(world.parts, held)
    world.clock.advance(timedelta(minutes=5))
    with monkeypatch.context() as broken:
        broken.setattr("orchestrator.engine.expire.settle", away)
        broken.setattr("orchestrator.engine.work.crashed", away)
        work_in_order(world, jobs.RUN_TIMEOUT)

    for _ in range(6):
        world.clock.advance(timedelta(seconds=10))
        world.parts.holdings.beat(world.clock.now())
        world.recover()
    work_in_order(world, jobs.RUN_TIMEOUT)

    assert Status.CANCELLED is world.run.status


def away(*_: object, **__: object) -> None:
    raise OSError("the database went away")


def test_a_run_that_ended_in_time_leaves_nothing(world: World):
    timed(world, start="10s", finish="10s")
    world.start()

    world.work()

    assert (Status.COMPLETED, []) == (world.run.status, world.states())


def test_a_requeued_run_has_its_time_to_end_from_then_on(world: World):
    timed(world, finish="1h")
    world.start()
    for _ in range(5):
        world.die()

    requeue(world.parts, world.run.id)
    world.driver.answer = naps
    world.clock.advance(HOUR - timedelta(minutes=1))
    work_in_order(world, jobs.CALL, jobs.RUN_TIMEOUT)
    asleep = world.run.status
    world.clock.advance(timedelta(minutes=1))
    world.heard.hints += world.due()
    work_in_order(world, jobs.RUN_TIMEOUT)

    assert (Status.RUNNING, Status.CANCELLED) == (asleep, world.run.status)
