"""Jobs whose workers were lost, or at which we failed: recovered, counted, and in the end kept as dead ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, literal_column, or_, select, update

from orchestrator.store import endpoints
from orchestrator.store.jobs import (
    BY_ID,
    DEAD,
    FENCE,
    FETCH,
    INSERT,
    IS_LEASED,
    THIS_IS_DEAD,
    THIS_IS_READY,
    Lease,
    as_lease,
    fence,
    new_row,
    unlocked,
)
from orchestrator.store.tables import jobs

_CRASH = (
    update(jobs)
    .where(FENCE)
    .values(
        state=literal_column("2"),
        run_at=bindparam("at"),
        error=bindparam("why"),
        crashes=jobs.c.crashes + 1,
        admitted=False,
        owner=None,
        lease_until=None,
        announced_at=None,
    )
)
_CRASHES = select(jobs.c.crashes).where(FENCE)
_CRASH_MATCH = (
    update(jobs)
    .where(BY_ID, THIS_IS_READY)
    .values(run_at=bindparam("at"), error=bindparam("why"), crashes=jobs.c.crashes + 1, announced_at=None)
)
_BURY_MATCH = (
    update(jobs).where(BY_ID, THIS_IS_READY, jobs.c.crashes >= bindparam("most")).values(state=literal_column("5"))
)
_LOST = (
    select(jobs)
    .where(IS_LEASED, or_(jobs.c.lease_until < bindparam("now"), jobs.c.owner.in_(bindparam("dead", expanding=True))))
    .order_by(jobs.c.id)
    .limit(1000)
)
_RECOVER = (
    update(jobs)
    .where(FENCE)
    .values(
        state=literal_column("2"),
        run_at=bindparam("at"),
        crashes=jobs.c.crashes + 1,
        owner=None,
        lease_until=None,
        announced_at=None,
    )
)
_RECOVER_EXPIRED = _RECOVER.where(jobs.c.lease_until == bindparam("read_until"))


def lost(conn: Connection, now: datetime, dead_owners: Sequence[str]) -> list[Lease]:
    """Leases that ran out, or whose holders are known to be dead; a thousand at most."""
    rows = conn.execute(_LOST, {"now": now, "dead": list(dead_owners)})
    return [replace(as_lease(row), until=row.lease_until, owner=row.owner) for row in rows]


def recover(conn: Connection, lease: Lease, now: datetime) -> bool:
    """Make a lost job ready again and count the crash; False: somebody else did, or its holder is alive after all."""
    if not unlocked(conn, [lease.job_id]):
        return False
    values = fence(lease) | {"at": now}
    if lease.until is None:
        return conn.execute(_RECOVER, values).rowcount == 1
    return conn.execute(_RECOVER_EXPIRED, values | {"read_until": lease.until}).rowcount == 1


def bury(conn: Connection, lease: Lease, why: str) -> bool:
    """Make the job dead: it is kept for people to look at, and never taken again by itself."""
    statement = update(jobs).where(FENCE).values(state=literal_column("5"), error=why, owner=None, lease_until=None)
    return conn.execute(statement, fence(lease)).rowcount == 1


def crash(conn: Connection, lease: Lease, at: datetime, why: str) -> bool:
    """Make a job that failed for a reason of ours ready again at `at`, and count that; False: the lease is lost."""
    values = fence(lease) | {"at": at, "why": why}
    return conn.execute(_CRASH, values).rowcount == 1


def crashes_so_far(conn: Connection, lease: Lease) -> int | None:
    """How often the job crashed since its last progress; None: the lease is lost."""
    row = conn.execute(_CRASHES, fence(lease)).first()
    return row.crashes if row is not None else None


def keep_dead(conn: Connection, lease: Lease, now: datetime, why: str) -> None:
    """Keep a job of a run that just ended, as a dead one: for people to look at, and to requeue.

    What a request holds is not kept: to requeue it asks the app anew, and there are secrets in it.
    """
    payload = lease.payload if lease.kind != FETCH else None
    row = new_row(lease.kind, lease.key, now, lease.run_id, lease.step_id, payload)
    conn.execute(INSERT, row | {"state": DEAD, "crashes": lease.crashes + 1, "error": why})


def drop_dead(conn: Connection, run_id: str) -> int:
    """Delete the dead jobs of a run; returns how many there were."""
    return conn.execute(delete(jobs).where(jobs.c.run_id == run_id, THIS_IS_DEAD)).rowcount


def crash_match(conn: Connection, job_id: int, at: datetime, why: str, most: int) -> None:
    """Count that a match job failed for a reason of ours: it comes back at `at`, or is dead the `most`-th time."""
    conn.execute(_CRASH_MATCH, {"job_id": job_id, "at": at, "why": why})
    conn.execute(_BURY_MATCH, {"job_id": job_id, "most": most})


def owners(conn: Connection) -> list[str]:
    """The processes of ours that hold leases; what SDKs hold of durable endpoints is not theirs to lose."""
    rows = conn.execute(select(jobs.c.owner).where(IS_LEASED).distinct())
    return [row.owner for row in rows if row.owner and row.owner != endpoints.OWNER]
