"""Retention: rows that nobody needs any more are deleted some time after they came to rest.

Runs and events are walked in the order of their ids, which is that of their making, and not found by an index on when
they ended: the walk costs little and can be put down anywhere.  What is found may be needed again by the time it is
deleted, so each delete asks once more.

Locks are taken as everybody takes them: runs, then jobs.  What somebody else has locked is left for the next pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    union_all,
)

from orchestrator.ids import ulid_from_uuid
from orchestrator.store import gates, jobs, pauses
from orchestrator.store.orders import keys as order_keys
from orchestrator.store.tables import (
    api_tokens,
    audit,
    batch_events,
    events,
    functions,
    history,
    orders,
    reruns,
    runs,
    steps,
    throttled,
)
from orchestrator.store.tables import gates as gate_table
from orchestrator.store.tables import jobs as all_jobs

#: Rows of one kind that are looked at together.
PAGE = 500
#: Steps that are deleted in one transaction, but for those of a run that has more.
MOST_STEPS = 5_000
#: Jobs whose payloads are looked through for what they hold.
MOST_HELD = 10_000
#: The same of starts that are debounced.
MOST_DEBOUNCED = 50_000
_SOON = timedelta(minutes=1)
_FIRST = "0" * 26


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept after they came to rest; zero: for ever."""

    runs: timedelta = timedelta(days=30)
    events: timedelta = timedelta(days=30)
    dead_jobs: timedelta = timedelta(days=30)
    audit: timedelta = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Found:
    """What may go among some rows: `reached` is the last one looked at, and at the `end` no more can be found."""

    ids: Sequence[str]
    reached: str
    end: bool


