"""Finding runs: the next ids in an order, by filters, without ever reading more than a bounded part of the table.

Theory of operation.  There is one index for each order (`queued_at`, `started_at`, `ended_at`, each with the id), and
one for what most searches ask for (function, status and `queued_at`).  A search goes the first of these ways that does:

*  branches (`store.run_branches`): by function or status, in the order of queueing.
*  gathering: in another order, or with another condition beside.  Where the branches, or a range of times, or the
   events of a name are few at all, their runs are all read and sorted.
*  by the kind of a failure (`RunFilter.failure`): only such runs are walked through.
*  walking (`store.run_walk`): the runs in order, each tried.  Whoever looks for what is rare among very many is told
   how far that went, and may go on from there.

The order is the same whichever way is taken, so that a page may be found by one and the next by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from sqlalchemy import Connection, Row, select

from orchestrator.core.effect import Status
from orchestrator.store.filters import Count, Cursor, RunFilter, RunOrder, TimeField
from orchestrator.store.needles import Needle
from orchestrator.store.places import COLUMNS, TIMES, Place, Places, Wanted
from orchestrator.store.run_branches import branches, count_branches
from orchestrator.store.run_walk import count_hits, count_tried, count_within, walk
from orchestrator.store.tables import events, functions, runs

#: Counting goes no further.
MOST_COUNTED = 10_000
#: Runs that are looked at for one page.
MOST_LOOKED_AT = 30_000
#: Runs that are gathered and sorted.
_MOST_GATHERED = 2_000
#: Pairs of a function and a status that are looked up one by one.
_MOST_PAIRS = 3_000


def places(
    conn: Connection,
    wanted: RunFilter,
    order: RunOrder,
    after: Cursor | None,
    limit: int,
    most: int,
    needles: Sequence[Needle] = (),
) -> Places:
    """The next runs that a filter lets through (its query left aside), at most `limit`; `most` are looked at.

    Runs without one of the needles may be left out.
    """
    asked = Wanted(wanted, order, after, functions_of(conn, wanted), needles)
    if asked.function_ids == []:
        return Places(())
    if asked.by_failure:
        return walk(conn, asked, limit, most)
    pairs = _pairs(conn, asked) if asked.branching else None
    if pairs is not None and _by_branches(asked):
        rows = branches(conn, pairs, asked.within(TimeField.QUEUED), order.descending, limit, after)
        return Places([Place(row.id, row.queued_at) for row in rows])
    gathered = _gather(conn, asked, pairs)
    if gathered is not None:
        return Places(_sorted(asked, gathered)[:limit])
    return walk(conn, asked, limit, most)


def count(conn: Connection, wanted: RunFilter, most: int = MOST_COUNTED) -> Count:
    """How many runs a filter lets through (its query left aside), counted up to `most`."""
    asked = Wanted(wanted, RunOrder(wanted.time_field), None, functions_of(conn, wanted))
    if asked.function_ids == []:
        return Count(0, exact=True)
    if asked.by_failure:
        number = count_hits(conn, asked, most + 1)
        return Count(min(number, most), exact=number <= most)
    pairs = _pairs(conn, asked) if asked.branching else None
    if pairs is not None and _by_branches(asked):
        number = count_branches(conn, pairs, asked.within(TimeField.QUEUED), most + 1)
        return Count(min(number, most), exact=number <= most)
    if not asked.tries:
        number = count_within(conn, asked, most + 1)
        return Count(min(number, most), exact=number <= most)
    rows = _gather(conn, asked, pairs)
    if rows is not None:
        return Count(min(len(rows), most), exact=len(rows) <= most)
    number, all_of_them = count_tried(conn, asked, MOST_LOOKED_AT)
    return Count(min(number, most), exact=number <= most and all_of_them)


def functions_of(conn: Connection, wanted: RunFilter) -> Sequence[str] | None:
    """The functions whose runs are wanted; None: all."""
    if not wanted.app_ids:
        return sorted(set(wanted.function_ids)) or None
    query = select(functions.c.id).where(functions.c.app_id.in_(wanted.app_ids)).order_by(functions.c.id)
    of_apps = [row.id for row in conn.execute(query)]
    return [it for it in of_apps if it in wanted.function_ids] if wanted.function_ids else of_apps


def _by_branches(asked: Wanted) -> bool:
    return asked.field is TimeField.QUEUED and not asked.ranged_elsewhere and not asked.by_event


def _pairs(conn: Connection, asked: Wanted) -> list[tuple[str, str]] | None:
    """The pairs of a function and a status that are wanted; None: too many to look up one by one."""
    statuses = [status.value for status in dict.fromkeys(asked.filter.statuses or Status)]
    most = _MOST_PAIRS // len(statuses)
    wanted = asked.function_ids
    if wanted is None:
        wanted = [row.id for row in conn.execute(select(functions.c.id).limit(most + 1))]
    return list(product(wanted, statuses)) if len(wanted) <= most else None


def _gather(conn: Connection, asked: Wanted, pairs: Sequence[tuple[str, str]] | None) -> list[Row[Any]] | None:
    """All runs that may be wanted, where these are few; None: they are not, or nothing tells."""
    for source in (_of_pairs, _of_range, _of_event_name):
        rows = source(conn, asked, pairs)
        if rows is not None and len(rows) <= _MOST_GATHERED:
            return [row for row in rows if asked.lets(row)]
    return None


def _of_pairs(conn: Connection, asked: Wanted, pairs: Sequence[tuple[str, str]] | None) -> list[Row[Any]] | None:
    if pairs is None:
        return None
    within = asked.within(TimeField.QUEUED)
    if count_branches(conn, pairs, within, _MOST_GATHERED + 1) > _MOST_GATHERED:
        return None
    return branches(conn, pairs, within, True, _MOST_GATHERED)


def _of_range(conn: Connection, asked: Wanted, _: object) -> list[Row[Any]] | None:
    """By another time than that of the order."""
    if not asked.ranged_elsewhere:
        return None
    at, (since, until) = TIMES[asked.filter.time_field], asked.within(asked.filter.time_field)
    query = select(*COLUMNS).order_by(at.desc(), runs.c.id.desc()).limit(_MOST_GATHERED + 1)
    if since is not None:
        query = query.where(at >= since)
    if until is not None:
        query = query.where(at < until)
    return list(conn.execute(query.where(at.is_not(None))))


def _of_event_name(conn: Connection, asked: Wanted, _: object) -> list[Row[Any]] | None:
    if asked.filter.event_name is None:
        return None
    query = select(events.c.id).where(events.c.name == asked.filter.event_name)
    named = [row.id for row in conn.execute(query.order_by(events.c.id.desc()).limit(_MOST_GATHERED + 1))]
    if len(named) > _MOST_GATHERED:
        return None
    return list(conn.execute(select(*COLUMNS).where(runs.c.event_id.in_(named)))) if named else []


def _sorted(asked: Wanted, rows: Iterable[Row[Any]]) -> list[Place]:
    kept = [Place(row.id, asked.at(row)) for row in rows]
    return sorted(kept, key=lambda it: asked.key(it.at, it.id), reverse=asked.order.descending)
