"""Hints within one process: the announcer of `orchestrator dev`, behind the same seam as a broker's.

Hints of match jobs and of due jobs are queued at once.  Later ones within the horizon wait in a heap until their time;
what does not fit is left to the sweep, as is everything further away.  Cron jobs and the timers of gates wait apart
from calls, so that they are taken on time however busy the executors are.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from orchestrator.clock import Clock
from orchestrator.core.limits import position
from orchestrator.queue.announce import Announcer
from orchestrator.queue.sweep import HORIZON
from orchestrator.store.crons import TIMED, UNLEASED
from orchestrator.store.jobs import CALL, MATCH, Hint

#: The most hints that wait in memory for their time.
MOST_TIMERS = 10_000
#: With so many due at hand (20 MB) what comes is left to the sweep, but for what goes before the others.
MOST_DUE = 100_000
#: What is given back, and what is no call, stands before all calls.
_FRONT = datetime.min.replace(tzinfo=UTC)


class Shared:
    """The announcer of a worker: what it can begin itself it keeps, the rest goes to the other workers.

    Match jobs, cron jobs and timers stay here: the first are cheap, the last cost nothing until they are due.  Should
    this process die, the sweep of another finds them.
    """

    def __init__(
        self,
        local: LocalQueue,
        others: Announcer,
        room: Callable[[], int],
        clock: Clock,
        holds: Callable[[str], bool] = lambda app: False,
    ) -> None:
        self._local = local
        self._others = others
        self._room = room
        self._clock = clock
        self._holds = holds

    def announce(self, hints: Sequence[Hint]) -> None:
        """Keep or pass on."""
        if not hints:
            return
        now = self._clock.now()
        foreign = [hint for hint in hints if hint.app is not None and not self._holds(hint.app)]
        if foreign:
            self._others.announce(foreign)
            hints = [hint for hint in hints if hint not in foreign]
        due = [hint for hint in hints if hint.kind not in UNLEASED and hint.run_at <= now]
        room = self._room() if due else 0
        passed_on = set(due[room:])
        self._others.announce(due[room:])
        self._local.announce([hint for hint in hints if hint not in passed_on] if passed_on else hints)


class Own:
    """The announcer of a process with nobody to pass hints on to: what only others can do is left to their sweeps."""

    def __init__(self, queue: LocalQueue, holds: Callable[[str], bool]) -> None:
        self._queue = queue
        self._holds = holds

    def announce(self, hints: Sequence[Hint]) -> None:
        """Keep what can be done here."""
        self._queue.announce([hint for hint in hints if hint.app is None or self._holds(hint.app)])


class LocalQueue:
    """Takes hints, and gives them out in batches when they are due."""

    def __init__(self, clock: Clock) -> None:
        self._calls = _Timers(clock)
        self._timed = _Timers(clock)
        self._match = deque[int]()
        self._matchable = threading.Condition()
        self._closed = False

    def announce(self, hints: Sequence[Hint]) -> None:
        """Take hints."""
        if not hints:
            return
        matches = [hint.job_id for hint in hints if hint.kind == MATCH]
        if matches:
            with self._matchable:
                self._match.extend(matches[: max(0, MOST_DUE - len(self._match))])
                self._matchable.notify()
        if len(matches) < len(hints):
            self._calls.keep([hint for hint in hints if hint.kind not in UNLEASED])
            self._timed.keep([hint for hint in hints if hint.kind in TIMED])

    def matches(self, most: int) -> list[int]:
        """Wait for match jobs and take up to `most`; empty: the queue is closed."""
        with self._matchable:
            while not self._match and not self._closed:
                self._matchable.wait()
            return [self._match.popleft() for _ in range(min(most, len(self._match)))]

    def timed(self, most: int) -> list[int]:
        """Wait for due cron jobs and timers and take up to `most`; empty: the queue is closed."""
        return self._timed.due(most)

    def due(self, most: int) -> list[int]:
        """Wait for due jobs and take up to `most`; empty: the queue is closed."""
        return self._calls.due(most)

    def give_back(self, job_ids: Sequence[int]) -> None:
        """Put due hints back to the front: there was no room for them after all."""
        self._calls.give_back(job_ids)

    @property
    def depth(self) -> int:
        """How many due hints are at hand."""
        return self._calls.depth

    @property
    def timers(self) -> int:
        """How many hints wait for their time."""
        return self._calls.waiting + self._timed.waiting

    def wait_below(self, most: int, timeout: float) -> bool:
        """Wait until fewer than `most` due hints are at hand, or for `timeout` seconds; returns whether they are."""
        return self._calls.wait_below(most, timeout)

    def close(self) -> None:
        """Let those who wait go."""
        self._calls.close()
        self._timed.close()
        with self._matchable:
            self._closed = True
            self._matchable.notify_all()


class _Timers:
    """Hints that are due, and those that will be within the horizon.

    When more is due than can be begun, sleeps that are over and pauses that have their answer go before calls, most of
    which are first calls then: what is under way is finished before more is begun, and no crowd makes timers late.
    Calls go by their time less priority.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready = threading.Condition()
        self._due: list[tuple[datetime, int, int]] = []
        self._came = itertools.count()
        self._timers: list[tuple[datetime, int, datetime]] = []
        #: When each is told to be due; earlier than that counts, since gates' timers are also wound back.
        self._waiting = dict[int, datetime]()
        self._closed = False

    def keep(self, hints: Sequence[Hint]) -> None:
        if not hints:
            return
        with self._ready:
            now = self._clock.now()
            for hint in hints:
                self._keep(hint, now)
            self._ready.notify_all()

    def due(self, most: int) -> list[int]:
        with self._ready:
            while not self._closed:
                self._ripen()
                if self._due:
                    taken = [heapq.heappop(self._due)[2] for _ in range(min(most, len(self._due)))]
                    self._ready.notify_all()
                    return taken
                self._ready.wait(self._until_next())
            return []

    def give_back(self, job_ids: Sequence[int]) -> None:
        if job_ids:
            with self._ready:
                for job_id in job_ids:
                    self._put(job_id, _FRONT)

    @property
    def depth(self) -> int:
        return len(self._due)

    @property
    def waiting(self) -> int:
        return len(self._timers)

    def wait_below(self, most: int, timeout: float) -> bool:
        with self._ready:
            return self._ready.wait_for(lambda: self.depth < most or self._closed, timeout)

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _keep(self, hint: Hint, now: datetime) -> None:
        if hint.run_at <= now:
            if len(self._due) < MOST_DUE or hint.kind != CALL or hint.priority > 0:
                self._put(hint.job_id, _place(hint))
        elif hint.run_at - now <= HORIZON and len(self._timers) < MOST_TIMERS and self._is_earlier(hint):
            self._waiting[hint.job_id] = hint.run_at
            heapq.heappush(self._timers, (hint.run_at, hint.job_id, _place(hint)))

    def _is_earlier(self, hint: Hint) -> bool:
        known = self._waiting.get(hint.job_id)
        return known is None or hint.run_at < known

    def _put(self, job_id: int, place: datetime) -> None:
        heapq.heappush(self._due, (place, next(self._came), job_id))

    def _ripen(self) -> None:
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            at, job_id, place = heapq.heappop(self._timers)
            if self._waiting.get(job_id) == at:  # else an earlier hint was given out before
                del self._waiting[job_id]
                self._put(job_id, place)

    def _until_next(self) -> float | None:
        if not self._timers:
            return None
        # A wait may end a little early on a coarse clock; then it is waited again.
        return max(0.0, (self._timers[0][0] - self._clock.now()) / timedelta(seconds=1))


def _place(hint: Hint) -> datetime:
    return position(hint.run_at, hint.priority) if hint.kind == CALL else _FRONT
