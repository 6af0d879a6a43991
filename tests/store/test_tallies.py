"""Counting runs: what is in a range of time, each once, and what was counted before is added to."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from orchestrator.core.effect import Status
from orchestrator.core.tally import BOUNDS, MINUTE
from orchestrator.store import chores, tallies
from orchestrator.store.database import Database
from orchestrator.store.tallies import QUEUED, STARTED, TOOK, WAITED, Cell, Counted
from tests.store.factories import NOW, add_run, after

QUARTER = timedelta(minutes=15)


def counted(database: Database, since: float = 0, until: float = 60) -> Counter[tuple[str, str, int]]:
    with database.read() as conn:
        cells = tallies.count(conn, after(since), after(until))
    assert len(cells) == len({(it.function_id, it.what, it.bin) for it in cells})
    return Counter({(it.function_id, it.what, it.bin): it.number for it in cells})


def ended(database: Database, status: Status, queued: float, started: float | None, at: float, of: str = "f") -> None:
    with database.write() as conn:
        began = after(started) if started is not None else None
        add_run(conn, function_id=of, status=status, queued_at=after(queued), started_at=began, ended_at=after(at))


def bin_of(seconds: float) -> int:
    return sum(bound <= round(seconds * 1_000_000) for bound in BOUNDS)


def test_what_happened_to_runs_is_counted_by_function_where_it_happened(database: Database) -> None:
    ended(database, Status.COMPLETED, 1, 1.5, 4)
    ended(database, Status.COMPLETED, 2, 2.5, 5)
    ended(database, Status.FAILED, 3, 4, 9, of="g")
    ended(database, Status.SKIPPED, 6, None, 6)
    ended(database, Status.CANCELLED, 50, 55, 60)

    found = counted(database)

    assert {
        ("f", QUEUED, 0): 4,
        ("f", STARTED, 0): 3,
        ("f", "completed", 0): 2,
        ("f", "skipped", 0): 1,
        ("g", QUEUED, 0): 1,
        ("g", STARTED, 0): 1,
        ("g", "failed", 0): 1,
        ("", WAITED, bin_of(0.5)): 2,
        ("", WAITED, bin_of(1)): 1,
        ("", WAITED, bin_of(5)): 1,
        ("", TOOK, bin_of(2.5)): 2,
        ("", TOOK, bin_of(5)): 1,
    } == found
    assert {("f", "cancelled", 0): 1, ("", TOOK, bin_of(5)): 1} == counted(database, 60, 120)


@pytest.mark.parametrize("seconds", [0, 0.0005, 0.001, 0.0011, 0.05, 0.63, 1, 59, 3600, 86_400 * 30, 86_400 * 365, -2])
def test_each_length_is_in_its_bin(database: Database, seconds: float) -> None:
    ended(database, Status.COMPLETED, 0, 10, 10 + max(seconds, 0))
    ended(database, Status.COMPLETED, 30 - seconds, 30, 30)

    with database.read() as conn:
        took = tallies.count(conn, after(10 + max(seconds, 0)), after(10.1 + max(seconds, 0)))
        waited = tallies.count(conn, after(30), after(31))

    assert bin_of(max(seconds, 0)) in [it.bin for it in took if it.what == TOOK]
    assert bin_of(seconds) in [it.bin for it in waited if it.what == WAITED]


def test_parts_of_a_range_add_up_to_the_whole(database: Database) -> None:
    for number in range(40):
        ended(database, list(Status)[2 + number % 3], number, number + 0.5, number * 1.4, of="fgh"[number % 3])

    parts = sum((counted(database, at, at + 7) for at in range(0, 70, 7)), Counter[tuple[str, str, int]]())

    assert counted(database, 0, 70) == parts


def test_what_is_counted_later_is_added(database: Database) -> None:
    at = {MINUTE: NOW, QUARTER: NOW}
    with database.write() as conn:
        tallies.add(conn, at, [Cell("f", QUEUED, 2), Cell("g", QUEUED, 1), Cell("", WAITED, 3, 7)])
        tallies.add(conn, at | {MINUTE: after(60)}, [Cell("f", QUEUED, 5), Cell("", WAITED, 1, 7)])
        tallies.add(conn, at, [])

        minutes, quarters = tallies.read(conn, MINUTE, NOW), tallies.read(conn, QUARTER, NOW)
        of_functions = tallies.by_function(conn, QUARTER, NOW)

    assert {(NOW, QUEUED, 0, 3), (NOW, WAITED, 7, 3), (after(60), QUEUED, 0, 5), (after(60), WAITED, 7, 1)} == {
        (it.at, it.what, it.bin, it.number) for it in minutes
    }
    assert {Counted(NOW, QUEUED, 0, 8), Counted(NOW, WAITED, 7, 4)} == set(quarters)
    assert {"f": {QUEUED: 7}, "g": {QUEUED: 1}} == of_functions


def test_what_is_before_the_range_is_not_read_and_can_be_deleted(database: Database) -> None:
    with database.write() as conn:
        for at in (NOW, after(60)):
            tallies.add(conn, {MINUTE: at}, [Cell("f", QUEUED, 1)])

        late = tallies.read(conn, MINUTE, after(60))
        freed = tallies.free(conn, MINUTE, after(60))

        assert [after(60)] == [it.at for it in late] == [it.at for it in tallies.read(conn, MINUTE, NOW)]
        assert 1 == freed


def test_counting_goes_on_from_one_place_only(database: Database) -> None:
    with database.write() as conn:
        chores.begin(conn, tallies.TALLY, NOW)
        assert tallies.reached(conn) is None

        tallies.begin(conn, NOW)
        tallies.begin(conn, after(600))

        assert NOW == tallies.reached(conn)
        assert tallies.advance(conn, NOW, after(60))
        assert not tallies.advance(conn, NOW, after(60))
        assert after(60) == tallies.reached(conn)


def test_the_next_thing_that_happens_is_found_whatever_it_is(database: Database) -> None:
    ended(database, Status.COMPLETED, 100, 200, 300)
    with database.read() as conn:
        found = [tallies.next_change(conn, after(at)) for at in (0, 101, 201, 301)]

    assert [after(100), after(200), after(300), None] == found
