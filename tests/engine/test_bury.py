"""Jobs that we fail at, or that keep killing their workers, end somewhere visible."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from orchestrator.core.effect import Status
from orchestrator.core.message import Asked, Returned, StepDone
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.branch import Held
from orchestrator.engine.bury import requeue
from orchestrator.engine.cancel import cancel
from orchestrator.engine.dead import requeue_job
from orchestrator.engine.match import match
from orchestrator.engine.recover import recover
from orchestrator.engine.register import register
from orchestrator.engine.work import take, work
from orchestrator.errors import ConflictError
from orchestrator.protocol.sync import parse_registration
from orchestrator.store import audit, dead, due, events, jobs, schema, tables
from orchestrator.store.database import Database
from tests.engine.world import REGISTRATION, World, returned


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    schema.upgrade(url)
    database = Database(url, synchronous="OFF")
    yield World(database)
    database.close()


def test_a_run_whose_worker_is_lost_goes_on_and_the_loss_is_no_attempt(world: World):
    seen = []
    world.driver.answer = lambda call: (seen.append(call.attempt), returned(call))[1]
    world.start()

    world.die()
    world.work()

    assert (Status.COMPLETED, [0]) == (world.run.status, seen)


def test_an_answer_that_comes_after_its_lease_has_passed_to_another_changes_nothing(world: World):
    others: list[Held] = []
    seen: list[object] = []

    def starved_the_first_time(call: Call) -> Answer:
        if not others:
            world.clock.advance(timedelta(seconds=31))
            recover(world.parts)
            others.extend(take(world.parts, world.heard.take()))
            seen.append(rows(world))
            return Answer(Returned(None, call.attempt, '"late"'))
        return returned(call)

    world.driver.answer = starved_the_first_time
    world.start()
    world.work()
    seen.append(rows(world))
    for held in others:
        work(world.parts, held)

    assert seen[0] == seen[1]
    assert (Status.COMPLETED, '"done"') == (world.run.status, world.run.output)


def test_who_takes_a_lease_back_tells_whose_it_was_and_whether_that_process_died(
    world: World, caplog: pytest.LogCaptureFixture
):
    owner = world.parts.holdings.owner
    world.start()

    world.die()
    take(world.parts, world.heard.take())
    recover(world.parts, [owner])

    told = [text.partition(" owner=")[2] for text in caplog.messages if text.startswith("lease recovered")]
    assert [f"{owner} died=False", f"{owner} died=True"] == told


def rows(world: World) -> list[object]:
    """Every row that a run's answers may change."""
    with world.parts.database.read() as conn:
        return [conn.execute(table.select()).all() for table in (jobs.jobs, tables.runs, tables.steps, tables.history)]


def test_a_job_that_loses_its_worker_five_times_is_dead_and_its_run_says_why(world: World):
    world.start()

    for _ in range(5):
        world.die()

    assert (Status.FAILED, [jobs.DEAD]) == (world.run.status, world.states())
    assert "WorkerLost" in world.run.error
    assert "5 times" in world.run.error


def test_a_buried_run_can_be_requeued_and_ends(world: World):
    world.start()
    for _ in range(5):
        world.die()

    requeue(world.parts, world.run.id)
    world.work()

    assert (Status.COMPLETED, []) == (world.run.status, world.states())


def test_a_requeued_run_may_fail_again_and_be_requeued_again(world: World):
    world.start()
    for _ in range(5):
        world.die()
    requeue(world.parts, world.run.id)
    for _ in range(5):
        world.die()
    failed_again = world.run.status

    requeue(world.parts, world.run.id)
    cancelled = cancel(world.parts, world.run.id, "enough")

    assert (Status.FAILED, True, Status.CANCELLED) == (failed_again, cancelled, world.run.status)


def test_each_failure_of_a_run_is_told_to_its_handler_though_the_day_is_not_over(world: World):
    told = []
    world.driver.answer = lambda call: (told.append(orjson.loads(call.events[0])), returned(call))[1]
    declare_a_failure_handler(world)
    world.start()

    for _ in range(2):
        for _ in range(5):
            world.die()
        [handler] = match(world.parts, world.heard.take(), room=1)
        work(world.parts, handler)
        requeue(world.parts, world.run.id)

    run_id = world.run.id
    assert [(run_id, run_id), (f"{run_id}.2", run_id)] == [(it["id"], it["data"]["run_id"]) for it in told]


