"""Slots: calls take them, give them back, and are parked where one is missing (see `core.concurrency`).

The rows of `slots` are the truth, and `pools.used` and `pools.waiting` are counts of rows, changed in the same
transactions, so that whoever holds a pool's lock knows them without counting.  `store.cure` counts anew.

Order of locks: jobs, slots, pools by their keys.  A pool's row is locked before anything is decided about it.  Pools
are made beforehand, in a transaction of their own: made under other locks, they would be locked out of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, literal_column, or_, select, update

from orchestrator.core import concurrency
from orchestrator.core.concurrency import Level, Needs, Pool
from orchestrator.store import allowances, runs
from orchestrator.store.changing import Change, NewOnly
from orchestrator.store.jobs import BY_ID, FENCE, LEASED, NEED_SLOTS, Lease, fence
from orchestrator.store.mysql import aside
from orchestrator.store.tables import jobs, pools, slots

IS_PARKED = jobs.c.state == literal_column("1")

_JOB = select(jobs.c.id).where(FENCE).with_for_update()
_ADMITTED = update(jobs).where(BY_ID).values(admitted=True)
_PARK = (
    update(jobs)
    .where(BY_ID)
    .values(
        state=literal_column("1"),
        admitted=False,
        waits_at=bindparam("at_pool"),
        lane=bindparam("in_lane"),
        rank=bindparam("at_rank"),
        owner=None,
        lease_until=None,
        announced_at=None,
    )
)
_OF_RUN = slots.c.run_id == bindparam("of_run")
_OF_JOB = and_(_OF_RUN, slots.c.job_id == bindparam("of_job"))
# By their runs, not by the index of those that are kept.
_UNTIL = aside(slots.c.until)
_HELD = select(slots.c.pool).where(
    _OF_RUN, _UNTIL.is_(None), or_(slots.c.job_id == bindparam("of_job"), slots.c.job_id.is_(None))
)
_LEAVE = Change(delete(slots).where(_OF_JOB, _UNTIL.is_(None)), slots.c.pool)
_LET_GO = Change(delete(slots).where(_OF_JOB, _UNTIL.is_not(None)), slots.c.pool)
_END = Change(
    delete(slots).where(slots.c.run_id.in_(bindparam("of_runs", expanding=True)), _UNTIL.is_(None)),
    slots.c.pool,
)
# The job's own, and those of its whole run, which from then on are the job's.
_KEEP = (
    update(slots)
    .where(_OF_RUN, or_(slots.c.job_id == bindparam("of_job"), slots.c.job_id.is_(None)), _UNTIL.is_(None))
    .values(job_id=bindparam("of_job"), owner=bindparam("by"), until=bindparam("at"))
)
_EXTEND = (
    update(slots)
    .where(
        slots.c.until.is_not(None),
        slots.c.owner == bindparam("by"),
        slots.c.job_id.in_(bindparam("ids", expanding=True)),
    )
    .values(until=bindparam("at"))
)
_LOCK = (
    select(pools.c.key, pools.c.used, pools.c.waiting)
    .where(pools.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(pools.c.key)
    .with_for_update()
)
_CHANGE = Change(
    update(pools)
    .where(pools.c.key.in_(bindparam("keys", expanding=True)))
    .values(used=pools.c.used + bindparam("by_used"), waiting=pools.c.waiting + bindparam("by_waiting")),
    pools.c.key,
    pools.c.waiting,
)
_ANYONE_WAITS = (
    select(pools.c.key).where(pools.c.key.in_(bindparam("keys", expanding=True)), pools.c.waiting > 0).limit(1)
)
_INSERT_NEW = NewOnly(pools)


class Entry(Enum):
    """What came of the wish for slots."""

    #: The job has all it needs.
    ADMITTED = "admitted"
    #: It waits for one; its lease is over.
    PARKED = "parked"
    #: The lease was lost; nothing is written.
    LOST = "lost"
    #: A pool does not exist yet (see `ensure`); nothing is written.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entered:
    """What came of it, and the pools where it or others wait though there is room: they are to be admitted."""

    entry: Entry
    waits_at: str | None = None
    to_admit: frozenset[str] = frozenset()


@dataclass(slots=True)
class Changes:
    """By how much the counts of pools change."""

    used: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)

    def count(self, used: Iterable[str] = (), waiting: Iterable[str] = (), by: int = 1) -> None:
        """Count each of these pools by one more, or less."""
        for counts, keys in ((self.used, used), (self.waiting, waiting)):
            for key in keys:
                counts[key] = counts.get(key, 0) + by

    @property
    def keys(self) -> list[str]:
        """The pools that change, in their order."""
        return sorted(self.used.keys() | self.waiting.keys())

    def write(self, conn: Connection) -> dict[str, int]:
        """Change the rows, which the caller has locked; returns how many wait at each."""
        alike = dict[tuple[int, int], list[str]]()
        for key in self.keys:
            alike.setdefault((self.used.get(key, 0), self.waiting.get(key, 0)), []).append(key)
        found = dict[str, int]()
        for (by_used, by_waiting), keys in alike.items():
            rows = _CHANGE.run(conn, {"keys": keys, "by_used": by_used, "by_waiting": by_waiting})
            found |= {row.key: row.waiting for row in rows}
        return found


def ensure(conn: Connection, function_id: str, wanted: Sequence[Pool]) -> None:
    """Make the pools that do not exist yet; in a transaction of its own."""
    rows = [new_row(function_id, pool) | {"turn": ""} for pool in sorted(wanted, key=lambda it: it.key)]
    _INSERT_NEW.run(conn, rows)


def new_row(function_id: str, pool: Pool) -> dict[str, object]:
    """A pool to be made."""
    owner = None if pool.shared else function_id
    # A sender may write NUL, which PostgreSQL cannot keep.
    shown = pool.value.replace("\0", "\ufffd")
    return {"key": pool.key, "limit_id": pool.limit_id, "function_id": owner, "value": shown}


def enter(
    conn: Connection, lease: Lease, function_id: str, wanted: Needs, now: datetime, rank: int, *, begins: bool = False
) -> Entered:
    """Take the slots a leased job still needs; where one is missing it is parked there, with those it has.

    The run `begins` once it has them.
    """
    alone = conn.dialect.name == "sqlite"
    if begins and not alone:
        runs.lock_row(conn, lease.run_id or "")
    if conn.execute(_JOB, fence(lease)).first() is None:
        return Entered(Entry.LOST)
    has = set[str]()
    if not begins:
        has = {row.pool for row in conn.execute(_HELD, {"of_run": lease.run_id, "of_job": lease.job_id})}
    keys = [pool.key for pool in wanted.pools if pool.key not in has]
    locked = lock(conn, keys)
    fresh = [pool for pool in wanted.pools if pool.key in keys and pool.key not in locked]
    if fresh and not alone:
        return Entered(Entry.UNKNOWN)
    if fresh:
        ensure(conn, function_id, fresh)
    allowed = allowances.of_functions(conn, [function_id])
    known = levels(wanted.pools, locked, function_id, allowed)
    turn = concurrency.enter(keys, known)
    take(conn, [(lease.job_id, lease.run_id or "", key) for key in turn.taken], now)
    changes = Changes()
    changes.count(used=turn.taken)
    if turn.waits_at is None:
        changes.write(conn)
        conn.execute(_ADMITTED, {"job_id": lease.job_id})
        if begins:
            runs.start(conn, lease.run_id or "", now)
        return Entered(Entry.ADMITTED)
    changes.count(waiting=[turn.waits_at])
    changes.write(conn)
    _park(conn, lease, turn.waits_at, wanted.lane, rank)
    to_admit = frozenset([turn.waits_at]) if known[turn.waits_at].room else frozenset[str]()
    return Entered(Entry.PARKED, turn.waits_at, to_admit)


def leave(conn: Connection, run_id: str, job_id: int) -> set[str]:
    """Give back a job's slots, if it has any; returns the pools at which others wait for them."""
    freed = _LEAVE.run(conn, {"of_run": run_id, "of_job": job_id})
    return _free(conn, [row.pool for row in freed])


