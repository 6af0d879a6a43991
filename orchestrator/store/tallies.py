"""How many runs there were when: counted from their rows, and kept for spans of time that are over.

What is counted of a range of time, by function: the runs that came to be in it, those whose first call began in it, and
those that ended in it by their status.  Of all functions together: how long runs waited for their first call and how
long they took from that call to their end, by the bins of `core.tally`.  A run that was requeued after it failed ends
once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    case,
    delete,
    func,
    select,
    update,
)
from sqlalchemy import Row as SqlRow
from sqlalchemy.dialects import mysql as mysql_dialect
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect

from orchestrator.store.bins import Bin
from orchestrator.store.tables import chores, runs, tallies

#: The chore's name.
TALLY = "tally"
#: What is counted besides the statuses of runs that ended.
QUEUED, STARTED, WAITED, TOOK = "queued", "started", "waited", "took"
#: Before all runs.
EVER = datetime(1970, 1, 1, tzinfo=UTC)
#: Those of which there are bins.
LENGTHS = (WAITED, TOOK)

_SINCE: BindParameter[datetime] = bindparam("since")
_UNTIL: BindParameter[datetime] = bindparam("until")

_NUMBER = func.count().label("number")
_QUEUED = (
    select(runs.c.function_id, _NUMBER)
    .where(runs.c.queued_at >= _SINCE, runs.c.queued_at < _UNTIL)
    .group_by(runs.c.function_id)
)
_STARTS = (
    select(runs.c.function_id, runs.c.queued_at, runs.c.started_at)
    .where(runs.c.started_at >= _SINCE, runs.c.started_at < _UNTIL)
    .subquery()
)
_BEGUN = select(_STARTS.c.function_id, Bin(_STARTS.c.queued_at, _STARTS.c.started_at).label("bin")).subquery()
_STARTED = select(_BEGUN.c.function_id, _BEGUN.c.bin, _NUMBER).group_by(_BEGUN.c.function_id, _BEGUN.c.bin)
_ENDS = (
    select(
        runs.c.function_id,
        runs.c.status,
        case((runs.c.started_at.is_not(None), Bin(runs.c.started_at, runs.c.ended_at))).label("bin"),
    )
    .where(runs.c.ended_at >= _SINCE, runs.c.ended_at < _UNTIL)
    .subquery()
)
_ENDED = select(_ENDS.c.function_id, _ENDS.c.status, _ENDS.c.bin, _NUMBER).group_by(
    _ENDS.c.function_id, _ENDS.c.status, _ENDS.c.bin
)
_FIRST = [
    select(at).where(at >= _SINCE).order_by(at).limit(1)
    for at in (runs.c.queued_at, runs.c.started_at, runs.c.ended_at)
]
_SPAN = tallies.c.span == bindparam("of_span")
_READ = (
    select(tallies.c.at, tallies.c.what, tallies.c.bin, func.sum(tallies.c.number).label("number"))
    .where(_SPAN, tallies.c.at >= _SINCE)
    .group_by(tallies.c.at, tallies.c.what, tallies.c.bin)
)
_BY_FUNCTION = (
    select(tallies.c.function_id, tallies.c.what, func.sum(tallies.c.number).label("number"))
    .where(_SPAN, tallies.c.at >= _SINCE, tallies.c.function_id != "")
    .group_by(tallies.c.function_id, tallies.c.what)
)
_MINE = chores.c.name == TALLY
_REACHED = select(chores.c.reached).where(_MINE)
_ADVANCE = update(chores).where(_MINE, chores.c.reached == bindparam("was")).values(reached=bindparam("now_reached"))
_BEGIN = update(chores).where(_MINE, chores.c.reached.is_(None)).values(reached=bindparam("now_reached"))
_FREE = delete(tallies).where(_SPAN, tallies.c.at < bindparam("before"))
_FORGET = delete(tallies)


@dataclass(frozen=True, slots=True)
class Cell:
    """So many runs of a function (all: empty) of which this is true; of lengths of time, those in a bin."""

    function_id: str
    what: str
    number: int
    bin: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of a span of time that began at a moment, of all functions."""

    at: datetime
    what: str
    bin: int
    number: int


