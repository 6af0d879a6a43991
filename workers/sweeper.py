"""The sweeper: one thread in every worker that finds what hints and processes have lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from orchestrator import log
from orchestrator.engine.parts import Parts
from orchestrator.engine.recover import recover
from orchestrator.queue.admit import set_right
from orchestrator.queue.sweep import GRACE, sweep, tidy
from orchestrator.store import losses

_log = log.get(__name__)

#: How often due jobs are looked for.
SWEEP = timedelta(seconds=1)
#: The same where no broker carries hints between processes.
SWEEP_ALONE = timedelta(milliseconds=250)
#: How often the signs of life of other processes are looked at; missing twice means dead.
JUDGE = timedelta(milliseconds=300)
#: How often leases that ran out are taken back, and expired keys deleted.
RECOVER = timedelta(seconds=5)
TIDY = timedelta(minutes=1)


@dataclass(slots=True)
class _Chore:
    name: str
    every: timedelta
    do: Callable[[], object]
    next_at: float = 0.0


class Sweeper:
    """Does its chores until it is stopped."""

    def __init__(self, parts: Parts, *, every: timedelta = SWEEP) -> None:
        self._parts = parts
        self._presence = parts.holdings.presence
        self._every = every
        #: Without a broker nobody announces to this process what others made: nothing is left to them.
        self._grace = GRACE if every >= SWEEP else timedelta()
        self._missing: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self, *, alone: bool) -> None:
        """Begin, with a first sweep that leaves nothing out.

        `alone` says that no other process can be using the database: then every lease in it is a dead process's.
        """
        if alone:
            with self._parts.database.read() as conn:
                former = losses.owners(conn)
            recover(self._parts, former)
        self._sweep(grace=timedelta())
        self._thread.start()

    def stop(self) -> None:
        """End after the chore in hand."""
        self._stopped.set()

    def _run(self) -> None:
        chores = self._chores()
        while not self._stopped.is_set():
            for chore in chores:
                if time.monotonic() >= chore.next_at:
                    self._do(chore)
            nearest = min(chore.next_at for chore in chores)
            self._stopped.wait(max(0.01, nearest - time.monotonic()))

    def _chores(self) -> list[_Chore]:
        return [
            _Chore("sweep", self._every, self._sweep),
            _Chore("judge", JUDGE, self._judge),
            _Chore("recover", RECOVER, self._recover),
            _Chore("tidy", TIDY, lambda: tidy(self._parts.database, self._parts.clock.now())),
            _Chore("slots", TIDY, self._set_right),
        ]

    def _recover(self) -> None:
        """Take back what ran out; but first prolong our own, which a process that was suspended has not done."""
        self._parts.holdings.beat(self._parts.clock.now())
        recover(self._parts)

    def _set_right(self) -> None:
        set_right(self._parts.database, self._parts.announcer, self._parts.clock.now())

    def _do(self, chore: _Chore) -> None:
        try:
            chore.do()
        except Exception:
            if not self._stopped.is_set():
                _log.exception("sweeper crashed", chore=chore.name)
        # Jitter, so that the sweepers of many workers do not come together.
        chore.next_at = time.monotonic() + chore.every.total_seconds() * random.uniform(0.9, 1.1)

    def _sweep(self, grace: timedelta | None = None) -> None:
        grace = self._grace if grace is None else grace
        sweep(self._parts.database, self._parts.announcer, self._parts.clock.now(), grace=grace)

    def _judge(self) -> None:
        """Take over from processes whose sign of life was missing twice: once may be a connection made anew."""
        if not self._presence.keep():
            return
        with self._parts.database.read() as conn:
            others = [owner for owner in losses.owners(conn) if owner != self._presence.owner]
        missing = self._presence.missing(others) if others else set()
        dead = missing & self._missing
        self._missing = missing - dead
        if dead:
            _log.warning("processes died", owners=sorted(dead))
            recover(self._parts, sorted(dead))
