"""Searching by a condition in CEL: what it may read, how far a page looks, and how the next one goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection

from orchestrator.core.effect import Status
from orchestrator.engine.search import Budget, search_events, search_runs
from orchestrator.errors import ExpressionError
from orchestrator.ids import new_ulid
from orchestrator.store import batches
from orchestrator.store.database import Database
from orchestrator.store.filters import EventFilter, RunFilter, RunOrder, TimeField
from tests.store.factories import NOW, a_function, add_app, add_run, after, an_event, insert_rows

#: No test is about how busy the machine is.
PATIENT = Budget(seconds=60, most_seconds=60)
FUNCTION = a_function("shop-pay")


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    with database.write() as conn:
        add_app(conn, "shop", FUNCTION)
    with database.read() as conn:
        yield conn


def add_event(
    database: Database, name: str = "a", seconds: float = 0, data: Any = None, text: str | None = None
) -> str:
    event = an_event(name, data=text or orjson.dumps(data or {}).decode(), received_at=after(seconds))
    row = {"id": event.id, "name": name, "ts": event.ts, "payload": event.wire(), "received_at": event.received_at}
    with database.write() as conn:
        insert_rows(conn, "events", [row])
    return event.id


def add(database: Database, seconds: float = 0, output: Any = None, error: Any = None, **event: Any) -> str:
    """A run that ended, of an event with these data."""
    event_id = add_event(database, data=event)
    run_id = new_ulid()
    row = {
        "id": run_id,
        "function_id": "f",
        "function_version": 1,
        "event_id": event_id,
        "event_name": "a",
        "status": "failed" if error is not None else "completed",
        "queued_at": after(seconds),
        "output": orjson.dumps(output).decode() if error is None else None,
        "error": orjson.dumps(error).decode() if error is not None else None,
    }
    with database.write() as conn:
        insert_rows(conn, "runs", [row])
    return run_id


def found(conn: Connection, query: str, **more: Any) -> list[str]:
    return [row.id for row in search_runs(conn, RunFilter(query=query, **more), budget=PATIENT).items]


def test_a_condition_reads_the_event_and_the_output(database: Database, conn: Connection) -> None:
    both = add(database, plan="free", output={"total": 7})
    add(database, plan="free", output={"total": 8})
    add(database, plan="paid", output={"total": 7})

    assert [both] == found(conn, 'event.data.plan == "free" && output.total == 7')


def test_the_output_of_a_failed_run_is_its_error(database: Database, conn: Connection) -> None:
    failed = add(database, error={"name": "TypeError", "message": "no such thing"})
    add(database, output={"message": "such a thing"})

    assert [failed] == found(conn, 'output.message.contains("no such") && event.name == "a"')


def test_a_run_without_an_output_has_null(database: Database, conn: Connection) -> None:
    with database.write() as writing:
        live = add_run(writing, event_id=add_event_in(writing), status=Status.RUNNING)

    assert [live] == found(conn, "output == null")


def add_event_in(conn: Connection) -> str:
    event = an_event("a")
    row = {"id": event.id, "name": "a", "ts": event.ts, "payload": event.wire(), "received_at": NOW}
    insert_rows(conn, "events", [row])
    return event.id


def test_a_run_of_a_batch_is_found_by_any_of_its_events(database: Database, conn: Connection) -> None:
    events, batch_id = [add_event(database, data={"n": number}) for number in range(3)], new_ulid()
    with database.write() as writing:
        batches.add(writing, batch_id, events)
        run_id = add_run(writing, event_id=events[0], batch_id=batch_id)

    tried = {number: found(conn, f'event.data.n == {number} && event.name == "a"') for number in range(4)}

    assert {0: [run_id], 1: [run_id], 2: [run_id], 3: []} == tried


@pytest.mark.parametrize(
    "text",
    [
        '{"word":"needle"}',
        '{"word" : "needle"}',
        '{"word":"n\\u0065edle"}',
        '{"\\u0077ord":"needle","else":"\\\\"}',
        '{"word":"needle","much":"' + "x" * 100_000 + '"}',
        '{"much":"' + "x" * 100_000 + '","word":"\\u006eeedle"}',
    ],
    ids=["plain", "spaces", "an escape", "an escaped name", "large", "large with an escape"],
)
def test_an_equality_finds_a_text_however_it_is_written(database: Database, conn: Connection, text: str) -> None:
    add_event(database, text='{"word":"hay"}')
    event_id = add_event(database, text=text)
    with database.write() as writing:
        run_id = add_run(writing, event_id=event_id)

    query = 'event.data.word == "needle"'

    events = [row.id for row in search_events(conn, EventFilter(query=query), budget=PATIENT).items]
    assert ([run_id], [event_id]) == (found(conn, query), events)


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a/b", "ä", "a%b_c", "", "a\nb"])
def test_an_equality_finds_texts_that_json_may_write_in_several_ways(
    database: Database, conn: Connection, text: str
) -> None:
    written = [add(database, word=text), add(database, output=text)]

    quoted = orjson.dumps(text).decode()

    assert [[written[0]], [written[1]]] == [
        found(conn, f"event.data.word == {quoted}"),
        found(conn, f"output == {quoted}"),
    ]


def test_a_page_that_used_up_its_budget_says_how_far_it_came_and_the_next_goes_on(
    database: Database, conn: Connection
) -> None:
    runs = [add(database, seconds=number, n=number) for number in range(10)]
    wanted, order = RunFilter(query="event.data.n == 1"), RunOrder()

    first = search_runs(conn, wanted, order, budget=Budget(rows=4, seconds=60, most_seconds=60))
    second = search_runs(conn, wanted, order, first.end_cursor, budget=Budget(rows=4, seconds=60, most_seconds=60))
    third = search_runs(conn, wanted, order, second.end_cursor, budget=Budget(rows=4, seconds=60, most_seconds=60))

    assert [((), True, after(6)), ((), True, after(2)), ((runs[1],), False, None)] == [
        (tuple(row.id for row in page.items), page.has_next, page.scanned_until) for page in (first, second, third)
    ]


def test_a_page_ends_when_its_time_is_up(database: Database, conn: Connection) -> None:
    runs = [add(database, seconds=number, n=number) for number in range(5)]
    ticks = iter(range(100))
    budget = Budget(seconds=3, most_seconds=99, least_rows=0, monotonic=lambda: float(next(ticks)))

    page = search_runs(conn, RunFilter(query="event.data.n > 3"), budget=budget)

    assert ([runs[4]], True, after(2)) == ([row.id for row in page.items], page.has_next, page.scanned_until)


def test_on_a_busy_machine_a_page_gets_somewhere_all_the_same(database: Database, conn: Connection) -> None:
    runs = [add(database, seconds=number, n=number) for number in range(5)]
    wanted = RunFilter(query="event.data.n > 3")

    pages = [
        search_runs(conn, wanted, budget=Budget(seconds=0, least_rows=3, most_seconds=most)) for most in (60.0, 0.0)
    ]

    assert [([runs[4]], after(2)), ([runs[4]], after(4))] == [
        ([row.id for row in page.items], page.scanned_until) for page in pages
    ]


def test_a_full_page_goes_on_after_its_last_run(database: Database, conn: Connection) -> None:
    runs = [add(database, seconds=number, even=number % 2 == 0) for number in range(10)]
    wanted, order = RunFilter(query="event.data.even"), RunOrder(TimeField.QUEUED, descending=False)

    pages, at = [], None
    while not pages or pages[-1].has_next:
        pages.append(search_runs(conn, wanted, order, at, limit=2, budget=PATIENT))
        at = pages[-1].end_cursor

    assert [runs[0:4:2], runs[4:8:2], runs[8:]][:2] == [[row.id for row in page.items] for page in pages[:2]]
    assert [runs[8]] == [row.id for page in pages[2:] for row in page.items]


def test_a_row_on_which_a_condition_cannot_be_tried_is_not_found_and_told_of(
    database: Database, conn: Connection
) -> None:
    good = add(database, seconds=1, flag=True)
    bad = add(database, flag="yes")

    page = search_runs(conn, RunFilter(query="event.data.flag"), budget=PATIENT)

    assert [good] == [row.id for row in page.items]
    assert f"run {bad}: The search gives a text" in (page.error or "")


@pytest.mark.parametrize("query", ["event.", "async.data.x == 1", "vars.x", "now() > 5", "nothing == 1"])
def test_what_is_no_condition_is_refused(conn: Connection, query: str) -> None:
    with pytest.raises(ExpressionError):
        search_runs(conn, RunFilter(query=query))


def test_events_have_no_output(conn: Connection) -> None:
    with pytest.raises(ExpressionError, match="Events have no `output`"):
        search_events(conn, EventFilter(query="output.x == 1"))


def test_events_come_with_the_number_of_runs_they_started(database: Database, conn: Connection) -> None:
    once, twice, never = (add_event(database, name, seconds) for seconds, name in enumerate(("a", "b", "c")))
    with database.write() as writing:
        add_run(writing, event_id=once)
        for function_id in ("f", "g"):
            add_run(writing, event_id=twice, function_id=function_id)

    page = search_events(conn, EventFilter())

    assert [(never, 0), (twice, 2), (once, 1)] == [(row.id, row.runs) for row in page.items]


def test_internal_events_are_shown_where_they_are_asked_for(database: Database, conn: Connection) -> None:
    internal, own = add_event(database, "inngest/function.finished"), add_event(database, "shop/paid", 1)
    filters = [EventFilter(), EventFilter(include_internal=True), EventFilter(names=("inngest/function.finished",))]

    shown = [[row.id for row in search_events(conn, wanted).items] for wanted in filters]

    assert [[own], [own, internal], [internal]] == shown


def test_events_are_paged_by_when_they_were_received(database: Database, conn: Connection) -> None:
    events = [add_event(database, "ab"[number % 2], seconds=number // 3) for number in range(12)]
    expected = sorted(((number // 3, event_id) for number, event_id in enumerate(events)), reverse=True)

    found, at = list[str](), None
    while True:
        page = search_events(conn, EventFilter(since=after(1), until=after(3), names=("a", "b")), at, limit=4)
        found += [row.id for row in page.items]
        if not page.has_next:
            break
        at = page.end_cursor

    assert [event_id for seconds, event_id in expected if 1 <= seconds < 3] == found
