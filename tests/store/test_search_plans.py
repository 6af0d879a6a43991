"""What searches read: never a whole table, and not many more rows than they give; a walk as many as it may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from orchestrator.core.effect import Status
from orchestrator.core.tally import MINUTE
from orchestrator.engine import search as engine_search
from orchestrator.engine.search import count_events, count_runs, search_events, search_runs
from orchestrator.ids import new_ulid
from orchestrator.store import event_search, failures, run_places, run_walk, search, tallies, throttles, traces
from orchestrator.store.database import Database
from orchestrator.store.filters import EventFilter, RunFilter, RunOrder, TimeField
from tests.bench import crowd
from tests.store.factories import after
from tests.store.plans import RUN, analyze, scans, statements
from tests.store.plans import crowd as crowd_of_all_tables

RUNS = 20_000
LIMIT = 20
LAST = crowd.LAST
HOUR = timedelta(hours=1)
BIG, RARE = crowd.function_ids()[0], crowd.function_ids()[crowd.RARE]
FAILED = (Status.FAILED,)
STARTED, ENDED = RunOrder(TimeField.STARTED), RunOrder(TimeField.ENDED)

Search = Callable[[Connection], object]


def runs(order: RunOrder = RunOrder(), **wanted: Any) -> Search:  # noqa: B008 - it is frozen
    return lambda conn: search_runs(conn, RunFilter(**wanted), order, limit=LIMIT)


def events(**wanted: Any) -> Search:
    return lambda conn: search_events(conn, EventFilter(**wanted), limit=LIMIT)


def count(**wanted: Any) -> Search:
    return lambda conn: count_runs(conn, RunFilter(**wanted), most=100)


#: Searches that find what they look for where the index says it is.
DIRECT: dict[str, Search] = {
    "the newest": runs(),
    "the oldest": runs(RunOrder(descending=False)),
    "begun last": runs(STARTED),
    "ended last": runs(ENDED),
    "failed": runs(statuses=FAILED),
    "failed at a time": runs(statuses=FAILED, since=LAST - 2 * HOUR, until=LAST - HOUR),
    "of a function": runs(function_ids=(BIG,)),
    "of a rare function": runs(function_ids=(RARE,)),
    "of a function, held by its throttle": lambda conn: throttles.held_of(conn, BIG, 100),
    "of a rare function, ended last": runs(ENDED, function_ids=(RARE,)),
    "of an app": runs(app_ids=(crowd.app_ids()[0],)),
    "of a time": runs(since=LAST - 2 * HOUR, until=LAST - HOUR),
    "ended at a time": runs(ENDED, since=LAST - 2 * HOUR, until=LAST - HOUR, time_field=TimeField.ENDED),
    "of an event": runs(event_name=f"crowd/event.{crowd.RARE}"),
    "failures of a kind": runs(failure=crowd.FAILURE),
    "failures of a kind of a function": runs(ENDED, failure=crowd.FAILURE, function_ids=(BIG,), since=LAST - HOUR),
    "failures of no kind": runs(failure="0" * 16),
    "a count": count(),
    "a count of a status": count(statuses=FAILED),
    "a count of a time": count(since=LAST - 2 * HOUR, until=LAST - HOUR),
    "events": events(),
    "events of a time": events(since=LAST - 2 * HOUR, until=LAST - HOUR),
    "events of a rare name": events(names=(f"crowd/event.{crowd.RARE}",)),
}
#: Searches that try one row after the other, as many as they may.
WALKS: dict[str, Search] = {
    "of no event, failed, ended last": runs(ENDED, event_name="crowd/event.0", statuses=FAILED),
    "queued at a time, ended last": runs(ENDED, since=LAST - 2 * HOUR, until=LAST - HOUR),
    "a needle in events": runs(query='event.data.plan == "needle"'),
    "a needle in outputs": runs(query='output.word == "needle"'),
    "a needle among events": events(query='event.data.plan == "needle"'),
    "events of a common name": events(names=("crowd/event.0",), since=LAST - HOUR),
    "a count of events": lambda conn: count_events(conn, EventFilter(), most=100),
}
MOST_LOOKED_AT = 3_000


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that are as small beside these rows as the real ones are beside a million."""
    monkeypatch.setattr(run_places, "_MOST_GATHERED", 50)
    monkeypatch.setattr(event_search, "_MOST_GATHERED", 50)
    monkeypatch.setattr(run_walk, "_WINDOW", 100)
    monkeypatch.setattr(engine_search, "_LOOKED_THROUGH", 1_000)
    for module in (run_places, event_search):
        monkeypatch.setattr(module, "MOST_LOOKED_AT", MOST_LOOKED_AT)


