"""The chore that counts: each minute once, a little after its end, whoever does it and whoever dies."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from orchestrator.core.effect import Status
from orchestrator.core.failure import fingerprint
from orchestrator.core.message import Threw
from orchestrator.core.tally import MINUTE, SPANS, begin_of
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine import tally as module
from orchestrator.engine.failures import what_fails
from orchestrator.engine.overview import LOOKS, Overview, overview
from orchestrator.engine.tally import LATE, Teller, free, recount, tally
from orchestrator.store import chores, runs, tables, tallies
from orchestrator.store.database import Database
from tests.engine.world import NOW, World
from tests.store.factories import at_once

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(module, "_BUSY", timedelta(minutes=1))


@pytest.fixture
def world(database: Database) -> World:
    return World(database, '"retries":0')


def fails(call: Call) -> Answer:
    error = json.dumps({"name": "OrderError", "message": f"order {call.attempt + 7} is gone"})
    return Answer(Threw(None, call.attempt, error, retryable=False))


def run_once(world: World, answer: object = None, later: timedelta = SECOND) -> None:
    """Let an event's run begin, and end."""
    if answer is not None:
        world.driver.answer = answer  # type: ignore[assignment]
    world.start()
    world.work()
    world.clock.advance(later)
    world.send()


def move(world: World, at: datetime) -> None:
    world.clock.advance(at - world.clock.now())


def chore(world: World) -> None:
    with world.parts.database.write() as conn:
        chores.begin(conn, tallies.TALLY, NOW)


def seen(world: World, look: str = "1h") -> Overview:
    with world.parts.database.read() as conn:
        return overview(conn, look, world.clock.now())


def minutes(world: World) -> dict[str, int]:
    """What was counted in minutes, by what it is."""
    with world.parts.database.read() as conn:
        found = dict[str, int]()
        for it in tallies.read(conn, MINUTE, NOW - DAY):
            found[it.what] = found.get(it.what, 0) + it.number
        return found


def test_a_minute_is_counted_when_it_is_over_and_a_little_more(world: World) -> None:
    run_once(world)
    teller = Teller(world.parts)

    for at in (MINUTE, MINUTE + LATE - SECOND):
        move(world, NOW + at)
        teller.work()
        teller.work()
        assert {} == minutes(world)
    move(world, NOW + MINUTE + LATE)
    teller.work()

    assert {"queued": 1, "started": 1, "completed": 1, "waited": 1, "took": 1} == minutes(world)


def test_what_was_counted_is_not_counted_again_by_anybody(world: World) -> None:
    run_once(world)
    chore(world)
    move(world, NOW + 10 * MINUTE)
    tally(world.parts.database, world.clock.now())
    once = minutes(world)

    tally(world.parts.database, world.clock.now())
    Teller(world.parts).work()

    assert once == minutes(world)


def test_two_that_count_at_once_count_once(world: World, concurrent: Database) -> None:
    for _ in range(5):
        run_once(world, later=MINUTE)
    chore(world)
    move(world, NOW + 10 * MINUTE)

    at_once(*[lambda: tally(concurrent, world.clock.now())] * 4)

    assert {"queued": 5, "started": 5, "completed": 5, "waited": 5, "took": 5} == minutes(world)


def test_counting_that_is_interrupted_goes_on_where_it_was(world: World) -> None:
    for _ in range(3):
        run_once(world, later=MINUTE)
    chore(world)
    move(world, NOW + 10 * MINUTE)

    turns = iter([True, False])
    assert not tally(world.parts.database, world.clock.now(), lambda: next(turns))
    assert 2 == minutes(world)["completed"]
    assert tally(world.parts.database, world.clock.now())

    assert 3 == minutes(world)["completed"]


