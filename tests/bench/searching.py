"""Searching among very many runs on PostgreSQL: how long each kind of search takes, and what it costs.

    python -m tests.bench.searching --runs 1000000

The runs are written by the database itself (`tests.bench.crowd`); what is measured is `engine.search`, in this process,
with the rows and counts that a page of a list shows.  CPU time is that of this process and of PostgreSQL's for it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from orchestrator.core.effect import Status
from orchestrator.engine.search import count_events, count_runs, search_events, search_runs
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.filters import EventFilter, Page, RunFilter, RunOrder, TimeField
from tests.bench import crowd
from tests.services import own_database

LIMIT = 50
#: Pages that are turned over before the deep one is measured.
DEEP = 40
_TICKS = os.sysconf("SC_CLK_TCK")

DAY, HOUR, LAST = timedelta(days=1), timedelta(hours=1), crowd.LAST
BIG, MIDDLE, RARE = (crowd.function_ids()[number] for number in (0, 3, crowd.RARE))
APP = crowd.app_ids()[1]
STARTED, ENDED, OLDEST = RunOrder(TimeField.STARTED), RunOrder(TimeField.ENDED), RunOrder(descending=False)
FAILED = (Status.FAILED,)
MIDST = {"since": LAST - 4 * DAY, "until": LAST - 3 * DAY}

RUNS: Mapping[str, tuple[RunFilter, RunOrder]] = {
    "the newest": (RunFilter(), RunOrder()),
    "the oldest": (RunFilter(), OLDEST),
    "by start": (RunFilter(), STARTED),
    "by end": (RunFilter(), ENDED),
    "failed (3 %)": (RunFilter(statuses=FAILED), RunOrder()),
    "failed, by start": (RunFilter(statuses=FAILED), STARTED),
    "failed, by end": (RunFilter(statuses=FAILED), ENDED),
    "running (667)": (RunFilter(statuses=(Status.RUNNING,)), RunOrder()),
    "skipped or cancelled": (RunFilter(statuses=(Status.SKIPPED, Status.CANCELLED)), RunOrder()),
    "a function (half of all)": (RunFilter(function_ids=(BIG,)), RunOrder()),
    "a function (100 runs)": (RunFilter(function_ids=(RARE,)), RunOrder()),
    "a function (100 runs), by end": (RunFilter(function_ids=(RARE,)), ENDED),
    "a function (3 %), completed, by end": (
        RunFilter(function_ids=(MIDDLE,), statuses=(Status.COMPLETED,)),
        ENDED,
    ),
    "an app": (RunFilter(app_ids=(APP,)), RunOrder()),
    "an app, failed": (RunFilter(app_ids=(APP,), statuses=FAILED), RunOrder()),
    "an app, by end": (RunFilter(app_ids=(APP,)), ENDED),
    "the last hour": (RunFilter(since=LAST - HOUR), RunOrder()),
    "a day in the midst": (RunFilter(**MIDST), RunOrder()),
    "a day in the midst, failed": (RunFilter(**MIDST, statuses=FAILED), RunOrder()),
    "ended on a day in the midst": (RunFilter(**MIDST, time_field=TimeField.ENDED), RunOrder()),
    "ended on that day, failed": (RunFilter(**MIDST, time_field=TimeField.ENDED, statuses=FAILED), RunOrder()),
    "queued on that day, by end": (RunFilter(**MIDST), ENDED),
    "an event's name (100 runs)": (RunFilter(event_name=f"crowd/event.{crowd.RARE}"), RunOrder()),
    "an event's name (half of all)": (RunFilter(event_name="crowd/event.0"), RunOrder()),
    "CEL: true of a third": (RunFilter(query='event.data.plan == "free"'), RunOrder()),
    "CEL: true of one in 1000": (RunFilter(query='event.data.customer == "c7"'), RunOrder()),
    "CEL: a word that is once there": (RunFilter(query='event.data.plan == "needle"'), RunOrder()),
    "CEL: a number that is once there": (RunFilter(query="event.data.number == 500001"), RunOrder()),
    "CEL: over event and output": (
        RunFilter(query='output.total == 77 && event.data.plan == "free"'),
        RunOrder(),
    ),
    "CEL: among failed runs": (RunFilter(query='output.message == "no 3"', statuses=FAILED), RunOrder()),
    "CEL: among a function's 100 runs": (RunFilter(query="event.data.number > 5", function_ids=(RARE,)), RunOrder()),
}
EVENTS: Mapping[str, EventFilter] = {
    "the newest": EventFilter(),
    "a name (100 events)": EventFilter(names=(f"crowd/event.{crowd.RARE}",)),
    "a name (3 %)": EventFilter(names=("crowd/event.3",)),
    "a day in the midst": EventFilter(**MIDST),
    "a day in the midst, a name (3 %)": EventFilter(**MIDST, names=("crowd/event.3",)),
    "CEL: true of a third": EventFilter(query='event.data.plan == "free"'),
    "CEL: a word that is once there": EventFilter(query='event.data.plan == "needle"'),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one kind of search took, in milliseconds."""

    p50: float
    most: float
    cpu: float


