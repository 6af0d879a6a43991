"""Orders to do something to many runs: whom they reach, how fast, and that a death or a stop doubles nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from sqlalchemy import delete, update

from orchestrator.core.effect import Status
from orchestrator.core.message import Returned, Threw
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine import bulk
from orchestrator.engine.bulk import Wish, count, give, stop
from orchestrator.engine.work import take, work
from orchestrator.errors import ConflictError, ExpressionError, NotFoundError, RequestError
from orchestrator.store import jobs, orders, tables
from orchestrator.store.database import Database
from orchestrator.store.filters import Count, RunFilter, TimeField
from orchestrator.store.orders import Kind, Order
from tests.engine.world import NOW, World, sleeps

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
FAILED = RunFilter(statuses=(Status.FAILED,))
AGAIN = Wish(Kind.RERUN, FAILED)
CANCEL = Wish(Kind.CANCEL, RunFilter())


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    """Five runs that failed, and orders that are carried out two runs at a time, one batch a turn."""
    monkeypatch.setattr(bulk, "BATCH", 2)
    made = World(database, '"retries":0')
    made.parts = replace(made.parts, settings=replace(made.parts.settings, continue_span=timedelta()))
    made.driver.answer = fails
    with made.parts.database.write() as conn:
        conn.execute(delete(tables.jobs))
        conn.execute(delete(tables.events))
    made.heard.take()
    started(made, 5)
    return made


def fails(call: Call) -> Answer:
    return Answer(Threw(None, call.attempt, '{"name":"E","message":"no"}', retryable=False))


def started(world: World, many: int) -> None:
    """Start runs and let each do what there is to do."""
    for number in range(many):
        world.send(data=f'{{"n":{number}}}')
        world.start()
        world.work()
        world.clock.advance(SECOND)


def turn(world: World) -> None:
    """Give orders that are due a turn."""
    for held in take(world.parts, [hint.job_id for hint in world.due() if hint.kind == jobs.BULK]):
        work(world.parts, held)


def carry_out(world: World, order: Order) -> Order:
    for _ in range(50):
        turn(world)
        if (found := read(world, order)).ended_at is not None:
            return found
    raise AssertionError(found)


def read(world: World, order: Order) -> Order:
    with world.parts.database.read() as conn:
        found = orders.get(conn, order.id)
    assert found is not None
    return found


def statuses(world: World) -> Counter[str]:
    with world.parts.database.read() as conn:
        return Counter(row.status for row in conn.execute(tables.runs.select()))


def reruns(world: World) -> Counter[str]:
    """How often each run was run again."""
    with world.parts.database.read() as conn:
        rows = conn.execute(tables.runs.select().where(tables.runs.c.original_run_id.is_not(None)))
        return Counter(row.original_run_id for row in rows)


def audited(world: World) -> list[tuple[str, str, str | None]]:
    with world.parts.database.read() as conn:
        return [(row.action, row.subject, row.actor) for row in conn.execute(tables.audit.select())]


def test_each_run_that_is_meant_is_run_again_once_and_the_new_ones_are_not_meant(world: World):
    world.driver.answer = fails

    order = give(world.parts, AGAIN, "ann")
    for _ in range(9):
        turn(world)
        world.work_on([hint.job_id for hint in world.due() if hint.kind == jobs.CALL])

    done = read(world, order)
    assert (5, 5, 0, None) == (done.total, done.done, done.failed, done.error)
    assert done.ended_at is not None
    assert ([1] * 5, {"failed": 10}) == (list(reruns(world).values()), statuses(world))
    assert [("bulk rerun", order.id, "ann")] == audited(world)


def test_a_dry_run_counts_and_does_nothing(world: World):
    query = replace(FAILED, query="event.data.n > 2")

    assert Count(5, exact=True) == count(world.parts, AGAIN)
    assert Count(2, exact=True) == count(world.parts, replace(AGAIN, wanted=query))
    assert Count(0, exact=True) == count(world.parts, CANCEL)
    assert ({"failed": 5}, []) == (statuses(world), audited(world))


def test_a_filter_chooses_by_time_and_by_a_condition_on_event_and_output(world: World):
    late = replace(FAILED, since=NOW + 3 * SECOND, query='output.message == "no" && event.data.n < 4')

    done = carry_out(world, give(world.parts, Wish(Kind.RERUN, late)))

    assert (1, 1) == (done.total, done.done)


@pytest.mark.parametrize("field", TimeField)
def test_runs_that_came_after_the_order_are_not_meant_whatever_the_time_is_about(world: World, field: TimeField):
    order = give(world.parts, Wish(Kind.RERUN, replace(FAILED, time_field=field)))
    world.clock.advance(SECOND)
    started(world, 3)

    assert 5 == carry_out(world, order).done


def test_an_order_whose_end_could_not_be_written_does_not_begin_anew(world: World, monkeypatch: pytest.MonkeyPatch):
    order = give(world.parts, Wish(Kind.RERUN, replace(FAILED, query="event.data.n < 2")))
    turn(world)
    with monkeypatch.context() as broken:
        broken.setattr(bulk, "_end", away)
        turn(world)
    world.clock.advance(2 * SECOND)

    done = carry_out(world, order)

    assert (2, None) == (done.done, done.error)
    assert [1] * 2 == list(reruns(world).values())


def away(*_: object) -> None:
    raise RuntimeError("the database went away")


def test_an_order_whose_worker_dies_goes_on_where_it_was_and_runs_nothing_again_twice(world: World):
    order = give(world.parts, AGAIN)
    turn(world)
    before = read(world, order).done

    assert take(world.parts, [hint.job_id for hint in world.due() if hint.kind == jobs.BULK])
    world.clock.advance(timedelta(seconds=31))
    world.recover()
    done = carry_out(world, order)

    assert (2, 5) == (before, done.done)
    assert [1] * 5 == list(reruns(world).values())


def test_a_lease_that_was_lost_does_nothing(world: World):
    order = give(world.parts, AGAIN)
    [held] = take(world.parts, [hint.job_id for hint in world.due() if hint.kind == jobs.BULK])
    world.clock.advance(timedelta(seconds=31))
    world.recover()

    work(world.parts, held)

    assert (0, Counter()) == (read(world, order).done, reruns(world))


def test_one_run_is_run_again_once_by_one_order_whatever_we_do_wrong(world: World):
    order = give(world.parts, AGAIN)
    turn(world)
    with world.parts.database.write() as conn:
        conn.execute(update(tables.orders).values(cursor=None))

    for _ in range(20):
        turn(world)
        world.clock.advance(HOUR)

    assert ({1}, 2) == (set(reruns(world).values()), len(reruns(world)))
    assert read(world, order).dead


def test_an_order_that_is_stopped_does_nothing_more_and_says_so(world: World):
    order = give(world.parts, AGAIN)
    turn(world)

    stop(world.parts, order.id, "bob")
    turn(world)

    found = read(world, order)
    assert (2, 2, True) == (found.done, len(reruns(world)), found.stopped_at is not None)
    assert ("bulk stopped", order.id, "bob") == audited(world)[-1]
    with pytest.raises(ConflictError, match="is over"):
        stop(world.parts, order.id)
    with pytest.raises(NotFoundError, match="there is no order"):
        stop(world.parts, "0" * 26)


def test_what_cannot_be_run_again_is_counted_and_told_and_the_others_are(world: World):
    with world.parts.database.write() as conn:
        [gone, *_] = conn.execute(tables.events.select().where(tables.events.c.name == "a/b")).all()
        conn.execute(delete(tables.events).where(tables.events.c.id == gone.id))

    done = carry_out(world, give(world.parts, AGAIN))

    assert (4, 1) == (done.done, done.failed)
    assert "were deleted (retention)" in str(done.error)


def test_an_order_with_a_rate_keeps_to_it(world: World):
    order = give(world.parts, replace(AGAIN, rate=1))

    seen = []
    for _ in range(6):
        turn(world)
        turn(world)
        seen.append(read(world, order).done)
        world.clock.advance(SECOND)

    assert [1, 2, 3, 4, 5, 5] == seen
    assert read(world, order).ended_at is not None


def test_live_runs_are_cancelled_by_a_filter(world: World):
    world.driver.answer = sleeps
    started(world, 3)

    done = carry_out(world, give(world.parts, CANCEL))

    assert (3, 3, {"failed": 5, "cancelled": 3}) == (done.total, done.done, statuses(world))


def test_what_cannot_be_ordered_is_refused(world: World):
    with pytest.raises(RequestError, match="status is missing: say which runs"):
        give(world.parts, Wish(Kind.RERUN, RunFilter()))
    with pytest.raises(RequestError, match="runs that have ended cannot be cancelled"):
        give(world.parts, Wish(Kind.CANCEL, FAILED))
    with pytest.raises(RequestError, match="rate must be a whole number from 1 to 10000"):
        give(world.parts, replace(AGAIN, rate=0))
    with pytest.raises(RequestError, match="since must be a moment before until"):
        give(world.parts, replace(AGAIN, wanted=replace(FAILED, since=NOW, until=NOW)))
    with pytest.raises(ExpressionError):
        give(world.parts, replace(AGAIN, wanted=replace(FAILED, query="event.data.")))
    assert [] == audited(world)


def test_a_run_that_completes_is_told_of_the_order_that_ran_it_again(world: World):
    world.driver.answer = lambda call: Answer(Returned(None, 0, "1"))
    order = give(world.parts, AGAIN)
    carry_out(world, order)
    world.work_on([hint.job_id for hint in world.due() if hint.kind == jobs.CALL])

    with world.parts.database.read() as conn:
        rows = conn.execute(tables.history.select().where(tables.history.c.kind == "rerun of")).all()
    assert {order.id} == {orjson.loads(row.data)["order"] for row in rows}
    assert {"failed": 5, "completed": 5} == statuses(world)
