"""Hints within one process are given out when they are due, what is under way before what begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.clock import SettableClock
from orchestrator.queue import local
from orchestrator.queue.local import LocalQueue
from orchestrator.store import gates, jobs
from orchestrator.store.jobs import Hint

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def hint(job_id: int, kind: str = jobs.CALL, seconds: float = 0) -> Hint:
    return Hint(job_id, kind, NOW + timedelta(seconds=seconds))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(NOW)


@pytest.fixture
def queue(clock: SettableClock) -> LocalQueue:
    return LocalQueue(clock)


def test_due_hints_come_in_order_as_many_as_asked_for(queue: LocalQueue):
    queue.announce([hint(1), hint(2), hint(3)])

    assert ([1, 2], [3], 0) == (queue.due(2), queue.due(2), queue.depth)


def test_a_hint_for_later_comes_at_its_time(queue: LocalQueue, clock: SettableClock):
    queue.announce([hint(1, seconds=9), hint(2)])
    before = queue.due(5)
    clock.advance(timedelta(seconds=9))

    assert ([2], [1]) == (before, queue.due(5))


@pytest.mark.parametrize("kind", [jobs.CALL, gates.THROTTLE])
def test_the_earlier_of_two_times_counts_whichever_is_told_first(queue: LocalQueue, clock: SettableClock, kind: str):
    """A throttle's timer is wound for when nobody begins, and wound back by whoever does."""
    look = queue.due if kind == jobs.CALL else queue.timed
    queue.announce([hint(1, kind, seconds=5), hint(1, kind, seconds=2), hint(2, kind, seconds=2)])
    queue.announce([hint(2, kind, seconds=5), hint(3, kind, seconds=9)])
    clock.advance(timedelta(seconds=2))
    at_two = look(9)
    clock.advance(timedelta(seconds=7))

    assert ([1, 2], [3]) == (at_two, look(9))
    queue.announce([hint(1, kind, seconds=12)])
    clock.advance(timedelta(seconds=3))
    assert [1] == look(9)


@pytest.mark.parametrize("kind", [jobs.WAKE, jobs.RESUME, jobs.TIME_OUT, jobs.CANCEL])
def test_timers_and_answers_that_are_due_go_before_a_crowd_of_calls(queue: LocalQueue, clock: SettableClock, kind: str):
    queue.announce([hint(7, kind, seconds=5), *(hint(number) for number in range(10, 30))])
    first = queue.due(2)
    clock.advance(timedelta(seconds=5))
    queue.announce([hint(8, kind)])

    assert ([10, 11], 20) == (first, queue.depth + 1)
    assert [8, 7] == queue.due(2)
    assert [12] == queue.due(1)


def test_what_is_due_is_bounded_but_for_what_goes_before_a_crowd(queue: LocalQueue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "MOST_DUE", 3)
    queue.announce([hint(number) for number in range(10, 20)])
    queue.announce([hint(number, jobs.MATCH) for number in range(20, 30)])
    queue.announce([hint(7, jobs.WAKE), Hint(8, jobs.CALL, NOW, priority=5), hint(9)])

    assert [7, 8, 10, 11, 12] == queue.due(100)
    assert [20, 21, 22] == queue.matches(100)


def test_what_is_given_back_comes_next_in_its_order(queue: LocalQueue):
    queue.announce([hint(1), hint(2), hint(3), hint(4)])
    queue.give_back(queue.due(3)[1:])

    assert [2, 3, 4] == queue.due(9)


def test_a_closed_queue_gives_nothing(queue: LocalQueue):
    queue.announce([hint(1)])
    queue.close()

    assert ([], []) == (queue.due(5), queue.matches(5))
