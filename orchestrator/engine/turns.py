"""A process's turns in a chore, which one process does at a time (see `store.chores`)."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.store import chores
from orchestrator.store.chores import Chore
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed

#: A turn that nobody ended is over after this.
TURN = timedelta(seconds=30)


class Turns:
    """Those of one process in one chore; the database is not asked before the next can be due."""

    def __init__(self, database: Database, chore: str) -> None:
        self._database = database
        self._chore = chore
        self._not_before: datetime | None = None

    def take(self, now: datetime) -> Chore | None:
        """A turn, which lasts until `now + TURN`; None: none is due, or somebody else is at it."""
        if self._not_before is not None and now < self._not_before:
            return None
        return self._take(now)

    @undisturbed
    def _take(self, now: datetime) -> Chore | None:
        with self._database.read() as conn:
            chore = chores.read(conn, self._chore)
        if chore is None:
            with self._database.write() as conn:
                chores.begin(conn, self._chore, now)
            return None
        if chore.next_at > now:
            self._not_before = chore.next_at
            return None
        with self._database.write() as conn:
            return chore if chores.take(conn, chore, now + TURN) else None
