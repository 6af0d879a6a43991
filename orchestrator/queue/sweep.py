"""The sweep: announces what is due and was never picked up, and what will be due within the horizon."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from orchestrator.queue.announce import Announcer
from orchestrator.store import due, gates, keys, sessions
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Hint

#: A job this near is announced with its time; everything further stays a row.
HORIZON = timedelta(seconds=30)
#: What became due this recently is being announced by its maker.
GRACE = timedelta(seconds=1)
#: An announced job that nobody took is announced again after this: a broker may have lost it.
PATIENCE = timedelta(seconds=4)
#: The most of either kind that one sweep announces, so that an outage does not end in a flood.
MOST = 500
_INSTANT = timedelta(microseconds=1)
#: Rows deleted in one transaction, and transactions in one go.
_PAGE, _ROUNDS = 1000, 20


class Sweeps:
    """The sweeps of one worker, which looks for two kinds of jobs.

    What becomes due about now is announced to everybody, however much is overdue, so that a crowd that nobody can work
    on makes no timer late.  What is overdue is walked through page by page and round and round, and each worker tells
    only itself of it, as much as it can take: hints for those who are busy, or gone, would pile up at the broker.
    """

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        queue: Announcer | None = None,
        *,
        room: Callable[[], int] = lambda: MOST,
        mine: Callable[[Hint], bool] = lambda hint: True,
    ) -> None:
        """`queue` takes what this worker is to do, `room` says how much that may be, and `mine` what it can do."""
        self._database = database
        self._announcer = announcer
        self._queue = queue or announcer
        self._room = room
        self._mine = mine
        self._reached: datetime | None = None

    def sweep(self, now: datetime, grace: timedelta = GRACE) -> list[Hint]:
        """Announce due jobs, oldest first; returns the hints."""
        overdue = now - PATIENCE - GRACE
        soon = self._find(now, overdue, now + HORIZON, MOST, grace)
        self._tell(self._announcer, soon, now)
        late = self._late(now, overdue, grace)
        self._tell(self._queue, late, now)
        return late + soon

    def _late(self, now: datetime, until: datetime, grace: timedelta) -> list[Hint]:
        """The next page of what is overdue, as far as there is room."""
        room = min(MOST, self._room())
        if room <= 0:
            return []
        found = self._find(now, self._reached, until, MOST, grace)
        if not found and self._reached is not None:
            found = self._find(now, None, until, MOST, grace)
        taken = [hint for hint in found if self._mine(hint)][:room]
        self._reached = self._after(found, taken, room)
        return taken

    def _after(self, found: list[Hint], taken: list[Hint], room: int) -> datetime | None:
        """Where the next page begins: among those due at the same moment, unless it would be this page again."""
        if len(taken) == room:
            return taken[-1].run_at
        if len(found) < MOST:
            return None
        return found[-1].run_at + (timedelta() if taken else _INSTANT)

    def _find(self, now: datetime, since: datetime | None, until: datetime, most: int, grace: timedelta) -> list[Hint]:
        with self._database.read() as conn:
            return due.due(conn, until, now - PATIENCE, most, now=now, grace=grace, since=since)

    def _tell(self, announcer: Announcer, hints: list[Hint], now: datetime) -> None:
        if hints:
            announcer.announce(hints)
            self._note(hints, now)

    @undisturbed
    def _note(self, hints: list[Hint], now: datetime) -> None:
        with self._database.write() as conn:
            due.announced(conn, [hint.job_id for hint in hints], now)


def sweep(database: Database, announcer: Announcer, now: datetime, *, grace: timedelta = GRACE) -> list[Hint]:
    """Sweep once, from the oldest job on; returns the hints."""
    return Sweeps(database, announcer).sweep(now, grace)


@undisturbed
def tidy(database: Database, now: datetime) -> int:
    """Delete expired keys and gates, so many of each at once; returns how many."""
    deleted = 0
    for expire in (keys.expire, gates.expire, sessions.expire):
        for _ in range(_ROUNDS):
            with database.write() as conn:
                some = expire(conn, now, _PAGE)
            deleted += some
            if some < _PAGE:
                break
    return deleted
