"""Events that resume runs: each pause gets its answer once, and who matched the event goes on where there is room."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from threading import Barrier

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.event import Event
from orchestrator.core.message import Asked, Returned, SleepAsked, StepDone, StepPlanned, WaitAsked
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.branch import Held
from orchestrator.engine.cancel import cancel
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.match import match
from orchestrator.engine.work import take, work
from orchestrator.ids import ulid_at, ulid_moment
from orchestrator.store import jobs, pauses, runs
from orchestrator.store.apply import add_resume
from orchestrator.store.database import Database
from tests.engine.world import MINUTE, NOW, World, waits
from tests.store.factories import PATIENCE


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def waiting(world: World, count: int) -> list[str]:
    """So many runs that wait for `go`."""
    world.driver.answer = waits
    events = [world.event_id]
    for _ in range(count - 1):
        world.send()
        events.append(world.event_id)
    world.start()
    world.work()
    world.heard.hints.clear()
    with world.parts.database.read() as conn:
        return [run.id for run in runs.of_events(conn, events)]


def ended(world: World, run_ids: list[str]) -> list[Status]:
    with world.parts.database.read() as conn:
        return [run.status for run_id in run_ids if (run := runs.get(conn, run_id)) is not None]


def test_of_the_runs_that_one_event_resumes_some_are_held_and_the_rest_announced(world: World):
    run_ids = waiting(world, 5)
    world.send("go")

    held = match(world.parts, world.heard.take(), room=2)
    announced = len(world.heard.hints)
    for one in held:
        work(world.parts, one)
    world.work()

    assert (2, {jobs.RESUME}, 3) == (len(held), {one.lease.kind for one in held}, announced)
    assert [Status.COMPLETED] * 5 == ended(world, run_ids)
    assert [] == world.states()


def naps_and_looks_back(call: Call) -> Answer:
    """A function that sleeps for a minute, and then takes the event `go` also if it has come before."""
    if "w" in call.memo:
        return Answer(Returned(None, call.attempt, call.memo["w"]), request_version=2)
    if call.memo:
        asked = WaitAsked("w", "w", "WaitForEvent", "go", NOW + timedelta(hours=1), look_back=True)
        return Answer(Asked(None, call.attempt, (asked,)), request_version=2)
    return Answer(Asked(None, call.attempt, (SleepAsked("z", "z", "Sleep", NOW + MINUTE),)), request_version=2)


@pytest.mark.parametrize(("seconds", "status"), [(1, Status.COMPLETED), (-1, Status.RUNNING)])
@pytest.mark.parametrize("function", [waits, naps_and_looks_back])
def test_whether_an_event_came_after_the_runs_own_is_told_by_our_clock_and_not_by_the_senders(
    world: World, function: Callable[[Call], Answer], seconds: int, status: Status
):
    """SDKs name events by their own clocks: here a slow one names what comes later, a fast one what came before."""
    world.driver.answer = function
    world.start()
    world.work()
    named = int(ulid_moment(world.event_id).timestamp() * 1000) - 60_000 * seconds
    event = Event(ulid_at(named, bytes(10)), "go", "{}", named, NOW + timedelta(seconds=seconds))

    Ingest(world.parts).accept([event])
    world.start()
    world.clock.advance(MINUTE)
    for _ in range(4):
        world.work_on([hint.job_id for hint in world.due()])

    assert status is world.run.status


def test_an_event_that_several_workers_match_at_once_resumes_each_run_once(world: World):
    run_ids = waiting(world, 6)
    world.send("go")
    job_ids, together = world.heard.take(), Barrier(4)

    def one(number: int) -> list[Held]:
        together.wait(30)
        return match(world.parts, job_ids, room=number)

    with ThreadPoolExecutor(4) as pool:
        held = [it for some in pool.map(one, range(4)) for it in some]
    for it in held:
        work(world.parts, it)
    world.work()

    assert [Status.COMPLETED] * 6 == ended(world, run_ids)
    assert len(held) == len({it.lease.job_id for it in held})
    assert [] == world.states()


def test_of_two_events_at_once_the_first_is_the_answer(world: World):
    [run_id] = waiting(world, 1)
    world.send("go")
    first = world.event_id
    world.send("go")

    [held] = match(world.parts, sorted(world.heard.take()), room=1)
    work(world.parts, held)

    with world.parts.database.read() as conn:
        run = runs.get(conn, run_id)
    assert run is not None
    assert (Status.COMPLETED, first) == (run.status, json.loads(run.output or "{}")["id"])


def test_a_run_that_waited_in_branches_is_read_anew_and_goes_on_when_all_have_come(world: World):
    """A sleep, a wait and a planned step: what is known from before the end of the last one is not all there is."""
    seen = list[list[str]]()

    def branches(call: Call) -> Answer:
        if call.target is not None:
            return Answer(Asked(call.target, call.attempt, (StepDone("p", "p", "StepRun", "1"),)))
        seen.append(list(call.memo))
        if len(call.memo) == 3:
            return Answer(Returned(None, call.attempt, "1"))
        until = NOW + MINUTE
        ops = (
            SleepAsked("z", "z", "Sleep", until),
            WaitAsked("w", "w", "WaitForEvent", "go", until + MINUTE),
            StepPlanned("p", "p", "StepPlanned"),
        )
        return Answer(Asked(None, call.attempt, ops))

    world.driver.answer = branches
    world.start()
    world.work()
    run_id = world.run.id
    timers = world.heard.hints[:]
    world.work()
    world.send("go")
    for held in match(world.parts, [hint.job_id for hint in world.heard.hints if hint.kind == jobs.MATCH], room=1):
        work(world.parts, held)
    world.clock.advance(MINUTE)
    for held in take(world.parts, [hint.job_id for hint in timers]):
        work(world.parts, held)

    assert [Status.COMPLETED] == ended(world, [run_id])
    assert [[], ["p"], ["p", "w"], ["p", "w", "z"]] == seen
    assert [] == world.states()


def test_an_answer_that_comes_as_its_run_is_cancelled_leaves_nothing(concurrent: Database):
    """Who gives an answer does not lock the run: cancelling deletes the jobs that it sees, and this one comes after."""
    world = World(concurrent)
    [run_id] = waiting(world, 1)
    with ThreadPoolExecutor(1) as pool:
        with concurrent.write() as conn:
            pause_id = pauses.of_step(conn, run_id, "w", pauses.EVENT)
            assert pause_id is not None
            assert {pause_id} == pauses.take(conn, [pause_id])
            hint = add_resume(conn, pause_id, run_id, "w", {"event": world.event_id}, NOW)
            cancelled = pool.submit(cancel, world.parts, run_id, "enough")
            wait([cancelled], timeout=0.5)
        assert cancelled.result(PATIENCE)
    before = len(world.states())

    world.work_on([hint.job_id])

    assert (1, [Status.CANCELLED], []) == (before, ended(world, [run_id]), world.states())
