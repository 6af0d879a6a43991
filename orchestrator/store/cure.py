"""Cure slots: whatever a dead process, or a mistake of ours, left wrong is found by comparing rows, and set right.

Nobody is asked to remember anything for this: slots name the job or the run they belong to, and the counts of a pool
are those of its slots and of the jobs parked at it.  All of it may be done by many at once, and at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, Subquery, and_, bindparam, delete, func, literal_column, or_, select, update

from orchestrator.store import slots as slot_rows
from orchestrator.store.changing import Change
from orchestrator.store.mysql import aside
from orchestrator.store.parked import ALLOWED
from orchestrator.store.slots import IS_PARKED, Changes
from orchestrator.store.tables import jobs, pools, runs, slots

#: The most that one look takes in hand.
MOST = 1_000
#: A slot younger than this is left alone: what is being written needs no cure.
_SETTLED = timedelta(seconds=10)

_ABANDONED = select(slots.c.id).where(
    slots.c.until.is_not(None),
    or_(slots.c.until < bindparam("now"), slots.c.owner.in_(bindparam("dead", expanding=True))),
)
# A parked job has the slots of the pools before the one it waits at; a ready one has them all, or none.
_USES = or_(
    jobs.c.state.in_([literal_column("1"), literal_column("3")]),
    and_(jobs.c.state == literal_column("2"), jobs.c.admitted),
)
_LIVE = runs.c.status.in_([literal_column("'queued'"), literal_column("'running'")])
_ORPHANED = select(slots.c.id).where(
    slots.c.until.is_(None),
    slots.c.since <= bindparam("settled"),
    or_(
        and_(
            slots.c.job_id.is_not(None),
            ~select(jobs.c.id).where(jobs.c.id == slots.c.job_id, jobs.c.run_id == slots.c.run_id, _USES).exists(),
        ),
        and_(slots.c.job_id.is_(None), ~select(runs.c.id).where(runs.c.id == slots.c.run_id, _LIVE).exists()),
    ),
)
_DROP = Change(delete(slots).where(slots.c.id.in_(bindparam("ids", expanding=True))), slots.c.pool)
_STUCK = (
    select(pools.c.key)
    .where(pools.c.waiting > literal_column("0"), pools.c.used < func.coalesce(ALLOWED, pools.c.used + 1))
    .order_by(pools.c.key)
    .limit(MOST)
)
_USED = select(func.count()).where(slots.c.pool == pools.c.key).scalar_subquery()
_WAITING = select(func.count()).where(IS_PARKED, jobs.c.waits_at == pools.c.key).scalar_subquery()
_RECOUNT = update(pools).where(pools.c.key.in_(bindparam("keys", expanding=True))).values(used=_USED, waiting=_WAITING)
_IDLE = select(pools.c.key).where(pools.c.used == 0, pools.c.waiting == 0).limit(MOST).with_for_update(skip_locked=True)
_DELETE = delete(pools).where(
    pools.c.key.in_(bindparam("keys", expanding=True)), pools.c.used == 0, aside(pools.c.waiting) == 0
)


def abandoned(conn: Connection, now: datetime, dead_owners: Sequence[str] = ()) -> set[str]:
    """Free what calls kept beyond their runs' ends and whose makers are dead or silent; returns their pools."""
    found = conn.execute(_ABANDONED.limit(MOST), {"now": now, "dead": list(dead_owners)})
    return _drop(conn, [row.id for row in found])


def orphaned(conn: Connection, now: datetime) -> set[str]:
    """Free slots whose job or run uses them no more; returns their pools."""
    found = conn.execute(_ORPHANED.limit(MOST), {"settled": now - _SETTLED})
    return _drop(conn, [row.id for row in found])


def stuck(conn: Connection) -> list[str]:
    """Pools with room at which somebody waits: whoever made the room died before serving them."""
    return [row.key for row in conn.execute(_STUCK)]


def miscounted(conn: Connection) -> list[str]:
    """Pools whose counts are not those of their rows."""
    used, waiting = _counts()
    query = (
        select(pools.c.key)
        .outerjoin(used, used.c.key == pools.c.key)
        .outerjoin(waiting, waiting.c.key == pools.c.key)
        .where(
            or_(
                pools.c.used != func.coalesce(used.c.count, 0),
                pools.c.waiting != func.coalesce(waiting.c.count, 0),
            )
        )
        .limit(MOST)
    )
    return [row.key for row in conn.execute(query)]


def recount(conn: Connection, keys: Sequence[str]) -> set[str]:
    """Set the counts of pools to those of their rows; returns the pools whose counts were wrong.

    Whoever changes rows changes the counts before the commit, for which it needs the lock that is held here.
    """
    before = slot_rows.lock(conn, keys)
    if not before:
        return set()
    conn.execute(_RECOUNT, {"keys": list(keys)})
    after = slot_rows.lock(conn, keys)
    return {key for key, row in after.items() if row != before[key]}


def tidy(conn: Connection) -> int:
    """Delete pools that nobody uses; returns how many."""
    idle = [row.key for row in conn.execute(_IDLE)]
    return conn.execute(_DELETE, {"keys": idle}).rowcount if idle else 0


def _drop(conn: Connection, ids: Sequence[int]) -> set[str]:
    if not ids:
        return set()
    freed = [row.pool for row in _DROP.run(conn, {"ids": sorted(ids)})]
    changes = Changes()
    changes.count(used=freed, by=-1)
    slot_rows.lock(conn, changes.keys)
    changes.write(conn)
    return set(freed)


def _counts() -> tuple[Subquery, Subquery]:
    used = select(slots.c.pool.label("key"), func.count().label("count")).group_by(slots.c.pool).subquery()
    waiting = (
        select(jobs.c.waits_at.label("key"), func.count().label("count"))
        .where(IS_PARKED)
        .group_by(jobs.c.waits_at)
        .subquery()
    )
    return used, waiting
