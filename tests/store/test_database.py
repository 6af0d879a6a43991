"""Connections and transactions."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from orchestrator.errors import ConfigError
from orchestrator.store.database import Database
from tests.store.factories import PATIENCE, add_job, at_once, counts


def count(conn: Connection) -> int:
    return int(conn.execute(text("SELECT count(*) FROM jobs")).scalar_one())


def test_what_was_written_is_read_after_the_end_of_the_transaction_only(database: Database) -> None:
    with database.write() as conn:
        add_job(conn)
        with database.read() as reader:
            meanwhile = count(reader)

    with database.read() as reader:
        assert (0, 1) == (meanwhile, count(reader))


def test_each_statement_of_a_reader_sees_what_is_committed_by_then(database: Database) -> None:
    with database.read() as reader:
        before = count(reader)
        with database.write() as conn:
            add_job(conn)

        assert (0, 1) == (before, count(reader))


def test_an_exception_takes_back_the_whole_transaction_and_the_next_one_is_served(database: Database) -> None:
    def crash() -> None:
        with database.write() as conn:
            add_job(conn, "lost")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()

    with database.write() as conn:
        add_job(conn, "kept")

    with database.read() as conn:
        assert {"jobs": 1} == counts(conn)


def test_many_threads_write_without_losing_anything(database: Database) -> None:
    def write(number: int) -> None:
        for turn in range(10):
            with database.write() as conn:
                add_job(conn, f"{number}-{turn}")

    at_once(*(lambda number=number: write(number) for number in range(16)))

    with database.read() as conn:
        assert 160 == count(conn)


def test_a_second_database_on_the_same_url_waits_for_its_turn(database: Database, url: str) -> None:
    second = Database(url)
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        with second.write() as conn:
            add_job(conn, "second")
        done.set()

    thread = threading.Thread(target=write)
    with database.write() as conn:
        add_job(conn, "first")
        thread.start()
        assert begun.wait(PATIENCE)
    thread.join(PATIENCE)
    second.close()

    assert done.is_set()
    with database.read() as conn:
        assert 2 == count(conn)


def test_a_closed_database_may_be_used_again(database: Database) -> None:
    database.close()

    with database.write() as conn:
        add_job(conn)
    database.close()
    database.close()

    with database.read() as conn:
        assert 1 == count(conn)


def test_foreign_keys_are_kept(database: Database) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), database.write() as conn:
        conn.execute(text("INSERT INTO triggers (function_id, position) VALUES ('nobody', 0)"))


@pytest.mark.parametrize(("synchronous", "level"), [("OFF", 0), ("NORMAL", 1), ("FULL", 2)])
def test_sqlite_commits_as_safely_as_asked_and_without_blocking_readers(
    tmp_path: Path, synchronous: str, level: int
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'state.db'}", synchronous=synchronous)  # type: ignore[arg-type]

    with database.write() as conn:
        found = [conn.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")]
    database.close()

    assert [level, "wal"] == found


def test_a_database_that_is_not_served_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="oracle is not served; use sqlite, postgresql or mysql"):
        Database("oracle://host/name")
