"""Steps: what a run has memoised, and what stands open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_DEFERRALS = (
    select(steps.c.run_id, steps.c.id, steps.c.status, steps.c.input)
    .where(
        steps.c.run_id.in_(bindparam("of_runs", expanding=True)), steps.c.status.in_(bindparam("kinds", expanding=True))
    )
    .order_by(steps.c.run_id, steps.c.started_at, steps.c.id)
    .limit(bindparam("most"))
)
_WITH_OP = (
    select(steps.c.run_id)
    .where(steps.c.run_id.in_(bindparam("of_runs", expanding=True)), steps.c.op == bindparam("of_op"))
    .distinct()
)
_LIST = select(steps).where(_OF_RUN)
_ONE = _LIST.where(steps.c.id == bindparam("of_id"))
_NAMED = _LIST.where(steps.c.name == bindparam("of_name")).order_by(steps.c.seq.is_(None), steps.c.seq).limit(10)
_INSERT = insert(steps)
_KEPT = [column for column in steps.c if column.name != "run_id"]
_TAKE_OVER = _INSERT.from_select(
    ["run_id", *(column.name for column in _KEPT)],
    select(bindparam("new", type_=steps.c.run_id.type), *_KEPT).where(
        steps.c.run_id == bindparam("original"), steps.c.seq <= bindparam("last")
    ),
)
#: Ids are hashes; longer ones cannot be stored.
MAX_ID = 64

#: Places of steps that came to be together are told apart up to this one.
MOST_NUMBERED = 32_767


@dataclass(frozen=True, slots=True)
class Memo:
    """One step as a call needs it: its state, and its memo text once there is an outcome."""

    id: str
    state: StepState
    memo: str | None
    seq: int | None


@dataclass(frozen=True, slots=True)
class Deferral:
    """What a run has deferred: its id there, and what is to be started with which data (JSON text)."""

    id: str
    input: str
    dropped: bool


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
    #: The number of the outcome memoised last when it was asked for; None: the one before its own.
    planned_after: int | None = None

    @property
    def before(self) -> int | None:
        """Up to which outcome the run had come when this step was asked for; None: that was not noted."""
        if self.planned_after is not None:
            return self.planned_after
        return self.seq - 1 if self.seq is not None else None


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


def deferrals(conn: Connection, run_ids: Sequence[str], most: int = 10_000) -> Mapping[str, Sequence[Deferral]]:
    """What each of these runs has deferred, and perhaps dropped, in the order in which that was asked for."""
    kinds = [StepStatus.DEFERRED.value, StepStatus.DROPPED.value]
    found = dict[str, list[Deferral]]()
    for row in conn.execute(_DEFERRALS, {"of_runs": list(run_ids), "kinds": kinds, "most": most}):
        deferral = Deferral(row.id, row.input or "{}", row.status == StepStatus.DROPPED)
        found.setdefault(row.run_id, []).append(deferral)
    return found


def with_op(conn: Connection, run_ids: Sequence[str], op: str) -> Mapping[str, bool]:
    """Those of the runs that have a step of this kind."""
    return {row.run_id: True for row in conn.execute(_WITH_OP, {"of_runs": list(run_ids), "of_op": op})}


def save(conn: Connection, run_id: str, saved: Sequence[SaveStep], now: datetime, after: int | None = None) -> None:
    """Write steps: fresh ones are inserted (one that has a row already is refused by its key), known ones updated.

    `after` is the number of the outcome memoised last, where the caller knows it for certain.
    """
    seq = (last_seq(conn, run_id) if after is None else after) + 1
    fresh = []
    for position, step in enumerate(saved):
        done = step.memo is not None
        planned_after = None if done else seq - 1
        values = _values(step, seq if done else None, now if done else None)
        seq += done
        if step.fresh:
            whose = {"run_id": run_id, "id": step.id, "name": step.name[:1024], "op": step.op[:32]}
            place = {"queued_at": now if step.status.open else None, "position": min(position, MOST_NUMBERED)}
            fresh.append(whose | values | place | {"planned_after": planned_after})
        else:
            conn.execute(_update(run_id, step, values))
    if fresh:
        conn.execute(_INSERT, fresh)


def found(conn: Connection, run_id: str, wanted: str) -> list[StoredStep]:
    """The step with this id, or else those of this name."""
    one = get(conn, run_id, wanted) if len(wanted) <= MAX_ID else None
    return (
        [one]
        if one is not None
        else [_stored(row) for row in conn.execute(_NAMED, {"of_run": run_id, "of_name": wanted})]
    )


def take_over(conn: Connection, original_run_id: str, run_id: str, until: int) -> None:
    """Give a new run the outcomes that another one had memoised, up to this number: that many."""
    conn.execute(_TAKE_OVER, {"original": original_run_id, "new": run_id, "last": until})


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
        row.planned_after,
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
        "event_id": step.event_id,
    }


def _update(run_id: str, step: SaveStep, values: dict[str, Any]) -> Any:
    """What an outcome does not tell (when it began, its input) stays as it was."""
    kept = {
        name: value
        for name, value in values.items()
        if value is not None or name not in ("input", "started_at", "wake_at", "error", "event_id")
    }
    if step.status is StepStatus.COMPLETED:
        kept["error"] = None
    if not step.attempts:
        del kept["attempts"]
    return update(steps).where(steps.c.run_id == run_id, steps.c.id == step.id).values(**kept)
