"""Leases held by this process, and the heartbeat that keeps them.

A lease runs out by itself when its process dies.  As long as the process lives, `beat` prolongs everything it holds,
in one statement, well before that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from orchestrator import log
from orchestrator.store import jobs, slots
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.jobs import Lease
from orchestrator.store.presence import Presence

_log = log.get(__name__)

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
        #: Calls that go on though their runs are over, and so their leases: they still take up slots.
        self._outlived: dict[int, Lease] = {}
        self._lock = threading.Condition()
        #: When leases were last prolonged, or would have been.
        self._beaten_at: datetime | None = None

    @property
    def owner(self) -> str:
        """The name that the leases of this process carry."""
        return self.presence.owner

    @undisturbed
    def take(self, ids: Sequence[int], now: datetime) -> list[Lease]:
        """Lease those of the jobs that are ready and due."""
        with self._database.write_one() as conn:
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
            for kept in (self._held, self._outlived):
                held = kept.get(lease.job_id)
                if held is not None and held.generation == lease.generation:
                    del kept[lease.job_id]
            self._lock.notify_all()

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Keep the lease alive until the end of the block."""
        self.keep([lease])
        try:
            yield
        finally:
            self.drop(lease)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is held, as far as is known here: the last heartbeat may be a while ago."""
        held = self._held.get(lease.job_id)
        return held is not None and held.generation == lease.generation

    def beat(self, now: datetime) -> int:
        """Prolong everything held, and let go of what somebody else holds by now; returns how much is left.

        Tells when the last time is longer ago than leases last: others may have what was held here, for no fault of
        anybody's but a process that was suspended or starved, or a database that was away.
        """
        began = time.monotonic()
        left = self._prolong(now)
        self._note_beat(now, now + timedelta(seconds=time.monotonic() - began))
        return left

    def _note_beat(self, began: datetime, ended: datetime) -> None:
        with self._lock:
            before = self._beaten_at or began
            self._beaten_at = max(before, began)
        if ended - before > self.span:
            _log.warning("heartbeat late", owner=self.owner, seconds=round((ended - before) / timedelta(seconds=1), 1))

    @undisturbed
    def _prolong(self, now: datetime) -> int:
        with self._lock:
            held, outlived = list(self._held.values()), list(self._outlived.values())
        if not held and not outlived:
            return 0
        with self._database.write() as conn:
            jobs.extend(conn, held, now + self.span)
            ours = jobs.still_leased(conn, held)
            lost = [lease for lease in held if lease not in ours]
            outlived += [lease for lease in lost if lease.admitted]
            if outlived:
                slots.extend(conn, self.owner, outlived, now + self.span)
        self._outlive(lost)
        return len(ours)

    def _outlive(self, lost: Sequence[Lease]) -> None:
        """Let go of leases; the slots of those calls that are not through yet are prolonged still."""
        with self._lock:
            for lease in lost:
                held = self._held.get(lease.job_id)
                if held is not None and held.generation == lease.generation:
                    del self._held[lease.job_id]
                    if held.admitted:
                        self._outlived[lease.job_id] = held

    @undisturbed
    def hand_back(self, now: datetime, spare: str | None = None) -> int:
        """Make everything held, but for one kind, ready for others: the process is about to end; returns how much."""
        with self._lock:
            held = [lease for lease in self._held.values() if lease.kind != spare]
        for lease in held:
            with self._database.write() as conn:
                jobs.release(conn, lease, now)
            self.drop(lease)
        return len(held)

    def wait_until_gone(self, kind: str, timeout: float) -> bool:
        """Wait until nothing of a kind is held, or for `timeout` seconds; returns whether nothing is."""
        with self._lock:
            return self._lock.wait_for(lambda: all(lease.kind != kind for lease in self._held.values()), timeout)
