"""Admit parked jobs: whoever made room in a pool, or finds some, gives it to those who wait, and announces them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from orchestrator import log
from orchestrator.queue.announce import Announcer
from orchestrator.store import cure, parked, slots
from orchestrator.store.database import Database
from orchestrator.store.disturbance import undisturbed
from orchestrator.store.parked import Admitted

_log = log.get(__name__)

#: The most that one transaction admits.
MOST = 20
#: How many times somebody else is looked for where limits on a shared pool differ; the sweep goes on.
PATIENCE = 20
#: How often pools are made that are gone: the sweep may have deleted them a moment ago.
_TRIES = 5


def admit(database: Database, announcer: Announcer, keys: Iterable[str], now: datetime) -> int:
    """Serve those who wait at these pools as far as there is room; returns how many jobs were announced.

    Safe to call for any pool, at any time, by many at once.  Pools are served in their order: who gets a slot of one
    goes on to the later ones.
    """
    to_admit, announced, patience = set(keys), 0, PATIENCE
    while to_admit:
        key = min(to_admit)
        to_admit.discard(key)
        admitted = _admit(database, key, now)
        announcer.announce(admitted.hints)
        announced += len(admitted.hints)
        to_admit |= admitted.to_admit
        if admitted.passed_over and patience:
            patience -= 1
            to_admit.add(key)
    return announced


@undisturbed
def _admit(database: Database, key: str, now: datetime) -> Admitted:
    for _ in range(_TRIES):
        with database.write() as conn:
            admitted = parked.admit(conn, key, now, MOST)
        if not admitted.unknown:
            return admitted
        for function_id, needs in admitted.unknown:
            with database.write() as conn:
                slots.ensure(conn, function_id, needs.pools)
    return Admitted()


@undisturbed
def free_abandoned(database: Database, announcer: Announcer, now: datetime, dead_owners: Sequence[str] = ()) -> None:
    """Free what dead and silent processes kept, and serve those who wait at pools with room."""
    with database.write() as conn:
        freed = cure.abandoned(conn, now, dead_owners)
        freed.update(cure.stuck(conn))
    admit(database, announcer, freed, now)


@undisturbed
def set_right(database: Database, announcer: Announcer, now: datetime) -> int:
    """Free slots that nobody uses, count pools anew that are miscounted, delete idle ones; returns how many were wrong.

    What is wrong is a mistake of ours, and is told to the log.
    """
    with database.write() as conn:
        freed = cure.orphaned(conn, now)
    with database.read() as conn:
        doubtful = cure.miscounted(conn)
    with database.write() as conn:
        wrong = freed | cure.recount(conn, doubtful)
        cure.tidy(conn)
    if wrong:
        _log.error("slots set right", pools=sorted(wrong))
        admit(database, announcer, wrong, now)
    return len(wrong)