@pytest.fixture
def crowded(concurrent: Database) -> Iterator[Connection]:
    if concurrent.kind == "mysql":
        pytest.skip("how much MariaDB reads is not measured")
    with concurrent.write() as conn:
        crowd.declare(conn)
        crowd.fill(conn, RUNS)
        conn.exec_driver_sql("ANALYZE")
        yield conn


@pytest.mark.usefixtures("few")
def test_a_search_reads_little_more_than_it_gives(crowded: Connection) -> None:
    read = {name: _read(crowded, search) for name, search in DIRECT.items()}

    # Of each pair of a function and a status there may be a page.
    assert {} == {name: rows for name, rows in read.items() if rows > 6 * crowd.FUNCTIONS * (LIMIT + 1)}


@pytest.mark.usefixtures("few")
def test_a_walk_reads_no_more_than_it_may(crowded: Connection) -> None:
    read = {name: _read(crowded, search) for name, search in WALKS.items()}

    # A query is tried for as long as there is time: each window is bounded.
    bounds = {name: 20 * MOST_LOOKED_AT if "needle" in name else 2 * MOST_LOOKED_AT for name in WALKS}
    assert {} == {name: rows for name, rows in read.items() if rows > bounds[name]}


@pytest.mark.usefixtures("few")
def test_no_search_reads_a_whole_table(crowded: Connection) -> None:
    whole = {name: _whole(crowded, search) for name, search in (DIRECT | WALKS).items()}

    assert {} == {name: tables for name, tables in whole.items() if tables}


def test_no_search_sorts_or_reads_a_whole_table_on_sqlite(database: Database) -> None:
    if database.kind != "sqlite":
        pytest.skip("PostgreSQL tells how much it reads")
    asked = {name: search for name, search in (DIRECT | WALKS).items() if "event" not in name}

    with database.write() as conn:
        crowd.declare(conn)
        found = {name: list(_sqlite_faults(conn, search)) for name, search in asked.items()}

    assert {} == {name: faults for name, faults in found.items() if faults}


def test_no_trace_or_list_reads_a_whole_table(database: Database) -> None:
    asked: dict[str, Search] = {
        "trace": lambda conn: traces.read(conn, RUN),
        "run": lambda conn: traces.run_texts(conn, RUN),
        "step": lambda conn: traces.step_texts(conn, RUN, "s1"),
        "attempt": lambda conn: traces.attempt_texts(conn, RUN, 1),
        "runs of events": lambda conn: search.ids_of_events(conn, [RUN, new_ulid()]),
        "outputs": lambda conn: search.outputs(conn, [RUN, new_ulid()]),
        "rows": lambda conn: search.rows(conn, [RUN, new_ulid()]),
        "failures": lambda conn: failures.groups(conn, after(-60), after(0), 10),
        "nameless failures": lambda conn: failures.nameless(conn, after(-60), after(0)),
        "a minute": lambda conn: tallies.count(conn, after(-60), after(0)),
        "the next minute": lambda conn: tallies.next_change(conn, after(60)),
        "a chart": lambda conn: tallies.read(conn, MINUTE, after(-3600)),
        "a chart of functions": lambda conn: tallies.by_function(conn, MINUTE, after(-3600)),
        "invoked": lambda conn: traces.invoked(conn, RUN, [new_ulid()]),
    }

    with database.write() as conn:
        crowd_of_all_tables(conn)
        analyze(conn)
        said = {name: statements(conn, query) for name, query in asked.items()}
        found = {name: [table for it in given for table in scans(conn, *it)] for name, given in said.items()}

    assert {} == {name: tables for name, tables in found.items() if tables}
    assert all(said.values())


def _read(conn: Connection, search: Search) -> int:
    """How many rows of runs and events the statements of a search read."""
    return sum(_rows(node) for plan in _plans(conn, search) for node in _nodes(plan))


def _whole(conn: Connection, search: Search) -> set[str]:
    return {
        node["Relation Name"]
        for plan in _plans(conn, search)
        for node in _nodes(plan)
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in ("runs", "events")
    }


def _plans(conn: Connection, search: Search) -> Iterator[dict[str, Any]]:
    for statement, values in statements(conn, search):
        [plan] = conn.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", values).scalar_one()
        yield plan["Plan"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


def _rows(node: dict[str, Any]) -> int:
    if node.get("Relation Name") not in ("runs", "events"):
        return 0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _sqlite_faults(conn: Connection, search: Search) -> Iterator[str]:
    for statement, values in statements(conn, search):
        for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values):
            if row.detail.startswith(("SCAN runs", "SCAN events")) and "USING" not in row.detail:
                yield row.detail
