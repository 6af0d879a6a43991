"""Jobs: units of queued work, due now or later.

A job is *ready* (perhaps only from `run_at` on), *leased* to a process until `lease_until`, *held* until somebody lets
it go, *waiting* for a slot (see `store.slots`), or *dead*; done jobs are deleted.  `generation` rises with every lease
and fences the past: what a former holder writes is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from orchestrator.store import mysql
from orchestrator.store.changing import Change, OrderedDelete
from orchestrator.store.mysql import aside
from orchestrator.store.tables import jobs, runs

MATCH, CALL, TASK, WAKE, FETCH = "match", "call", "task", "wake", "gateway"
RESUME, TIME_OUT, LOOK_BACK, CANCEL = "resume", "pause_timeout", "look_back", "cancel"
RUN_TIMEOUT, CANCEL_ALL, BULK = "run_timeout", "cancel_all", "bulk"

#: What counts for limits on concurrency: calls, and the tasks that steps are.
NEED_SLOTS = (CALL, TASK)

HELD, WAITING, READY, LEASED, DEAD = 0, 1, 2, 3, 5
# As literals, so that the partial indexes on them are used (a parameter would make a plan that scans).
IS_READY = jobs.c.state == literal_column("2")
IS_LEASED = jobs.c.state == literal_column("3")
# The same of jobs that are found by their keys.
_STATE = aside(jobs.c.state)
THIS_IS_HELD = literal_column("0") == _STATE
# No index of ready jobs fits this, on any database: by that of their times PostgreSQL walks through a whole crowd that
# became due at once while its statistics still say that nothing is.
THIS_IS_READY = literal_column("2") == jobs.c.state + literal_column("0")
THIS_IS_LEASED = literal_column("3") == _STATE
THIS_IS_DEAD = literal_column("5") == _STATE


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job, as long as `generation` is the job's."""

    job_id: int
    generation: int
    kind: str
    key: str
    run_id: str | None = None
    step_id: str | None = None
    attempt: int = 0
    crashes: int = 0
    payload: str | None = None
    #: It has the slots its calls need (see `store.slots`).
    admitted: bool = False
    #: Seconds by which it is ahead of its time where many wait.
    priority: int = 0
    #: When it runs out, and whose it is, where that was read (see `lost`).
    until: datetime | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Hint:
    """Tells a worker that a job is, or will be, ready."""

    job_id: int
    kind: str
    run_at: datetime
    #: Only processes that hold this app can do it; None: whoever comes.
    app: str | None = None
    #: Seconds by which it is ahead of its time where many are due.
    priority: int = 0


BY_ID = jobs.c.id == bindparam("job_id")
FENCE = and_(BY_ID, jobs.c.generation == bindparam("held_generation"), THIS_IS_LEASED)
_LOCK_RUN = select(runs.c.id).where(runs.c.id == bindparam("held_run")).with_for_update()
_RUN = _LOCK_RUN.subquery()
_RUN_IS_LOCKED = select(func.count()).select_from(_RUN).scalar_subquery() >= literal_column("0")

