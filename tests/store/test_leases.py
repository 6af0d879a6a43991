"""Leases: the past is fenced, the lost come back, and the heartbeat keeps the living."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from orchestrator.store import due, jobs, losses
from orchestrator.store.database import Database, is_connection_lost
from orchestrator.store.jobs import Lease
from tests.store.factories import NOW, UNTIL, add_job, add_leased, after, content, job, lose, take
from tests.wire.harness import until

Write = Callable[[Connection, Lease], bool]

WRITES: dict[str, Write] = {
    "held": jobs.held,
    "reset": jobs.reset,
    "retry": lambda conn, lease: jobs.retry(conn, lease, NOW, 1, "{}"),
    "release": lambda conn, lease: jobs.release(conn, lease, NOW),
    "end": jobs.end,
    "once_more": jobs.once_more,
    "recover": lambda conn, lease: losses.recover(conn, lease, NOW),
    "bury": lambda conn, lease: losses.bury(conn, lease, "why"),
}
writes = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


@writes
def test_what_a_former_holder_writes_is_refused(database: Database, write: Write) -> None:
    with database.write() as conn:
        stale = add_leased(conn)
        lose(conn, stale)
        before = content(conn)

        assert not write(conn, stale)
        assert before == content(conn)


@writes
def test_what_is_written_after_giving_back_is_refused(database: Database, write: Write) -> None:
    with database.write() as conn:
        lease = add_leased(conn)
        jobs.release(conn, lease, NOW)
        before = content(conn)

        assert not write(conn, lease)
        assert before == content(conn)


@writes
def test_what_is_written_about_an_ended_job_is_refused(database: Database, write: Write) -> None:
    with database.write() as conn:
        lease = add_leased(conn)
        jobs.end(conn, lease)

        assert not write(conn, lease)


@writes
def test_what_the_holder_writes_is_taken(database: Database, write: Write) -> None:
    with database.write() as conn:
        assert write(conn, add_leased(conn))


def test_every_lease_raises_the_generation(database: Database) -> None:
    with database.write() as conn:
        job_id = add_job(conn)
        generations = []
        for _ in range(3):
            lease = take(conn, job_id)
            generations.append(lease.generation)
            jobs.release(conn, lease, NOW)

    assert [1, 2, 3] == generations


def test_leases_that_ran_out_are_lost_and_so_are_those_of_the_dead(database: Database) -> None:
    with database.write() as conn:
        ids = {key: add_job(conn, key) for key in ("out", "edge", "dead", "alive")}
        take(conn, ids["out"], until=after(9))
        take(conn, ids["edge"], until=after(10))
        take(conn, ids["dead"], owner="dead")
        take(conn, ids["alive"])

        ran_out = losses.lost(conn, after(10), [])
        with_dead = losses.lost(conn, after(10), ["dead", "gone"])

    assert [ids["out"]] == [lease.job_id for lease in ran_out]
    assert [ids["out"], ids["dead"]] == [lease.job_id for lease in with_dead]


def test_recovering_counts_the_crash_and_keeps_the_attempt(database: Database) -> None:
    with database.write() as conn:
        first = add_leased(conn)
        jobs.retry(conn, first, NOW, 2, "{}")
        crashes = []
        for _ in range(3):
            lease = take(conn, first.job_id)
            crashes.append((lease.crashes, lease.attempt))
            [found] = losses.lost(conn, after(60), [])
            assert losses.recover(conn, found, after(60))
            jobs.release(conn, take(conn, first.job_id, now=after(60)), NOW)

    assert [(0, 2), (1, 2), (2, 2)] == crashes


def test_of_two_who_recover_a_job_one_does(database: Database) -> None:
    with database.write() as conn:
        add_leased(conn)
        [first], [second] = losses.lost(conn, after(60), []), losses.lost(conn, after(60), [])

        assert [True, False] == [losses.recover(conn, first, NOW), losses.recover(conn, second, NOW)]


def test_a_lease_prolonged_after_it_was_found_lost_is_its_holders(database: Database) -> None:
    with database.write() as conn:
        lease = add_leased(conn)
        [found] = losses.lost(conn, after(31), [])
        jobs.extend(conn, [lease], after(61))

        assert not losses.recover(conn, found, after(31))
        assert jobs.held(conn, lease)


def test_the_heartbeat_prolongs_what_is_held_and_nothing_else(database: Database) -> None:
    with database.write() as conn:
        held, stale, ended = (add_leased(conn, key) for key in ("held", "stale", "ended"))
        lose(conn, stale)
        jobs.end(conn, ended)

        jobs.extend(conn, [held, stale, ended], after(90))

        assert [after(90), UNTIL] == [job(conn, lease.job_id).lease_until for lease in (held, stale)]


def test_a_heartbeat_with_nothing_to_prolong_does_nothing(database: Database) -> None:
    with database.write() as conn:
        jobs.extend(conn, [], after(90))


def test_a_buried_job_is_kept_with_the_reason_and_never_taken_again(database: Database) -> None:
    with database.write() as conn:
        lease = add_leased(conn)

        assert losses.bury(conn, lease, "it kills its workers")

        row = job(conn, lease.job_id)
        assert ("it kills its workers", None, None) == (row.error, row.owner, row.lease_until)
        assert [] == jobs.lease(conn, [lease.job_id], "worker", after(99), after(120))
        assert [] == due.due(conn, after(99), after(99), 10)
        assert [] == losses.lost(conn, after(99), ["worker"])


def test_owners_are_those_who_hold_leases_each_once(database: Database) -> None:
    with database.write() as conn:
        for key, owner in (("a", "one"), ("b", "two"), ("c", "two"), ("d", "gone")):
            lease = take(conn, add_job(conn, key), owner=owner)
            if owner == "gone":
                jobs.release(conn, lease, NOW)

        assert ["one", "two"] == sorted(losses.owners(conn))


#: How a session is told when its idle transactions end: what we say, and the same as short as can be.
_IDLE = {
    "postgresql": ("SHOW idle_in_transaction_session_timeout", "20s", "SET idle_in_transaction_session_timeout = 100"),
    "mysql": ("SELECT @@idle_transaction_timeout", 20, "SET SESSION idle_transaction_timeout = 1"),
}


def test_a_holder_that_is_stopped_within_a_transaction_does_not_keep_its_jobs_for_ever(concurrent: Database) -> None:
    ask, expected, shorten = _IDLE[concurrent.kind]
    with concurrent.write() as conn:
        lease = add_leased(conn)

    def taken_back() -> bool:
        with concurrent.write() as other:
            return losses.recover(other, lease, after(31))

    found = []

    def stops_within_a_transaction() -> None:
        with concurrent.write() as stopped:
            found.append(stopped.exec_driver_sql(ask).scalar())
            jobs.extend(stopped, [lease], UNTIL)
            found.append(taken_back())
            stopped.exec_driver_sql(shorten)
            until(taken_back, "the end of the idle transaction", deadline=10)
            jobs.held(stopped, lease)

    with pytest.raises(DBAPIError) as cut_off:
        stops_within_a_transaction()

    assert [expected, False] == found
    assert is_connection_lost(cut_off.value)