def declare_a_failure_handler(world: World) -> None:
    declared = orjson.loads(REGISTRATION)
    condition = "event.data.function_id == 'app-fn'"
    handler = orjson.loads(REGISTRATION)["functions"][0] | {
        "id": "app-fn-failure",
        "triggers": [{"event": "inngest/function.failed", "expression": condition}],
    }
    declared["functions"].append(handler)
    register(world.parts, parse_registration(orjson.dumps(declared), {}))


def test_a_job_that_cannot_be_buried_does_not_keep_others_from_being_recovered(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.start()
    for _ in range(4):
        world.die()
    [poisoned] = take(world.parts, world.heard.take())
    world.send()
    world.start()
    [other] = take(world.parts, world.heard.take())
    world.clock.advance(timedelta(seconds=31))

    def fails(*_: object) -> None:
        raise ZeroDivisionError("cannot bury")

    monkeypatch.setattr("orchestrator.engine.recover.bury", fails)
    recovered = recover(world.parts)

    assert (1, [other.lease.job_id]) == (recovered, world.heard.take())
    assert poisoned.lease.job_id != other.lease.job_id


def test_a_run_that_did_not_fail_for_a_dead_job_cannot_be_requeued(world: World):
    world.start()
    world.work()

    with pytest.raises(ConflictError, match="nothing to requeue"):
        requeue(world.parts, world.run.id)


def test_progress_makes_the_losses_before_it_forgotten(world: World):
    world.start()
    for _ in range(4):
        world.die()
    lease = take(world.parts, world.heard.take())[0]
    calls = []

    def one_step_then_a_bug(call: Call) -> Answer:
        calls.append(call)
        if len(calls) > 1:
            raise ZeroDivisionError("ours")
        return Answer(Asked(None, call.attempt, (StepDone("s", "s", "StepRun", "1"),)))

    world.driver.answer = one_step_then_a_bug
    work(world.parts, lease)

    assert ([jobs.READY], Status.RUNNING) == (world.states(), world.run.status)


def test_a_failure_of_ours_brings_the_job_back_later_and_buries_it_in_the_end(world: World):
    def bug(_call: Call) -> Answer:
        raise ZeroDivisionError("ours")

    world.driver.answer = bug
    world.start()
    for _ in range(5):
        world.work()
        world.clock.advance(timedelta(minutes=1))
        with world.parts.database.read() as conn:
            world.heard.hints += due.due(conn, world.clock.now(), world.clock.now(), 10)

    assert (Status.FAILED, [jobs.DEAD]) == (world.run.status, world.states())
    assert "ZeroDivisionError: ours" in world.run.error


def test_an_event_made_by_a_clock_ahead_of_ours_starts_its_run(world: World):
    world.clock.advance(timedelta(seconds=-1))

    world.start()

    assert Status.QUEUED is world.run.status


def test_a_hint_for_a_match_job_that_is_not_ours_to_do_ends_nothing(world: World):
    with world.parts.database.write() as conn:
        conn.execute(jobs.jobs.update().values(state=jobs.DEAD))

    match(world.parts, world.heard.take(), 0)

    assert [jobs.DEAD] == world.states()


def test_a_match_job_we_fail_at_comes_back_and_is_dead_in_the_end(world: World):
    with world.parts.database.write() as conn:
        conn.execute(events.events.delete())
        conn.execute(jobs.jobs.update().values(payload="not json"))
    [job_id] = world.heard.take()

    for _ in range(5):
        match(world.parts, [job_id], 0)
        world.clock.advance(timedelta(seconds=3))

    assert [jobs.DEAD] == world.states()


def test_a_dead_match_job_is_requeued_and_starts_its_run(world: World):
    [job_id] = world.heard.take()
    with world.parts.database.write() as conn:
        [payload] = [row.payload for row in conn.execute(jobs.jobs.select())]
        conn.execute(jobs.jobs.update().values(payload="not json"))
    for _ in range(5):
        match(world.parts, [job_id], 0)
        world.clock.advance(timedelta(seconds=3))
    with world.parts.database.write() as conn:
        conn.execute(jobs.jobs.update().values(payload=payload))

    requeue_job(world.parts, job_id)
    world.start()
    world.work()

    assert (Status.COMPLETED, []) == (world.run.status, world.states())


def test_a_dead_job_of_a_run_is_requeued_by_letting_the_run_go_on(world: World):
    world.start()
    for _ in range(5):
        world.die()
    with world.parts.database.read() as conn:
        [job] = dead.page(conn, limit=10)

    requeue_job(world.parts, job.id)
    world.work()

    assert (Status.COMPLETED, []) == (world.run.status, world.states())
    with world.parts.database.read() as conn:
        assert ["run requeued"] == [action for action, _ in audit.actions_on(conn, world.run.id)]
