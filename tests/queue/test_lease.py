"""What a process holds is kept alive, whatever else happens to the same jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.queue.lease import Holdings
from orchestrator.store import jobs, losses, schema
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=31)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    schema.upgrade(url)
    database = Database(url, synchronous="OFF")
    yield database
    database.close()


@pytest.fixture
def holdings(database: Database) -> Holdings:
    return Holdings(database, Presence(database))


def add_job(database: Database, key: str) -> int:
    with database.write() as conn:
        return jobs.add(conn, jobs.CALL, key, NOW).job_id


def lose(database: Database, now: datetime) -> None:
    with database.read() as conn:
        lost = losses.lost(conn, now, [])
    with database.write() as conn:
        for lease in lost:
            assert losses.recover(conn, lease, now)


def test_what_is_taken_is_kept_alive_before_anybody_works_on_it(database: Database, holdings: Holdings):
    holdings.take([add_job(database, "a")], NOW)

    holdings.beat(LATER - timedelta(seconds=5))

    with database.read() as conn:
        assert [] == losses.lost(conn, LATER, [])


def test_the_end_of_a_lost_lease_does_not_end_the_newer_one_on_the_same_job(database: Database, holdings: Holdings):
    job_id = add_job(database, "a")
    [old] = holdings.take([job_id], NOW)
    with holdings.holding(old):
        lose(database, LATER)
        [new] = holdings.take([job_id], LATER)
        still_old = holdings.beat(LATER)

    holdings.beat(LATER + timedelta(seconds=20))

    assert (1, old.generation + 1) == (still_old, new.generation)
    with database.read() as conn:
        assert [] == losses.lost(conn, LATER + timedelta(seconds=40), [])


def test_handing_back_reaches_what_nobody_works_on_yet(database: Database, holdings: Holdings):
    job_id = add_job(database, "a")
    holdings.take([job_id], NOW)

    handed = holdings.hand_back(NOW)

    assert 1 == handed
    assert [job_id] == [lease.job_id for lease in holdings.take([job_id], NOW)]


def test_a_heartbeat_that_comes_later_than_leases_last_is_told(
    database: Database, holdings: Holdings, caplog: pytest.LogCaptureFixture
):
    on_time = [NOW, NOW + timedelta(seconds=29)]
    for now in on_time:
        holdings.beat(now)
    quiet = list(caplog.messages)

    holdings.beat(on_time[-1] + timedelta(seconds=31))

    [told] = caplog.messages
    assert [] == quiet
    assert f"heartbeat late owner={holdings.owner} seconds=31.0" == told
