"""Retain: delete what has been at rest for as long as it is to be kept, a little at a time.

Now and again one worker begins a pass through everything, and whichever worker is next takes the next piece of it (see
`store.chores`).  A piece is a fraction of a second, so that neither the database nor the worker's other chores wait.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator import log
from orchestrator.engine.parts import Parts
from orchestrator.engine.turns import TURN, Turns
from orchestrator.store import chores
from orchestrator.store.chores import Chore
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.retention import RULES, Found, Keep

_log = log.get(__name__)

#: From the end of a pass to the beginning of the next.
PASS = timedelta(minutes=10)
#: How often a piece of a pass is done, and for how long.
PIECE = timedelta(seconds=1)
_BUSY = timedelta(milliseconds=200)


class Retainer:
    """One process's part in it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._turns = Turns(parts.database, chores.RETENTION)

    def work(self) -> None:
        """Do a piece of the pass, if one is due and nobody else is at it."""
        now = self._parts.clock.now()
        turn = self._turns.take(now)
        if turn is not None:
            done = _piece(self._parts.database, turn, self._parts.settings.keep, now)
            self._note(done, held=now + TURN)

    @undisturbed
    def _note(self, done: Chore, held: datetime) -> None:
        with self._parts.database.write() as conn:
            chores.note(conn, done, held)
        if done.stage is None and done.last_freed:
            _log.info("retention passed", freed=dict(done.last_freed))


def retain(database: Database, keep: Keep, now: datetime) -> dict[str, int]:
    """Make a whole pass at once; returns how many rows went from which table."""
    freed = Counter[str]()
    for stage in RULES:
        for found in _walk(database, stage, keep, now):
            freed += _free(database, stage, keep, found, now)
    return dict(freed)


def would_free(database: Database, keep: Keep, now: datetime) -> dict[str, int]:
    """How many things of each kind such a pass would delete; what goes with them is not counted."""
    return {stage: sum(len(found.ids) for found in _walk(database, stage, keep, now)) for stage in RULES}


def _walk(database: Database, stage: str, keep: Keep, now: datetime) -> Iterator[Found]:
    reached: str | None = None
    while True:
        found = _find(database, stage, keep, reached, now)
        if found is None:
            return
        yield found
        if found.end:
            return
        reached = found.reached


def _piece(database: Database, chore: Chore, keep: Keep, now: datetime) -> Chore:
    """Go on with the pass for a while; returns how far it is."""
    stages = list(RULES)
    stage, reached, freed = chore.stage or stages[0], chore.reached, Counter(chore.freed)
    stop = time.monotonic() + _BUSY.total_seconds()
    while True:
        found = _find(database, stage, keep, reached, now)
        if found is not None:
            freed += _free(database, stage, keep, found, now)
            reached = found.reached
        if found is None or found.end:
            if stage == stages[-1]:
                return Chore(chore.name, now + PASS, last_freed=freed, ended_at=now)
            stage, reached = stages[stages.index(stage) + 1], None
        if time.monotonic() >= stop:
            return replace(chore, next_at=now + PIECE, stage=stage, reached=reached, freed=freed)


def _find(database: Database, stage: str, keep: Keep, reached: str | None, now: datetime) -> Found | None:
    """The next of what may go; None: this kind is kept for ever."""
    rule = RULES[stage]
    span = rule.span(keep)
    if not span:
        return None
    with database.read() as conn:
        return rule.find(conn, reached or rule.first, now - span, now)


@undisturbed
def _free(database: Database, stage: str, keep: Keep, found: Found, now: datetime) -> Counter[str]:
    if not found.ids:
        return Counter()
    rule = RULES[stage]
    with database.write() as conn:
        return Counter(rule.free(conn, found.ids, now - rule.span(keep)))
