"""Runs in order, each tried, a window of them at a time: how far that goes is bounded, and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, literal_column, or_, select, true

from orchestrator.core.event import DEFERRED_SCHEDULE
from orchestrator.store.filters import Cursor, TimeField
from orchestrator.store.needles import run_holds
from orchestrator.store.places import RESULT, TIMES, Place, Places, Wanted, beyond
from orchestrator.store.tables import runs

_SKEW = timedelta(minutes=5)
_TURN = {TimeField.QUEUED: 0, TimeField.STARTED: 1, TimeField.ENDED: 2}
#: The first window of a walk is small: most are in luck.
_WINDOW, _WIDER = 1_000, 3


def walk(conn: Connection, asked: Wanted, limit: int, most: int) -> Places:
    """Try runs in order, a window of them at a time."""
    found, reached, left = list[Place](), asked.after, most
    hit = and_(true(), *_conditions(asked), *run_holds(conn.dialect.name, RESULT, asked.needles))
    for empty in _segments(asked):
        size = _WINDOW if asked.tries else limit
        after = reached if reached is not None and (reached.at is None) == empty else None
        while True:
            window = _window(conn, asked, hit, empty, after, min(size, left))
            found += [Place(row.id, row.at) for row in window if row.hit]
            if len(found) >= limit:
                return Places(found[:limit])
            looked_at = window[-1].nth if window else 0
            left -= looked_at
            if window and left <= 0:
                return Places(found, Place(window[-1].id, window[-1].at))
            if looked_at < min(size, left + looked_at):
                break
            after = Cursor("", window[-1].at, window[-1].id)
            size *= _WIDER
    return Places(found)


def count_within(conn: Connection, asked: Wanted, most: int) -> int:
    """How many runs there are in the range of times, counted up to `most`."""
    query = _bounded(asked, select(runs.c.id)).order_by(TIMES[asked.field]).limit(most)
    return int(conn.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def count_tried(conn: Connection, asked: Wanted, most: int) -> tuple[int, bool]:
    """How many of the first runs in the order, `most` at most, are wanted; and whether these are all there are."""
    at, hit = TIMES[asked.field], and_(true(), *_conditions(asked))
    query = _bounded(asked, select(case((hit, 1), else_=0).label("hit"))).order_by(at.desc(), runs.c.id.desc())
    tried = query.limit(most).subquery()
    number, looked_at = conn.execute(
        select(func.coalesce(func.sum(tried.c.hit), 0), func.count()).select_from(tried)
    ).one()
    return int(number), looked_at < most


def count_hits(conn: Connection, asked: Wanted, most: int) -> int:
    """How many runs are wanted, counted up to `most`, however many of those in the range of times are not."""
    wanted = _bounded(asked, _alike(asked, select(runs.c.id))).where(*_conditions(asked)).limit(most)
    return int(conn.execute(select(func.count()).select_from(wanted.subquery())).scalar_one())


def _bounded(asked: Wanted, query: Select[Any]) -> Select[Any]:
    """Leave out what cannot be in the range of times; one of another time than the order's is a bound for it, too.

    A run is queued, then begins, then ends; but not all clocks need be the same.
    """
    at, (since, until) = TIMES[asked.field], asked.within(asked.filter.time_field)
    if asked.ranged_elsewhere:
        earlier = _TURN[asked.filter.time_field] < _TURN[asked.field]
        since, until = (
            (_shifted(since, -_SKEW) if earlier and since else None),
            (_shifted(until, _SKEW) if not earlier and until else None),
        )
    if since is not None:
        query = query.where(at >= since)
    if until is not None:
        query = query.where(at < until)
    return query


def _shifted(at: datetime, by: timedelta) -> datetime | None:
    """A moment a little earlier or later; None: there is none so early or late, and so no bound."""
    try:
        return at + by
    except OverflowError:
        return None


def _alike(asked: Wanted, query: Select[Any]) -> Select[Any]:
    """Leave out all but failures of the kind that is asked for, if one is."""
    return query.where(runs.c.failure == asked.filter.failure) if asked.by_failure else query


def _segments(asked: Wanted) -> Iterator[bool]:
    """The parts of an order, in turn: runs with the time, or (True) without; what is before the cursor left out."""
    at_null = asked.after is not None and asked.after.at is None
    started = asked.after is not None
    nullable = asked.field is not TimeField.QUEUED and not (asked.ranged and not asked.ranged_elsewhere)
    for empty in (False, True) if asked.order.descending else (True, False):
        if started and at_null != empty and empty != asked.order.descending:
            continue
        if empty and not nullable:
            continue
        yield empty


def _window(
    conn: Connection, asked: Wanted, hit: ColumnElement[bool], empty: bool, after: Cursor | None, size: int
) -> Sequence[Any]:
    """The runs of a window that are wanted, and its last one, each with its number in the window."""
    at, descending = TIMES[asked.field], asked.order.descending
    order = (at.desc(), runs.c.id.desc()) if descending else (at, runs.c.id)
    query = select(runs.c.id, at.label("at"), hit.label("hit"), func.row_number().over(order_by=order).label("nth"))
    query = _alike(asked, query.where(at.is_(None) if empty else at.is_not(None)))
    if not empty:
        query = _bounded(asked, query)
    values = dict[str, Any]()
    if after is not None:
        if empty:
            query = query.where(runs.c.id < after.id if descending else runs.c.id > after.id)
        else:
            query, values = query.where(beyond(at, descending)), {"after_at": after.at, "after_id": after.id}
    window = query.order_by(*order).limit(size).cte("looked_at")
    last = select(func.max(window.c.nth)).scalar_subquery()
    rows = select(window).where(or_(window.c.hit, window.c.nth == last)).order_by(window.c.nth)
    return conn.execute(rows, values).all()


def _conditions(asked: Wanted) -> Iterator[ColumnElement[bool]]:
    """What the order does not see to."""
    wanted = asked.filter
    if asked.ranged_elsewhere:
        at = TIMES[wanted.time_field]
        if wanted.since is not None:
            yield func.coalesce(at >= wanted.since, literal_column("false"))
        if wanted.until is not None:
            yield func.coalesce(at < wanted.until, literal_column("false"))
    if wanted.statuses:
        yield runs.c.status.in_([status.value for status in wanted.statuses])
    if asked.function_ids is not None:
        yield runs.c.function_id.in_(asked.function_ids)
    if wanted.event_name is not None:
        yield runs.c.event_name == wanted.event_name
    if wanted.deferred is not None:
        deferred = runs.c.event_name == DEFERRED_SCHEDULE
        yield deferred if wanted.deferred else ~deferred
