"""Debounce and batching: many events, one run; what waits is in the database and nowhere else."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core import admission
from orchestrator.core.event import Event
from orchestrator.engine.branch import Held
from orchestrator.engine.recover import recover
from orchestrator.engine.register import remove
from orchestrator.engine.retain import retain
from orchestrator.ids import new_ulid
from orchestrator.queue.local import LocalQueue
from orchestrator.store import events, gates, runs
from orchestrator.store.crons import TIMED
from orchestrator.store.database import Database
from orchestrator.store.retention import Keep
from orchestrator.workers.pool import Pool
from orchestrator.workers.worker import Worker
from tests.engine.flows import NOW, URL, Flows, a_function

DEBOUNCE = {"period": "5s", "timeout": "12s"}
BATCH = {"maxSize": 3, "timeout": "10s"}


def debounced(database: Database, **options: object) -> Flows:
    return Flows(database, a_function(debounce=DEBOUNCE | options))


def batched(database: Database, **options: object) -> Flows:
    return Flows(database, a_function(batchEvents=BATCH | options))


def test_a_burst_starts_one_run_with_its_last_event(database: Database) -> None:
    flows = debounced(database)

    flows.receive(1, 2)
    flows.wait(4)
    flows.receive(3)
    flows.wait(4.9)
    early = flows.calls()
    flows.wait(0.1)

    assert ([], [[3]]) == (early, flows.calls())
    assert ({"completed": 1}, []) == (flows.statuses(), flows.timers())


def test_a_steady_stream_starts_a_run_when_the_timeout_is_over(database: Database) -> None:
    flows = debounced(database)

    for number in range(13):
        flows.receive(number)
        flows.wait(1)

    assert [[11]] == flows.calls()
    assert [4] == flows.timers()


def test_each_value_of_the_key_waits_for_itself(database: Database) -> None:
    flows = debounced(database, key="event.data.of")

    flows.receive({"of": "a", "n": 1}, {"of": "b", "n": 2}, {"of": "a", "n": 3})
    flows.wait(5)

    assert [[{"of": "a", "n": 3}], [{"of": "b", "n": 2}]] == sorted(flows.calls(), key=str)


def test_an_event_dated_before_the_one_that_waits_prolongs_the_wait_and_does_not_take_its_place(
    database: Database,
) -> None:
    flows = debounced(database)

    flows.receive("new")
    flows.clock.advance(timedelta(seconds=3))
    flows.receive("old", ts=NOW - timedelta(minutes=1))
    flows.wait(2)
    early = flows.calls()
    flows.wait(3)

    assert ([], [["new"]]) == (early, flows.calls())


def test_events_matched_together_wait_as_one(database: Database) -> None:
    flows = debounced(database)

    flows.send(*range(50))
    flows.match()
    flows.wait(5)

    assert ([[49]], {"completed": 1}) == (flows.calls(), flows.statuses())
    assert 50 == flows.told(flows.runs()[0].id, "debounced")["events"]


def test_a_timer_that_goes_off_early_is_told_of_again_and_does_nothing(database: Database) -> None:
    flows = debounced(database)
    flows.receive(1)
    flows.heard.hints.clear()

    flows.fire()

    [hint] = flows.heard.hints
    assert (gates.DEBOUNCE, NOW + timedelta(seconds=5), {}) == (hint.kind, hint.run_at, flows.statuses())


def test_a_debounced_run_goes_through_the_options_behind_the_debounce(database: Database) -> None:
    flows = Flows(database, a_function(debounce={"period": "1s", "key": "event.data"}, singleton={"mode": "skip"}))

    flows.receive("a", "b")
    flows.clock.advance(timedelta(seconds=1))
    flows.fire(room=0)

    assert {"queued": 1, "skipped": 1} == flows.statuses()


def test_a_rate_limit_counts_events_before_they_are_debounced(database: Database) -> None:
    flows = Flows(database, a_function(debounce=DEBOUNCE, rateLimit={"limit": 1, "period": "1m"}))

    flows.receive(1, 2)
    flows.wait(5)

    assert ([[1]], {"completed": 1, "skipped": 1}) == (flows.calls(), flows.statuses())


@pytest.mark.parametrize("options", [{"debounce": DEBOUNCE}, {"batchEvents": BATCH}])
def test_what_waits_for_a_function_that_is_gone_starts_nothing(database: Database, options: dict[str, Any]) -> None:
    flows = Flows(database, a_function(**options))
    flows.receive(1)

    remove(flows.parts, URL)
    flows.wait(60)
    freed = retain(database, Keep(events=timedelta(days=1)), NOW + timedelta(days=2))

    assert ({}, []) == (flows.statuses(), flows.timers())
    assert 1 == freed["events"]


def test_a_batch_starts_when_it_is_full_and_the_next_one_fills(database: Database) -> None:
    flows = batched(database)

    flows.receive(1, 2)
    early = flows.statuses()
    flows.receive(3, 4)
    flows.work()

    assert ({}, [[1, 2, 3]], [10]) == (early, flows.calls(), flows.timers())


def test_a_batch_starts_when_its_first_event_has_waited_long_enough(database: Database) -> None:
    flows = batched(database)

    flows.receive(1)
    flows.wait(9)
    flows.receive(2)
    flows.wait(0.9)
    early = flows.calls()
    flows.wait(0.1)

    assert ([], [[1, 2]], []) == (early, flows.calls(), flows.timers())


def test_events_matched_together_fill_as_many_batches_as_they_can(database: Database) -> None:
    flows = batched(database)

    flows.send(*range(8))
    flows.match(room=20)
    flows.work()
    full = sorted(flows.calls())
    flows.wait(10)

    assert ([[0, 1, 2], [3, 4, 5]], [6, 7]) == (full, flows.calls()[-1])


def test_each_value_of_the_key_has_its_batch_and_what_does_not_satisfy_the_condition_is_not_batched(
    database: Database,
) -> None:
    flows = batched(database, key="event.data.of", **{"if": "event.data.of != 'vip'"})

    flows.receive({"of": "a"}, {"of": "b"}, {"of": "vip"}, {"of": "a"}, {"of": "a"})
    flows.work()

    assert [[{"of": "vip"}], [{"of": "a"}] * 3] == flows.calls()


def test_a_batch_starts_when_it_is_large(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.engine.batch.MAX_BATCH_BYTES", 500)
    flows = batched(database, maxSize=100)

    flows.receive("x" * 200, "y" * 200, "z")
    flows.work()

    assert [["x" * 200, "y" * 200]] == flows.calls()
    assert 10 * 1024 * 1024 == admission.MAX_BATCH_BYTES


def test_every_event_of_a_batch_leads_to_its_run_and_its_end_tells_of_all(database: Database) -> None:
    flows = Flows(database, a_function(batchEvents=BATCH), a_function("watch", "inngest/function.finished"))

    event_ids = flows.receive(1, 2, 3)
    flows.work()

    [run] = flows.runs("app-fn")
    with database.read() as conn:
        assert [[run.id]] * 3 == [[it.id for it in runs.of_event(conn, event_id)] for event_id in event_ids]
    assert min(event_ids) == run.event_id
    flows.match()
    flows.work()
    [told] = flows.calls()[-1]
    assert [1, 2, 3] == [event["data"] for event in told["events"]]


def test_a_repeated_id_is_in_no_batch_twice(database: Database) -> None:
    flows = batched(database)

    flows.receive(1, id="x")
    flows.receive(1, id="x")
    flows.wait(10)

    assert [[1]] == flows.calls()


def test_an_invocation_does_not_wait(database: Database) -> None:
    options = ({"debounce": DEBOUNCE}, {"batchEvents": BATCH})
    flows = Flows(database, *(a_function(f"f{at}", **it) for at, it in enumerate(options)))

    for at in range(2):
        about = {"fn_id": f"app-f{at}", "correlation_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV.step"}
        data = json.dumps({"_inngest": about})
        with database.write() as conn:
            events.add(conn, [Event(new_ulid(), "inngest/function.invoked", data, 0, NOW)], NOW)
        flows.match()

    assert {"queued": 2} == flows.statuses()


def test_a_run_that_a_timer_starts_is_nobody_elses_while_it_waits_for_a_thread(database: Database) -> None:
    flows = debounced(database)
    flows.receive(1)
    flows.clock.advance(timedelta(seconds=5))
    pool = Pool[Held](1)
    pool.begin(lambda _: None)
    worker = Worker(flows.parts, LocalQueue(flows.clock), pool)

    worker._fire_all(flows.jobs(*TIMED))
    flows.clock.advance(timedelta(seconds=20))
    worker.beat()
    flows.clock.advance(timedelta(seconds=20))

    assert 0 == recover(flows.parts)
