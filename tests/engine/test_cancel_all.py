"""Orders to cancel many runs: whom they reach, and that a death on the way loses nothing and tells nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from orchestrator.core.message import Asked, Returned, SleepAsked
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.bulk import write
from orchestrator.engine.cancel_all import Wish, ordered
from orchestrator.engine.parts import Parts
from orchestrator.engine.recover import recover
from orchestrator.engine.register import register
from orchestrator.engine.work import take, work
from orchestrator.protocol.sync import parse_registration
from orchestrator.store import jobs, orders, pauses
from orchestrator.store.database import Database
from orchestrator.store.orders import Order
from orchestrator.store.tables import events, history, runs
from tests.engine.world import NOW, REGISTRATION, World

HOUR = timedelta(hours=1)
ALL = Wish("app", "fn")


def order(parts: Parts, wish: Wish) -> Order:
    return write(parts, ordered(parts, wish))


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    """A function whose runs sleep, and orders that are carried out two runs at a time, one batch a turn."""
    monkeypatch.setattr("orchestrator.engine.bulk.BATCH", 2)
    made = World(database)
    made.parts = replace(made.parts, settings=replace(made.parts.settings, continue_span=timedelta()))
    made.driver.answer = naps
    made.start()
    made.work()
    return made


def naps(call: Call) -> Answer:
    return Answer(Asked(None, call.attempt, (SleepAsked("nap", "nap", "Sleep", NOW + 24 * HOUR),)))


def sleeping(world: World, count: int, data: str = "{}") -> list[str]:
    """Start so many runs more; returns the ids of their events."""
    ids = []
    for _ in range(count):
        world.send(data=data)
        world.start()
        world.work()
        ids.append(world.event_id)
    return ids


def carry_out(world: World, given: Order) -> Order:
    """Give the order turns until it is done."""
    for _ in range(50):
        for held in take(world.parts, world.heard.take()):
            work(world.parts, held)
        found = read(world, given)
        if found.ended_at is not None:
            return found
    raise AssertionError(found)


def read(world: World, given: Order) -> Order:
    with world.parts.database.read() as conn:
        found = orders.get(conn, given.id)
    assert found is not None
    return found


def statuses(world: World) -> dict[str, str]:
    """The status of each run, by its event."""
    with world.parts.database.read() as conn:
        return {row.event_id: row.status for row in conn.execute(runs.select())}


def told(world: World) -> Counter[str]:
    """How often each run's cancelling was told, as an event and in its history."""
    with world.parts.database.read() as conn:
        names = events.select().where(events.c.name == "inngest/function.cancelled")
        as_events = [row.external_id for row in conn.execute(names)]
        noted = [row.run_id for row in conn.execute(history.select().where(history.c.kind == "cancelled"))]
    assert Counter(as_events) == Counter(noted)
    return Counter(noted)


def test_all_live_runs_of_the_function_are_cancelled_and_nothing_of_them_is_left(world: World):
    sleeping(world, 4)
    world.send(ahead=HOUR)  # one that is queued for later
    world.start()
    world.heard.take()

    done = carry_out(world, order(world.parts, ALL))

    assert {"cancelled": 6} == Counter(statuses(world).values())
    assert (6, None, [1] * 6) == (done.done, done.error, list(told(world).values()))
    with world.parts.database.read() as conn:
        assert [] == conn.execute(jobs.jobs.select()).all()
        assert [] == conn.execute(pauses.pauses.select()).all()


def test_runs_that_have_ended_and_runs_of_others_stay_as_they_are(world: World):
    declared = orjson.loads(REGISTRATION)
    declared["functions"].append(declared["functions"][0] | {"id": "app-other", "triggers": [{"event": "a/other"}]})
    declared["functions"][0]["cancel"] = [{"event": "a/stop"}]
    register(world.parts, parse_registration(orjson.dumps(declared), {}))
    world.driver.answer = lambda call: Answer(Returned(None, 0, "1"))
    [ended] = sleeping(world, 1)
    world.driver.answer = naps
    world.send(name="a/other")
    world.start()
    world.work()

    done = carry_out(world, order(world.parts, ALL))

    assert ("completed", "running") == (statuses(world)[ended], statuses(world)[world.event_id])
    assert 1 == done.done
    assert 1 == carry_out(world, order(world.parts, Wish("app"))).done
    assert "cancelled" == statuses(world)[world.event_id]


