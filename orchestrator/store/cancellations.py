"""Orders to cancel many runs at once, and how far they got.

A live run always has a job (its call, or what it sleeps or waits until), and only live runs have many of those.  So the
jobs, in the order of their runs, are the list of what there may be to cancel, however many runs have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, literal_column, select, update

from orchestrator.store import jobs
from orchestrator.store.jobs import Hint
from orchestrator.store.tables import cancellations, events, functions, runs
from orchestrator.store.tables import jobs as all_jobs

#: No ULID is smaller.
_FIRST = "0" * 26

_BY_ID = cancellations.c.id == bindparam("of_id")
_READ = select(cancellations).where(_BY_ID)
_PROGRESS = (
    update(cancellations)
    .where(_BY_ID)
    .values(reached=bindparam("up_to"), cancelled=cancellations.c.cancelled + bindparam("more"), error=bindparam("why"))
)
_END = update(cancellations).where(_BY_ID).values(ended_at=bindparam("at"))
_JOB = all_jobs.c.key == bindparam("of_key")
_NEXT = (
    select(all_jobs.c.run_id)
    .where(all_jobs.c.run_id > bindparam("after"))
    .distinct()
    .order_by(all_jobs.c.run_id)
    .limit(bindparam("most"))
)
_MEANT = (
    select(runs.c.id, events.c.payload)
    .join(functions, functions.c.id == runs.c.function_id)
    .join(events, events.c.id == runs.c.event_id)
    .where(
        runs.c.id.in_(bindparam("ids", expanding=True)),
        runs.c.status.in_([literal_column("'queued'"), literal_column("'running'")]),
        functions.c.app_id == bindparam("app"),
        runs.c.queued_at <= bindparam("before"),
    )
    .order_by(runs.c.id)
)
_OF_FUNCTION = runs.c.function_id == bindparam("function")
_NOT_BEFORE = runs.c.queued_at >= bindparam("since")


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Cancels the live runs of an app, or of one function of it, that came to be within a time and meet a condition."""

    id: str
    app_id: str
    function_id: str | None
    started_before: datetime
    created_at: datetime
    started_after: datetime | None = None
    #: On the event that started the run.
    expression: str | None = None
    reached: str | None = None
    cancelled: int = 0
    error: str | None = None
    ended_at: datetime | None = None
    #: Its job was given up.
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Meant:
    """A live run that may be cancelled, with the text of its event."""

    run_id: str
    event: str


def add(conn: Connection, order: Cancellation) -> Hint:
    """Write a new order with the job that carries it out."""
    values = {
        "id": order.id,
        "app_id": order.app_id,
        "function_id": order.function_id,
        "started_after": order.started_after,
        "started_before": order.started_before,
        "expression": order.expression,
        "created_at": order.created_at,
    }
    conn.execute(insert(cancellations), values)
    return jobs.add(conn, jobs.CANCEL_ALL, _key(order.id), order.created_at, payload=order.id)


def get(conn: Connection, order_id: str) -> Cancellation | None:
    """One order."""
    row = conn.execute(_READ, {"of_id": order_id}).first()
    return _orders(conn, [row])[0] if row is not None else None


def page(conn: Connection, *, limit: int, before: str | None = None) -> list[Cancellation]:
    """The newest orders, at most `limit`, older than the order `before`."""
    query = select(cancellations).order_by(cancellations.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(cancellations.c.id < before)
    return _orders(conn, conn.execute(query).all())


def remove(conn: Connection, order_id: str) -> bool:
    """Delete an order and its job, so that nothing more is cancelled by it; False: there is none."""
    conn.execute(delete(all_jobs).where(_JOB), {"of_key": _key(order_id)})
    return conn.execute(delete(cancellations).where(_BY_ID), {"of_id": order_id}).rowcount == 1


def following(conn: Connection, order: Cancellation, most: int) -> list[str]:
    """The next runs that have jobs, at most `most`, whosever they are."""
    rows = conn.execute(_NEXT, {"after": order.reached or _FIRST, "most": most})
    return [row.run_id for row in rows]


def meant(conn: Connection, order: Cancellation, run_ids: Sequence[str]) -> list[Meant]:
    """Those of the runs that the order is about, if its condition agrees."""
    values: dict[str, Any] = {"ids": list(run_ids), "app": order.app_id, "before": order.started_before}
    query = _MEANT
    if order.function_id is not None:
        query, values["function"] = query.where(_OF_FUNCTION), order.function_id
    if order.started_after is not None:
        query, values["since"] = query.where(_NOT_BEFORE), order.started_after
    return [Meant(row.id, row.payload) for row in conn.execute(query, values)]


def progress(conn: Connection, order_id: str, reached: str, cancelled: int, error: str | None) -> None:
    """Note how far an order got, and what it came to on the way."""
    conn.execute(_PROGRESS, {"of_id": order_id, "up_to": reached, "more": cancelled, "why": error})


def end(conn: Connection, order_id: str, at: datetime) -> None:
    """Note that an order is carried out."""
    conn.execute(_END, {"of_id": order_id, "at": at})


def _key(order_id: str) -> str:
    return f"{jobs.CANCEL_ALL}:{order_id}"


def _orders(conn: Connection, rows: Sequence[Row[Any]]) -> list[Cancellation]:
    live = [_key(row.id) for row in rows if row.ended_at is None]
    query = select(all_jobs.c.key).where(all_jobs.c.key.in_(live), all_jobs.c.state == literal_column("5"))
    dead = {row.key for row in conn.execute(query)} if live else set()
    return [_order(row, dead=_key(row.id) in dead) for row in rows]


def _order(row: Row[Any], *, dead: bool) -> Cancellation:
    return Cancellation(
        row.id,
        row.app_id,
        row.function_id,
        row.started_before,
        row.created_at,
        row.started_after,
        row.expression,
        row.reached,
        row.cancelled,
        row.error,
        row.ended_at,
        dead,
    )
