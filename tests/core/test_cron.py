"""Cron lines tick when people expect them to, also where clocks change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.cron import MOST_CAUGHT_UP, CatchUp, jitter_of, latest_ticks, next_tick

PARIS, NEW_YORK, LORD_HOWE = "Europe/Paris", "America/New_York", "Australia/Lord_Howe"


def ticks(line: str, after: datetime, count: int) -> list[datetime]:
    found = list[datetime]()
    for _ in range(count):
        tick = next_tick(line, found[-1] if found else after)
        assert tick is not None
        found.append(tick)
    return found


def local(line: str, zone: str, start: str, count: int) -> list[str]:
    """The ticks after a moment in the zone, as its clock and offset show them."""
    after = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    found = ticks(f"TZ={zone} {line}", after, count)
    return [f"{tick.astimezone(ZoneInfo(zone)):%m-%d %H:%M %z}" for tick in found]


@pytest.mark.parametrize(
    ("zone", "line", "start", "expected"),
    [
        # Set forward: a time that does not exist comes at the moment after the gap, once.
        (PARIS, "30 2 * * *", "2026-03-28T12:00", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
        (PARIS, "0,30 2 * * *", "2026-03-28T12:00", ["03-29 03:00 +0200", "03-30 02:00 +0200"]),
        (NEW_YORK, "30 2 * * *", "2026-03-07T12:00", ["03-08 03:00 -0400", "03-09 02:30 -0400"]),
        (LORD_HOWE, "15 2 * * *", "2026-10-03T12:00", ["10-04 02:30 +1100", "10-05 02:15 +1100"]),
        # Set back: a time that comes twice counts the first time.
        (PARIS, "30 2 * * *", "2026-10-24T12:00", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31T12:00", ["11-01 01:30 -0400", "11-02 01:30 -0500"]),
        (LORD_HOWE, "45 1 * * *", "2026-04-04T12:00", ["04-05 01:45 +1100", "04-06 01:45 +1030"]),
        # A pace follows the time that passes.
        (PARIS, "30 * * * *", "2026-03-29T01:00", ["03-29 01:30 +0100", "03-29 03:30 +0200"]),
        (PARIS, "30 * * * *", "2026-10-25T02:00", ["10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100"]),
        (LORD_HOWE, "*/20 * * * *", "2026-04-05T01:30", ["04-05 01:40 +1100", "04-05 01:40 +1030"]),
        # The usual.
        (PARIS, "0 9 * * 1", "2026-06-03T10:00", ["06-08 09:00 +0200", "06-15 09:00 +0200"]),
        ("UTC", "0 0 29 2 *", "2026-01-01T00:00", ["02-29 00:00 +0000"]),
        ("UTC", "0 0 13 * FRI", "2026-11-08T00:00", ["11-13 00:00 +0000", "11-20 00:00 +0000"]),
        ("UTC", "0 0 */2 * FRI", "2026-11-08T00:00", ["11-13 00:00 +0000", "11-27 00:00 +0000"]),
        ("UTC", "0 5-5 * * SUN-SUN", "2026-11-20T00:00", ["11-22 05:00 +0000", "11-29 05:00 +0000"]),
        ("UTC", "0 0 * * 7", "2026-11-20T00:00", ["11-22 00:00 +0000"]),
    ],
)
def test_a_line_ticks_by_the_clock_of_its_zone(zone: str, line: str, start: str, expected: Sequence[str]) -> None:
    assert expected == local(line, zone, start, len(expected))


def test_a_line_without_a_zone_is_in_utc_and_both_prefixes_name_one() -> None:
    after = datetime(2026, 6, 1, tzinfo=UTC)

    found = [next_tick(prefix + "0 9 * * *", after) for prefix in ("", "TZ=Europe/Paris ", "CRON_TZ=Europe/Paris ")]

    assert [9, 7, 7] == [tick.hour for tick in found if tick]


def test_a_date_that_never_comes_has_no_tick() -> None:
    assert next_tick("0 0 30 2 *", datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_a_pace_has_neither_pause_nor_burst_where_clocks_change() -> None:
    for start in (datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 10, 24, 22, tzinfo=UTC)):
        found = ticks("TZ=Europe/Paris */5 * * * *", start, 100)

        assert {timedelta(minutes=5)} == {later - earlier for earlier, later in pairwise(found)}


def a_field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    lists = st.lists(number, min_size=1, max_size=3, unique=True).map(lambda some: ",".join(map(str, sorted(some))))
    return st.one_of(st.just("*"), st.integers(1, 12).map("*/{}".format), spans, lists)


LINES = st.tuples(a_field(0, 59), a_field(0, 23), a_field(1, 28), a_field(1, 12), a_field(0, 6)).map(" ".join)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
# Not Lord Howe: the oracle goes by whole hours, and its clock is changed by half of one.
ZONES = st.sampled_from(["UTC", PARIS, NEW_YORK, "Asia/Kolkata", "America/Sao_Paulo", "Africa/Casablanca"])


@settings(deadline=None)
@given(
    LINES,
    ZONES,
    MOMENTS | st.sampled_from([datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 11, 1, 3, tzinfo=UTC)]),
)
def test_ticks_are_those_of_another_implementation(line: str, zone: str, after: datetime) -> None:
    oracle = CronSim(line, after.astimezone(ZoneInfo(zone)))

    expected = [next(oracle).astimezone(UTC) for _ in range(5)]

    assert expected == ticks(f"TZ={zone} {line}", after, 5)


NOW = datetime(2026, 6, 1, 12, 2, 10, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-06-01T{text}Z")


@pytest.mark.parametrize(
    ("policy", "tick", "expected"),
    [
        ("once", at("12:02"), [at("12:02")]),
        ("skip", at("12:02"), [at("12:02")]),
        ("all", at("12:02"), [at("12:02")]),
        ("once", at("11:58"), [at("12:02")]),
        ("skip", at("11:58"), [at("12:02")]),
        ("all", at("12:00"), [at("12:00"), at("12:01"), at("12:02")]),
    ],
)
def test_ticks_in_time_always_count_and_missed_ones_by_the_policy(
    policy: str, tick: datetime, expected: list[datetime]
) -> None:
    assert expected == CatchUp(policy).ticks("* * * * *", tick, NOW)


def test_a_single_missed_tick_counts_for_once_and_for_all_within_the_window() -> None:
    found = {policy: CatchUp(policy).ticks("0 9 * * *", at("09:00"), NOW) for policy in ("once", "skip", "all")}

    assert {"once": [at("09:00")], "skip": [], "all": []} == found
    assert [at("09:00")] == CatchUp("all", timedelta(hours=4)).ticks("0 9 * * *", at("09:00"), NOW)


def test_after_years_the_latest_tick_is_found_without_going_through_all_of_them() -> None:
    assert [at("12:02")] == CatchUp("once").ticks("* * * * *", NOW - timedelta(days=3000), NOW)


def test_catching_up_all_is_bounded() -> None:
    found = CatchUp("all", timedelta(days=7)).ticks("* * * * *", NOW - timedelta(days=7), NOW)

    assert (MOST_CAUGHT_UP, at("12:02")) == (len(found), found[-1])


def test_the_latest_ticks_include_both_ends() -> None:
    assert [at("12:00"), at("12:01"), at("12:02")] == latest_ticks("* * * * *", at("12:00"), at("12:02"), 9)


def test_jitter_is_a_whole_second_within_bounds_and_the_same_for_the_same_tick() -> None:
    found = [jitter_of(f"key-{number}", timedelta(seconds=5)) for number in range(200)]

    assert {timedelta(seconds=number) for number in range(1, 6)} == set(found)
    assert found == [jitter_of(f"key-{number}", timedelta(seconds=5)) for number in range(200)]
    assert timedelta() == jitter_of("key", None)
