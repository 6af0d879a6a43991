"""What an operator wants of a throttle or a rate limit is what an app sees from then on, held runs included."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from orchestrator.core.override import Starts
from orchestrator.engine.limit import StartsWithin, change, starts_of
from orchestrator.errors import NotFoundError, RequestError
from orchestrator.store.database import Database
from orchestrator.store.tables import audit
from tests.engine.flows import Flows, a_function

SLUG = "app-fn"
#: One a day, and two a minute.
SLOW, RATE = {"limit": 1, "period": "24h"}, {"limit": 2, "period": "1m"}


def throttle(flows: Flows, limit: int | None, seconds: float = 0, actor: str | None = None) -> None:
    wanted = Starts(limit, timedelta(seconds=seconds)) if limit is not None else None
    change(flows.parts, SLUG, [StartsWithin("throttle", wanted)], actor)


def rate(flows: Flows, limit: int | None, seconds: float = 0) -> None:
    wanted = Starts(limit, timedelta(seconds=seconds)) if limit is not None else None
    change(flows.parts, SLUG, [StartsWithin("rate_limit", wanted)])


def seen(flows: Flows, seconds: int, step: int = 1) -> list[int]:
    """How many calls the app has got, after each step of time."""
    found = []
    for _ in range(seconds // step):
        flows.wait(step)
        found.append(len(flows.called))
    return found


def noted(database: Database) -> list[tuple[str, str, str | None, Any]]:
    with database.read() as conn:
        rows = conn.execute(select(audit).order_by(audit.c.id))
        return [(row.action, row.subject, row.actor, orjson.loads(row.data)) for row in rows]


def test_runs_that_a_throttle_holds_go_at_the_new_pace_at_once(database: Database) -> None:
    flows = Flows(database, a_function(throttle=SLOW))
    flows.send(*range(4))
    flows.match()
    before = (flows.work(), seen(flows, 60, 20))

    throttle(flows, 1, 10)

    assert (1, [1, 1, 1]) == before
    assert [2] * 10 + [3] * 10 + [4] * 10 == seen(flows, 30)


def test_a_throttle_that_is_made_slower_holds_from_now_on(database: Database) -> None:
    flows = Flows(database, a_function(throttle={"limit": 10, "period": "10s"}))
    flows.receive(0)
    flows.work()

    throttle(flows, 1, 60)
    flows.receive(1, 2)

    assert [1] * 59 + [2] == seen(flows, 60)


def test_another_process_that_has_read_the_function_before_obeys_as_well(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE))
    other = flows.other()
    flows.send("first")
    flows.match(parts=other)

    rate(flows, 1, 60)
    flows.send("second")
    flows.match(parts=other)

    assert {"queued": 1, "skipped": 1} == flows.statuses()


def test_a_rate_limit_takes_as_many_as_the_operator_wants_and_then_as_the_app_declares(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE))

    rate(flows, 4, 60)
    flows.receive(*range(6))
    raised = flows.statuses()
    flows.clock.advance(timedelta(seconds=61))
    rate(flows, None)
    flows.receive(*range(6))

    assert {"queued": 4, "skipped": 2} == raised
    assert {"queued": 6, "skipped": 6} == flows.statuses()


def test_the_key_and_the_burst_stay_those_of_the_app(database: Database) -> None:
    flows = Flows(database, a_function(throttle=SLOW | {"key": "event.data.who", "burst": 1}))

    throttle(flows, 1, 3600)
    flows.receive({"who": "ann"}, {"who": "ann"}, {"who": "ann"}, {"who": "ben"})
    flows.work()

    assert ["ann", "ann", "ben"] == sorted(call[0]["who"] for call in flows.calls())


def test_a_function_without_a_limit_gets_one_and_loses_it(database: Database) -> None:
    flows = Flows(database, a_function())
    throttle(flows, 1, 3600)
    flows.receive(*range(3))
    flows.work()
    held = len(flows.called)

    throttle(flows, None)
    flows.wait(0)
    flows.receive(3)
    flows.work()

    assert (1, 4) == (held, len(flows.called))


def test_what_an_operator_wants_stays_through_a_sync(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE))
    rate(flows, 1, 60)

    flows.declare(a_function(rateLimit={"limit": 50, "period": "1m"}))
    flows.receive(*range(3))

    assert {"queued": 1, "skipped": 2} == flows.statuses()


@pytest.mark.parametrize(("declared", "called"), [({"throttle": {"limit": 1, "period": "10s"}}, [2, 3]), ({}, [4, 4])])
def test_a_declaration_that_changes_holds_for_those_that_wait(
    database: Database, declared: dict[str, object], called: list[int]
) -> None:
    flows = Flows(database, a_function(throttle=SLOW))
    flows.receive(*range(4))
    flows.work()
    flows.clock.advance(timedelta(minutes=1))

    flows.declare(a_function(**declared))

    assert called == seen(flows, 20, 10)


def test_a_rate_limit_steps_back_where_a_new_version_takes_none(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit=RATE))
    rate(flows, 1, 60)

    flows.declare(a_function(idempotency="event.data.n"))
    flows.receive({"n": 1}, {"n": 2}, {"n": 3})

    assert {"queued": 3} == flows.statuses()


def test_each_change_is_noted_with_what_was_before_and_by_whom(database: Database) -> None:
    flows = Flows(database, a_function(throttle=SLOW))

    throttle(flows, 5, 90, "ann")
    throttle(flows, None, actor="ben")
    rate(flows, 7, 60)

    assert [
        ("throttle set", SLUG, "ann", {"before": "1/1d", "after": "5/1m30s"}),
        ("throttle set", SLUG, "ben", {"before": "5/1m30s", "after": None}),
        ("rate limit set", SLUG, None, {"before": None, "after": "7/1m"}),
    ] == noted(database)


@pytest.mark.parametrize(
    "declared", [{"batchEvents": {"maxSize": 3, "timeout": "1s"}}, {"idempotency": "event.data.n"}]
)
def test_a_rate_limit_that_cannot_be_is_refused_and_nothing_is_noted(
    database: Database, declared: dict[str, object]
) -> None:
    flows = Flows(database, a_function(**declared))

    with pytest.raises(RequestError, match="cannot stand beside batches or idempotency"):
        rate(flows, 1, 60)

    assert [] == noted(database)


@pytest.mark.parametrize(
    ("limit", "period", "said"),
    [
        (0, "1m", "throttle.limit must be a whole number from 1"),
        (2_000_000_000, "1m", "throttle.limit must be a whole number from 1"),
        (1, "0s", "throttle.period must be from 1s to 31d, not 0s"),
        (1, "999ms", "throttle.period must be from 1s to 31d"),
        (1, "32d", "throttle.period must be from 1s to 31d"),
        (1, "soon", 'throttle.period: "soon" is not a duration'),
        (1, "9" * 60 + "y", "throttle.period: "),
    ],
)
def test_what_is_no_limit_is_refused_in_a_sentence(limit: int, period: str, said: str) -> None:
    with pytest.raises(RequestError) as raised:
        starts_of("throttle", limit, period)

    assert raised.value.message.startswith(said)


def test_a_function_that_is_not_there_has_no_limit(database: Database) -> None:
    flows = Flows(database, a_function())

    with pytest.raises(NotFoundError):
        change(flows.parts, "app-none", [StartsWithin("throttle", None)])
