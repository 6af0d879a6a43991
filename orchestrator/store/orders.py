"""Orders to do something to many runs, and how far they got.

An order says which runs are meant by a filter, and goes through them in the order in which they were queued.  One that
came through `/v1/cancellations` is written as before there were others, so that code of before can carry it out, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, insert, literal_column, select, update

from orchestrator.core.effect import Status
from orchestrator.store import jobs
from orchestrator.store.filters import RunFilter
from orchestrator.store.jobs import Hint
from orchestrator.store.tables import jobs as all_jobs
from orchestrator.store.tables import orders

#: Runs that can be cancelled.
LIVE = (Status.QUEUED, Status.RUNNING)
_TICK = timedelta(microseconds=1)

_BY_ID = orders.c.id == bindparam("of_id")
_READ = select(orders).where(_BY_ID)
_PROGRESS = (
    update(orders)
    .where(_BY_ID)
    .values(
        cursor=bindparam("up_to"),
        cancelled=orders.c.cancelled + bindparam("more"),
        failed=orders.c.failed + bindparam("more_failed"),
        error=bindparam("why"),
    )
)
_END = update(orders).where(_BY_ID, orders.c.ended_at.is_(None)).values(ended_at=bindparam("at"))
_STOP = _END.values(stopped_at=bindparam("at"))
_JOB = all_jobs.c.key.in_(bindparam("of_keys", expanding=True))


class Kind(StrEnum):
    """What is to be done to the runs."""

    #: They are cancelled.
    CANCEL = "cancel"
    #: They are run again.
    RERUN = "rerun"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What `/v1/cancellations` was asked for; times include their ends."""

    app_id: str
    function_id: str | None
    before: datetime
    after: datetime | None = None
    #: On the event that started the run.
    expression: str | None = None

    def wanted(self) -> RunFilter:
        """The runs that are meant."""
        return RunFilter(
            since=self.after,
            until=self.before + _TICK,
            statuses=LIVE,
            function_ids=(self.function_id,) if self.function_id is not None else (),
            app_ids=(self.app_id,),
            query=self.expression,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """Do something to the runs that are wanted."""

    id: str
    kind: Kind
    wanted: RunFilter
    created_at: datetime
    #: Runs that were meant when it was given; None: nobody counted them, or there were too many to.
    total: int | None = None
    #: So many a second at most.
    rate: int | None = None
    actor: str | None = None
    #: There where it came through `/v1/cancellations`.
    asked: Cancelled | None = None
    #: The place up to which runs have been looked at.
    cursor: str | None = None
    done: int = 0
    #: Runs to which it could not be done.
    failed: int = 0
    #: Why not, or why the condition could not be tried on a run: the last reason.
    error: str | None = None
    ended_at: datetime | None = None
    stopped_at: datetime | None = None
    #: Its job was given up.
    dead: bool = field(default=False)


def add(conn: Connection, order: Order) -> Hint:
    """Write a new order with the job that carries it out."""
    asked = order.asked
    values = {
        "id": order.id,
        "kind": order.kind.value,
        "app_id": asked.app_id if asked is not None else "",
        "function_id": asked.function_id if asked is not None else None,
        "started_after": asked.after if asked is not None else None,
        "started_before": asked.before if asked is not None else order.created_at,
        "expression": asked.expression if asked is not None else None,
        "filter": msgspec.json.encode(order.wanted).decode() if asked is None else None,
        "total": order.total,
        "rate": order.rate,
        "actor": order.actor,
        "created_at": order.created_at,
    }
    conn.execute(insert(orders), values)
    kind = jobs.CANCEL_ALL if asked is not None else jobs.BULK
    return jobs.add(conn, kind, f"{kind}:{order.id}", order.created_at, payload=order.id)


def get(conn: Connection, order_id: str) -> Order | None:
    """One order."""
    row = conn.execute(_READ, {"of_id": order_id}).first()
    return _orders(conn, [row])[0] if row is not None else None


def page(conn: Connection, *, limit: int, before: str | None = None, asked: bool = False) -> list[Order]:
    """The newest orders, at most `limit`, older than the order `before`; `asked`: of `/v1/cancellations` alone."""
    query = select(orders).order_by(orders.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(orders.c.id < before)
    if asked:
        query = query.where(orders.c.app_id != "")
    return _orders(conn, conn.execute(query).all())


def remove(conn: Connection, order_id: str) -> bool:
    """Delete an order and its job, so that nothing more is done by it; False: there is none."""
    _end_jobs(conn, order_id)
    return conn.execute(delete(orders).where(_BY_ID), {"of_id": order_id}).rowcount == 1


def stop(conn: Connection, order_id: str, at: datetime) -> bool:
    """Let an order do nothing more; False: there is none that is under way.

    Whoever carries it out holds its job: the batch under way ends first, and what comes after it finds no job.
    """
    _end_jobs(conn, order_id)
    return conn.execute(_STOP, {"of_id": order_id, "at": at}).rowcount == 1


def progress(conn: Connection, order_id: str, cursor: str | None, done: int, failed: int, error: str | None) -> None:
    """Note how far an order got, and what it came to on the way."""
    values = {"of_id": order_id, "up_to": cursor, "more": done, "more_failed": failed, "why": error}
    conn.execute(_PROGRESS, values)


def end(conn: Connection, order_id: str, at: datetime) -> None:
    """Note that an order is carried out."""
    conn.execute(_END, {"of_id": order_id, "at": at})


def keys(order_id: str) -> list[str]:
    """The keys that the job of an order may have."""
    return [f"{kind}:{order_id}" for kind in (jobs.CANCEL_ALL, jobs.BULK)]


def _end_jobs(conn: Connection, order_id: str) -> None:
    conn.execute(delete(all_jobs).where(_JOB), {"of_keys": keys(order_id)})


def _orders(conn: Connection, rows: Sequence[Row[Any]]) -> list[Order]:
    live = [key for row in rows if row.ended_at is None for key in keys(row.id)]
    query = select(all_jobs.c.key).where(all_jobs.c.key.in_(live), all_jobs.c.state == literal_column("5"))
    dead = {row.key for row in conn.execute(query)} if live else set()
    return [_order(row, dead=not dead.isdisjoint(keys(row.id))) for row in rows]


def _order(row: Row[Any], *, dead: bool) -> Order:
    asked = None
    if row.filter is None:
        asked = Cancelled(row.app_id, row.function_id, row.started_before, row.started_after, row.expression)
    wanted = asked.wanted() if asked is not None else msgspec.json.decode(row.filter, type=RunFilter)
    return Order(
        row.id,
        Kind(row.kind),
        wanted,
        row.created_at,
        row.total,
        row.rate,
        row.actor,
        asked,
        row.cursor,
        row.cancelled,
        row.failed,
        row.error,
        row.ended_at,
        row.stopped_at,
        dead,
    )
