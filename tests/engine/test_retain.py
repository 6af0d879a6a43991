"""Retention as a chore: pieces of a pass, by whoever is next, until all that may go is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.effect import Status
from orchestrator.engine import retain
from orchestrator.engine.register import remove
from orchestrator.engine.retain import PASS, PIECE, Retainer, would_free
from orchestrator.store import chores
from orchestrator.store.chores import Chore
from orchestrator.store.database import Database
from orchestrator.store.retention import Keep
from tests.engine.flows import URL, Flows, a_function
from tests.engine.world import World
from tests.store.factories import counts

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _a_pass_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(retain, "_BUSY", timedelta(minutes=1))


@pytest.fixture
def world(database: Database) -> World:
    """An engine where one run has ended."""
    world = World(database)
    world.start()
    world.work()
    assert Status.COMPLETED is world.run.status
    return world


def rows(world: World) -> dict[str, int]:
    with world.parts.database.read() as conn:
        kept = counts(conn)
    return {name: kept[name] for name in kept if name not in ("apps", "functions", "triggers", "keys", "chores")}


def chore(world: World) -> Chore:
    with world.parts.database.read() as conn:
        found = chores.read(conn, chores.RETENTION)
    assert found is not None
    return found


def work(world: World, retainer: Retainer | None = None) -> None:
    """Make the chore known, and do a piece of it."""
    retainer = retainer or Retainer(world.parts)
    for _ in range(2):
        retainer.work()


def test_what_is_over_goes_when_its_time_has_come_and_not_before(world: World) -> None:
    retainer = Retainer(world.parts)
    world.clock.advance(29 * DAY)
    work(world, retainer)
    before = rows(world)

    world.clock.advance(2 * DAY)
    retainer.work()

    assert (1, {}) == (before["runs"], rows(world))
    assert {"runs": 1, "events": 2} == {name: chore(world).last_freed[name] for name in ("runs", "events")}


def test_zero_keeps_for_ever(world: World) -> None:
    never = timedelta()
    parts = replace(world.parts, settings=replace(world.parts.settings, keep=Keep(never, never, never, never)))
    world.parts = parts
    before = rows(world)
    world.clock.advance(10_000 * DAY)

    work(world)

    assert (before, {}) == (rows(world), chore(world).last_freed)


def test_a_dry_run_counts_and_deletes_nothing(world: World) -> None:
    before = rows(world)
    later = world.clock.now() + 31 * DAY

    counted = would_free(world.parts.database, Keep(), later)

    expected = {"dead jobs": 0, "runs": 1, "events": 1, "orders": 0, "tokens": 0, "audit": 0}
    assert (expected, before) == (counted, rows(world))


def test_a_pass_at_once_deletes_all_that_may_go(world: World) -> None:
    freed = retain.retain(world.parts.database, Keep(), world.clock.now() + 31 * DAY)

    assert ((1, 2), {}) == ((freed["runs"], freed["events"]), rows(world))


def test_a_pass_is_put_down_and_another_worker_takes_it_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retain, "_BUSY", timedelta())
    world.clock.advance(31 * DAY)
    workers = [Retainer(world.parts), Retainer(world.parts)]
    work(world, workers[0])
    stages = [chore(world).stage]

    while chore(world).stage is not None:
        world.clock.advance(PIECE)
        workers[len(stages) % 2].work()
        stages.append(chore(world).stage)

    assert ["runs", "events", "orders", "tokens", "audit", None] == stages
    assert ({}, 1) == (rows(world), chore(world).last_freed["runs"])


def test_after_a_pass_nobody_begins_another_for_a_while(world: World) -> None:
    work(world)
    ended_at = chore(world).ended_at

    world.clock.advance(PASS - PIECE)
    work(world)
    early = chore(world).ended_at
    world.clock.advance(PIECE)
    work(world)

    assert (ended_at, world.clock.now()) == (early, chore(world).ended_at)


def test_a_turn_has_one_taker_and_a_turn_that_was_never_ended_is_taken_over(world: World) -> None:
    now, database = world.clock.now(), world.parts.database
    work(world)
    due = chore(world)
    until = due.next_at + timedelta(seconds=30)
    with database.write() as conn:
        taken = [chores.take(conn, due, until), chores.take(conn, due, until)]
    world.clock.advance(until - now)

    Retainer(world.parts).work()

    assert ([True, False], world.clock.now()) == (taken, chore(world).ended_at)


def test_a_turn_that_took_too_long_notes_nothing(world: World) -> None:
    work(world)
    due = chore(world)

    with world.parts.database.write() as conn:
        noted = chores.note(conn, replace(due, stage="runs"), held=due.next_at - PIECE)

    assert (False, due) == (noted, chore(world))


def test_the_events_of_a_batch_whose_function_is_gone_go_too(database: Database) -> None:
    flows = Flows(database, a_function(batchEvents={"maxSize": 9, "timeout": "10s"}))
    flows.receive(1)

    remove(flows.parts, URL)
    flows.wait(60)

    assert {"events": 1} == retain.retain(database, Keep(events=DAY), flows.clock.now() + 2 * DAY)
