"""Many sleeping runs: each wakes once and about on time, whoever else is asleep."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from orchestrator.queue import local
from orchestrator.queue.sweep import GRACE, MOST, PATIENCE, sweep
from orchestrator.workers.sweeper import SWEEP
from tests.bench.sleepers import Bedroom, bedroom, percentile

DEADLINE = 60
SLEEPING = 20_000


@pytest.fixture(scope="module")
def crowd() -> Iterator[Bedroom]:
    """Twenty thousand sleeping runs."""
    with bedroom() as room:
        room.fill(SLEEPING)
        yield room


def test_of_twenty_thousand_sleepers_those_that_are_due_wake_once_never_early_and_the_others_sleep_on(crowd: Bedroom):
    crowd.rouse(100, crowd.parts.clock.now() + timedelta(seconds=2), timedelta(seconds=2))

    with crowd.working():
        stop = time.monotonic() + DEADLINE
        while crowd.awake() < 100 and time.monotonic() < stop:
            time.sleep(0.1)

    late = crowd.lateness()
    assert ([1] * 100, True) == (list(crowd.woke.values()), late[0] >= 0)
    # A busy machine may be late; what must not be is that they wait for one another, or for a sweep of all.
    assert percentile(late, 0.99) < 10


def test_of_a_crowd_that_is_due_at_once_no_more_is_at_hand_than_some_seconds_of_sweeps_announce(crowd: Bedroom):
    crowd.rouse(SLEEPING, crowd.parts.clock.now(), timedelta(seconds=1))
    before, deepest = crowd.awake(), 0

    with crowd.working():
        stop = time.monotonic() + DEADLINE
        while crowd.awake() < before + 500 and time.monotonic() < stop:
            deepest = max(deepest, crowd.queue.depth)
            time.sleep(0.02)

    assert (True, True) == (crowd.awake() >= before + 500, crowd.heard.most_at_once <= MOST)
    # Until it is overdue it is announced to everybody, page by page; then each worker takes what it has room for.
    assert deepest < MOST * (2 + (PATIENCE + GRACE) / (0.9 * SWEEP))


def test_a_worker_holds_no_more_timers_than_it_has_room_for(crowd: Bedroom):
    now = crowd.parts.clock.now()
    crowd.rouse(SLEEPING, now + timedelta(seconds=28), timedelta(seconds=1))

    while sweep(crowd.parts.database, crowd.heard, now):
        pass

    assert local.MOST_TIMERS == crowd.queue.timers
