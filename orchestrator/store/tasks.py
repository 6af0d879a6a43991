"""Task jobs: given back as their messages are sent, and claimed by the workers that get those."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, literal_column

from orchestrator.store.changing import Change
from orchestrator.store.jobs import RELEASE, TAKE, TAKEN, Lease, as_lease, fence
from orchestrator.store.tables import jobs

_CLAIM = Change(
    TAKE.where(
        jobs.c.key == bindparam("of_key"),
        jobs.c.kind == literal_column("'task'"),
        jobs.c.attempt == bindparam("of_attempt"),
    ),
    *TAKEN,
)
_SENT = RELEASE.values(payload=bindparam("sends"), admitted=bindparam("with_slots"))


def sent(conn: Connection, lease: Lease, at: datetime, sends: str | None) -> bool:
    """Give a task job back: its message is about to be sent, and will be anew at `at`.  False: the lease is lost.

    `sends` is kept with the job, and so are the slots of an admitted lease; others are the caller's to give back.
    """
    values = fence(lease) | {"at": at, "sends": sends, "with_slots": lease.admitted}
    return conn.execute(_SENT, values).rowcount == 1


def claim(conn: Connection, key: str, attempt: int, owner: str, until: datetime) -> Lease | None:
    """Take the task job with this key for this attempt, also before it is due: that is when it would be sent anew.

    None: somebody has it, or the attempt is over.
    """
    taken = _CLAIM.run(conn, {"of_key": key, "of_attempt": attempt, "by": owner, "until": until})
    return as_lease(taken[0]) if taken else None
