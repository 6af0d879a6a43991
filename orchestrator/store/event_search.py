"""Searching events: by name and time, the one received last first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, case, func, or_, select, true

from orchestrator.core.event import INTERNAL_PREFIX
from orchestrator.store.filters import Count, Cursor, EventFilter
from orchestrator.store.needles import Needle, holds
from orchestrator.store.places import Place, Places
from orchestrator.store.run_places import MOST_COUNTED, MOST_LOOKED_AT
from orchestrator.store.search import ids_of_events
from orchestrator.store.tables import events

#: Events that are gathered and sorted.
_MOST_GATHERED = 2_000
_WIDER = 4

_AT = events.c.received_at
_ORDER = (_AT.desc(), events.c.id.desc())
_BY_IDS = select(events).where(events.c.id.in_(bindparam("ids", expanding=True)))
_NAMED = (
    select(events.c.id, _AT.label("at"))
    .where(events.c.name == bindparam("of_name"))
    .order_by(events.c.id.desc())
    .limit(_MOST_GATHERED)
)
# In order, so that it goes by an index: a name may be common and nowhere near the table's beginning.
_SOME_NAMED = (
    select(events.c.id)
    .where(events.c.name == bindparam("of_name"))
    .order_by(events.c.id.desc())
    .limit(bindparam("most"))
)
_COUNT_NAMED = select(func.count()).select_from(_SOME_NAMED.subquery())


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as lists show it."""

    id: str
    name: str
    #: Its sender's id.
    external_id: str | None
    #: Unix milliseconds, as the sender says.
    ts: int
    #: Its wire text, which is what functions receive.
    payload: str
    received_at: datetime
    warning: str | None
    #: How many runs it started, or had a part in starting.
    runs: int


def places(
    conn: Connection,
    wanted: EventFilter,
    after: Cursor | None,
    limit: int,
    most: int,
    needles: Sequence[Needle] = (),
) -> Places:
    """The next events that a filter lets through (its query left aside), at most `limit`; `most` are looked at.

    Events without one of the needles may be left out.
    """
    gathered = _gather(conn, wanted)
    if gathered is not None:
        kept = [place for place in gathered if _lets(wanted, after, place)]
        return Places(sorted(kept, key=lambda it: (it.at, it.id), reverse=True)[:limit])
    hit = and_(true(), *_conditions(wanted), *(holds(conn.dialect.name, events.c.payload, it) for it in needles))
    return _walk(conn, wanted, hit, after, limit, most)


def count(conn: Connection, wanted: EventFilter, most: int = MOST_COUNTED) -> Count:
    """How many events a filter lets through (its query left aside), counted up to `most`."""
    gathered = _gather(conn, wanted)
    if gathered is not None:
        number = sum(_lets(wanted, None, place) for place in gathered)
        return Count(min(number, most), exact=number <= most)
    hit = case((and_(true(), *_conditions(wanted)), 1), else_=0).label("hit")
    tried = _bounded(wanted, select(hit).select_from(events)).order_by(*_ORDER).limit(MOST_LOOKED_AT).subquery()
    query = select(func.coalesce(func.sum(tried.c.hit), 0), func.count()).select_from(tried)
    number, looked_at = conn.execute(query).one()
    return Count(min(int(number), most), exact=number <= most and looked_at < MOST_LOOKED_AT)


def rows(conn: Connection, ids: Sequence[str]) -> list[EventRow]:
    """The events with these ids as lists show them, in the order of the ids; those that are gone are left out."""
    if not ids:
        return []
    found: dict[str, Any] = {row.id: row for row in conn.execute(_BY_IDS, {"ids": list(ids)})}
    started = ids_of_events(conn, list(found))
    return [_row(found[event_id], len(started[event_id])) for event_id in ids if event_id in found]


def _gather(conn: Connection, wanted: EventFilter) -> list[Place] | None:
    """All events of the names that are wanted, where these are few; None: they are not, or every name is wanted."""
    if not wanted.names:
        return None
    names, number = sorted(set(wanted.names)), 0
    for name in names:
        number += conn.execute(_COUNT_NAMED, {"of_name": name, "most": _MOST_GATHERED + 1}).scalar_one()
        if number > _MOST_GATHERED:
            return None
    return [Place(row.id, row.at) for name in names for row in conn.execute(_NAMED, {"of_name": name})]


def _lets(wanted: EventFilter, after: Cursor | None, place: Place) -> bool:
    at = place.at
    if at is None or (wanted.since is not None and at < wanted.since):
        return False
    if wanted.until is not None and at >= wanted.until:
        return False
    return after is None or after.at is None or (at, place.id) < (after.at, after.id)


def _walk(
    conn: Connection, wanted: EventFilter, hit: ColumnElement[bool], after: Cursor | None, limit: int, most: int
) -> Places:
    """Try events in order, a window of them at a time."""
    found, left, size = list[Place](), most, 4 * limit
    while True:
        most_now = min(size, left)
        window = conn.execute(_window(wanted, hit, after, most_now)).all()
        found += [Place(row.id, row.at) for row in window if row.hit]
        looked_at = window[-1].nth if window else 0
        if len(found) >= limit or looked_at < most_now:
            return Places(found[:limit])
        left -= looked_at
        if left <= 0:
            return Places(found, Place(window[-1].id, window[-1].at))
        after = Cursor("", window[-1].at, window[-1].id)
        size *= _WIDER


def _window(wanted: EventFilter, hit: ColumnElement[bool], after: Cursor | None, size: int) -> Select[Any]:
    """The events of a window that are wanted, and its last one, each with its number in the window."""
    nth = func.row_number().over(order_by=_ORDER).label("nth")
    query = select(events.c.id, _AT.label("at"), hit.label("hit"), nth).order_by(*_ORDER).limit(size)
    query = _bounded(wanted, query)
    if after is not None and after.at is not None:
        query = query.where(after.at >= _AT, or_(after.at > _AT, events.c.id < after.id))
    window = query.cte("looked_at")
    last = select(func.max(window.c.nth)).scalar_subquery()
    return select(window).where(or_(window.c.hit, window.c.nth == last)).order_by(window.c.nth)


def _bounded(wanted: EventFilter, query: Select[Any]) -> Select[Any]:
    if wanted.since is not None:
        query = query.where(events.c.received_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(events.c.received_at < wanted.until)
    return query


def _conditions(wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.names:
        yield events.c.name.in_(wanted.names)
    elif not wanted.include_internal:
        yield ~func.lower(events.c.name).startswith(INTERNAL_PREFIX, autoescape=True)


def _row(row: Any, started: int) -> EventRow:
    return EventRow(row.id, row.name, row.external_id, row.ts, row.payload, row.received_at, row.warning, started)
