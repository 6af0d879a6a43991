"""Search runs and events: filters in SQL, a condition in CEL row by row within a budget.

Theory of operation.  A condition is tried on the rows that the filters let through, in the order that is asked for, a
window of them at a time.  A search that has used up its budget gives what it found by then, says how far it came, and
its cursor goes on from there: so each page takes bounded time however rare what is looked for, and nothing is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.engine.trial import Events, Runs, Trial
from orchestrator.errors import RequestError
from orchestrator.expressions.search import Search, compile_search
from orchestrator.store import event_search, run_places, search
from orchestrator.store.database import Connection
from orchestrator.store.event_search import EventRow
from orchestrator.store.filters import EVENT_KIND, Count, Cursor, EventFilter, Page, RunFilter, RunOrder
from orchestrator.store.needles import Needle, needle
from orchestrator.store.places import Place, Places
from orchestrator.store.search import RunRow

T = TypeVar("T")

#: The most rows on a page.
MOST = 400
#: Rows that a condition is tried on together.
_WINDOW = 200
#: Rows that the database looks through for a needle at a time.
_LOOKED_THROUGH = 8_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What one page of a search by a condition may cost."""

    #: Rows that the condition is tried on.
    rows: int = 10_000
    seconds: float = 0.12
    #: On a busy machine a page gets this far all the same, in `most_seconds` at most.
    least_rows: int = 200
    most_seconds: float = 0.6
    monotonic: Callable[[], float] = time.monotonic


NEWEST_FIRST = RunOrder()
BUDGET = Budget()


def search_runs(
    conn: Connection,
    wanted: RunFilter,
    order: RunOrder = NEWEST_FIRST,
    after: str | None = None,
    limit: int = 50,
    budget: Budget = BUDGET,
) -> Page[RunRow]:
    """A page of the runs that are wanted, those after the cursor `after`.

    Raises `RequestError` for a cursor of another order, `ExpressionError` for a query that is none.
    """
    _check_limit(limit)
    begin = Cursor.decode(after, order.kind) if after is not None else None
    condition = compile_search(wanted.query) if wanted.query else None
    found = _Found(order.kind)
    if condition is None:
        found.take(run_places.places(conn, wanted, order, begin, limit + 1, run_places.MOST_LOOKED_AT), limit)
    else:
        needles = _needles(condition)

        def following(at: Cursor | None, most: int) -> Places:
            return run_places.places(conn, wanted, order, at, most, _LOOKED_THROUGH, needles)

        _scan(following, Runs(conn, condition), found, begin, limit, budget)
    return found.page(search.rows(conn, found.ids), lambda row: row.id)


def search_events(
    conn: Connection, wanted: EventFilter, after: str | None = None, limit: int = 50, budget: Budget = BUDGET
) -> Page[EventRow]:
    """A page of the events that are wanted, the newest first, those after the cursor `after`.

    Raises `RequestError` for a cursor of another order, `ExpressionError` for a query that is none.
    """
    _check_limit(limit)
    begin = Cursor.decode(after, EVENT_KIND) if after is not None else None
    condition = compile_search(wanted.query, outputs=False) if wanted.query else None
    found = _Found(EVENT_KIND)
    if condition is None:
        found.take(event_search.places(conn, wanted, begin, limit + 1, run_places.MOST_LOOKED_AT), limit)
    else:
        needles = _needles(condition)

        def following(at: Cursor | None, most: int) -> Places:
            return event_search.places(conn, wanted, at, most, _LOOKED_THROUGH, needles)

        _scan(following, Events(conn, condition), found, begin, limit, budget)
    return found.page(event_search.rows(conn, found.ids), lambda row: row.id)


def count_runs(conn: Connection, wanted: RunFilter, most: int = run_places.MOST_COUNTED) -> Count:
    """How many runs are wanted, up to `most`; a query is left aside."""
    return run_places.count(conn, wanted, most)


def count_events(conn: Connection, wanted: EventFilter, most: int = run_places.MOST_COUNTED) -> Count:
    """How many events are wanted, up to `most`; a query is left aside."""
    return event_search.count(conn, wanted, most)


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise RequestError(f"limit must be a whole number from 1 to {MOST}")


def _needles(condition: Search) -> list[Needle]:
    made = (needle(demand.root, demand.value) for demand in condition.demands)
    return [it for it in made if it is not None]


class _Found:
    """A page in the making."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.places: list[Place] = []
        self.more = False
        self.error: str | None = None
        #: The last row that was looked at, where the search stopped at its budget.
        self.reached: Place | None = None

    @property
    def ids(self) -> list[str]:
        return [place.id for place in self.places]

    def take(self, places: Places, limit: int) -> None:
        self.places = list(places.found[:limit])
        self.more = len(places.found) > limit or places.reached is not None
        self.reached = places.reached if len(places.found) <= limit else None

    def stop(self, reached: Place) -> None:
        self.more, self.reached = True, reached

    def page(self, rows: Sequence[T], id_of: Callable[[T], str]) -> Page[T]:
        cursors = {place.id: self.cursor(place) for place in self.places}
        last = self.reached or next(iter(self.places[-1:]), None)
        return Page(
            tuple(rows),
            tuple(cursors[id_of(row)].encode() for row in rows),
            self.more,
            self.cursor(last).encode() if last is not None else None,
            self.reached.at if self.reached is not None else None,
            self.error,
        )

    def cursor(self, place: Place) -> Cursor:
        return Cursor(self.kind, place.at, place.id)


def _scan(
    following: Callable[[Cursor | None, int], Places],
    trial: Trial,
    found: _Found,
    begin: Cursor | None,
    limit: int,
    budget: Budget,
) -> None:
    """Try a condition on the rows after `begin` until the page is full, there are no more, or the budget is used up."""
    began, at, left, looked_at = budget.monotonic(), begin, budget.rows, 0

    def used_up() -> bool:
        took = budget.monotonic() - began
        return took >= budget.most_seconds or (took >= budget.seconds and looked_at >= budget.least_rows)

    while True:
        most = min(_WINDOW, left)
        window = following(at, most)
        for place, agrees in zip(window.found, trial.agree(window.found), strict=True):
            left, looked_at = left - 1, looked_at + 1
            if agrees:
                found.places.append(place)
            found.error = trial.error
            if len(found.places) == limit:
                found.more = place is not window.found[-1] or len(window.found) == most or window.reached is not None
                return
            if not left or used_up():
                found.stop(place)
                return
        last = window.reached or (window.found[-1] if len(window.found) == most else None)
        if last is None:
            return
        looked_at += _LOOKED_THROUGH if window.reached is not None else 0
        if used_up():
            found.stop(last)
            return
        at = found.cursor(last)