def test_a_condition_chooses_by_the_event_and_one_that_cannot_be_tried_is_told(world: World):
    [meant, other, bad] = [sleeping(world, 1, f'{{"late":{it}}}')[0] for it in ("true", "false", '"very"')]

    done = carry_out(world, order(world.parts, replace(ALL, expression="event.data.late")))

    found = statuses(world)
    assert ("cancelled", "running", "running") == (found[meant], found[other], found[bad])
    assert 1 == done.done
    assert "must give true or false" in str(done.error)


def test_only_runs_queued_within_the_time_are_meant(world: World):
    world.clock.advance(HOUR)
    [early] = sleeping(world, 1)
    world.clock.advance(HOUR)
    [late] = sleeping(world, 1)
    now = world.clock.now()

    done = carry_out(world, order(world.parts, replace(ALL, started_after=now - HOUR, started_before=now - HOUR / 2)))

    assert 1 == done.done
    assert ("cancelled", "running") == (statuses(world)[early], statuses(world)[late])


def test_an_order_whose_worker_dies_is_carried_on_where_it_was(world: World):
    sleeping(world, 6)
    given = order(world.parts, ALL)
    for held in take(world.parts, world.heard.take()):
        work(world.parts, held)
    before = read(world, given).done

    world.die()
    done = carry_out(world, given)

    assert (2, 7) == (before, done.done)
    assert {1: 7} == Counter(told(world).values())


def test_an_order_that_is_deleted_cancels_nothing_more(world: World):
    sleeping(world, 4)
    given = order(world.parts, ALL)
    [held] = take(world.parts, world.heard.take())
    work(world.parts, held)

    with world.parts.database.write() as conn:
        assert orders.remove(conn, given.id)
    for held in take(world.parts, world.heard.take()):
        work(world.parts, held)

    assert {"cancelled": 2, "running": 3} == Counter(statuses(world).values())


def test_a_lease_that_was_lost_cancels_nothing(world: World):
    sleeping(world, 4)
    given = order(world.parts, ALL)
    [held] = take(world.parts, world.heard.take())
    world.clock.advance(timedelta(seconds=31))
    recover(world.parts)

    work(world.parts, held)

    assert ({"running": 5}, 0) == (Counter(statuses(world).values()), read(world, given).done)


def test_an_order_that_crashes_again_and_again_is_given_up_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise ZeroDivisionError("cannot")

    given = order(world.parts, ALL)
    monkeypatch.setattr("orchestrator.engine.bulk.search_runs", fails)
    for _ in range(5):
        for held in take(world.parts, [hint.job_id for hint in world.due()]):
            work(world.parts, held)
        world.clock.advance(HOUR)

    assert (True, None) == (read(world, given).dead, read(world, given).ended_at)


@pytest.fixture
def racing(world: World) -> Iterator[World]:
    if world.parts.database.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    return world


def test_runs_that_end_while_they_are_cancelled_end_once(racing: World, monkeypatch: pytest.MonkeyPatch):
    """Forty runs wake and complete in four threads, while an order cancels whatever it meets."""
    world = racing
    monkeypatch.setattr("orchestrator.engine.bulk.BATCH", 7)
    sleeping(world, 39)
    world.driver.answer = lambda call: Answer(Returned(None, 0, "1"))
    world.clock.advance(25 * HOUR)
    wakes = [hint.job_id for hint in world.due()]
    order(world.parts, ALL)

    def wake(job_id: int) -> None:
        for held in take(world.parts, [job_id]):
            work(world.parts, held)

    def cancel() -> None:
        for _ in range(200):
            for held in take(world.parts, [hint.job_id for hint in world.due() if hint.kind == jobs.CANCEL_ALL]):
                work(world.parts, held)

    with ThreadPoolExecutor(5) as pool:
        ends = [pool.submit(cancel), *(pool.submit(wake, job_id) for job_id in wakes)]
        for end in ends:
            end.result(60)

    found = Counter(statuses(world).values())
    with world.parts.database.read() as conn:
        finished = events.select().where(events.c.name == "inngest/function.finished")
        ended = [orjson.loads(row.payload)["data"]["run_id"] for row in conn.execute(finished)]
    assert 40 == found["completed"] + found["cancelled"]
    assert (40, 40) == (len(ended), len(set(ended)))
