"""Which processes work, by the sign that each gives every few seconds: for people, and for whoever waits for one.

Nothing is decided by it: who is dead is told by advisory locks (see `store.presence`) and by leases that run out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from orchestrator.store.tables import workers

#: How often a worker gives its sign, and how old one may be of a worker that is taken to live.
EVERY = timedelta(seconds=10)
ALIVE = timedelta(seconds=35)
#: What a killed worker left is deleted after this.
FORGOTTEN = timedelta(hours=1)
#: The most that are listed.
MOST = 1000

_SEEN = update(workers).where(workers.c.owner == bindparam("of_owner")).values(seen_at=bindparam("now"))
_LEAVE = delete(workers).where(workers.c.owner == bindparam("of_owner"))
_FORGET = delete(workers).where(workers.c.seen_at < bindparam("before"))
_SINCE = (
    select(workers)
    .where(workers.c.seen_at >= bindparam("since"))
    .order_by(workers.c.host, workers.c.pid, workers.c.owner)
    .limit(MOST)
)


@dataclass(frozen=True, slots=True)
class Sign:
    """A worker, and when it was seen last."""

    owner: str
    host: str
    pid: int
    executors: int
    version: str
    started_at: datetime
    seen_at: datetime


def give(conn: Connection, sign: Sign) -> None:
    """Say that a worker lives, and forget those that were not seen for long."""
    if conn.execute(_SEEN, {"of_owner": sign.owner, "now": sign.seen_at}).rowcount == 0:
        conn.execute(insert(workers), asdict(sign))
        conn.execute(_FORGET, {"before": sign.seen_at - FORGOTTEN})


def leave(conn: Connection, owner: str) -> None:
    """Say that a worker has ended."""
    conn.execute(_LEAVE, {"of_owner": owner})


def alive(conn: Connection, now: datetime) -> list[Sign]:
    """The workers that were seen lately."""
    return [Sign(**row._mapping) for row in conn.execute(_SINCE, {"since": now - ALIVE})]


def known(conn: Connection, now: datetime) -> list[Sign]:
    """Those, and others that were killed within `FORGOTTEN`: who ends in peace takes its sign along."""
    return [Sign(**row._mapping) for row in conn.execute(_SINCE, {"since": now - FORGOTTEN})]