TAKE = (
    update(jobs)
    .where(THIS_IS_READY)
    .values(
        state=literal_column("3"),
        generation=jobs.c.generation + 1,
        owner=bindparam("by"),
        lease_until=bindparam("until"),
        again=False,
    )
)
#: What a lease is made of.
TAKEN = (
    jobs.c.id,
    jobs.c.generation,
    jobs.c.kind,
    jobs.c.key,
    jobs.c.run_id,
    jobs.c.step_id,
    jobs.c.attempt,
    jobs.c.crashes,
    jobs.c.payload,
    jobs.c.admitted,
    jobs.c.priority,
)
_LEASE = Change(TAKE.where(jobs.c.id.in_(bindparam("ids", expanding=True)), jobs.c.run_at <= bindparam("now")), *TAKEN)
INSERT = insert(jobs)
_INSERT_MANY = INSERT.returning(jobs.c.id, sort_by_parameter_order=True)
_IDS = select(jobs.c.key, jobs.c.id).where(jobs.c.key.in_(bindparam("keys", expanding=True)))
_IS_MATCH = jobs.c.kind == literal_column("'match'")
_READ = select(jobs).where(BY_ID, THIS_IS_READY, _IS_MATCH)
_HELD = select(jobs.c.again).where(FENCE).with_for_update(read=True)
_HELD_TO_END = select(jobs.c.again).where(FENCE).with_for_update()
_END = delete(jobs).where(FENCE, jobs.c.again.is_(False))
_AGAIN = update(jobs).where(FENCE).values(again=False, attempt=0, crashes=0, error=None)
_RESET = update(jobs).where(FENCE).values(attempt=0, crashes=0, error=None)
_RETRY = (
    update(jobs)
    .where(FENCE)
    .values(
        state=literal_column("2"),
        run_at=bindparam("at"),
        attempt=bindparam("next_attempt"),
        error=bindparam("why"),
        admitted=False,
        owner=None,
        lease_until=None,
        announced_at=None,
    )
)
RELEASE = (
    update(jobs)
    .where(FENCE)
    .values(state=literal_column("2"), run_at=bindparam("at"), owner=None, lease_until=None, announced_at=None)
)
_REST = RELEASE.values(admitted=False)
_OF_RUN = jobs.c.run_id == bindparam("of_run")
_ENDED = (
    jobs.c.id,
    jobs.c.run_id,
    jobs.c.kind,
    jobs.c.state,
    jobs.c.owner,
    jobs.c.lease_until,
    jobs.c.admitted,
    jobs.c.waits_at,
)
_END_RUN = OrderedDelete(jobs, _OF_RUN, *_ENDED)
_END_RUNS = OrderedDelete(jobs, jobs.c.run_id.in_(bindparam("of_runs", expanding=True)), *_ENDED)
_UNLOCKED = select(jobs.c.id).where(jobs.c.id.in_(bindparam("ids", expanding=True))).with_for_update(skip_locked=True)
_TAKE_MATCH = delete(jobs).where(BY_ID, THIS_IS_READY, _IS_MATCH)
_MARK_AGAIN = update(jobs).where(jobs.c.key == bindparam("of_key")).values(again=True)
_GENERATIONS = select(jobs.c.id, jobs.c.generation).where(
    jobs.c.id.in_(bindparam("ids", expanding=True)), THIS_IS_LEASED
)
_EXTEND = update(jobs).where(FENCE).values(lease_until=bindparam("until"))


def lease(conn: Connection, ids: Sequence[int], owner: str, now: datetime, until: datetime) -> list[Lease]:
    """Take those of the jobs that are ready and due, in this order; the others are somebody else's, or gone."""
    rows = _LEASE.run(conn, {"ids": list(ids), "by": owner, "now": now, "until": until})
    taken = {row.id: as_lease(row) for row in rows}
    return [taken[job_id] for job_id in dict.fromkeys(ids) if job_id in taken]


def add(
    conn: Connection,
    kind: str,
    key: str,
    run_at: datetime,
    *,
    run_id: str | None = None,
    step_id: str | None = None,
    payload: str | None = None,
    priority: int = 0,
) -> Hint:
    """Add one ready job."""
    row = new_row(kind, key, run_at, run_id, step_id, payload) | ({"priority": priority} if priority else {})
    return Hint(insert_one(conn, row), kind, run_at, priority=priority)


def add_calls(conn: Connection, run_id: str, step_ids: Sequence[str], last_seq: int, run_at: datetime) -> list[Hint]:
    """Add a call for each of these planned steps; all of them get the memo up to the outcome of this number."""
    if not step_ids:
        return []
    rows = [new_row(CALL, f"step:{run_id}:{step_id}", run_at, run_id, step_id, str(last_seq)) for step_id in step_ids]
    return [Hint(job_id, CALL, run_at) for job_id in _insert_all(conn, rows)]


