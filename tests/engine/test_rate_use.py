"""How much of a rate limit is used is told as the next start would find it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from orchestrator.core.function import RateLimit
from orchestrator.engine.rate import RateUse, use_of
from orchestrator.store import gates
from orchestrator.store.database import Database
from orchestrator.store.filters import Count
from orchestrator.store.tables import admissions
from tests.engine.flows import Flows, a_function

MINUTE = timedelta(minutes=1)


def use(flows: Flows, limit: int, key: str | None = None) -> RateUse:
    [function_id] = {run.function_id for run in flows.runs()} or {""}
    with flows.database.read() as conn:
        return use_of(conn, function_id, RateLimit(limit, MINUTE, key), flows.clock.now())


def test_starts_of_the_last_period_are_counted_and_refused_ones_are_not(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit={"limit": 3, "period": "1m"}))
    none = use(flows, 3).starts
    told = []
    for _ in range(5):
        flows.receive("one")
        told.append(use(flows, 3).starts)
        flows.clock.advance(timedelta(seconds=10))
    flows.clock.advance(timedelta(seconds=10))  # the first is a minute old

    assert (0, [1, 2, 3, 3, 3]) == (none, told)
    assert 2 == use(flows, 3).starts
    flows.receive("again")
    assert 3 == use(flows, 3).starts
    flows.clock.advance(MINUTE)
    assert 0 == use(flows, 3).starts


def test_another_number_than_before_counts_from_the_next_look(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit={"limit": 5, "period": "1m"}))
    flows.receive(*range(5))

    assert [5, 3, 5] == [use(flows, limit).starts for limit in (5, 3, 9)]


def test_of_keys_those_with_starts_are_counted_and_those_that_have_no_more(database: Database) -> None:
    key = "event.data.user"
    flows = Flows(database, a_function(rateLimit={"limit": 2, "period": "1m", "key": key}))
    flows.receive({"user": "ann"}, {"user": "ann"}, {"user": "ben"})
    first = use(flows, 2, key)
    flows.clock.advance(MINUTE / 2)
    flows.receive({"user": "ben"}, {"user": "ann"})
    second = use(flows, 2, key)
    flows.clock.advance(MINUTE / 2)

    assert RateUse(None, Count(2, exact=True), 1) == first
    assert RateUse(None, Count(2, exact=True), 2) == second
    assert RateUse(None, Count(1, exact=True), 0) == use(flows, 2, key)
    assert 1 == use(flows, 1, key).full


def test_what_a_limit_remembers_is_deleted_when_it_matters_no_more(database: Database) -> None:
    flows = Flows(database, a_function(rateLimit={"limit": 3, "period": "1m"}))
    flows.receive("one", "two")

    def tidied() -> tuple[int, int]:
        with database.write() as conn:
            deleted = gates.expire(conn, flows.clock.now())
            return deleted, len(conn.execute(select(admissions)).all())

    early = tidied()
    flows.clock.advance(MINUTE)

    assert ((0, 2), (1, 0)) == (early, tidied())
