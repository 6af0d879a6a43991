"""Failures that are alike: runs of one function that failed with errors of one fingerprint (see `core.failure`).

The index `ix_runs_failed_at` has all that counting them needs.  Of very many failures the latest are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from orchestrator.core.failure import fingerprint
from orchestrator.store.tables import runs

#: Failures that are looked at.
MOST = 100_000
#: Runs that are given their fingerprints together.
MANY = 500

_HAS_ONE = runs.c.failure.is_not(None)
_LATEST = (
    select(runs.c.ended_at, runs.c.failure, runs.c.function_id)
    .where(_HAS_ONE, runs.c.ended_at >= bindparam("since"), runs.c.ended_at < bindparam("until"))
    .order_by(runs.c.ended_at.desc())
    .limit(bindparam("most"))
    .subquery()
)
_NUMBER, _LAST = func.count().label("number"), func.max(_LATEST.c.ended_at).label("last_at")
_GROUPS = (
    select(
        _LATEST.c.function_id,
        _LATEST.c.failure,
        _NUMBER,
        func.min(_LATEST.c.ended_at).label("first_at"),
        _LAST,
        func.sum(_NUMBER).over().label("in_all"),
        func.count().over().label("groups"),
    )
    .group_by(_LATEST.c.function_id, _LATEST.c.failure)
    .order_by(_NUMBER.desc(), _LAST.desc(), _LATEST.c.failure)
    .limit(bindparam("limit"))
)
_EXAMPLES = select(runs.c.id, runs.c.function_id, runs.c.failure, runs.c.ended_at).where(
    _HAS_ONE,
    runs.c.ended_at.in_(bindparam("moments", expanding=True)),
    runs.c.failure.in_(bindparam("failures", expanding=True)),
)
_NAMELESS = (
    select(runs.c.id, runs.c.error)
    .where(
        runs.c.ended_at >= bindparam("since"),
        runs.c.ended_at < bindparam("until"),
        runs.c.status == literal_column("'failed'"),
        runs.c.failure.is_(None),
    )
    .limit(MANY)
)
_NAME = (
    update(runs)
    .where(runs.c.id == bindparam("run_id"), runs.c.status == literal_column("'failed'"), runs.c.failure.is_(None))
    .values(failure=bindparam("alike"))
)


@dataclass(frozen=True, slots=True)
class Group:
    """Failures of one function that are alike."""

    function_id: str
    #: Their fingerprint.
    failure: str
    number: int
    #: When the first and the last of them ended.
    first_at: datetime
    last_at: datetime
    #: The last of them; None: it is gone in this moment, or is run on.
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Groups:
    """The largest groups; `total` is of all failures that were looked at, which the bound may have cut short."""

    found: Sequence[Group]
    total: int
    #: How many groups there are in all.
    number: int
    #: Whether all failures of the range were looked at.
    exact: bool


def groups(conn: Connection, since: datetime, until: datetime, limit: int, most: int = MOST) -> Groups:
    """Failures of a range of time, by when they ended, the most frequent first, at most `limit` groups."""
    asked = {"since": since, "until": until, "limit": limit, "most": most}
    rows = conn.execute(_GROUPS, asked).all()
    if not rows:
        return Groups((), 0, 0, exact=True)
    last = {(row.function_id, row.failure): row.last_at for row in rows}
    values = {"moments": sorted(set(last.values())), "failures": sorted({failure for _, failure in last})}
    examples = {
        (row.function_id, row.failure): row.id
        for row in conn.execute(_EXAMPLES, values)
        if last.get((row.function_id, row.failure)) == row.ended_at
    }
    found = [
        Group(
            row.function_id,
            row.failure,
            row.number,
            row.first_at,
            row.last_at,
            examples.get((row.function_id, row.failure)),
        )
        for row in rows
    ]
    total = int(rows[0].in_all)
    return Groups(found, total, rows[0].groups, exact=total < most)


def nameless(conn: Connection, since: datetime, until: datetime) -> Mapping[str, str | None]:
    """Runs that failed without being given a fingerprint, `MANY` at most, with their errors (JSON text).

    Code that knew of none wrote them.
    """
    return {row.id: row.error for row in conn.execute(_NAMELESS, {"since": since, "until": until})}


def name(conn: Connection, found: Mapping[str, str | None]) -> None:
    """Give such runs their fingerprints, unless they go on in the meantime."""
    rows = [{"run_id": run_id, "alike": fingerprint(found[run_id])} for run_id in sorted(found)]
    if rows:
        conn.execute(_NAME, rows)
