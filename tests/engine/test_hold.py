"""Paused functions: nothing begins, nothing is lost, and what has begun goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.engine.hold import pause, resume
from orchestrator.errors import NotFoundError
from orchestrator.store import audit
from orchestrator.store.database import Database
from tests.engine.flows import NOW, Flows, a_function

SLUG = "app-fn"


def test_events_of_a_paused_function_are_kept_as_skipped_runs(database: Database) -> None:
    flows = Flows(database, a_function())
    pause(flows.parts, SLUG)

    flows.receive(1, 2)
    paused = flows.statuses()
    resume(flows.parts, SLUG)
    flows.receive(3)
    flows.work()

    assert ({"skipped": 2}, [[3]]) == (paused, flows.calls())
    assert {"reason": "paused"} == flows.told(flows.runs()[0].id)


def test_runs_that_were_to_begin_are_held_and_begin_when_the_function_is_resumed(database: Database) -> None:
    flows = Flows(database, a_function())
    flows.receive(1, 2)
    flows.receive(3, ts=NOW + timedelta(minutes=1))
    pause(flows.parts, SLUG)

    flows.wait(60)
    flows.wait(60)
    paused = flows.calls()
    resume(flows.parts, SLUG)
    flows.work()

    assert ([], [[1], [2], [3]]) == (paused, sorted(flows.calls()))


def test_a_paused_throttle_lets_nobody_go_and_keeps_its_pace_afterwards(database: Database) -> None:
    flows = Flows(database, a_function(throttle={"limit": 1, "period": "10s", "burst": 0}))
    flows.receive(1, 2, 3)
    flows.work()
    pause(flows.parts, SLUG)

    flows.wait(10)
    seldom = flows.timers()
    flows.wait(3600)
    paused = flows.calls()
    resume(flows.parts, SLUG)
    flows.wait(0)
    flows.wait(9)
    resumed = flows.calls()
    flows.wait(1)

    assert ([3600], [[1]], [[1], [2]], [[1], [2], [3]]) == (seldom, paused, resumed, flows.calls())


@pytest.mark.parametrize("option", [{"debounce": {"period": "1s"}}, {"batchEvents": {"maxSize": 9, "timeout": "1s"}}])
def test_what_waits_when_a_function_is_paused_becomes_a_skipped_run(
    database: Database, option: dict[str, object]
) -> None:
    flows = Flows(database, a_function(**option))
    flows.receive(1, 2)
    pause(flows.parts, SLUG)

    flows.wait(1)

    assert {"skipped": 1} == flows.statuses()


def test_a_paused_function_uses_up_no_limit(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit={"limit": 1, "period": "1h"}))
    pause(flows.parts, SLUG)
    flows.receive(1)

    resume(flows.parts, SLUG)
    flows.receive(2)

    assert {"queued": 1, "skipped": 1} == flows.statuses()


def test_each_change_is_noted_once(database: Database) -> None:
    flows = Flows(database, a_function())

    first = pause(flows.parts, SLUG)
    flows.clock.advance(timedelta(seconds=1))
    again = pause(flows.parts, SLUG)
    resumed = resume(flows.parts, SLUG)
    resume(flows.parts, SLUG)

    assert (NOW, NOW, None) == (first.paused_at, again.paused_at, resumed.paused_at)
    later = NOW + timedelta(seconds=1)
    with database.read() as conn:
        assert [("function resumed", later), ("function paused", NOW)] == audit.actions_on(conn, SLUG)


def test_a_pause_stays_through_a_sync(database: Database) -> None:
    flows = Flows(database, a_function())
    pause(flows.parts, SLUG)

    flows.declare(a_function(retries=1))
    flows.receive(1)

    assert {"skipped": 1} == flows.statuses()


def test_what_does_not_exist_cannot_be_paused(database: Database) -> None:
    flows = Flows(database, a_function())

    with pytest.raises(NotFoundError):
        pause(flows.parts, "app-nothing")
