"""What a run waits for: the facts that `core.waiting` turns into sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, false, func, or_, select

from orchestrator.core.concurrency import Needs
from orchestrator.core.waiting import Call, EventWait, Failure, Seen, SlotWait, Step, Throttled
from orchestrator.expressions.stored import value_of
from orchestrator.sdk.execution import TASK as TASK_OP
from orchestrator.sdk.tasks import read
from orchestrator.store import allowances, events
from orchestrator.store.events import StoredEvent
from orchestrator.store.history import Entry
from orchestrator.store.jobs import NEED_SLOTS, READY, WAITING
from orchestrator.store.pauses import EVENT
from orchestrator.store.runs import StoredRun
from orchestrator.store.steps import StoredStep
from orchestrator.store.tables import jobs, pauses, pools, slots
from orchestrator.store.tables import throttled as throttle_rows

#: The most calls, waits and holders of slots that are told of.
MOST = 5
#: Events of the awaited name that are looked at.
LAST = 3

_CALLS = (
    select(jobs.c.step_id, jobs.c.state, jobs.c.run_at, jobs.c.waits_at)
    .where(jobs.c.run_id == bindparam("of_run"), jobs.c.kind.in_(NEED_SLOTS))
    .order_by(jobs.c.id)
    .limit(MOST)
)
_POOL = select(pools).where(pools.c.key == bindparam("of_key"))
_HOLDERS = (
    select(slots.c.run_id).where(slots.c.pool == bindparam("of_key")).distinct().order_by(slots.c.run_id).limit(MOST)
)
_PLACE = select(throttle_rows.c.gate, throttle_rows.c.position).where(
    throttle_rows.c.run_id == bindparam("of_run"), throttle_rows.c.let_go == false()
)
_BEFORE = select(func.count()).where(
    throttle_rows.c.gate == bindparam("of_gate"),
    throttle_rows.c.let_go == false(),
    or_(
        throttle_rows.c.position < bindparam("at_place"),
        and_(throttle_rows.c.position == bindparam("at_place"), throttle_rows.c.run_id < bindparam("of_run")),
    ),
)
_TIMER = select(jobs.c.run_at).where(jobs.c.key == bindparam("of_gate"))
_PAUSES = (
    select(pauses)
    .where(pauses.c.run_id == bindparam("of_run"), pauses.c.kind == EVENT)
    .order_by(pauses.c.id)
    .limit(MOST)
)


def calls(conn: Connection, run: StoredRun) -> list[Call]:
    """The calls of a run that are to be made, now or later, and the pools that those wait at that are parked."""
    found = conn.execute(_CALLS, {"of_run": run.id}).all()
    return [
        Call(row.step_id, row.state == READY, row.run_at, _slot(conn, run, row.waits_at) if row.waits_at else None)
        for row in found
        if row.state in (READY, WAITING)
    ]


def event_waits(conn: Connection, run: StoredRun) -> list[EventWait]:
    """The events that a run waits for, each with the last ones of its name."""
    return [
        EventWait(row.step_id, row.event_name, row.expression, row.expires_at, _last(conn, row))
        for row in conn.execute(_PAUSES, {"of_run": run.id}).all()
    ]


def steps_told(found: Sequence[StoredStep]) -> list[Step]:
    """Steps as `core.waiting` wants them."""
    return [Step(it.id, it.name, it.op, it.status, it.wake_at, it.error, _task(it)) for it in found]


def throttled(conn: Connection, run: StoredRun) -> Throttled | None:
    """Where a run stands in a throttle's queue; None: nowhere."""
    row = conn.execute(_PLACE, {"of_run": run.id}).first()
    if row is None:
        return None
    before = conn.execute(_BEFORE, {"of_gate": row.gate, "at_place": row.position, "of_run": run.id}).scalar_one()
    next_at = conn.execute(_TIMER, {"of_gate": row.gate}).scalar()
    return Throttled(before, next_at)


def failures(story: Sequence[Entry], now: datetime) -> Iterator[Failure]:
    """The failed attempts of a run's story."""
    for entry in story:
        if entry.kind == "attempt failed":
            data = value_of(entry.data or "{}")
            error = data.get("error")
            next_at = datetime.fromisoformat(data.get("next_at", now.isoformat()))
            known = error if isinstance(error, dict) else {}
            yield Failure(entry.step_id, entry.attempt or 0, entry.at, next_at, known)


def _task(step: StoredStep) -> str | None:
    return read(step.input or "{}").task if step.op == TASK_OP else None


def _slot(conn: Connection, run: StoredRun, key: str) -> SlotWait | None:
    pool = conn.execute(_POOL, {"of_key": key}).first()
    if pool is None or run.limits is None:
        return None
    wanted = next(it for it in Needs.read(run.limits).pools if it.key == key)
    limits = {it.limit_id: it for it in allowances.of_function(conn, run.function_id)}
    limit = limits.get(wanted.limit_id)
    holders = [row.run_id for row in conn.execute(_HOLDERS, {"of_key": key})]
    return SlotWait(
        key=limit.key if limit is not None else None,
        value=wanted.value,
        scope=limit.scope if limit is not None else "fn",
        whole_run=wanted.whole_run,
        limit=limit.allowed if limit is not None else None,
        used=pool.used,
        waiting=pool.waiting,
        run_ids=[it for it in holders if it != run.id] or holders,
    )


def _last(conn: Connection, pause: Any) -> list[Seen]:
    found: list[StoredEvent] = events.page(conn, limit=LAST, name=pause.event_name, received_after=pause.created_at)
    return [Seen(it.id, it.received_at, it.payload) for it in found]
