"""Searching runs: every filter in every order gives what sorting all runs by hand gives, whichever way is gone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, update

from orchestrator.core.effect import Status
from orchestrator.core.failure import fingerprint
from orchestrator.engine.search import Budget, count_runs, search_runs
from orchestrator.errors import RequestError
from orchestrator.ids import named_uuid, new_ulid
from orchestrator.store import run_places, run_walk, search
from orchestrator.store.database import Database
from orchestrator.store.filters import Count, Cursor, Page, RunFilter, RunOrder, TimeField
from orchestrator.store.search import RunRow
from orchestrator.store.tables import runs
from tests.store.factories import NOW, a_function, add_app, add_run, after, an_event, insert_rows

ORDERS = [RunOrder(field, descending) for field, descending in product(TimeField, (True, False))]
ONE, TWO, THREE = (named_uuid("function", slug) for slug in ("shop-one", "shop-two", "shed-three"))
SHOP, SHED = named_uuid("app", "shop"), named_uuid("app", "shed")

EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ALIKE = fingerprint('{"message":"1"}')

FILTERS = {
    "all": RunFilter(),
    "a status": RunFilter(statuses=(Status.FAILED,)),
    "live ones": RunFilter(statuses=(Status.QUEUED, Status.RUNNING)),
    "a function": RunFilter(function_ids=(ONE,)),
    "a function and a status": RunFilter(function_ids=(ONE, THREE), statuses=(Status.COMPLETED,)),
    "an app": RunFilter(app_ids=(SHED,)),
    "an app and another's function": RunFilter(app_ids=(SHED,), function_ids=(ONE,)),
    "an event's name": RunFilter(event_name="b"),
    "an event's name and a status": RunFilter(event_name="b", statuses=(Status.COMPLETED, Status.FAILED)),
    "a name that no event has": RunFilter(event_name="none"),
    "queued in a time": RunFilter(since=after(5), until=after(20)),
    "queued since": RunFilter(since=after(12)),
    "started in a time": RunFilter(since=after(5), until=after(20), time_field=TimeField.STARTED),
    "ended in a time": RunFilter(since=after(9), until=after(25), time_field=TimeField.ENDED),
    "ended in a time, of an app": RunFilter(
        since=after(9), until=after(25), time_field=TimeField.ENDED, app_ids=(SHOP,)
    ),
    "failures of a kind": RunFilter(failure=ALIKE),
    "failures of a kind, of a function, ended in a time": RunFilter(
        failure=ALIKE, function_ids=(ONE,), since=after(9), until=after(25), time_field=TimeField.ENDED
    ),
    "queued in any time": RunFilter(since=EARLIEST, until=LATEST),
    "started in any time": RunFilter(since=EARLIEST, until=LATEST, time_field=TimeField.STARTED),
    "ended in any time": RunFilter(since=EARLIEST, until=LATEST, time_field=TimeField.ENDED),
    "queued in a time, failed": RunFilter(since=after(5), until=after(20), statuses=(Status.FAILED,)),
}


@pytest.fixture(params=["as it is", "few are many"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small numbers, too, so that every way of searching is gone."""
    if request.param == "few are many":
        monkeypatch.setattr(run_places, "_MOST_GATHERED", 2)
        monkeypatch.setattr(run_walk, "_WINDOW", 2)


@pytest.fixture
def crowd(database: Database) -> Iterator[tuple[Connection, list[Any]]]:
    """Sixty runs of three functions, many of them queued in the same moment."""
    chance = random.Random(7)
    with database.write() as conn:
        add_app(conn, "shop", a_function("shop-one"), a_function("shop-two"))
        add_app(conn, "shed", a_function("shed-three"))
        events = [an_event(chance.choice("ab")) for _ in range(60)]
        insert_rows(conn, "events", [_event_row(event) for event in events])
        made = [_run(conn, chance, event) for event in events]
        conn.execute(update(runs).where(runs.c.status == "failed", runs.c.event_name == "a").values(failure=ALIKE))
    with database.read() as conn:
        yield conn, [search.row(conn, run_id) for run_id in made]


def _event_row(event: Any) -> dict[str, Any]:
    return {"id": event.id, "name": event.name, "ts": event.ts, "payload": event.wire(), "received_at": NOW}


def _run(conn: Connection, chance: random.Random, event: Any) -> str:
    status, queued_at = chance.choice(list(Status)), after(chance.randrange(25))
    started_at = queued_at + timedelta(seconds=chance.randrange(5))
    begun = status is not Status.QUEUED and (status is not Status.SKIPPED)
    return add_run(
        conn,
        function_id=chance.choice([ONE, TWO, THREE]),
        event_id=event.id,
        event_name=event.name,
        status=status,
        queued_at=queued_at,
        started_at=started_at if begun else None,
        ended_at=started_at + timedelta(seconds=chance.randrange(9)) if status.final else None,
    )


def _time(row: Any, field: TimeField) -> Any:
    return getattr(row, f"{field.value}_at")