def give_way(conn: Connection, lease: Lease, wanted: Needs, rank: int) -> set[str]:
    """Give back the slots of a leased job that wants to go on, and park it behind those who wait.

    Returns the pools at which somebody waits now; none if the lease is lost.
    """
    if conn.execute(_JOB, fence(lease)).first() is None:
        return set()
    freed = [row.pool for row in _LEAVE.run(conn, {"of_run": lease.run_id, "of_job": lease.job_id})]
    if not freed:
        return set()
    changes = Changes()
    changes.count(used=freed, by=-1)
    changes.count(waiting=[min(freed)])
    waiting = _lock_and_write(conn, changes)
    _park(conn, lease, min(freed), wanted.lane, rank)
    return {key for key, count in waiting.items() if count}


def end_runs(conn: Connection, run_ids: Sequence[str], lease: Lease | None, gone: Sequence[Any]) -> set[str]:
    """Give back the slots of runs that are over and whose jobs, `gone`, were deleted a moment ago.

    Calls of them that are still being made by others than the holder of `lease` keep theirs until they are through, by
    leases of the slots' own; what a whole run has, one of them keeps.  Returns the pools at which others wait.
    """
    mine = lease.job_id if lease is not None else None
    for job in gone:
        if job.state == LEASED and job.kind in NEED_SLOTS and job.id != mine and job.admitted:
            values = {"of_run": job.run_id, "of_job": job.id, "by": job.owner, "at": job.lease_until}
            conn.execute(_KEEP, values)
    freed = [row.pool for row in _END.run(conn, {"of_runs": list(run_ids)})]
    return _free(conn, freed, [job.waits_at for job in gone if job.waits_at is not None])