def main() -> None:
    """Write the runs, measure every search, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.searching")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    with own_database("postgresql") as url:
        schema.upgrade(url)
        database = Database(url)
        with database.write() as conn:
            crowd.declare(conn)
        with database.write() as conn:
            crowd.fill(conn, asked.runs)
        with database.read() as conn:
            conn.exec_driver_sql("VACUUM ANALYZE")
            _table("runs", _runs(conn), conn, asked.rounds)
            _table("events", _events(conn), conn, asked.rounds)
        database.close()


Search = Callable[[str | None], Page[Any]]


def _runs(conn: Connection) -> Iterator[tuple[str, Search, Callable[[], object]]]:
    for name, (wanted, order) in RUNS.items():

        def search(after: str | None, wanted: RunFilter = wanted, order: RunOrder = order) -> Page[Any]:
            return search_runs(conn, wanted, order, after, LIMIT)

        yield name, search, lambda wanted=wanted: count_runs(conn, wanted)  # type: ignore[misc]


def _events(conn: Connection) -> Iterator[tuple[str, Search, Callable[[], object]]]:
    for name, wanted in EVENTS.items():

        def search(after: str | None, wanted: EventFilter = wanted) -> Page[Any]:
            return search_events(conn, wanted, after, LIMIT)

        yield name, search, lambda wanted=wanted: count_events(conn, wanted)  # type: ignore[misc]


def _table(
    what: str, searches: Iterator[tuple[str, Search, Callable[[], object]]], conn: Connection, rounds: int
) -> None:
    backend = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    print(f"| {what} | found | page, p50 (most) | CPU | count, p50 | page {DEEP}, p50 |\n|---|---|---|---|---|---|")
    for name, search, count in searches:
        page = search(None)
        cost, counted = _cost(partial(search, None), backend, rounds), _cost(count, backend, rounds)
        deep = _cursor(search)
        deep_cost = f"{_cost(partial(search, deep), backend, rounds).p50:.0f} ms" if deep is not None else ""
        found = f"{len(page.items)}{', not finished' if page.scanned_until else ''}"
        figures = f"{cost.p50:.0f} ms ({cost.most:.0f}) | {cost.cpu:.0f} ms | {counted.p50:.0f} ms | {deep_cost}"
        print(f"| {name} | {found} | {figures} |", flush=True)


def _cursor(search: Search) -> str | None:
    """Where the deep page begins; None: there are not so many."""
    at: str | None = None
    for _ in range(DEEP):
        page = search(at)
        at = page.end_cursor
        if not page.has_next or page.scanned_until is not None:
            return None
    return at


def _cost(search: Callable[[], object], backend: int, rounds: int) -> Cost:
    took, began = list[float](), _cpu(backend)
    for _ in range(rounds):
        at = time.perf_counter()
        search()
        took.append((time.perf_counter() - at) * 1_000)
    return Cost(statistics.median(took), max(took), (_cpu(backend) - began) * 1_000 / rounds)


def _cpu(backend: int) -> float:
    used = Path(f"/proc/{backend}/stat").read_text().rpartition(") ")[2].split()
    return time.process_time() + (int(used[11]) + int(used[12])) / _TICKS


if __name__ == "__main__":
    main()
