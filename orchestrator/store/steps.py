"""Steps: what a run has memoised, and what stands open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from orchestrator.core.effect import SaveStep, StepStatus
from orchestrator.core.run import StepState
from orchestrator.store.tables import steps

_OF_RUN = steps.c.run_id == bindparam("of_run")
_STATES = select(steps.c.id, steps.c.status, steps.c.counted).where(
    _OF_RUN, steps.c.id.in_(bindparam("ids", expanding=True))
)
_LAST_SEQ = select(func.coalesce(func.max(steps.c.seq), 0)).where(_OF_RUN)
_MEMO = (
    select(steps.c.id, steps.c.status, steps.c.counted, steps.c.memo, steps.c.seq)
    .where(_OF_RUN)
    .order_by(steps.c.seq.is_(None), steps.c.seq, steps.c.id)
)
_MEMO_UNTIL = select(steps.c.id, steps.c.memo).where(_OF_RUN, steps.c.seq <= bindparam("last")).order_by(steps.c.seq)
_DEFERRED = (
    select(steps.c.id, steps.c.input)
    .where(_OF_RUN, steps.c.status == bindparam("deferred"))
    .order_by(steps.c.started_at, steps.c.id)
    .limit(bindparam("most"))
)
_LIST = select(steps).where(_OF_RUN)
_ONE = _LIST.where(steps.c.id == bindparam("of_id"))
_INSERT = insert(steps)


@dataclass(frozen=True, slots=True)
class Memo:
    """One step as a call needs it: its state, and its memo text once there is an outcome."""

    id: str
    state: StepState
    memo: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step as the store has it."""

    id: str
    seq: int | None
    name: str
    op: str
    status: StepStatus
    attempts: int
    memo: str | None
    input: str | None
    error: str | None
    started_at: datetime | None
    wake_at: datetime | None
    ended_at: datetime | None


def states(conn: Connection, run_id: str, ids: Sequence[str]) -> dict[str, StepState]:
    """The states of those of the steps that exist."""
    if not ids:
        return {}
    rows = conn.execute(_STATES, {"of_run": run_id, "ids": list(ids)})
    return {row.id: StepState(StepStatus(row.status), row.counted) for row in rows}


def last_seq(conn: Connection, run_id: str) -> int:
    """The number of the outcome memoised last, which is how many there are."""
    return int(conn.execute(_LAST_SEQ, {"of_run": run_id}).scalar_one())


def memos(conn: Connection, run_id: str) -> list[Memo]:
    """All steps of a run: the memoised ones in the order of their storing, after those without an outcome."""
    rows = conn.execute(_MEMO, {"of_run": run_id})
    return [Memo(row.id, StepState(StepStatus(row.status), row.counted), row.memo, row.seq) for row in rows]


def get(conn: Connection, run_id: str, step_id: str) -> StoredStep | None:
    """One step."""
    row = conn.execute(_ONE, {"of_run": run_id, "of_id": step_id}).first()
    return _stored(row) if row is not None else None


def memo_until(conn: Connection, run_id: str, last: int) -> dict[str, str]:
    """What was memoised up to the outcome of this number, in the order of its storing."""
    if not last:
        return {}
    rows = conn.execute(_MEMO_UNTIL, {"of_run": run_id, "last": last})
    return {row.id: row.memo for row in rows}


def of_run(conn: Connection, run_id: str) -> list[StoredStep]:
    """The steps of a run, in the order a person would tell them: as they ended, open ones last."""
    rows = conn.execute(_LIST, {"of_run": run_id})
    return sorted(map(_stored, rows), key=lambda step: (step.seq is None, step.seq or 0, step.name))


def deferred(conn: Connection, run_id: str, most: int) -> list[tuple[str, str]]:
    """What the run has deferred and not dropped, with the input of each, in the order in which that was asked for."""
    values = {"of_run": run_id, "deferred": StepStatus.DEFERRED.value, "most": most}
    return [(row.id, row.input or "{}") for row in conn.execute(_DEFERRED, values)]


def save(conn: Connection, run_id: str, saved: Sequence[SaveStep], now: datetime, after: int | None = None) -> None:
    """Write steps: fresh ones are inserted (one that has a row already is refused by its key), known ones updated.

    `after` is the number of the outcome memoised last, where the caller knows it for certain.
    """
    seq = (last_seq(conn, run_id) if after is None else after) + 1
    fresh = []
    for step in saved:
        done = step.memo is not None
        values = _values(step, seq if done else None, now if done else None)
        seq += done
        if step.fresh:
            fresh.append({"run_id": run_id, "id": step.id, "name": step.name[:1024], "op": step.op[:32]} | values)
        else:
            conn.execute(_update(run_id, step, values))
    if fresh:
        conn.execute(_INSERT, fresh)


def forget_open(conn: Connection, run_id: str) -> None:
    """Delete the steps without an outcome: the next call will report them anew."""
    conn.execute(delete(steps).where(steps.c.run_id == run_id, steps.c.memo.is_(None)))


def _stored(row: Row[Any]) -> StoredStep:
    return StoredStep(
        row.id,
        row.seq,
        row.name,
        row.op,
        StepStatus(row.status),
        row.attempts,
        row.memo,
        row.input,
        row.error,
        row.started_at,
        row.wake_at,
        row.ended_at,
    )


def _values(step: SaveStep, seq: int | None, ended_at: datetime | None) -> dict[str, Any]:
    return {
        "seq": seq,
        "status": step.status.value,
        "counted": step.counted,
        "attempts": step.attempts,
        "memo": step.memo,
        "input": step.input,
        "error": step.error,
        "started_at": step.started_at,
        "wake_at": step.wake_at,
        "ended_at": ended_at,
    }


def _update(run_id: str, step: SaveStep, values: dict[str, Any]) -> Any:
    """What an outcome does not tell (when it began, its input) stays as it was."""
    kept = {
        name: value
        for name, value in values.items()
        if value is not None or name not in ("input", "started_at", "wake_at", "error")
    }
    if step.status is StepStatus.COMPLETED:
        kept["error"] = None
    if not step.attempts:
        del kept["attempts"]
    return update(steps).where(steps.c.run_id == run_id, steps.c.id == step.id).values(**kept)
