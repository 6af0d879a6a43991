"""The sweep: announces what is due and was never picked up, and what will be due within the horizon."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.queue.announce import Announcer
from orchestrator.store import due, gates, keys
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint

#: A job this near is announced with its time; everything further stays a row.
HORIZON = timedelta(seconds=30)
#: What became due this recently is being announced by its maker.
GRACE = timedelta(seconds=1)
#: An announced job that nobody took is announced again after this: a broker may have lost it.
PATIENCE = timedelta(seconds=4)
#: The most that one sweep announces, so that an outage does not end in a flood.
MOST = 500
#: Rows deleted in one transaction, and transactions in one go.
_PAGE, _ROUNDS = 1000, 20


def sweep(
    database: Database, announcer: Announcer, now: datetime, *, most: int = MOST, grace: timedelta = GRACE
) -> list[Hint]:
    """Announce due jobs, oldest first; returns the hints."""
    with database.read() as conn:
        hints = due.due(conn, now + HORIZON, now - PATIENCE, most, now=now, grace=grace)
    if hints:
        announcer.announce(hints)
        with database.write() as conn:
            due.announced(conn, [hint.job_id for hint in hints], now)
    return hints


def tidy(database: Database, now: datetime) -> int:
    """Delete expired keys and gates, so many of each at once; returns how many."""
    deleted = 0
    for expire in (keys.expire, gates.expire):
        for _ in range(_ROUNDS):
            with database.write() as conn:
                some = expire(conn, now, _PAGE)
            deleted += some
            if some < _PAGE:
                break
    return deleted
