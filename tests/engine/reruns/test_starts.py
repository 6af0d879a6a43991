"""Reruns as starts: what holds for them of flow control, of pauses and of what is gone."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from sqlalchemy import delete, update

from orchestrator.core.message import Returned
from orchestrator.drivers.base import Answer
from orchestrator.engine.register import register
from orchestrator.engine.rerun import rerun
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.protocol.sync import parse_registration
from orchestrator.store import tables
from orchestrator.store.database import Database
from tests.engine.flows import Flows, a_function, ids
from tests.engine.reruns.again import all_runs, go, made, run_of, story, work
from tests.engine.world import MINUTE, NOW, REGISTRATION, World, sleeps, waits


@pytest.mark.parametrize(
    "option",
    [
        '"rateLimit":{"limit":1,"period":"1h"}',
        '"singleton":{"mode":"skip"}',
        '"singleton":{"mode":"cancel"}',
        '"idempotency":"event.name"',
        '"debounce":{"period":"1m"}',
        '"batchEvents":{"maxSize":5,"timeout":"60s"}',
    ],
)
def test_what_lets_a_start_fall_out_does_not_keep_a_rerun_from_starting(database: Database, option: str):
    world = made(database, first=False)
    world.driver.answer = sleeps
    go(world)
    world.register(option)

    again = [rerun(world.parts, world.run.id) for _ in range(2)]
    work(world)

    assert ["running"] * 3 == [run_of(world, run_id).status.value for run_id in (world.run.id, *again)]


def test_a_throttle_counts_for_reruns(database: Database):
    flows = Flows(database, a_function(throttle={"limit": 1, "period": "60s"}))
    flows.send({})
    flows.match(room=1)
    [first] = ids(flows.runs())

    for _ in range(2):
        rerun(flows.parts, first)
    flows.work()
    before = [row.status for row in flows.runs()]
    flows.wait(61)
    between = [row.status for row in flows.runs()]
    flows.wait(61)

    assert ["completed", "queued", "queued"] == before
    assert ["completed", "completed", "queued"] == between
    assert ["completed"] * 3 == [row.status for row in flows.runs()]


def test_a_limit_on_concurrency_and_a_priority_count_for_reruns(database: Database):
    flows = Flows(database, a_function(concurrency=[{"limit": 1, "key": "event.data.k"}], priority={"run": "120"}))
    flows.send({"k": "x"})
    flows.match(room=1)
    [first] = flows.runs()

    again = rerun(flows.parts, first.id)

    with flows.database.read() as conn:
        [job] = conn.execute(tables.jobs.select().where(tables.jobs.c.run_id == again)).all()
    assert (first.limits, 120) == (flows.runs()[1].limits, job.priority)


def test_events_that_came_before_a_rerun_are_not_looked_back_to(database: Database):
    world = made(database, '"cancel":[{"event":"stop"}]', first=False)
    world.driver.answer = waits
    go(world)
    first = world.run
    world.clock.advance(timedelta(seconds=1))

    again = rerun(world.parts, first.id)
    work(world)
    with world.parts.database.read() as conn:
        rows = conn.execute(tables.pauses.select().where(tables.pauses.c.run_id == again)).all()
        from orchestrator.store import pauses

        since = {pauses.get(conn, row.id).since for row in rows}  # type: ignore[union-attr]

    assert ({again}, 2) == (since, len(rows))  # the wait, and what cancels it


def test_the_rerun_of_an_invoked_run_answers_nobody(world: World):
    with world.parts.database.write() as conn:
        conn.execute(update(tables.runs).values(correlation_id=f"{world.run.id}.step"))

    again = rerun(world.parts, world.run.id)

    assert None is run_of(world, again).correlation_id


def test_a_run_that_was_skipped_can_be_started_after_all(database: Database):
    world = made(database, '"rateLimit":{"limit":1,"period":"1h"}')
    world.send()
    world.start()
    assert "skipped" == world.run.status.value

    again = rerun(world.parts, world.run.id)
    work(world)

    assert "completed" == run_of(world, again).status.value


def test_a_rerun_of_a_paused_function_waits_until_it_is_resumed(world: World):
    with world.parts.database.write() as conn:
        conn.execute(update(tables.functions).values(paused_at=NOW))

    again = rerun(world.parts, world.run.id)
    work(world)

    assert "queued" == run_of(world, again).status.value


def test_what_is_gone_is_told(database: Database):
    world = made(database)
    first = world.run
    with pytest.raises(NotFoundError, match="there is no run 00000000000000000000000000"):
        rerun(world.parts, "0" * 26)

    declared = orjson.loads(REGISTRATION)
    declared["functions"][0]["id"] = "app-other"
    register(world.parts, parse_registration(orjson.dumps(declared), {}))
    with pytest.raises(ConflictError, match="app-fn is no longer served by its app"):
        rerun(world.parts, first.id)
    world.register("")
    with world.parts.database.write() as conn:
        conn.execute(delete(tables.events))
    with pytest.raises(ConflictError, match=r"the events of run .* were deleted"):
        rerun(world.parts, first.id)

    assert [first.id] == [run.id for run in all_runs(world)]


def test_a_batch_is_run_again_with_all_its_events_also_when_the_original_is_deleted(database: Database):
    from orchestrator.store.retention import free_runs

    world = made(database, '"batchEvents":{"maxSize":2,"timeout":"60s"}', first=False)
    world.start()
    world.send()
    go(world)
    [first] = all_runs(world)
    world.driver.answer = lambda call: Answer(Returned(None, 0, str(len(call.events))))

    again = rerun(world.parts, first.id)
    with world.parts.database.write() as conn:
        free_runs(conn, [first.id], NOW + MINUTE)
    work(world)

    assert "2" == run_of(world, again).output
    with world.parts.database.write() as conn:
        free_runs(conn, [again], NOW + MINUTE)
        assert [] == conn.execute(tables.batch_events.select()).all()
        assert [] == conn.execute(tables.reruns.select()).all()


def test_two_reruns_at_once_are_two_runs(world: World):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        made = {it.result(20) for it in [pool.submit(rerun, world.parts, world.run.id) for _ in range(4)]}

    assert (4, 5) == (len(made), len(all_runs(world)))


def test_a_rerun_is_written_whole_or_not_at_all(world: World, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    before = len(all_runs(world))
    monkeypatch.setattr("orchestrator.engine.rerun.audit.record", fails)

    with pytest.raises(ZeroDivisionError):
        rerun(world.parts, world.run.id)

    assert (before, []) == (len(all_runs(world)), story(world, world.run.id))
