"""The sweep: timers on time whatever is overdue, and what is overdue piece by piece, as fast as it is worked off."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.queue import sweep as module
from orchestrator.queue.sweep import MOST, Sweeps
from orchestrator.store import jobs
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint
from tests.engine.conftest import database, kind, migrated, shared
from tests.engine.world import Heard
from tests.store.factories import NOW, insert_rows

__all__ = ["database", "kind", "migrated", "shared"]
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 5)


def jobs_due(database: Database, count: int, ago: timedelta, apart: timedelta = SECOND / 1000) -> list[int]:
    """So many jobs, the oldest first."""
    rows = [
        {"kind": jobs.WAKE, "key": f"{ago}:{at}", "run_at": NOW - ago + at * apart, "state": jobs.READY}
        for at in range(count)
    ]
    with database.write() as conn:
        insert_rows(conn, "jobs", rows)
    with database.read() as conn:
        return [row.id for row in conn.execute(jobs.jobs.select().order_by(jobs.jobs.c.id))][-count:]


def test_what_is_overdue_is_walked_through_though_nobody_takes_it_and_then_begun_anew(database: Database) -> None:
    ids, heard = jobs_due(database, 12, timedelta(hours=1)), Heard()
    sweeps = Sweeps(database, heard)

    told = [[hint.job_id for hint in sweeps.sweep(NOW + SECOND * at)] for at in (0, 1, 2, 6)]

    assert [ids[:5], ids[5:10], ids[10:], ids[:5]] == [sorted(page) for page in told]


def test_those_due_at_one_moment_are_walked_through_as_well(database: Database) -> None:
    ids, heard = jobs_due(database, 12, timedelta(hours=1), timedelta()), Heard()
    sweeps = Sweeps(database, heard)

    for at in range(3):
        sweeps.sweep(NOW + SECOND * at)

    assert sorted(ids) == sorted(heard.take())


def test_a_crowd_that_nobody_can_work_on_makes_no_timer_late(database: Database) -> None:
    jobs_due(database, 50, timedelta(hours=1))
    [timer] = jobs_due(database, 1, -SECOND)
    heard = Heard()

    Sweeps(database, heard, room=lambda: 0).sweep(NOW)

    assert [timer] == heard.take()


def test_a_crowd_of_others_is_passed_by_and_never_announced(database: Database) -> None:
    others = set(jobs_due(database, 12, timedelta(hours=2), timedelta()))
    mine, heard = jobs_due(database, 3, timedelta(hours=1)), Heard()

    def is_mine(hint: Hint) -> bool:
        return hint.job_id not in others

    sweeps = Sweeps(database, heard, mine=is_mine)
    for at in range(2):
        sweeps.sweep(NOW + SECOND * at)

    assert mine == heard.take()


def test_a_busy_worker_is_told_of_no_more_than_it_can_take_and_nothing_goes_to_the_broker(database: Database) -> None:
    jobs_due(database, 50, timedelta(hours=1))
    broker, queue = Heard(), Heard()
    sweeps = Sweeps(database, broker, queue, room=lambda: 7 - len(queue.hints))

    for at in range(100):
        sweeps.sweep(NOW + SECOND * at)

    assert ([], 7) == (broker.hints, len({hint.job_id for hint in queue.hints}))


def test_in_production_a_sweep_tells_of_five_hundred_at_most() -> None:
    assert 500 == MOST
