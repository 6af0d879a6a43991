"""Limits on starts that an operator has set, kept with the function; they stay through syncs."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, bindparam, literal_column, select, update

from orchestrator.core.override import Overrides, Starts
from orchestrator.store import jobs
from orchestrator.store.gates import THROTTLE
from orchestrator.store.tables import functions, gates
from orchestrator.store.tables import jobs as job_table

_MICROSECOND = timedelta(microseconds=1)

_SAVE = (
    update(functions)
    .where(functions.c.id == bindparam("of_function"))
    .values(overrides=bindparam("wanted"), version=functions.c.version + 1)
)
# The timers of a throttle have the keys of its gates.  Found first and moved by their ids: in an update MariaDB would
# ask of every job whether it is one of them.
_TIMERS = (
    select(job_table.c.id)
    .join(gates, gates.c.key == job_table.c.key)
    .where(
        gates.c.function_id == bindparam("of_function"),
        job_table.c.kind == literal_column(f"'{THROTTLE}'"),
        jobs.THIS_IS_READY,
        job_table.c.run_at > bindparam("now"),
    )
    .order_by(job_table.c.id)
    .limit(500)
)
_HURRY = (
    update(job_table)
    .where(job_table.c.id.in_(bindparam("ids", expanding=True)), jobs.THIS_IS_READY)
    .values(run_at=bindparam("now"), announced_at=None)
)


class _Starts(msgspec.Struct, frozen=True, array_like=True):
    limit: int
    microseconds: int


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    throttle: _Starts | None = None
    rate_limit: _Starts | None = None


def read(text: str | None) -> Overrides:
    """What is kept with a function (None: nothing)."""
    if text is None:
        return Overrides()
    kept = msgspec.json.decode(text, type=_Kept)
    return Overrides(_starts(kept.throttle), _starts(kept.rate_limit))


def save(conn: Connection, function_id: str, wanted: Overrides, now: datetime) -> None:
    """Keep what an operator wants; it counts for starts from now on, and for those that a throttle holds.

    It counts as a new version of the function, so that no process goes on by what it has read.
    """
    kept = _Kept(_kept(wanted.throttle), _kept(wanted.rate_limit))
    text = msgspec.json.encode(kept).decode() if wanted != Overrides() else None
    conn.execute(_SAVE, {"of_function": function_id, "wanted": text})
    hurry(conn, function_id, now)


def hurry(conn: Connection, function_id: str, now: datetime) -> None:
    """Let the timers of a function's throttle go off now: whoever takes them finds the pace that counts by now."""
    while ids := list(conn.execute(_TIMERS, {"of_function": function_id, "now": now}).scalars()):
        conn.execute(_HURRY, {"ids": ids, "now": now})


def _starts(kept: _Starts | None) -> Starts | None:
    return Starts(kept.limit, kept.microseconds * _MICROSECOND) if kept is not None else None


def _kept(starts: Starts | None) -> _Starts | None:
    return _Starts(starts.limit, starts.period // _MICROSECOND) if starts is not None else None
