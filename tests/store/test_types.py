"""Column types: what is written is what is read, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from orchestrator.ids import new_ulid
from orchestrator.store import functions
from orchestrator.store.database import Database
from orchestrator.store.types import LongText, Moment, Ulid
from tests.store.factories import a_function, add_app

ODD = Table(
    "odd_types",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("moment", Moment),
    Column("ulid", Ulid),
    Column("text", LongText),
)


@pytest.fixture
def typed(database: Database) -> Iterator[Database]:
    with database.write() as conn:
        ODD.create(conn)
    yield database
    with database.write() as conn:
        ODD.drop(conn)


def through(database: Database, column: str, *values: object) -> list[object]:
    """What is read, in the column's own order, after writing these."""
    with database.write() as conn:
        conn.execute(insert(ODD), [{"id": at, column: value} for at, value in enumerate(values)])
    with database.read() as conn:
        return list(conn.execute(select(ODD.c[column]).order_by(ODD.c[column])).scalars())


def test_a_moment_keeps_its_microseconds_from_the_first_year_to_the_last(typed: Database) -> None:
    moments = [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]

    assert moments == through(typed, "moment", *reversed(moments))


def test_a_moment_of_another_zone_is_read_as_the_same_moment_in_utc(typed: Database) -> None:
    there = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))

    [read] = through(typed, "moment", there)

    assert (there, UTC) == (read, read.tzinfo)  # type: ignore[attr-defined]


def test_a_moment_without_a_zone_is_refused(typed: Database) -> None:
    with pytest.raises(StatementError, match="a moment must be aware"):
        through(typed, "moment", datetime(2026, 1, 1))


def test_nothing_is_read_as_nothing(typed: Database) -> None:
    assert [None] == through(typed, "moment", None)


def test_ulids_are_kept_and_sort_as_their_texts(typed: Database) -> None:
    ulids = ["0" * 26, *sorted(new_ulid() for _ in range(20)), "7" + "Z" * 25]

    assert ulids == through(typed, "ulid", *reversed(ulids))


def test_a_ulid_is_read_in_its_canonical_spelling(typed: Database) -> None:
    assert ["01ARZ3NDEKTSV4RRFFQ69G5FAV"] == through(typed, "ulid", "01arz3ndektsv4rrffq69g5fav")


def test_what_is_no_ulid_is_refused(typed: Database) -> None:
    with pytest.raises(StatementError, match="ULID"):
        through(typed, "ulid", "no-ulid")


def test_long_text_is_kept_to_the_last_character(typed: Database) -> None:
    text = "ü€😀\t\r\n\\u0000 " * 100_000

    assert [text] == through(typed, "text", text)


def test_texts_are_the_same_only_byte_by_byte(database: Database) -> None:
    """By default MySQL makes no difference between these."""
    names = ["a", "A", "á", "a ", "a\t"]
    with database.write() as conn:
        add_app(conn, "shop", *(a_function(f"shop-{at}", name) for at, name in enumerate(names)))

        assert [[f"shop-{at}"] for at in range(len(names))] == [
            [it.slug for it in functions.listeners(conn, [name])] for name in names
        ]
