"""What becomes of events whose functions ask for rate limits, idempotency or a singleton, and of paused functions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.engine.bury import requeue
from orchestrator.engine.cancel import cancel
from orchestrator.engine.recover import recover
from orchestrator.engine.work import take
from orchestrator.errors import ConflictError
from orchestrator.store import jobs
from orchestrator.store.database import Database
from tests.engine.flows import NOW, Flows, a_function

RATE = {"limit": 3, "period": "1m"}


def test_a_rate_limit_starts_exactly_so_many_and_the_rest_is_there_to_be_seen(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE))

    flows.send(*range(10))
    flows.match()

    assert {"queued": 3, "skipped": 7} == flows.statuses()
    [skipped, *_] = [run for run in flows.runs() if run.status == "skipped"]
    until = (NOW + timedelta(minutes=1)).isoformat()
    assert {"reason": "rate limit", "key": "", "until": until} == flows.told(skipped.id)
    assert (NOW, None) == (skipped.ended_at, skipped.started_at)


def test_a_rate_limit_counts_over_the_last_period_whichever_it_is(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE))

    for seconds in (0, 40, 19, 1, 39, 1):  # at 0, 40, 59, 60, 99, 100
        flows.clock.advance(timedelta(seconds=seconds))
        flows.receive(*range(2))

    # two at 0; one at 40; none at 59; two at 60 (those of 0 are over); none at 99; one at 100.
    assert {"queued": 6, "skipped": 6} == flows.statuses()


def test_a_rate_limit_counts_each_value_of_its_key(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE | {"key": "event.data.customer"}))

    flows.send(*({"customer": n % 2} for n in range(10)))
    flows.match()

    assert {"queued": 6, "skipped": 4} == flows.statuses()


def test_a_key_without_a_value_is_limited_too_and_the_event_says_so(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE | {"key": "int(event.data)"}))

    flows.send(*(["x"] * 5))
    flows.match()

    assert {"queued": 3, "skipped": 2} == flows.statuses()
    with database.read() as conn:
        warnings = conn.exec_driver_sql("SELECT warning FROM events").scalars().all()
    assert all("rateLimit" in warning for warning in warnings)


def test_an_idempotency_key_starts_one_run_a_day(database: Database) -> None:
    flows = Flows(database, a_function(idempotency="event.data.order"))
    day = timedelta(days=1)

    flows.receive({"order": 1}, {"order": 2}, {"order": 1})
    flows.clock.advance(day - timedelta(seconds=1))
    flows.receive({"order": 1})
    flows.clock.advance(timedelta(seconds=1))
    flows.receive({"order": 1})

    assert {"queued": 3, "skipped": 2} == flows.statuses()
    assert {"idempotency"} == {flows.told(run.id)["reason"] for run in flows.runs() if run.status == "skipped"}


def test_what_the_first_limit_forgets_is_deleted(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit={"limit": 2, "period": "1s"}))

    for _ in range(5):
        flows.receive(1, 2)
        flows.clock.advance(timedelta(seconds=1))

    with database.read() as conn:
        assert 2 == conn.exec_driver_sql("SELECT count(*) FROM admissions").scalar_one()


def test_a_singleton_skips_whoever_comes_while_a_run_is_active_and_names_that_run(database: Database) -> None:
    flows = Flows(database, a_function(singleton={"mode": "skip", "key": "event.data"}))

    flows.receive("a", "a", "b")

    first, second, other = flows.runs()
    assert ["queued", "skipped", "queued"] == [first.status, second.status, other.status]
    assert {"reason": "singleton", "run_id": first.id} == flows.told(second.id)


@pytest.mark.parametrize("mode", ["skip", "cancel"])
def test_a_singleton_lets_the_next_one_in_when_the_run_has_ended(database: Database, mode: str) -> None:
    flows = Flows(database, a_function(singleton={"mode": mode}))

    flows.receive(1)
    flows.work()
    flows.receive(2)
    cancel(flows.parts, flows.runs()[1].id, "test")
    flows.receive(3)

    assert ["completed", "cancelled", "queued"] == [run.status for run in flows.runs()]


def test_a_singleton_cancels_the_run_before_and_says_for_which(database: Database) -> None:
    flows = Flows(database, a_function(singleton={"mode": "cancel"}), a_function("watch", "inngest/function.cancelled"))

    flows.receive(1, 2)

    first, second = flows.runs("app-fn")
    assert ["cancelled", "queued"] == [first.status, second.status]
    assert f"singleton: run {second.id} took its place" == flows.told(first.id, "cancelled")["reason"]
    flows.match()
    assert 1 == len(flows.runs("app-watch"))
    assert 2 == flows.work()


def test_a_run_that_ended_is_not_requeued_beside_the_active_one_of_its_singleton(database: Database) -> None:
    flows = Flows(database, a_function(singleton={"mode": "skip"}))
    flows.receive(1)
    for _ in range(5):
        assert take(flows.parts, flows.jobs(jobs.CALL))
        flows.clock.advance(timedelta(seconds=31))
        recover(flows.parts)
    flows.receive(2)
    lost, active = flows.runs()

    with pytest.raises(ConflictError, match=active.id):
        requeue(flows.parts, lost.id)
    cancel(flows.parts, active.id, "test")
    requeue(flows.parts, lost.id)

    assert ["running", "cancelled"] == [run.status for run in flows.runs()]


def test_of_newcomers_that_come_together_a_singleton_takes_one(database: Database) -> None:
    skipping = a_function("skip", singleton={"mode": "skip"})
    flows = Flows(database, skipping, a_function("cancel", singleton={"mode": "cancel"}))

    flows.send(1, 2, 3)
    flows.match(room=5)

    assert {"completed": 1, "skipped": 2} == flows.statuses("app-skip") == flows.statuses("app-cancel")
    [kept] = [run for run in flows.runs("app-cancel") if run.status == "completed"]
    replaced = {flows.told(run.id)["reason"] for run in flows.runs("app-cancel") if run.status == "skipped"}
    assert (flows.runs("app-cancel")[-1].id, {"replaced"}) == (kept.id, replaced)


def test_a_repeated_id_counts_for_no_limit(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit={"limit": 2, "period": "1m"}))

    flows.receive(1, id="x")
    flows.receive(1, id="x")
    flows.receive(2)

    assert {"queued": 2} == flows.statuses()


def test_options_work_together(database: Database) -> None:
    """Of four events of a key two are within the rate limit, and one of those is alone."""
    rate = {"limit": 2, "period": "1m", "key": "event.data"}
    flows = Flows(database, a_function(rateLimit=rate, singleton={"mode": "skip", "key": "event.data"}))

    flows.receive("a", "a", "a", "a", "b")

    reasons = [flows.told(run.id)["reason"] if run.status == "skipped" else run.status for run in flows.runs()]
    assert ["queued", "singleton", "rate limit", "rate limit", "queued"] == reasons
