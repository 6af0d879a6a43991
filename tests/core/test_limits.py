"""Rate limits, throttles and debounces as arithmetic: what they promise, for whatever comes when."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.function import Debounce, Throttle
from orchestrator.core.limits import Pace, Window, debounced_until, oldest_kept, position

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GAPS = st.lists(st.integers(0, 40), max_size=60)


def times(gaps: list[int]) -> list[datetime]:
    at, found = NOW, []
    for gap in gaps:
        at += timedelta(seconds=gap)
        found.append(at)
    return found


def most_within(starts: list[datetime], period: timedelta) -> int:
    """The most starts in any span shorter than a period."""
    return max((sum(one <= other < one + period for other in starts) for one in starts), default=0)


def a_window(limit: int, seconds: int = 60) -> Window:
    return Window(limit, timedelta(seconds=seconds))


@given(GAPS, st.integers(1, 6))
def test_a_window_admits_all_that_it_may_and_no_more(gaps: list[int], limit: int) -> None:
    window, admitted = a_window(limit), list[datetime]()

    for now in times(gaps):
        refused = window.admit(now) is not None
        recent = [it for it in admitted if it + window.period > now]
        assert refused == (len(recent) >= limit)
        admitted += [] if refused else [now]

    assert most_within(admitted, window.period) <= limit


@given(GAPS, st.integers(1, 6))
def test_what_a_window_forgets_matters_no_more(gaps: list[int], limit: int) -> None:
    kept, forgetful = a_window(limit), a_window(limit)

    for now in times(gaps):
        assert kept.admit(now) == forgetful.admit(now)
        least = oldest_kept(forgetful.count, limit)
        forgetful.times = {number: at for number, at in forgetful.times.items() if number >= least}
        assert len(forgetful.times) <= limit


def test_a_refusal_says_from_when_on_there_is_room() -> None:
    window = a_window(2)
    assert [None, None] == [window.admit(NOW), window.admit(NOW + timedelta(seconds=10))]

    refused = window.admit(NOW + timedelta(seconds=59))

    assert NOW + timedelta(seconds=60) == refused
    assert window.admit(refused) is None


def test_a_clock_that_is_behind_does_not_let_more_in() -> None:
    window = a_window(1)
    window.admit(NOW)

    assert window.admit(NOW - timedelta(days=1)) == NOW + window.period


@given(GAPS, st.integers(1, 6), st.integers(0, 4))
def test_a_pace_never_lets_more_start_than_limit_and_burst_in_a_period(gaps: list[int], limit: int, burst: int) -> None:
    throttle = Throttle(limit, timedelta(seconds=60), burst)
    pace, starts = Pace.of(throttle), list[datetime]()

    for now in times(gaps):
        for _ in range(pace.room(now)):
            assert pace.next_at(now) == now
            pace, _ = pace.started(now), starts.append(now)
        assert pace.next_at(now) > now

    assert most_within(starts, throttle.period) <= limit + burst


@given(st.integers(1, 1_000), st.integers(0, 5), st.integers(1, 40))
def test_a_queue_that_starts_when_it_may_keeps_the_pace(limit: int, burst: int, waiting: int) -> None:
    throttle = Throttle(limit, timedelta(seconds=60), burst)
    pace, now = Pace.of(throttle), NOW

    for _ in range(waiting):
        now = pace.next_at(now)
        assert pace.room(now) >= 1
        pace = pace.started(now)

    assert now == NOW + max(0, waiting - 1 - burst) * pace.gap


@given(st.lists(st.integers(0, 300), min_size=1, max_size=80), st.integers(10, 3_000), st.integers(0, 4))
def test_starts_that_come_close_go_in_groups_and_are_no_more(gaps: list[int], limit: int, burst: int) -> None:
    throttle = Throttle(limit, timedelta(seconds=1), burst)
    pace, now, starts = Pace.of(throttle), NOW, list[datetime]()

    for gap in gaps:
        now += timedelta(milliseconds=gap)
        for _ in range(pace.room(now)):
            pace, _ = pace.started(now), starts.append(now)

    counts = Counter(starts)
    assert all(
        sum(count for at, count in counts.items() if one <= at < one + throttle.period) <= limit + burst
        for one in counts
    )
    assert pace.gap * (limit - limit // 10) <= throttle.period + timedelta(milliseconds=3)


def test_those_let_go_that_have_not_begun_take_their_room() -> None:
    pace = Pace.of(Throttle(1, timedelta(seconds=10), burst=1))

    assert (2, 1, 0, 0) == tuple(pace.room(NOW, ahead) for ahead in range(4))
    assert NOW + pace.gap == pace.next_at(NOW, ahead=2)


def test_a_gap_is_rounded_up_so_that_the_limit_holds() -> None:
    assert timedelta(microseconds=333_334) == Pace.of(Throttle(3, timedelta(seconds=1))).gap


@pytest.mark.parametrize(("elapsed", "expected"), [(0, 5), (3, 8), (8, 12), (12, 12), (30, 12)])
def test_a_debounce_waits_for_its_period_but_not_beyond_its_timeout(elapsed: int, expected: int) -> None:
    debounce = Debounce(timedelta(seconds=5), timedelta(seconds=12))
    now = NOW + timedelta(seconds=elapsed)

    until = debounced_until(debounce, NOW, now)

    assert NOW + timedelta(seconds=expected) == until


def test_a_run_of_priority_300_stands_before_those_less_than_300_s_older() -> None:
    ahead, behind = NOW - timedelta(seconds=301), NOW - timedelta(seconds=299)

    assert position(ahead, 0) < position(NOW, 300) < position(behind, 0)


PACES = st.builds(
    Throttle, st.integers(1, 20), st.integers(1, 600).map(lambda it: timedelta(seconds=it)), st.integers(0, 5)
)


@given(PACES, PACES, GAPS, GAPS)
def test_after_a_change_of_a_throttle_no_span_of_the_new_period_has_more_than_it_takes(
    before: Throttle, after: Throttle, first: list[int], then: list[int]
) -> None:
    pace, starts = Pace.of(before), list[datetime]()
    for at in times(first):
        if pace.room(at):
            pace = pace.started(at)
    changed_at = times(first)[-1] if first else NOW
    pace = pace.changed(after, changed_at)
    for at in (changed_at + (it - NOW) for it in times(then)):
        if pace.room(at):
            pace = pace.started(at)
            starts.append(at)

    assert most_within(starts, after.period) <= after.limit + after.burst


def test_who_waits_at_a_slow_pace_goes_one_new_gap_after_the_last_start() -> None:
    pace = Pace.of(Throttle(1, timedelta(days=1))).started(NOW).changed(Throttle(1, timedelta(seconds=10)), NOW)

    assert NOW + timedelta(seconds=10) == pace.next_at(NOW)


def test_what_was_begun_ahead_stays_ahead_at_another_pace() -> None:
    day, burst = timedelta(days=1), Pace.of(Throttle(1, timedelta(days=1), burst=2))
    for _ in range(3):
        burst = burst.started(NOW)

    assert NOW + timedelta(seconds=30) == burst.changed(Throttle(1, timedelta(seconds=10)), NOW).next_at(NOW)
    assert NOW + 3 * day == burst.changed(Throttle(1, day), NOW).next_at(NOW)
