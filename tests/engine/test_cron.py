"""Cron jobs: one run a tick whoever comes when, and what registering and downtimes do to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import Any

import orjson
import pytest

from orchestrator.clock import SettableClock
from orchestrator.core.cron import CatchUp
from orchestrator.engine.branch import Held
from orchestrator.engine.cron import fire
from orchestrator.engine.parts import Parts, Settings
from orchestrator.engine.register import register, remove
from orchestrator.protocol.sync import parse_registration
from orchestrator.queue.lease import Holdings
from orchestrator.queue.local import LocalQueue
from orchestrator.store import jobs
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint
from orchestrator.store.presence import Presence
from orchestrator.store.tables import events, runs
from tests.engine.world import Heard, Scripted, returned

NOW = datetime(2026, 1, 1, 11, 58, tzinfo=UTC)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
URL = "http://localhost/x"


def a_function(name: str, *triggers: object) -> dict[str, object]:
    runtime = {"type": "http", "url": f"{URL}?fnId=app-{name}&stepId=step"}
    step = {"id": "step", "name": "step", "runtime": runtime}
    return {"id": f"app-{name}", "name": name, "triggers": list(triggers), "steps": {"step": step}}


class World:
    """An engine with the functions that a test declares."""

    def __init__(self, database: Database) -> None:
        self.clock, self.heard, self.database = SettableClock(NOW), Heard(), database
        self.parts = self.other_worker()

    def other_worker(self, policy: str = "once") -> Parts:
        holdings = Holdings(self.database, Presence(self.database))
        settings = Settings(cron_catch_up=CatchUp(policy))
        driver: Any = Scripted(returned)
        return Parts(self.database, self.clock, self.heard, holdings, driver, None, settings)  # type: ignore[arg-type]

    def declare(self, *declared: object) -> None:
        body = {"appName": "app", "url": URL, "sdk": "py:v0.5.19", "functions": list(declared)}
        register(self.parts, parse_registration(json.dumps(body).encode(), {}))

    def plan(self) -> list[datetime]:
        """The next tick of each line."""
        with self.database.read() as conn:
            found = conn.execute(jobs.jobs.select().where(jobs.jobs.c.kind == "cron").order_by(jobs.jobs.c.run_at))
            return [row.run_at for row in found]

    def ids(self) -> list[int]:
        with self.database.read() as conn:
            return [row.id for row in conn.execute(jobs.jobs.select().where(jobs.jobs.c.kind == "cron"))]

    def fire(self, room: int = 0, parts: Parts | None = None) -> list[Held]:
        return [held for job_id in self.ids() for held in fire(parts or self.parts, job_id, room)]

    def scheduled(self) -> list[str]:
        """When the ticks were that runs were started for."""
        with self.database.read() as conn:
            query = events.select().join(runs, runs.c.event_id == events.c.id).order_by(events.c.external_id)
            return [row.external_id for row in conn.execute(query.with_only_columns(events.c.external_id))]

    def calls(self) -> list[datetime]:
        with self.database.read() as conn:
            return [row.run_at for row in conn.execute(jobs.jobs.select().where(jobs.jobs.c.kind == "call"))]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def at_once(count: int, work: Callable[[int], object]) -> None:
    start = Barrier(count)

    def one(number: int) -> None:
        start.wait(10)
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))


def test_a_tick_that_eight_workers_race_for_starts_one_run_and_plans_one_next(world: World) -> None:
    # given
    world.declare(a_function("daily", {"cron": "0 12 * * *"}))
    world.clock.advance(timedelta(minutes=2, milliseconds=3))
    [job_id] = world.ids()
    workers = [world.other_worker() for _ in range(8)]

    # when
    at_once(8, lambda number: fire(workers[number], job_id, room=number % 2))

    # then
    assert (["2026-01-01T12:00:00Z"], [NOON + DAY]) == (world.scheduled(), world.plan())


def test_many_ticks_raced_for_start_one_run_each(world: World) -> None:
    world.declare(a_function("often", {"cron": "* * * * *"}))
    [job_id] = world.ids()
    workers = [world.other_worker() for _ in range(4)]

    for _ in range(10):
        world.clock.advance(timedelta(minutes=1))
        at_once(4, lambda number: fire(workers[number], job_id, room=0))

    assert [f"2026-01-01T{11 + minute // 60}:{minute % 60:02}:00Z" for minute in range(59, 69)] == world.scheduled()


def test_the_first_call_is_held_by_who_took_the_tick_where_there_is_room(world: World) -> None:
    world.declare(a_function("daily", {"cron": "0 12 * * *"}))
    world.clock.advance(timedelta(minutes=2))

    [held] = world.fire(room=1)

    assert (jobs.CALL, "app-daily") == (held.lease.kind, held.branch.slug if held.branch else "app-daily")


def test_a_tick_is_not_taken_before_its_time_nor_twice(world: World) -> None:
    world.declare(a_function("daily", {"cron": "0 12 * * *"}))

    world.fire()
    early = world.scheduled()
    world.clock.advance(timedelta(minutes=2))
    world.fire()
    world.fire()

    assert ([], ["2026-01-01T12:00:00Z"]) == (early, world.scheduled())


def test_the_event_is_that_of_the_protocol_and_the_run_waits_for_its_jitter(world: World) -> None:
    # given
    world.declare(a_function("late", {"cron": "TZ=UTC 0 12 * * *", "jitter": "30s"}))
    world.clock.advance(timedelta(minutes=2))

    # when
    world.fire(room=5)

    # then
    [call_at] = world.calls()
    assert NOON + timedelta(seconds=1) <= call_at <= NOON + timedelta(seconds=30)
    with world.database.read() as conn:
        payload = orjson.loads(conn.execute(events.select()).one().payload)
    fire_at = call_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    data = {"cron": "TZ=UTC 0 12 * * *", "scheduledAt": "2026-01-01T12:00:00Z", "fireAt": fire_at}
    assert {
        "id": "2026-01-01T12:00:00Z",
        "name": "inngest/scheduled.timer",
        "ts": int(call_at.timestamp() * 1000),
        "data": data,
        "user": {},
    } == payload


def test_two_lines_of_a_function_that_tick_together_start_one_run(world: World) -> None:
    world.declare(a_function("both", {"cron": "0 12 * * *"}, {"cron": "*/5 * * * *"}))
    world.clock.advance(timedelta(minutes=2))

    world.fire()

    assert (["2026-01-01T12:00:00Z"], 1) == (world.scheduled(), count(world.database, events))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("once", ["2026-01-02T13:00:00Z"]),
        ("skip", []),
        ("all", ["2026-01-02T12:20:00Z", "2026-01-02T12:40:00Z", "2026-01-02T13:00:00Z"]),
    ],
)
def test_what_a_downtime_missed_is_caught_up_by_policy_and_then_the_line_goes_on(
    world: World, policy: str, expected: list[str]
) -> None:
    # given
    world.declare(a_function("often", {"cron": "*/20 * * * *"}))
    world.clock.advance(timedelta(hours=25, minutes=7))
    back = world.other_worker(policy)

    # when
    world.fire(parts=back)

    # then
    assert (expected, [NOON + timedelta(hours=25, minutes=20)]) == (world.scheduled(), world.plan())
    world.clock.advance(timedelta(minutes=15))
    world.fire(parts=back)
    assert [*expected, "2026-01-02T13:20:00Z"] == world.scheduled()


def test_a_line_that_stays_keeps_its_overdue_tick_when_its_app_is_synced_after_a_downtime(world: World) -> None:
    world.declare(a_function("daily", {"cron": "0 12 * * *"}))
    world.clock.advance(timedelta(hours=3))

    world.declare(a_function("daily", {"cron": "0 12 * * *"}), a_function("new", {"cron": "0 12 * * *"}))
    world.fire()

    assert (["2026-01-01T12:00:00Z"], [NOON + DAY] * 2) == (world.scheduled(), world.plan())


def test_lines_that_are_changed_or_gone_have_no_job_any_more(world: World) -> None:
    world.declare(a_function("one", {"cron": "0 12 * * *"}), a_function("two", {"cron": "0 13 * * *"}))

    world.declare(a_function("one", {"cron": "0 14 * * *"}))

    assert [NOON + timedelta(hours=2)] == world.plan()


def test_an_app_taken_out_of_service_leaves_no_job(world: World) -> None:
    world.declare(a_function("one", {"cron": "0 12 * * *"}))

    remove(world.parts, URL)

    assert [] == world.plan()


def test_a_date_that_never_comes_makes_no_job(world: World) -> None:
    world.declare(a_function("never", {"cron": "0 0 30 2 *"}))

    assert [] == world.plan()


def test_registering_and_firing_at_once_leave_only_the_declared_lines(world: World) -> None:
    for number in range(6):
        old, new = f"*/{number + 2} * * * *", f"*/{number + 3} * * * *"
        world.declare(a_function("racy", {"cron": old}))
        world.clock.advance(timedelta(hours=1))
        [job_id] = world.ids()

        chores: list[Callable[[], object]] = [
            partial(fire, world.parts, job_id, 0),
            partial(world.declare, a_function("racy", {"cron": new})),
        ]
        at_once(2, lambda which, chores=chores: chores[which]())

        with world.database.read() as conn:
            [row] = conn.execute(jobs.jobs.select().where(jobs.jobs.c.kind == "cron")).all()
        assert new == orjson.loads(row.payload)["line"]


def test_a_failure_of_ours_puts_the_tick_off_and_never_gives_it_up(world: World) -> None:
    world.declare(a_function("daily", {"cron": "0 12 * * *"}))
    with world.database.write() as conn:
        conn.execute(jobs.jobs.update().values(payload="not json"))
    world.clock.advance(timedelta(minutes=2))

    for _ in range(10):
        world.fire()
        world.clock.advance(timedelta(seconds=3))

    with world.database.read() as conn:
        row = conn.execute(jobs.jobs.select()).one()
    assert (jobs.READY, 10) == (row.state, row.crashes)


def test_cron_hints_are_given_out_apart_from_calls_and_at_their_time() -> None:
    clock = SettableClock(NOW)
    queue = LocalQueue(clock)

    queue.announce([Hint(1, "cron", NOW + timedelta(seconds=20)), Hint(2, jobs.CALL, NOW), Hint(3, "cron", NOW)])

    assert ([3], [2]) == (queue.timed(5), queue.due(5))
    clock.advance(timedelta(seconds=20))
    assert [1] == queue.timed(5)


def count(database: Database, table: Any) -> int:
    with database.read() as conn:
        return len(conn.execute(table.select()).all())
