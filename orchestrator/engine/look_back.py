"""Look back: a wait also takes an event that came between the run's start and the wait, if its function wants that.

The job that does it is made together with the pause.  It looks twice: an event that was being written while the pause
was being written may be seen by neither the first look nor the event's own match.
"""

from __future__ import annotations

from datetime import timedelta

from orchestrator.engine.branch import Branch
from orchestrator.engine.hit import Hit, agrees, write_hits
from orchestrator.engine.parts import Parts
from orchestrator.errors import ExpressionError
from orchestrator.expressions.stored import value_of
from orchestrator.ids import ulid_at
from orchestrator.store import events, jobs, pauses
from orchestrator.store.database import Connection
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.pauses import Candidate

_SECOND_LOOK = timedelta(seconds=3)
_PAGE = 200
#: Events are found by their ids, which senders make by their own clocks: those may be behind ours by so much.
_BEHIND = timedelta(minutes=5)


@undisturbed
def look_back(parts: Parts, lease: Lease, _branch: Branch | None = None) -> None:
    """Look for the oldest event since the run's start that satisfies the pause of a leased job."""
    with parts.database.read() as conn:
        pause = pauses.get(conn, lease.payload or "")
        hit = _find(conn, pause) if pause is not None else None
    by = parts.holder()
    with parts.database.write() as conn:
        if hit is None and pause is not None and lease.attempt == 0:
            at = by.now + _SECOND_LOOK
            jobs.retry(conn, lease, at, 1, "")
            hints: list[Hint] = [Hint(lease.job_id, lease.kind, at)]
        elif jobs.end(conn, lease):
            _, hints = write_hits(conn, [hit], by) if hit is not None else ([], [])
        else:
            hints = []
    parts.announcer.announce(hints)


def _find(conn: Connection, pause: Candidate) -> Hit | None:
    if pause.event_name is None:
        return None
    after = ulid_at(int((pause.since_at - _BEHIND).timestamp() * 1000), bytes(10))
    while page := events.since(conn, pause.event_name, after, _PAGE):
        for event in page:
            if not pause.precedes(event.received_at, event.id):
                continue
            try:
                if agrees(pause, value_of(event.payload)):
                    return Hit(pause.id, pause.run_id, pause.step_id, event.id)
            except ExpressionError:
                continue  # Matching tells of it.
        after = page[-1].id
    return None