def _wanted(row: RunRow, wanted: RunFilter) -> bool:
    at = _time(row, wanted.time_field)
    return (
        (not wanted.statuses or row.status in wanted.statuses)
        and (not wanted.function_ids or row.function_id in wanted.function_ids)
        and (not wanted.app_ids or row.app_id in wanted.app_ids)
        and (wanted.event_name is None or row.event_name == wanted.event_name)
        and (wanted.failure is None or (row.status is Status.FAILED and row.event_name == "a"))
        and (wanted.since is None or (at is not None and at >= wanted.since))
        and (wanted.until is None or (at is not None and at < wanted.until))
    )


def _by_hand(rows: list[RunRow], wanted: RunFilter, order: RunOrder) -> list[str]:
    def key(row: RunRow) -> tuple[Any, ...]:
        at = _time(row, order.field)
        return at is not None, at or NOW, row.id

    return [row.id for row in sorted((it for it in rows if _wanted(it, wanted)), key=key, reverse=order.descending)]


def _paged(conn: Connection, wanted: RunFilter, order: RunOrder, limit: int = 13) -> list[str]:
    found, at = list[str](), None
    while True:
        page = search_runs(conn, wanted, order, at, limit)
        found += [row.id for row in page.items]
        if not page.has_next:
            return found
        at = page.end_cursor


@pytest.mark.usefixtures("ways")
def test_pages_are_what_sorting_by_hand_gives(crowd: tuple[Connection, list[Any]]) -> None:
    conn, rows = crowd
    asked = list(product(FILTERS, ORDERS))

    found = {(name, order): _paged(conn, FILTERS[name], order) for name, order in asked}

    assert {(name, order): _by_hand(rows, FILTERS[name], order) for name, order in asked} == found


@pytest.mark.usefixtures("ways")
def test_a_count_is_what_counting_by_hand_gives(crowd: tuple[Connection, list[Any]]) -> None:
    conn, rows = crowd

    counted = {name: count_runs(conn, wanted) for name, wanted in FILTERS.items()}

    by_hand = {name: sum(_wanted(row, wanted) for row in rows) for name, wanted in FILTERS.items()}
    assert {name: Count(number, exact=True) for name, number in by_hand.items()} == counted


def test_counting_ends_somewhere(crowd: tuple[Connection, list[Any]]) -> None:
    conn, _ = crowd

    counted = [count_runs(conn, wanted, most=5) for wanted in (RunFilter(), RunFilter(app_ids=(SHOP,)))]

    assert [(5, False), (5, False)] == [(it.number, it.exact) for it in counted]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.kind)
def test_each_run_has_a_cursor_after_which_the_next_one_comes(
    crowd: tuple[Connection, list[Any]], order: RunOrder
) -> None:
    conn, rows = crowd
    ids = _by_hand(rows, RunFilter(), order)
    page: Page[RunRow] = search_runs(conn, RunFilter(), order, limit=60)

    following = [search_runs(conn, RunFilter(), order, cursor, limit=1).items for cursor in page.cursors]

    assert [[run_id] for run_id in ids[1:]] + [[]] == [[row.id for row in items] for items in following]


def test_a_walk_that_used_up_its_effort_says_how_far_it_came(
    crowd: tuple[Connection, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    conn, rows = crowd
    monkeypatch.setattr(run_places, "_MOST_GATHERED", 2)
    wanted, order = RunFilter(event_name="b"), RunOrder(TimeField.ENDED)
    looked_at = _by_hand(rows, RunFilter(), order)[:10]

    found = run_places.places(conn, wanted, order, None, 50, most=10)

    assert looked_at[-1] == (found.reached.id if found.reached is not None else None)
    assert [it for it in looked_at if it in _by_hand(rows, wanted, order)] == [place.id for place in found.found]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "a" * 500, Cursor("rqd", NOW, "no ulid").encode(), "cnFkLjk5OTk5OTk5OTk5OTk5OTk5OTk5OTkuMDFN"],
)
def test_a_cursor_that_is_none_is_refused(database: Database, cursor: str) -> None:
    with database.read() as conn, pytest.raises(RequestError, match="the cursor is none of this server's"):
        search_runs(conn, RunFilter(), after=cursor)


def test_a_cursor_of_another_order_is_refused(database: Database) -> None:
    cursor = Cursor(RunOrder(TimeField.ENDED).kind, None, new_ulid()).encode()

    with database.read() as conn, pytest.raises(RequestError, match="the cursor belongs to another order"):
        search_runs(conn, RunFilter(), after=cursor)


@pytest.mark.parametrize("limit", [0, 401])
def test_a_page_has_bounds(database: Database, limit: int) -> None:
    with database.read() as conn, pytest.raises(RequestError, match="limit must be a whole number from 1 to 400"):
        search_runs(conn, RunFilter(), limit=limit)


def test_budgets_are_not_for_searches_without_a_query(crowd: tuple[Connection, list[Any]]) -> None:
    conn, rows = crowd

    page = search_runs(conn, RunFilter(), limit=60, budget=Budget(rows=1, seconds=0))

    assert (len(rows), None) == (len(page.items), page.scanned_until)