#: Looks behind a row for what came to rest before a moment; `now` tells what work is due.
Find = Callable[[Connection, str, datetime, datetime], Found]
#: Deletes, of what was found, what may still go; returns how many rows of which table.
Free = Callable[[Connection, Sequence[str], datetime], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one kind of rows goes."""

    span: Callable[[Keep], timedelta]
    find: Find
    free: Free
    #: The tables that it takes rows out of.
    tables: tuple[str, ...]
    #: Where a walk begins.
    first: str = _FIRST


_RUN_PAGE = (
    select(runs.c.id, runs.c.queued_at, runs.c.ended_at)
    .where(runs.c.id > bindparam("after"))
    .order_by(runs.c.id)
    .limit(PAGE)
)
_IDS: BindParameter[str] = bindparam("ids", expanding=True)
_BEFORE: BindParameter[datetime] = bindparam("before")
_STEPS = select(steps.c.run_id, func.count().label("steps")).where(steps.c.run_id.in_(_IDS)).group_by(steps.c.run_id)
# One that is being requeued is not at rest any more, or is locked.
_LOCK_RUNS = (
    select(runs.c.id, runs.c.batch_id)
    .where(runs.c.id.in_(_IDS), runs.c.ended_at < _BEFORE)
    .order_by(runs.c.id)
    .with_for_update(skip_locked=True)
)
_EVENT_PAGE = (
    select(events.c.id, events.c.received_at).where(events.c.id > bindparam("after")).order_by(events.c.id).limit(PAGE)
)
_STARTED = select(runs.c.event_id).where(runs.c.event_id.in_(_IDS)).distinct()
_BATCHED = select(batch_events.c.event_id).where(batch_events.c.event_id.in_(_IDS)).distinct()
_FREE_EVENTS = delete(events).where(
    events.c.id.in_(_IDS),
    events.c.received_at < _BEFORE,
    ~exists().where(runs.c.event_id == events.c.id),
    ~exists().where(batch_events.c.event_id == events.c.id),
)
# A gate at which something waits does not expire.
_DEBOUNCED = (
    select(gate_table.c.state)
    .where(gate_table.c.expires_at.is_(None), gate_table.c.key.like(f"{gates.DEBOUNCE}:%"))
    .limit(MOST_DEBOUNCED)
)
_LOOKING_BACK = select(functions.c.id).where(functions.c.wait_look_back.is_(True))
_LIVE = runs.c.status.in_([literal_column("'queued'"), literal_column("'running'")])
_OLDEST = select(runs.c.event_id).where(runs.c.function_id == bindparam("of"), _LIVE).order_by(runs.c.event_id).limit(1)


def _in_state(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    kinds: list[ColumnElement[str]] = [literal_column(f"'{kind}'") for kind in (jobs.MATCH, jobs.RESUME, jobs.CANCEL)]
    return and_(*conditions, all_jobs.c.kind.in_(kinds))


_IS_DEAD = all_jobs.c.state == literal_column("5")
_CARRIES = select(all_jobs.c.kind, all_jobs.c.payload)
_CARRIED = union_all(
    _CARRIES.where(_in_state(jobs.IS_READY, all_jobs.c.run_at <= bindparam("soon"))),
    _CARRIES.where(_in_state(jobs.IS_LEASED)),
    # A run whose job died goes on from its steps when it is requeued, and not with what the job carries.
    _CARRIES.where(_in_state(_IS_DEAD, all_jobs.c.run_id.is_(None))),
).limit(MOST_HELD)
_DEAD_PAGE = (
    select(all_jobs.c.id, all_jobs.c.run_id, all_jobs.c.run_at)
    .where(_IS_DEAD, all_jobs.c.id > bindparam("after"))
    .order_by(all_jobs.c.id)
    .limit(PAGE)
)
_FREE_DEAD = delete(all_jobs).where(
    all_jobs.c.id.in_(_IDS), jobs.THIS_IS_DEAD, all_jobs.c.run_id.is_(None), all_jobs.c.run_at < _BEFORE
)
_ORDER_PAGE = (
    select(orders.c.id, orders.c.created_at, orders.c.ended_at)
    .where(orders.c.id > bindparam("after"))
    .order_by(orders.c.id)
    .limit(PAGE)
)
_JOBS_OF_ORDERS = select(all_jobs.c.key).where(all_jobs.c.key.in_(bindparam("keys", expanding=True)))
_TOKEN_PAGE = (
    select(api_tokens.c.id, api_tokens.c.created_at, api_tokens.c.revoked_at)
    .where(api_tokens.c.id > bindparam("after"))
    .order_by(api_tokens.c.id)
    .limit(PAGE)
)
_AUDIT_PAGE = select(audit.c.id, audit.c.at).where(audit.c.id > bindparam("after")).order_by(audit.c.id).limit(PAGE)


def find_runs(conn: Connection, after: str, before: datetime, now: datetime) -> Found:
    """Runs that ended before a moment, as many as one transaction may delete."""
    rows = conn.execute(_RUN_PAGE, {"after": after}).all()
    ended = [row.id for row in rows if row.ended_at is not None and row.ended_at < before]
    held = _held(conn, now) if ended else set[str]()
    if held is None:
        return Found([], after, end=True)
    found = _few(conn, [run_id for run_id in ended if run_id not in held])
    if len(found) < len(ended) and found and found[-1] != ended[-1]:
        return Found(found, found[-1], end=False)
    return Found(found, rows[-1].id if rows else after, _is_last([row.queued_at for row in rows], before))


def free_runs(conn: Connection, ids: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete ended runs with all that is theirs."""
    rows = conn.execute(_LOCK_RUNS, {"ids": list(ids), "before": before}).all()
    if not rows:
        return {}
    locked, batches = [row.id for row in rows], [row.batch_id for row in rows if row.batch_id is not None]
    jobs.end_all_of_runs(conn, locked)
    pauses.close_all_of_runs(conn, locked)
    freed = {"runs": len(locked)}
    if batches:
        _free_batches(conn, batches, locked)
    conn.execute(delete(reruns).where(reruns.c.run_id.in_(locked)))
    conn.execute(delete(throttled).where(throttled.c.run_id.in_(locked)))
    for table in (steps, history):
        freed[table.name] = conn.execute(delete(table).where(table.c.run_id.in_(locked))).rowcount
    conn.execute(delete(runs).where(runs.c.id.in_(locked)))
    return freed


def _free_batches(conn: Connection, batches: Sequence[str], going: Sequence[str]) -> None:
    """Delete what was in the batches of runs that go, unless the batch was run again and that run stays."""
    others = select(runs.c.batch_id).where(runs.c.batch_id.in_(batches), runs.c.id.not_in(going))
    kept = {row.batch_id for row in conn.execute(others)}
    gone = [batch_id for batch_id in batches if batch_id not in kept]
    conn.execute(delete(batch_events).where(batch_events.c.batch_id.in_(gone)))


def find_events(conn: Connection, after: str, before: datetime, now: datetime) -> Found:
    """Events that came before a moment, of which there is no run, and that no work is about."""
    rows = conn.execute(_EVENT_PAGE, {"after": after}).all()
    unneeded = _unneeded(conn, [row.id for row in rows if row.received_at < before], now)
    if unneeded is None:
        return Found([], after, end=True)
    return Found(unneeded, rows[-1].id if rows else after, _is_last([row.received_at for row in rows], before))


def free_events(conn: Connection, ids: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete events that still have no run."""
    return {"events": conn.execute(_FREE_EVENTS, {"ids": list(ids), "before": before}).rowcount}


def find_dead_jobs(conn: Connection, after: str, before: datetime, _now: datetime) -> Found:
    """Jobs that died before a moment, but for those of runs, which go with their runs."""
    rows = conn.execute(_DEAD_PAGE, {"after": int(after)}).all()
    ids = [str(row.id) for row in rows if row.run_id is None and row.run_at < before]
    return Found(ids, str(rows[-1].id) if rows else after, len(rows) < PAGE)


def free_dead_jobs(conn: Connection, ids: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete jobs that are still dead."""
    return {"jobs": conn.execute(_FREE_DEAD, {"ids": [int(it) for it in ids], "before": before}).rowcount}


def find_orders(conn: Connection, after: str, before: datetime, _now: datetime) -> Found:
    """Orders to do something to many runs that came before a moment and are carried out, or were given up."""
    rows = conn.execute(_ORDER_PAGE, {"after": after}).all()
    ids = [row.id for row in rows if (row.ended_at or row.created_at) < before]
    return Found(ids, rows[-1].id if rows else after, _is_last([row.created_at for row in rows], before))


def free_orders(conn: Connection, ids: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete orders that no job is about."""
    keys = {key: it for it in ids for key in order_keys(it)}
    working = {keys[row.key] for row in conn.execute(_JOBS_OF_ORDERS, {"keys": list(keys)})}
    idle = [it for it in ids if it not in working]
    return {"cancellations": conn.execute(delete(orders).where(orders.c.id.in_(idle))).rowcount}


def find_audit(conn: Connection, after: str, before: datetime, _now: datetime) -> Found:
    """Notes of what operators did before a moment."""
    rows = conn.execute(_AUDIT_PAGE, {"after": int(after)}).all()
    ids = [str(row.id) for row in rows if row.at < before]
    return Found(ids, str(rows[-1].id) if rows else after, _is_last([row.at for row in rows], before))


def free_audit(conn: Connection, ids: Sequence[str], _before: datetime) -> dict[str, int]:
    """Delete such notes."""
    return {"audit": conn.execute(delete(audit).where(audit.c.id.in_([int(it) for it in ids]))).rowcount}


def find_tokens(conn: Connection, after: str, before: datetime, _now: datetime) -> Found:
    """Tokens that were revoked before a moment."""
    rows = conn.execute(_TOKEN_PAGE, {"after": after}).all()
    ids = [row.id for row in rows if row.revoked_at is not None and row.revoked_at < before]
    return Found(ids, rows[-1].id if rows else after, _is_last([row.created_at for row in rows], before))


def free_tokens(conn: Connection, ids: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete such tokens."""
    gone = (api_tokens.c.id.in_(ids), api_tokens.c.revoked_at < before)
    return {"api_tokens": conn.execute(delete(api_tokens).where(*gone)).rowcount}


_OF_RUNS = ("runs", "steps", "history", "jobs", "pauses", "throttled", "batch_events", "reruns")
#: In the order of a pass: what goes first no longer holds what comes after it.
RULES: Mapping[str, Rule] = {
    "dead jobs": Rule(lambda keep: keep.dead_jobs, find_dead_jobs, free_dead_jobs, ("jobs",), first="0"),
    "runs": Rule(lambda keep: keep.runs, find_runs, free_runs, _OF_RUNS),
    "events": Rule(lambda keep: keep.events, find_events, free_events, ("events",)),
    "orders": Rule(lambda keep: keep.audit, find_orders, free_orders, ("cancellations",)),
    "tokens": Rule(lambda keep: keep.audit, find_tokens, free_tokens, ("api_tokens",)),
    "audit": Rule(lambda keep: keep.audit, find_audit, free_audit, ("audit",), first="0"),
}


def _is_last(times: Sequence[datetime], before: datetime) -> bool:
    """Whether what follows a page can only be younger than all that may go."""
    return len(times) < PAGE or min(times) >= before


def _few(conn: Connection, ids: list[str]) -> list[str]:
    """The first of the runs, as many as have few steps together; one at least."""
    if not ids:
        return ids
    counts = {row.run_id: row.steps for row in conn.execute(_STEPS, {"ids": ids})}
    total = 0
    for at, run_id in enumerate(ids):
        total += counts.get(run_id, 0)
        if total > MOST_STEPS and at:
            return ids[:at]
    return ids


def _unneeded(conn: Connection, ids: Sequence[str], now: datetime) -> list[str] | None:
    """Those of the events that may go; None: it cannot be told."""
    for asked in (_STARTED, _BATCHED):
        there = {row.event_id for row in conn.execute(asked, {"ids": ids})} if ids else set[str]()
        ids = [event_id for event_id in ids if event_id not in there]
    if not ids:
        return []
    held, waiting = _held(conn, now), _debounced(conn)
    if held is None or waiting is None:
        return None
    since = _looked_back_to(conn)
    return [it for it in ids if it not in held and it not in waiting and (since is None or it <= since)]


def _looked_back_to(conn: Connection) -> str | None:
    """The event of the oldest live run whose waits look back: what came after it may be waited for yet."""
    found = list[str]()
    for row in conn.execute(_LOOKING_BACK).all():
        oldest = conn.execute(_OLDEST, {"of": row.id}).first()
        if oldest is not None:
            found.append(oldest.event_id)
    return min(found, default=None)


def _debounced(conn: Connection) -> set[str] | None:
    """The events that wait to start a run; None: there are too many to tell."""
    rows = conn.execute(_DEBOUNCED).all()
    if len(rows) == MOST_DEBOUNCED:
        return None
    return {str(orjson.loads(row.state)["event_id"]) for row in rows if row.state}


def _held(conn: Connection, now: datetime) -> set[str] | None:
    """The events and runs that work which is due, or was given up, is about; None: there is too much work to tell."""
    rows = conn.execute(_CARRIED, {"soon": now + _SOON}).all()
    if len(rows) == MOST_HELD:
        return None
    return {it for row in rows for it in _ids_in(row.kind, row.payload)}


def _ids_in(kind: str, payload: str | None) -> list[str]:
    if payload is None or kind == jobs.CANCEL:
        return [payload] if payload else []
    try:
        carried = orjson.loads(payload)
        if kind == jobs.MATCH:
            return [ulid_from_uuid(text) for text in carried]
        return [it for it in (carried.get("event"), carried.get("run")) if it]
    except (ValueError, AttributeError, TypeError):  # it is dead for being unreadable, then
        return []
