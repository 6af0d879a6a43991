"""Runs by function and status, in the order of queueing: each pair is one place in the index `ix_runs_search`.

The first runs of all pairs together hold the first ones that are wanted, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, String, bindparam, cast, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.store.filters import Cursor
from orchestrator.store.places import COLUMNS, beyond
from orchestrator.store.tables import runs

Within = tuple[datetime | None, datetime | None]


def branches(
    conn: Connection,
    pairs: Sequence[tuple[str, str]],
    within: Within,
    descending: bool,
    limit: int,
    after: Cursor | None = None,
) -> list[Row[Any]]:
    """The first runs of all these pairs together, in the order of queueing."""
    values = _values(within, after, limit)
    shape = (descending, *(value is not None for value in (*within, after)))
    if conn.dialect.name == "postgresql":
        names, statuses = map(list, zip(*pairs, strict=True))
        return list(conn.execute(_together(*shape), values | {"functions": names, "statuses": statuses}))
    found = list[Row[Any]]()
    for function_id, status in pairs:
        found += conn.execute(_branch(*shape), values | {"function": function_id, "status": status})
    found.sort(key=lambda row: (row.queued_at, row.id), reverse=descending)
    return found[:limit]


def count_branches(
    conn: Connection,
    pairs: Sequence[tuple[str, str]],
    within: Within,
    most: int,
) -> int:
    """How many runs these pairs have together, counted up to `most`."""
    values = _values(within, None, most)
    shape = (within[0] is not None, within[1] is not None)
    if conn.dialect.name == "postgresql":
        names, statuses = map(list, zip(*pairs, strict=True))
        return int(conn.execute(_counted(*shape), values | {"functions": names, "statuses": statuses}).scalar_one())
    number = 0
    for function_id, status in pairs:
        one = select(func.count()).select_from(_branch(True, *shape, False).subquery())
        number += conn.execute(one, values | {"function": function_id, "status": status}).scalar_one()
        if number >= most:
            break
    return number


def _values(within: Within, after: Cursor | None, limit: int) -> dict[str, Any]:
    given = {"since": within[0], "until": within[1]}
    values: dict[str, Any] = {"most": limit} | {name: at for name, at in given.items() if at is not None}
    if after is not None:
        values |= {"after_at": after.at, "after_id": after.id}
    return values


@cache
def _branch(descending: bool, since: bool, until: bool, after: bool) -> Select[Any]:
    pair = (runs.c.function_id == bindparam("function"), runs.c.status == bindparam("status"))
    return _in_order(select(*COLUMNS).where(*pair), descending, since, until, after)


@cache
def _together(descending: bool, since: bool, until: bool, after: bool) -> Select[Any]:
    """All branches in one statement of PostgreSQL."""
    pairs = _unnested()
    pair = (runs.c.function_id == pairs.c.function_id, runs.c.status == pairs.c.status)
    one = _in_order(select(*COLUMNS).where(*pair), descending, since, until, after).lateral("one")
    query = select(one).select_from(pairs.join(one, true())).limit(bindparam("most"))
    if descending:
        return query.order_by(one.c.queued_at.desc(), one.c.id.desc())
    return query.order_by(one.c.queued_at, one.c.id)


@cache
def _counted(since: bool, until: bool) -> Select[Any]:
    pairs = _unnested()
    pair = (runs.c.function_id == pairs.c.function_id, runs.c.status == pairs.c.status)
    one = _in_order(select(runs.c.id).where(*pair), True, since, until, False).lateral("one")
    within = select(one.c.id).select_from(pairs.join(one, true())).limit(bindparam("most")).subquery()
    return select(func.count()).select_from(within)


def _unnested() -> Any:
    names, statuses = (cast(bindparam(name), ARRAY(String)) for name in ("functions", "statuses"))
    return func.unnest(names, statuses).table_valued("function_id", "status", name="pairs").render_derived()


def _in_order(query: Select[Any], descending: bool, since: bool, until: bool, after: bool) -> Select[Any]:
    at = runs.c.queued_at
    if since:
        query = query.where(at >= bindparam("since"))
    if until:
        query = query.where(at < bindparam("until"))
    if after:
        query = query.where(beyond(at, descending))
    order = (at.desc(), runs.c.id.desc()) if descending else (at, runs.c.id)
    return query.order_by(*order).limit(bindparam("most"))