def add_all(
    conn: Connection, rows: Sequence[dict[str, object]], owner: str, until: datetime, room: int
) -> tuple[list[Lease], list[Hint]]:
    """Add jobs (see `new_row`); the first ones, `room` at most, are born leased to their maker."""
    if not rows:
        return [], []
    born = {"state": LEASED, "generation": 1, "owner": owner, "lease_until": until}
    free = {"state": READY, "generation": 0, "owner": None, "lease_until": None}
    new = [row | (born if at < room else free) for at, row in enumerate(rows)]
    made: list[tuple[int, Any]] = list(zip(_insert_all(conn, new), rows, strict=True))
    leases = [
        Lease(job_id, 1, row["kind"], row["key"], row["run_id"], row["step_id"], payload=row["payload"])
        for job_id, row in made[:room]
    ]
    hints = [Hint(it, row["kind"], row["run_at"], priority=row.get("priority", 0)) for it, row in made[room:]]
    return leases, hints


def add_leased(
    conn: Connection,
    kind: str,
    key: str,
    run_id: str,
    owner: str,
    now: datetime,
    until: datetime,
    *,
    priority: int = 0,
) -> Lease:
    """Add one job that is born leased to its maker, which saves a hint and a lease."""
    row = new_row(kind, key, now, run_id, None, None) | ({"priority": priority} if priority else {})
    row |= {"state": LEASED, "generation": 1, "owner": owner, "lease_until": until}
    return Lease(insert_one(conn, row), 1, kind, key, run_id, priority=priority)


def ready_for_matching(conn: Connection, job_id: int) -> Row[Any] | None:
    """The match job, if nobody has done it yet.  It is not leased: matching runs no user code.

    Its time does not matter: who made it may have a clock that is ahead of ours.
    """
    return conn.execute(_READ, {"job_id": job_id}).first()


def take_match(conn: Connection, job_id: int) -> bool:
    """End a match job; False when somebody else did (then nothing else may be written)."""
    return conn.execute(_TAKE_MATCH, {"job_id": job_id}).rowcount == 1


def held(conn: Connection, lease: Lease) -> bool:
    """Whether the lease still stands, locking the job against a new one for the rest of the transaction."""
    return conn.execute(_HELD, fence(lease)).first() is not None


def held_with_run(conn: Connection, lease: Lease) -> bool:
    """Like `held`, for who is about to end the run: the run is locked too, and first."""
    return _after_run(conn, _HELD_TO_END, lease).first() is not None


def reset(conn: Connection, lease: Lease) -> bool:
    """Start counting attempts and crashes anew, after progress; False: the lease is lost."""
    return _after_run(conn, _RESET, lease).rowcount == 1


def retry(conn: Connection, lease: Lease, at: datetime, attempt: int, error: str) -> bool:
    """Give the job back, to be tried again at `at`; False: the lease is lost."""
    return _after_run(conn, _RETRY, lease, at=at, next_attempt=attempt, why=error).rowcount == 1


def release(conn: Connection, lease: Lease, at: datetime) -> bool:
    """Give the job back as it is; False: the lease is lost."""
    return conn.execute(RELEASE, fence(lease) | {"at": at}).rowcount == 1


def rest(conn: Connection, lease: Lease, at: datetime) -> bool:
    """Give the job back, without the slots it has, which the caller gives back; False: the lease is lost."""
    return conn.execute(_REST, fence(lease) | {"at": at}).rowcount == 1


def end(conn: Connection, lease: Lease) -> bool:
    """Delete the job unless it is wanted once more (see `again`); False: it is, or the lease is lost."""
    return _after_run(conn, _END, lease).rowcount == 1


def once_more(conn: Connection, lease: Lease) -> bool:
    """Take up the wish for one more call; False: the lease is lost."""
    return _after_run(conn, _AGAIN, lease).rowcount == 1