def count(conn: Connection, since: datetime, until: datetime) -> list[Cell]:
    """Count from the rows of runs what happened from one moment to before another; reads as many rows as there are."""
    within = {"since": since, "until": until}
    cells = [Cell(row.function_id, QUEUED, row.number) for row in conn.execute(_QUEUED, within)]
    started, ended = conn.execute(_STARTED, within).all(), conn.execute(_ENDED, within).all()
    cells += _summed((row.function_id, STARTED, 0, row) for row in started)
    cells += _summed((row.function_id, row.status, 0, row) for row in ended)
    cells += _summed(("", WAITED, row.bin, row) for row in started)
    cells += _summed(("", TOOK, row.bin, row) for row in ended if row.bin is not None)
    return cells


def next_change(conn: Connection, since: datetime) -> datetime | None:
    """When, from that moment on, anything happened first that is counted; None: nothing did."""
    found = [conn.execute(query, {"since": since}).scalar() for query in _FIRST]
    return min((at for at in found if at is not None), default=None)


def add(conn: Connection, at: Mapping[timedelta, datetime], cells: Sequence[Cell]) -> None:
    """Add what was counted to the spans that began `at` these moments."""
    rows = [
        {
            "span": round(span.total_seconds()),
            "at": began_at,
            "function_id": cell.function_id,
            "what": cell.what,
            "bin": cell.bin,
            "number": cell.number,
        }
        for span, began_at in at.items()
        for cell in cells
    ]
    if rows:
        conn.execute(_adding(conn.dialect.name), rows)


def read(conn: Connection, span: timedelta, since: datetime) -> list[Counted]:
    """What was counted of all functions in spans of this length that began at that moment or later."""
    rows = conn.execute(_READ, {"of_span": round(span.total_seconds()), "since": since})
    return [Counted(row.at, row.what, row.bin, int(row.number)) for row in rows]


def by_function(conn: Connection, span: timedelta, since: datetime) -> dict[str, dict[str, int]]:
    """The same of each function, of all those spans together."""
    found = dict[str, dict[str, int]]()
    for row in conn.execute(_BY_FUNCTION, {"of_span": round(span.total_seconds()), "since": since}):
        found.setdefault(row.function_id, {})[row.what] = int(row.number)
    return found


def reached(conn: Connection) -> datetime | None:
    """Up to when everything is counted; None: nothing is."""
    text = conn.execute(_REACHED).scalar()
    return datetime.fromisoformat(text) if text else None


def begin(conn: Connection, at: datetime) -> None:
    """Note that there is nothing to count before a moment, unless counting has begun."""
    conn.execute(_BEGIN, {"now_reached": at.isoformat()})


def advance(conn: Connection, was: datetime, now: datetime) -> bool:
    """Note that everything is counted up to `now`; False: somebody else counted what came after `was`.

    Comes first in a transaction that adds what was counted: whoever is second waits here, and then adds nothing.
    """
    return conn.execute(_ADVANCE, {"was": was.isoformat(), "now_reached": now.isoformat()}).rowcount == 1


def free(conn: Connection, span: timedelta, before: datetime) -> int:
    """Delete what was counted in spans of this length that began before a moment."""
    return conn.execute(_FREE, {"of_span": round(span.total_seconds()), "before": before}).rowcount


def forget(conn: Connection) -> None:
    """Delete all that was counted, to be counted anew."""
    conn.execute(_FORGET)
    conn.execute(delete(chores).where(_MINE))


def _summed(parts: Iterable[tuple[str, str, int, SqlRow[Any]]]) -> list[Cell]:
    """Cells of rows, those of one kind together."""
    sums = dict[tuple[str, str, int], int]()
    for function_id, what, bin_, row in parts:
        key = (function_id, what, int(bin_))
        sums[key] = sums.get(key, 0) + row.number
    return [Cell(function_id, what, number, bin_) for (function_id, what, bin_), number in sums.items()]


def _adding(dialect: str) -> Any:
    """An insert that adds to a number that is there."""
    if dialect in ("sqlite", "postgresql"):
        made: Any = (sqlite_dialect if dialect == "sqlite" else postgresql_dialect).insert(tallies)
        more = {"number": tallies.c.number + made.excluded.number}
        return made.on_conflict_do_update(index_elements=list(tallies.primary_key), set_=more)
    on_mysql = mysql_dialect.insert(tallies)
    return on_mysql.on_duplicate_key_update(number=tallies.c.number + on_mysql.inserted.number)