def test_the_overview_is_the_same_before_and_after_the_end_of_a_minute(world: World) -> None:
    chore(world)
    tally(world.parts.database, NOW)
    run_once(world)
    run_once(world, fails)
    move(world, NOW + MINUTE)
    before = seen(world)

    tally(world.parts.database, NOW + MINUTE + LATE)
    after = seen(world)

    assert before == after
    assert before.counted_until is None
    assert {"completed": 1, "failed": 1, "cancelled": 0, "skipped": 0} == dict(after.whole.ended)
    assert (2, 0.5, 2) == (after.whole.queued, after.whole.failure_rate, sum(it.ended for it in after.by_function))


@pytest.mark.parametrize("look", LOOKS)
def test_every_span_of_time_has_the_same_runs_in_parts_that_reach_to_now(world: World, look: str) -> None:
    chore(world)
    for _ in range(4):
        run_once(world, later=5 * MINUTE)
    tally(world.parts.database, world.clock.now())

    found = seen(world, look)

    assert 4 == found.whole.all_ended == sum(part.all_ended for part in found.parts)
    assert begin_of(world.clock.now(), found.step) == found.parts[-1].at
    assert LOOKS[look][0] == len(found.parts) * found.step


def test_where_counting_is_behind_that_is_told(world: World) -> None:
    run_once(world)
    chore(world)
    tally(world.parts.database, NOW + 2 * MINUTE)

    move(world, NOW + 30 * MINUTE)

    assert NOW + MINUTE == seen(world).counted_until


def test_failures_of_before_are_given_fingerprints_on_the_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.store import failures

    monkeypatch.setattr(failures, "_NAMELESS", failures._NAMELESS.limit(2))
    for _ in range(5):
        run_once(world, fails)
    with world.parts.database.write() as conn:
        conn.execute(update(tables.runs).values(failure=None))
    chore(world)

    tally(world.parts.database, NOW + 10 * MINUTE)

    with world.parts.database.read() as conn:
        alike = what_fails(conn, NOW, NOW + DAY, 10)
        names = set(conn.execute(select(tables.runs.c.failure).where(tables.runs.c.status == "failed")).scalars())
    assert [(5, "OrderError", "order # is gone")] == [
        (it.group.number, it.example.name, it.shape) for it in alike.groups
    ]
    assert {fingerprint('{"name":"OrderError","message":"order 1 is gone"}')} == names
    assert 5 == minutes(world)["failed"]


def test_everything_can_be_counted_anew(world: World) -> None:
    for _ in range(3):
        run_once(world, later=MINUTE)
    chore(world)
    move(world, NOW + 10 * MINUTE)
    tally(world.parts.database, world.clock.now())
    once = minutes(world)

    recount(world.parts.database, world.clock.now())

    assert once == minutes(world)


def test_what_is_counted_goes_when_it_is_shown_no_more_or_runs_are_not_kept(world: World) -> None:
    def spans() -> set[timedelta]:
        with world.parts.database.read() as conn:
            return {span for span in SPANS if tallies.read(conn, span, NOW - DAY)}

    run_once(world)
    chore(world)
    tally(world.parts.database, NOW + 2 * MINUTE)

    kept = [spans()]
    for days, keep in ((1, 30), (4, 30), (20, 30), (20, 0), (40, 0), (40, 30)):
        free(world.parts.database, keep * DAY, NOW + days * DAY)
        kept.append(spans())

    every = list(SPANS)
    assert [set(every[at:]) for at in (0, 1, 2, 3, 3, 3, 4)] == kept


def test_a_run_that_fails_again_after_it_was_requeued_ends_twice(world: World) -> None:
    run_once(world, fails)
    with world.parts.database.write() as conn:
        [run_id] = [row.id for row in conn.execute(tables.runs.select()) if row.status == "failed"]
        chores.begin(conn, tallies.TALLY, NOW)
    tally(world.parts.database, NOW + 2 * MINUTE)

    with world.parts.database.write() as conn:
        runs.reopen(conn, run_id)
        runs.finish(conn, run_id, Status.FAILED, None, "{}", NOW + 5 * MINUTE)
    tally(world.parts.database, NOW + 10 * MINUTE)

    assert 2 == minutes(world)["failed"]
