"""Runs that a throttle has not let begin: a queue for each gate, whose lock the caller holds.

A run in the queue has a call job that is held (see `jobs.HELD`).  Once let go it keeps its row until its first call
begins; rows of runs that were cancelled meanwhile count no more and are deleted by the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, delete, false, func, insert, literal_column, select, true, update

from orchestrator.store import held as held_jobs
from orchestrator.store import jobs
from orchestrator.store.filters import Count
from orchestrator.store.jobs import Hint
from orchestrator.store.tables import jobs as job_table
from orchestrator.store.tables import runs
from orchestrator.store.tables import throttled as table

_OF_GATE = table.c.gate == bindparam("of_gate")
_QUEUED = runs.c.status == literal_column("'queued'")
_AHEAD = (
    select(func.count())
    .select_from(table)
    .join(runs, runs.c.id == table.c.run_id)
    .where(_OF_GATE, table.c.let_go == true(), _QUEUED)
)
_WAITING = select(table.c.run_id).where(_OF_GATE, table.c.let_go == false())
_FIRST = (
    _WAITING.where(table.c.position <= bindparam("before"), table.c.at <= bindparam("now"))
    .order_by(table.c.position, table.c.run_id)
    .limit(bindparam("most"))
)
_NEXT = (
    select(table.c.at)
    .where(_OF_GATE, table.c.let_go == false())
    .order_by(table.c.position, table.c.run_id)
    .limit(bindparam("most"))
)
_GATE = select(table.c.gate).where(table.c.run_id == bindparam("of_run"))
_BY_RUNS = table.c.run_id.in_(bindparam("ids", expanding=True))
_LET_GO = update(table).where(_BY_RUNS).values(let_go=true())
_FORGET = delete(table).where(_BY_RUNS)
_OVER = (
    select(table.c.run_id)
    .outerjoin(runs, runs.c.id == table.c.run_id)
    .where(_OF_GATE, table.c.let_go == true(), func.coalesce(runs.c.status, literal_column("''")) != "queued")
    .limit(1000)
)
_HELD = select(job_table.c.id, job_table.c.run_id).where(
    job_table.c.run_id.in_(bindparam("ids", expanding=True)), jobs.THIS_IS_HELD
)
_QUEUED_OF = (
    select(runs.c.id)
    .where(runs.c.function_id == bindparam("of_function"), _QUEUED)
    .limit(bindparam("most"))
    .subquery("queued")
)
_HELD_OF = select(func.count(table.c.run_id), func.count()).select_from(
    _QUEUED_OF.outerjoin(table, and_(table.c.run_id == _QUEUED_OF.c.id, table.c.let_go == false()))
)

#: How far into a queue of runs that are dated ahead one looks for the earliest.
_LOOK = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run in the queue of a gate."""

    run_id: str
    gate: str
    at: datetime
    position: datetime
    let_go: bool


def held_of(conn: Connection, function_id: str, most: int) -> Count:
    """How many runs of a function wait for its throttle, by the first `most` of its runs that have not begun."""
    held, queued = conn.execute(_HELD_OF, {"of_function": function_id, "most": most}).one()
    return Count(held, exact=queued < most)


def add(conn: Connection, new: Sequence[Waiting]) -> None:
    """Put runs into the queue."""
    rows = [
        {"run_id": it.run_id, "gate": it.gate, "at": it.at, "position": it.position, "let_go": it.let_go} for it in new
    ]
    conn.execute(insert(table), rows)


def ahead(conn: Connection, gate: str) -> int:
    """How many runs were let go and have not begun."""
    return conn.execute(_AHEAD, {"of_gate": gate}).scalar_one()


def any_before(conn: Connection, gate: str, position: datetime, now: datetime) -> bool:
    """Whether somebody who could begin waits at this place of the queue or before it."""
    values = {"of_gate": gate, "before": position, "now": now, "most": 1}
    return conn.execute(_FIRST, values).first() is not None


def first(conn: Connection, gate: str, now: datetime, most: int) -> list[str]:
    """The runs at the head of the queue that could begin, by their places."""
    values = {"of_gate": gate, "before": _END, "now": now, "most": most}
    return [row.run_id for row in conn.execute(_FIRST, values)]


def earliest(conn: Connection, gate: str) -> datetime | None:
    """Before which moment nobody in the queue may begin; None: nobody is in it."""
    rows = conn.execute(_NEXT, {"of_gate": gate, "most": _LOOK})
    return min((row.at for row in rows), default=None)


def let_go(conn: Connection, run_ids: Sequence[str], now: datetime) -> list[Hint]:
    """Make the held jobs of these runs ready; the rows of those that have none any more are deleted."""
    held = {row.run_id: row.id for row in conn.execute(_HELD, {"ids": list(run_ids)})}
    freed = held_jobs.free(conn, sorted(held.values()), now)
    gone = [run_id for run_id in run_ids if held.get(run_id) not in freed]
    if gone:
        conn.execute(_FORGET, {"ids": gone})
    if freed:
        conn.execute(_LET_GO, {"ids": [run_id for run_id in run_ids if run_id not in gone]})
    return [Hint(held[run_id], jobs.CALL, now) for run_id in run_ids if run_id not in gone]


def gate_of(conn: Connection, run_id: str) -> str | None:
    """The gate at which a run stands or stood; None: it has begun, or never stood at one."""
    row = conn.execute(_GATE, {"of_run": run_id}).first()
    return row.gate if row is not None else None


def forget(conn: Connection, run_id: str) -> None:
    """Delete a run's row: it begins."""
    conn.execute(_FORGET, {"ids": [run_id]})


def forget_over(conn: Connection, gate: str) -> None:
    """Delete the rows of runs that were let go and are not queued any more."""
    over = [row.run_id for row in conn.execute(_OVER, {"of_gate": gate})]
    if over:
        conn.execute(_FORGET, {"ids": over})


_END = datetime.fromisoformat("9999-01-01T00:00:00+00:00")