def let_go(conn: Connection, lease: Lease) -> set[str]:
    """Give back what a call kept beyond its run's end, now that it is through; the pools at which others wait."""
    freed = _LET_GO.run(conn, {"of_run": lease.run_id, "of_job": lease.job_id})
    return _free(conn, [row.pool for row in freed])


def extend(conn: Connection, owner: str, leases: Iterable[Lease], until: datetime) -> None:
    """Prolong what calls of this process keep beyond their runs' ends."""
    conn.execute(_EXTEND, {"by": owner, "ids": [lease.job_id for lease in leases], "at": until})


def anyone_waits(conn: Connection, wanted: Needs) -> bool:
    """Whether a call waits at one of the pools; those of whole runs do not count: nobody gives way there."""
    keys = [pool.key for pool in wanted.pools if not pool.whole_run]
    return bool(keys) and conn.execute(_ANYONE_WAITS, {"keys": keys}).first() is not None


# For whoever admits.


def lock(conn: Connection, keys: Iterable[str]) -> Mapping[str, Any]:
    """Lock pools; those that do not exist are left out."""
    wanted = sorted(set(keys))
    return {row.key: row for row in conn.execute(_LOCK, {"keys": wanted})} if wanted else {}


def levels(
    of: Sequence[Pool],
    locked: Mapping[str, Any],
    function_id: str,
    allowed: Mapping[tuple[str, str], int],
) -> dict[str, Level]:
    """How full the pools are, as a function's limits see it; those that are not locked are new, or not asked for."""
    return {
        pool.key: Level(row.used if row else 0, row.waiting if row else 0, allowed.get((function_id, pool.limit_id)))
        for pool in of
        for row in (locked.get(pool.key),)
    }


def take(conn: Connection, taken: Sequence[tuple[int, str, str]], now: datetime) -> None:
    """Write slots: of which job, its run, and the pool.  Those of whole runs belong to the run."""
    if not taken:
        return
    rows = [
        {"pool": key, "run_id": run_id, "job_id": None if Pool(key, "", "").whole_run else job_id, "since": now}
        for job_id, run_id, key in taken
    ]
    conn.execute(insert(slots), rows)


def _park(conn: Connection, lease: Lease, at_pool: str, lane: str, rank: int) -> None:
    conn.execute(_PARK, {"job_id": lease.job_id, "at_pool": at_pool, "in_lane": lane, "at_rank": rank})


def _free(conn: Connection, freed: Sequence[str], left: Sequence[str] = ()) -> set[str]:
    if not freed and not left:
        return set()
    changes = Changes()
    changes.count(used=freed, waiting=left, by=-1)
    return {key for key, count in _lock_and_write(conn, changes).items() if count}


def _lock_and_write(conn: Connection, changes: Changes) -> dict[str, int]:
    """One after the other, where several can write at once: an update alone would lock in an order of its own."""
    if conn.dialect.name != "sqlite":
        lock(conn, changes.keys)
    return changes.write(conn)
