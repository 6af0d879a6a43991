"""Failures that are alike: runs end with their fingerprint, are counted in groups, and found by it exactly."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from orchestrator.core.effect import Status
from orchestrator.core.failure import fingerprint
from orchestrator.engine.search import count_runs, search_runs
from orchestrator.ids import named_uuid
from orchestrator.store import failures, runs, tables
from orchestrator.store.database import Database
from orchestrator.store.filters import Count, RunFilter, RunOrder, TimeField
from tests.store.factories import NOW, a_function, add_app, add_run, after

ONE, TWO = named_uuid("function", "shop-one"), named_uuid("function", "shop-two")
LATER = NOW + timedelta(hours=1)


def error(message: str) -> str:
    return json.dumps({"name": "OrderError", "message": message})


def fail(conn: Connection, message: str, at: float, function_id: str = ONE) -> str:
    run_id = add_run(conn, function_id=function_id, queued_at=NOW)
    assert runs.finish(conn, run_id, Status.FAILED, None, error(message), after(at))
    return run_id


def written(conn: Connection, run_id: str) -> str | None:
    found: str | None = conn.execute(select(tables.runs.c.failure).where(tables.runs.c.id == run_id)).scalar_one()
    return found


@pytest.fixture
def shop(database: Database) -> Database:
    with database.write() as conn:
        add_app(conn, "shop", a_function("shop-one"), a_function("shop-two"))
    return database


def test_a_run_that_fails_ends_with_its_fingerprint_and_no_other_does(shop: Database) -> None:
    with shop.write() as conn:
        failed, done = fail(conn, "order 1 is gone", 1), add_run(conn, function_id=ONE)
        runs.finish(conn, done, Status.COMPLETED, "null", None, after(1))

        assert fingerprint(error("order 2 is gone")) == written(conn, failed)
        assert written(conn, done) is None


def test_a_run_that_goes_on_after_it_failed_is_no_failure_any_more(shop: Database) -> None:
    with shop.write() as conn:
        run_id = fail(conn, "order 1 is gone", 1)

        runs.reopen(conn, run_id)

        assert written(conn, run_id) is None


def test_failures_that_are_alike_are_counted_together_the_most_frequent_first(shop: Database) -> None:
    with shop.write() as conn:
        for number in range(3):
            fail(conn, f"order {number} is gone", 10 + number)
        last = fail(conn, "order 9 is gone", 20)
        other = fail(conn, "order 9 is gone", 5, TWO)
        third = fail(conn, "no money", 30)
        fail(conn, "order 1 is gone", 4000)

        found = failures.groups(conn, after(0), LATER, 10)

    alike = fingerprint(error("order 1 is gone"))
    assert [(ONE, alike, 4, last), (ONE, fingerprint(error("no money")), 1, third), (TWO, alike, 1, other)] == [
        (it.function_id, it.failure, it.number, it.run_id) for it in found.found
    ]
    assert (after(10), after(20)) == (found.found[0].first_at, found.found[0].last_at)
    assert (6, 3, True) == (found.total, found.number, found.exact)


def test_of_many_groups_the_largest_are_told_and_how_many_there_are(shop: Database) -> None:
    with shop.write() as conn:
        for name in ("red", "green", "green", "blue"):
            fail(conn, f"too {name}", 1)

        found = failures.groups(conn, after(0), LATER, 1)

    assert [2] == [it.number for it in found.found]
    assert (4, 3) == (found.total, found.number)


def test_of_very_many_failures_the_latest_are_looked_at_and_that_is_told(shop: Database) -> None:
    with shop.write() as conn:
        for number in range(4):
            fail(conn, "red" if number < 2 else "blue", number)

        found = failures.groups(conn, after(0), LATER, 10, most=2)

    assert [(fingerprint(error("blue")), 2)] == [(it.failure, it.number) for it in found.found]
    assert not found.exact


@pytest.mark.parametrize("field", TimeField)
@pytest.mark.parametrize("descending", [True, False])
def test_the_runs_of_a_group_are_found_exactly_page_by_page(shop: Database, field: TimeField, descending: bool) -> None:
    with shop.write() as conn:
        wanted = {fail(conn, f"order {number} is gone", number + 1) for number in range(7)}
        fail(conn, "order 1 is gone", 1, TWO)
        fail(conn, "another", 1)
        add_run(conn, function_id=ONE, queued_at=NOW)
        asked = RunFilter(
            since=after(0),
            time_field=TimeField.ENDED,
            statuses=(Status.FAILED,),
            function_ids=(ONE,),
            failure=fingerprint(error("order 0 is gone")),
        )

        found, place = list[str](), None
        while True:
            page = search_runs(conn, asked, RunOrder(field, descending), place, 3)
            found += [row.id for row in page.items]
            place = page.end_cursor
            if not page.has_next:
                break

        assert sorted(wanted) == sorted(found)
        assert Count(7, exact=True) == count_runs(conn, asked)
        assert Count(5, exact=False) == count_runs(conn, asked, most=5)


def test_failures_that_were_written_without_a_fingerprint_are_given_one(shop: Database) -> None:
    with shop.write() as conn:
        old, gone_on = fail(conn, "order 1 is gone", 1), fail(conn, "order 2 is gone", 2)
        conn.execute(update(tables.runs).values(failure=None))

        found = failures.nameless(conn, after(0), LATER)
        runs.reopen(conn, gone_on)
        failures.name(conn, found)

        assert {old, gone_on} == set(found)
        assert fingerprint(error("order 3 is gone")) == written(conn, old)
        assert written(conn, gone_on) is None
        assert {} == failures.nameless(conn, after(0), LATER)
