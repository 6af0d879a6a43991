"""Worker and sweeper together: everything that works, in one process."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.engine.branch import Held
from orchestrator.engine.parts import Parts
from orchestrator.queue.local import LocalQueue
from orchestrator.store.jobs import TASK
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
        self._sweeper = Sweeper(parts, queue, every=sweep_every, executors=pool.size)

    def start(self) -> None:
        """Take back what a dead process held, announce what is due, and begin."""
        self._parts.holdings.presence.begin()
        self.worker.start()
        self._sweeper.start(alone=self._alone)

    def stop(self, *, outlast: bool = False) -> None:
        """Take no more work, wait for what is in flight as long as configured, and hand back the rest.

        With `outlast` what Celery tasks hold is not handed back, but waited for: so does Celery.
        """
        holdings = self._parts.holdings
        self.worker.stop(self._drain, spare=TASK if outlast else None)
        self._sweeper.stop()
        while outlast and not holdings.wait_until_gone(TASK, holdings.span / 3 / timedelta(seconds=1)):
            self.worker.beat()
        holdings.presence.close()