def mark_again(conn: Connection, key: str) -> bool:
    """Ask for one more call of the job with this key; False: there is no such job."""
    return conn.execute(_MARK_AGAIN, {"of_key": key}).rowcount == 1


def end_all_of_run(conn: Connection, run_id: str) -> Sequence[Any]:
    """Delete every job of a run: it is over.  Returns what they were."""
    return _END_RUN.run(conn, {"of_run": run_id})


def end_all_of_runs(conn: Connection, run_ids: Sequence[str]) -> Sequence[Any]:
    """Delete every job of these runs: they are over.  Returns what they were."""
    return _END_RUNS.run(conn, {"of_runs": list(run_ids)})


def extend(conn: Connection, leases: Iterable[Lease], until: datetime) -> None:
    """Prolong leases (the heartbeat); one whose job is being written just now is left to the next time."""
    held = {lease.job_id: lease for lease in leases}
    rows = [fence(held[job_id]) | {"until": until} for job_id in unlocked(conn, list(held))]
    if rows:
        conn.execute(_EXTEND, rows)


def still_leased(conn: Connection, leases: Sequence[Lease]) -> list[Lease]:
    """Those of the leases that stand."""
    rows = conn.execute(_GENERATIONS, {"ids": [lease.job_id for lease in leases]})
    standing = {(row.id, row.generation) for row in rows}
    return [lease for lease in leases if (lease.job_id, lease.generation) in standing]


def call_key(run_id: str) -> str:
    """The key of a run's one discovery job."""
    return f"call:{run_id}"


def unlocked(conn: Connection, ids: Sequence[int]) -> list[int]:
    """Those of the jobs that nobody else has locked, locked for us: who holds many jobs must not wait for more."""
    return [row.id for row in conn.execute(_UNLOCKED, {"ids": list(ids)})]


def insert_one(conn: Connection, row: dict[str, object]) -> int:
    """Write one job; returns its id."""
    key = conn.execute(INSERT, row).inserted_primary_key
    assert key is not None
    return int(key[0])


def new_row(
    kind: str, key: str, run_at: datetime, run_id: str | None, step_id: str | None, payload: str | None
) -> dict[str, object]:
    """A ready job to be inserted."""
    return {
        "kind": kind,
        "key": key,
        "run_id": run_id,
        "step_id": step_id,
        "run_at": run_at,
        "state": READY,
        "payload": payload,
    }


def fence(lease: Lease) -> dict[str, Any]:
    """What `FENCE` asks for."""
    return {"job_id": lease.job_id, "held_generation": lease.generation}


def _after_run(conn: Connection, statement: Any, lease: Lease, **values: Any) -> CursorResult[Any]:
    """Lock the run before the job, for writes that may go on to change the run: by one statement where that can."""
    given = fence(lease) | {"held_run": lease.run_id} | values
    if conn.dialect.name not in mysql.NAMES:
        return conn.execute(_with_run(statement), given)
    conn.execute(_LOCK_RUN, given)
    return conn.execute(statement, given)


@cache
def _with_run(statement: Any) -> Any:
    return statement.where(_RUN_IS_LOCKED)


def _insert_all(conn: Connection, rows: Sequence[dict[str, object]]) -> list[int]:
    """Write jobs; returns their ids in the same order."""
    if conn.dialect.name not in mysql.NAMES:
        return [row.id for row in conn.execute(_INSERT_MANY, rows)]
    conn.execute(INSERT, rows)
    ids = {row.key: row.id for row in conn.execute(_IDS, {"keys": [row["key"] for row in rows]})}
    return [ids[row["key"]] for row in rows]


def as_lease(row: Row[Any]) -> Lease:
    """The lease a row of a job tells of."""
    return Lease(
        row.id,
        row.generation,
        row.kind,
        row.key,
        row.run_id,
        row.step_id,
        row.attempt,
        row.crashes,
        row.payload,
        row.admitted,
        row.priority,
    )
