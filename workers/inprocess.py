"""Worker and sweeper together: everything that works, in one process."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.engine.branch import Held
from orchestrator.engine.parts import Parts
from orchestrator.queue.local import LocalQueue
from orchestrator.workers.pool import Pool
from orchestrator.workers.sweeper import SWEEP, Sweeper
from orchestrator.workers.worker import Worker


class InProcessWorker:
    """Works on everything announced in this process, and sweeps."""

    def __init__(
        self,
        parts: Parts,
        queue: LocalQueue,
        pool: Pool[Held],
        *,
        alone: bool,
        drain: timedelta = timedelta(),
        sweep_every: timedelta = SWEEP,
    ) -> None:
        """`alone` says that no other process uses the database; `drain` is what calls in flight get at the end."""
        self._parts = parts
        self._alone = alone
        self._drain = drain
        self.worker = Worker(parts, queue, pool)
        self._sweeper = Sweeper(parts, every=sweep_every, executors=pool.size)

    def start(self) -> None:
        """Take back what a dead process held, announce what is due, and begin."""
        self._parts.holdings.presence.begin()
        self.worker.start()
        self._sweeper.start(alone=self._alone)

    def stop(self) -> None:
        """Take no more work, wait for what is in flight as long as configured, and hand back the rest."""
        self.worker.stop(self._drain)
        self._sweeper.stop()
