"""Tally: count what happened in each minute that is over, once, so that a chart of a month is read from few rows.

Now and again one worker goes on from where counting had come to.  Which minute is next, and what was counted of it, are
written in one transaction that begins with a compare-and-set: nothing is counted twice, whoever dies.  A minute is
counted a little after its end, since what happened in it may be committed that late; what is later still is missing
from the charts, and nowhere else.  The same walk gives fingerprints to failures that code of before has written.

Counting begins, after an upgrade, with the oldest run that is kept.  `recount` counts everything anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.core.tally import MINUTE, SPANS, begin_of
from orchestrator.engine.parts import Parts
from orchestrator.engine.turns import TURN, Turns
from orchestrator.store import chores, failures, tallies
from orchestrator.store.chores import Chore
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed

#: How often a worker looks whether a minute is over.
PIECE = timedelta(seconds=1)
#: A minute is counted so long after its end.
LATE = timedelta(seconds=20)
#: Counting what is long past is done for so long at a time.
_BUSY = timedelta(milliseconds=200)
#: How often what has been kept long enough is deleted.
_FREE_EVERY = timedelta(minutes=10)


class Teller:
    """One process's part in it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._turns = Turns(parts.database, tallies.TALLY)
        self._freed_at: datetime | None = None

    def work(self) -> None:
        """Count what is over, if anything is and nobody else is at it."""
        now = self._parts.clock.now()
        turn = self._turns.take(now)
        if turn is None:
            return
        stop = time.monotonic() + _BUSY.total_seconds()
        through = tally(self._parts.database, now, lambda: time.monotonic() < stop)
        self._free(now)
        self._end(turn, held=now + TURN, again=_next(now) if through else now + PIECE)

    @undisturbed
    def _end(self, turn: Chore, held: datetime, again: datetime) -> None:
        with self._parts.database.write() as conn:
            chores.take(conn, replace(turn, next_at=held), again)

    def _free(self, now: datetime) -> None:
        if self._freed_at is not None and now < self._freed_at + _FREE_EVERY:
            return
        self._freed_at = now
        free(self._parts.database, self._parts.settings.keep.runs, now)


def tally(database: Database, now: datetime, go_on: Callable[[], bool] = lambda: True) -> bool:
    """Count the minutes that are over; False: there are more, and it was not to go on."""
    end = begin_of(now - LATE, MINUTE)
    while (at := _reached(database, end)) is not None and at < end:
        if not _count(database, at, end, now):
            return True
        if not go_on():
            return False
    return True


@undisturbed
def recount(database: Database, now: datetime) -> None:
    """Count everything anew, from the runs that there are; what was counted of runs that are gone is lost."""
    with database.write() as conn:
        tallies.forget(conn)
    with database.write() as conn:
        chores.begin(conn, tallies.TALLY, now)
    tally(database, now)


@undisturbed
def free(database: Database, kept: timedelta, now: datetime) -> int:
    """Delete what was counted so long ago that it is not shown, or as long as runs are `kept` (zero: for ever)."""
    freed = 0
    for span, shown in SPANS.items():
        bounds = [it for it in (shown, kept) if it]
        if bounds:
            with database.write() as conn:
                freed += tallies.free(conn, span, begin_of(now - min(bounds), span))
    return freed


@undisturbed
def _reached(database: Database, end: datetime) -> datetime | None:
    """Up to when everything is counted, at first up to the oldest run; None: the chore is nobody's yet."""
    with database.read() as conn:
        at = tallies.reached(conn)
        first = tallies.next_change(conn, tallies.EVER) if at is None else None
    if at is not None:
        return at
    with database.write() as conn:
        tallies.begin(conn, min(begin_of(first, MINUTE), end) if first is not None else end)
    with database.read() as conn:
        return tallies.reached(conn)


@undisturbed
def _count(database: Database, at: datetime, end: datetime, now: datetime) -> bool:
    """Count the next minute in which anything happened; False: somebody else did."""
    with database.read() as conn:
        first = tallies.next_change(conn, at)
        begin = min(begin_of(first, MINUTE), end) if first is not None else end
        until = min(begin + MINUTE, end)
        cells, unnamed = tallies.count(conn, begin, until), failures.nameless(conn, begin, until)
    with database.write() as conn:
        if unnamed:  # there may be more of them: the minute has its turn when there are none
            failures.name(conn, unnamed)
            return True
        if not tallies.advance(conn, at, until):
            return False
        tallies.add(conn, {it: begin_of(begin, it) for it, kept in SPANS.items() if not _past(begin, kept, now)}, cells)
    return True


def _past(at: datetime, kept: timedelta | None, now: datetime) -> bool:
    return kept is not None and at < now - kept


def _next(now: datetime) -> datetime:
    """When the next minute is to be counted."""
    return begin_of(now - LATE, MINUTE) + MINUTE + LATE
