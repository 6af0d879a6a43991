"""Transactions that stand in each other's way: the one that is taken back is done again, and nothing else is."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from sqlalchemy import insert, select, update

from orchestrator.store.database import Database, is_connection_lost
from orchestrator.store.disturbance import TRIES, is_disturbance, undisturbed
from orchestrator.store.tables import keys
from tests.store.factories import NOW, PATIENCE, at_once


def test_of_two_that_wait_for_each_other_one_is_done_again(concurrent: Database) -> None:
    with concurrent.write() as conn:
        conn.execute(insert(keys), [{"key": it, "value": "", "expires_at": NOW} for it in ("a", "b")])
    both_have_one = threading.Barrier(2)
    tried = Counter[str]()

    @undisturbed
    def write(first: str, second: str) -> None:
        tried[first] += 1
        with concurrent.write() as conn:
            for at, key in enumerate((first, second)):
                conn.execute(update(keys).where(keys.c.key == key).values(value=keys.c.value + first))
                if at == 0 and tried[first] == 1:
                    both_have_one.wait(PATIENCE)

    at_once(lambda: write("a", "b"), lambda: write("b", "a"))

    assert 3 == tried.total()
    with concurrent.read() as conn:
        assert ["ab", "ab"] == ["".join(sorted(it)) for it in conn.execute(select(keys.c.value)).scalars()]


def deadlock(database: Database) -> Exception:
    """What the driver raises for one, by the statement that asks for it."""
    raises = {
        "mysql": "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found'",
        "postgresql": "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$",
    }
    with pytest.raises(Exception, match=r"[Dd]eadlock") as raised, database.write() as conn:
        conn.exec_driver_sql(raises[database.kind])
    return raised.value


def test_a_deadlock_is_no_lost_connection(concurrent: Database) -> None:
    error = deadlock(concurrent)

    assert (True, False) == (is_disturbance(error), is_connection_lost(error))


def test_what_is_taken_back_every_time_fails_in_the_end(concurrent: Database) -> None:
    error, tried = deadlock(concurrent), list[int]()

    @undisturbed
    def fail() -> None:
        tried.append(1)
        raise error

    with pytest.raises(type(error)):
        fail()

    assert TRIES == len(tried)


def test_any_other_failure_is_raised_at_once() -> None:
    tried = list[int]()

    @undisturbed
    def fail() -> None:
        tried.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [1] == tried
