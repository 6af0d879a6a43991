"""Parked jobs: calls that wait for a slot, and who of them is next.

At each pool the lanes (a function and its keys) take turns, so that however many of one lane wait, those of another
are served between them.  `pools.turn` is the lane served last, and the next one in the order of the index follows.
Within a lane the lowest rank is first.

Candidates are locked before the pool, like all jobs; those that somebody else has locked are passed over.  InnoDB lets
go of a transaction's locks one after the other, the last first, some time after it was committed: who was parked, or
passed over for want of room, may seem to be somebody's still when the room is made.  So there whoever finds nobody, and
room, waits for that lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, case, func, literal_column, select, update

from orchestrator.core import concurrency
from orchestrator.core.concurrency import Level, Needs
from orchestrator.store import allowances, mysql, slots
from orchestrator.store.jobs import BY_ID, Hint
from orchestrator.store.mysql import aside
from orchestrator.store.slots import Changes
from orchestrator.store.tables import concurrency_limits, jobs, pools, runs

_NUMBER = func.coalesce(concurrency_limits.c.override, concurrency_limits.c.declared)
_OWN = and_(concurrency_limits.c.function_id == pools.c.function_id, concurrency_limits.c.id == pools.c.limit_id)
#: The most that any function's limit allows in the pool; NULL: nobody limits it any more.
ALLOWED = case(
    (pools.c.function_id.is_not(None), select(_NUMBER).where(_OWN).scalar_subquery()),
    else_=select(func.max(_NUMBER)).where(concurrency_limits.c.id == pools.c.limit_id).scalar_subquery(),
)
_POOL = select(pools.c.used, pools.c.waiting, pools.c.turn, ALLOWED.label("allowed")).where(
    pools.c.key == bindparam("of_key")
)
_FIRST = (
    select(jobs.c.id, jobs.c.kind, jobs.c.run_id, jobs.c.lane)
    .where(
        aside(jobs.c.state) == literal_column("1"),
        jobs.c.waits_at == bindparam("of_key"),
        jobs.c.lane > bindparam("after"),
        jobs.c.id.not_in(bindparam("seen", expanding=True)),
    )
    .order_by(jobs.c.lane, jobs.c.rank, jobs.c.id)
    .limit(1)
)
_NEXT = _FIRST.with_for_update(skip_locked=True)
_HELD = _FIRST.with_for_update()
_RUNS = select(runs.c.id, runs.c.function_id, runs.c.limits).where(runs.c.id.in_(bindparam("ids", expanding=True)))
_ADMIT = (
    update(jobs)
    .where(BY_ID)
    .values(
        state=literal_column("2"),
        admitted=True,
        run_at=bindparam("at"),
        waits_at=None,
        lane=None,
        rank=None,
        announced_at=None,
    )
)
_MOVE = update(jobs).where(BY_ID).values(waits_at=bindparam("to_pool"))
_TURN = update(pools).where(pools.c.key == bindparam("of_key")).values(turn=bindparam("to_lane"))


@dataclass(slots=True)
class Admitted:
    """What came of it: jobs to be announced, and pools at which more is to be admitted."""

    hints: list[Hint] = field(default_factory=list)
    to_admit: set[str] = field(default_factory=set)
    #: There is room for some, but who was next has a smaller limit; the lane after it is next now.
    passed_over: bool = False
    #: Of these jobs' runs a pool is missing (see `slots.ensure`); nothing is written.
    unknown: list[tuple[str, Needs]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Candidate:
    job: Any
    function_id: str
    needs: Needs
    #: The pools it has no slot of yet, the one it waits at first.
    wanted: tuple[str, ...]


def admit(conn: Connection, key: str, now: datetime, most: int) -> Admitted:
    """Give the free slots of a pool to those who wait at it, `most` of them at once."""
    pool = conn.execute(_POOL, {"of_key": key}).first()
    if pool is None or not pool.waiting:
        return Admitted()
    room = most if pool.allowed is None else min(most, pool.allowed - pool.used)
    candidates = _candidates(conn, key, pool.turn, room)
    innodb = conn.dialect.name in mysql.NAMES
    if innodb and room > 0 and not candidates:
        candidates = _candidates(conn, key, "", 1, _HELD)
    if not candidates:
        return Admitted()
    locked = slots.lock(conn, {key for it in candidates for key in it.wanted})
    unknown = [(it.function_id, it.needs) for it in candidates if not set(it.wanted) <= locked.keys()]
    if unknown:
        return Admitted(unknown=unknown)
    admitted = _serve(conn, candidates, locked, now)
    short = innodb and len(candidates) < min(room, pool.waiting) and not admitted.passed_over
    if len(candidates) == most or short:
        admitted.to_admit.add(key)
    return admitted


def _candidates(conn: Connection, key: str, turn: str, most: int, query: Select[Any] = _NEXT) -> list[_Candidate]:
    """Those who are next, locked: one of each lane after the other, round and round."""
    found = list[Any]()
    after = turn
    while len(found) < most:
        values = {"of_key": key, "after": after, "seen": [row.id for row in found]}
        row = conn.execute(query, values).first()
        if row is None and not after:
            break
        after = row.lane if row is not None else ""
        if row is not None:
            found.append(row)
    if not found:
        return []
    of = {row.id: row for row in conn.execute(_RUNS, {"ids": sorted({row.run_id for row in found})})}
    return [_candidate(row, of[row.run_id], key) for row in found if row.run_id in of]


def _candidate(job: Any, run: Any, key: str) -> _Candidate:
    needs = Needs.read(run.limits)
    # It came here with the slots of all pools before this one.
    return _Candidate(job, run.function_id, needs, tuple(pool.key for pool in needs.pools if pool.key >= key))


def _serve(conn: Connection, candidates: Sequence[_Candidate], locked: Any, now: datetime) -> Admitted:
    allowed = allowances.of_functions(conn, {it.function_id for it in candidates})
    admitted, changes = Admitted(), Changes()
    taken = list[tuple[int, str, str]]()
    ready, moved = list[dict[str, Any]](), list[dict[str, Any]]()
    for it in candidates:
        known = _after(slots.levels(it.needs.pools, locked, it.function_id, allowed), changes)
        turn = concurrency.serve(it.wanted, known)
        if turn is None:
            admitted.passed_over = True
            continue
        taken += [(it.job.id, it.job.run_id, key) for key in turn.taken]
        changes.count(used=turn.taken)
        changes.count(waiting=it.wanted[:1], by=-1)
        if turn.waits_at is None:
            ready.append({"job_id": it.job.id, "at": now})
            admitted.hints.append(Hint(it.job.id, it.job.kind, now))
        else:
            changes.count(waiting=[turn.waits_at])
            moved.append({"job_id": it.job.id, "to_pool": turn.waits_at})
            if known[turn.waits_at].room:
                admitted.to_admit.add(turn.waits_at)
    slots.take(conn, taken, now)
    changes.write(conn)
    conn.execute(_TURN, {"of_key": candidates[0].wanted[0], "to_lane": candidates[-1].job.lane})
    for statement, rows in ((_ADMIT, ready), (_MOVE, moved)):
        if rows:
            conn.execute(statement, rows)
    return admitted


def _after(known: dict[str, Level], changes: Changes) -> dict[str, Level]:
    """The levels as they will be once the changes are written."""
    return {
        key: Level(it.used + changes.used.get(key, 0), it.waiting + changes.waiting.get(key, 0), it.limit)
        for key, it in known.items()
    }
