"""Leases held by this process, and the heartbeat that keeps them.

A lease runs out by itself when its process dies.  As long as the process lives, `beat` prolongs everything it holds,
in one statement, well before that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from orchestrator.store import jobs, slots
from orchestrator.store.database import Database
from orchestrator.store.jobs import Lease
from orchestrator.store.presence import Presence

#: How long a lease lasts without a heartbeat.
LEASE = timedelta(seconds=30)
#: How often the heartbeat prolongs what is held.
HEARTBEAT = timedelta(seconds=10)


class Holdings:
    """What this process holds, under the name of its `presence`."""

    def __init__(self, database: Database, presence: Presence, span: timedelta = LEASE) -> None:
        self.presence = presence
        self.span = span
        self._database = database
        self._held: dict[int, Lease] = {}
        self._lock = threading.Lock()

    @property
    def owner(self) -> str:
        """The name that the leases of this process carry."""
        return self.presence.owner

    def take(self, ids: Sequence[int], now: datetime) -> list[Lease]:
        """Lease those of the jobs that are ready and due."""
        with self._database.write() as conn:
            taken = jobs.lease(conn, ids, self.owner, now, now + self.span)
        self.keep(taken)
        return taken

    def keep(self, leases: Sequence[Lease]) -> None:
        """Keep leases alive from now on: also those that wait for a thread."""
        with self._lock:
            for lease in leases:
                held = self._held.get(lease.job_id)
                if held is None or held.generation <= lease.generation:
                    self._held[lease.job_id] = lease

    def drop(self, lease: Lease) -> None:
        """Keep the lease alive no longer; a newer one on the same job stays."""
        with self._lock:
            held = self._held.get(lease.job_id)
            if held is not None and held.generation == lease.generation:
                del self._held[lease.job_id]

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Keep the lease alive until the end of the block."""
        self.keep([lease])
        try:
            yield
        finally:
            self.drop(lease)

    def beat(self, now: datetime) -> int:
        """Prolong everything held; returns how much that is."""
        with self._lock:
            held = list(self._held.values())
        if held:
            with self._database.write() as conn:
                jobs.extend(conn, held, now + self.span)
                limited = [lease for lease in held if lease.admitted]
                if limited:
                    slots.extend(conn, self.owner, limited, now + self.span)
        return len(held)

    def hand_back(self, now: datetime) -> int:
        """Make everything held ready for others, as the process is about to end; returns how much that was."""
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            with self._database.write() as conn:
                jobs.release(conn, lease, now)
        return len(held)
