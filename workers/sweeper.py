"""The sweeper: one thread in every worker that finds what hints and processes have lost."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from orchestrator import __version__, log
from orchestrator.engine.parts import Parts
from orchestrator.engine.recover import recover
from orchestrator.engine.retain import PIECE, Retainer
from orchestrator.engine.tally import PIECE as TALLY
from orchestrator.engine.tally import Teller
from orchestrator.queue.admit import set_right
from orchestrator.queue.local import LocalQueue
from orchestrator.queue.sweep import GRACE, MOST, Sweeps, tidy
from orchestrator.store import losses, workers
from orchestrator.store.disturbance import undisturbed

_log = log.get(__name__)
#: Not the global one, which users seed and processes inherit.
_CHANCE = random.SystemRandom()

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

    def __init__(self, parts: Parts, queue: LocalQueue, *, every: timedelta = SWEEP, executors: int = 0) -> None:
        """`executors` is told of this worker to people."""
        self._parts = parts
        self._executors = executors
        self._began_at = parts.clock.now()
        self._sweeps = Sweeps(
            parts.database,
            parts.announcer,
            queue,
            room=lambda: MOST - queue.depth,
            mine=lambda hint: hint.app is None or parts.local.holds(hint.app),
        )
        self._presence = parts.holdings.presence
        self._every = every
        #: Without a broker nobody announces to this process what others made: nothing is left to them.
        self._grace = GRACE if every >= SWEEP else timedelta()
        self._retainer = Retainer(parts)
        self._teller = Teller(parts)
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
        self._do(_Chore("first sweep", self._every, lambda: self._sweep(grace=timedelta())))
        self._do(_Chore("first sign", workers.EVERY, self._give_sign))
        self._thread.start()

    def stop(self) -> None:
        """End after the chore in hand."""
        self._stopped.set()
        try:
            self._leave()
        except Exception as error:  # the database is away: who stays unseen is forgotten in time
            _log.debug("worker left unseen", error=f"{type(error).__name__}: {error}")

    @undisturbed
    def _leave(self) -> None:
        with self._parts.database.write() as conn:
            workers.leave(conn, self._presence.owner)

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
            _Chore("retain", PIECE, self._retainer.work),
            _Chore("tally", TALLY, self._teller.work),
            _Chore("sign", workers.EVERY, self._give_sign),
            _Chore("tidy", TIDY, lambda: tidy(self._parts.database, self._parts.clock.now())),
            _Chore("slots", TIDY, self._set_right),
        ]

    def _recover(self) -> None:
        """Take back what ran out; but first prolong our own, which a process that was suspended has not done."""
        self._parts.holdings.beat(self._parts.clock.now())
        recover(self._parts)

    def _set_right(self) -> None:
        set_right(self._parts.database, self._parts.announcer, self._parts.clock.now())

    @undisturbed
    def _give_sign(self) -> None:
        sign = workers.Sign(
            owner=self._presence.owner,
            host=socket.gethostname()[:255],
            pid=os.getpid(),
            executors=self._executors,
            version=__version__,
            started_at=self._began_at,
            seen_at=self._parts.clock.now(),
        )
        with self._parts.database.write() as conn:
            workers.give(conn, sign)

    def _do(self, chore: _Chore) -> None:
        try:
            chore.do()
        except Exception:
            if not self._stopped.is_set():
                _log.exception("sweeper crashed", chore=chore.name)
        # Jitter, so that the sweepers of many workers do not come together.
        chore.next_at = time.monotonic() + chore.every.total_seconds() * _CHANCE.uniform(0.9, 1.1)

    def _sweep(self, grace: timedelta | None = None) -> None:
        grace = self._grace if grace is None else grace
        self._sweeps.sweep(self._parts.clock.now(), grace)

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
