"""A worker: takes hints, leases jobs, and works on them in threads of its own.

The same in `orchestrator dev`, where hints come from the same process, and under Celery, where tasks bring them: what
is leased never exceeds the threads that are free, so that a busy worker leaves the rest to others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from orchestrator import log
from orchestrator.engine.branch import Held
from orchestrator.engine.match import match
from orchestrator.engine.parts import Parts
from orchestrator.engine.timers import fire
from orchestrator.engine.work import take, work
from orchestrator.queue.local import LocalQueue
from orchestrator.store.jobs import Hint
from orchestrator.workers.pool import Pool

_log = log.get(__name__)

#: Match jobs done in one transaction, and call jobs leased in one.
BATCH = 50
#: Threads that match; more would only wait for each other's transactions.
_RUNNERS = 1
#: Match jobs, with some events each, done in one transaction while most threads are busy.
_FEW = 8
#: Seconds that matching waits for free threads: a run that begins where it is matched need not be leased and read
#: later, which costs more than all the rest of a short one.
_BREATH = 0.02


class Worker:
    """Runner and executor of one process."""

    def __init__(self, parts: Parts, queue: LocalQueue, pool: Pool[Held]) -> None:
        self._parts = parts
        self._queue = queue
        self._pool = pool
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._pool.begin(self._work)
        loops = [("dispatcher", self._dispatch), ("heartbeat", self._beat), ("timers", self._fire)]
        loops += [("runner", self._match)] * _RUNNERS
        for name, loop in loops:
            threading.Thread(target=loop, name=name, daemon=True).start()

    def accept(self, hints: Sequence[Hint], patience: float = 5.0) -> None:
        """Take hints from outside; waits (up to `patience` seconds) while there is more at hand than threads."""
        self._queue.wait_below(2 * self._pool.size, patience)
        self._queue.announce(hints)

    def beat(self) -> None:
        """Prolong what is held."""
        self._guarded("heartbeat crashed", lambda: self._parts.holdings.beat(self._parts.clock.now()))

    def stop(self, drain: timedelta, spare: str | None = None) -> None:
        """Take no more work, give calls in flight `drain`, and hand back the leases of the rest, but for one kind.

        What was handed back runs again elsewhere; the answers of its calls, should they come, are refused.
        """
        self._stopped.set()
        self._queue.close()
        self._pool.close()
        self._pool.wait_until_idle(drain / timedelta(seconds=1))
        handed = self._parts.holdings.hand_back(self._parts.clock.now(), spare)
        if handed:
            _log.warning("calls in flight handed back", jobs=handed)

    def _match(self) -> None:
        while not self._stopped.is_set():
            job_ids = self._queue.matches(max(_FEW, min(BATCH, self._pool.room)))
            if job_ids:
                self._pool.wait_for_room(_BREATH, len(job_ids))
                self._guarded("matching crashed", partial(self._match_all, job_ids))

    def _fire(self) -> None:
        while not self._stopped.is_set():
            job_ids = self._queue.timed(BATCH)
            if job_ids and not self._stopped.is_set():
                self._guarded("firing crashed", partial(self._fire_all, job_ids))

    def _dispatch(self) -> None:
        while not self._stopped.is_set():
            room = self._pool.wait_for_room(1.0)
            job_ids = self._queue.due(min(room, BATCH)) if room else []
            # While we waited for them, matching may have taken the room.
            room = self._pool.room
            self._queue.give_back(job_ids[room:])
            del job_ids[room:]
            if job_ids and not self._stopped.is_set():
                self._guarded("leasing crashed", partial(self._take_all, job_ids))

    def _beat(self) -> None:
        every = self._parts.holdings.span / 3 / timedelta(seconds=1)
        self.beat()  # Nothing is held yet; but from now on it is known how long ago the last one was.
        while not self._stopped.wait(every):
            self.beat()

    def _match_all(self, job_ids: list[int]) -> None:
        self._submit(match(self._parts, job_ids, self._pool.room))

    def _fire_all(self, job_ids: list[int]) -> None:
        for job_id in job_ids:
            self._submit(fire(self._parts, job_id, self._pool.room))

    def _submit(self, begun: Sequence[Held]) -> None:
        """Go on with calls that were born leased, some of them perhaps only when there is a thread for them."""
        self._parts.holdings.keep([held.lease for held in begun])
        for held in begun:
            self._pool.submit(held)

    def _take_all(self, job_ids: list[int]) -> None:
        for held in take(self._parts, job_ids):
            self._pool.submit(held)

    def _work(self, held: Held) -> None:
        work(self._parts, held)

    def _guarded(self, event: str, chore: Callable[[], object]) -> None:
        """A failure of one round must not end the loop; what it left undone the sweep finds again."""
        try:
            chore()
        except Exception:
            if not self._stopped.is_set():
                _log.exception(event)
                time.sleep(0.1)
