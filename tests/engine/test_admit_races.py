"""Many processes admit at once: what a function promises holds exactly, and nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from orchestrator.engine.match import match
from orchestrator.engine.parts import Parts
from orchestrator.engine.timers import fire
from orchestrator.engine.work import take, work
from orchestrator.store import jobs
from orchestrator.store.crons import TIMED
from orchestrator.store.database import Database
from tests.engine.flows import Flows, a_function

Race = Callable[..., None]

WORKERS = 8
EVENTS = 96


def at_once(*calls: Callable[[], object]) -> None:
    """Make the calls in a thread each, all starting together."""
    barrier = Barrier(len(calls))

    def start(call: Callable[[], object]) -> None:
        barrier.wait(20)
        call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(start, call) for call in calls]:
            future.result(60)


@pytest.fixture
def rivals(concurrent: Database) -> Iterator[list[Database]]:
    """Connections of as many processes: those of one process take turns."""
    url = concurrent.url.render_as_string(hide_password=False)
    found = [Database(url) for _ in range(WORKERS)]
    yield found
    for database in found:
        database.close()


@pytest.fixture
def race(rivals: list[Database]) -> Race:
    """Send events, and have several processes match them, a few at a time each."""

    def run(flows: Flows, *data: object, together: int = 3) -> None:
        flows.send(*data)
        found = flows.jobs(jobs.MATCH)

        def match_all(number: int) -> None:
            parts, share = flows.other(rivals[number]), found[number::WORKERS]
            for at in range(0, len(share), together):
                match(parts, share[at : at + together], room=0)

        at_once(*(partial(match_all, number) for number in range(WORKERS)))
        assert [] == flows.jobs(jobs.MATCH)

    return run


def fire_all(parts: Parts, job_ids: list[int]) -> None:
    for job_id in job_ids:
        fire(parts, job_id, 0)


def work_all(parts: Parts, job_ids: list[int]) -> None:
    for held in take(parts, job_ids):
        work(parts, held)


def promising(database: Database, **options: Any) -> Flows:
    return Flows(database, a_function(**options))


def test_a_rate_limit_is_exact(concurrent: Database, race: Race) -> None:
    flows = promising(concurrent, rateLimit={"limit": 20, "period": "1h"})

    race(flows, *range(EVENTS))

    assert {"queued": 20, "skipped": EVENTS - 20} == flows.statuses()


def test_a_rate_limit_is_exact_for_each_of_many_keys(concurrent: Database, race: Race) -> None:
    flows = promising(concurrent, rateLimit={"limit": 5, "period": "1h", "key": "event.data"})

    race(flows, *(n % 7 for n in range(EVENTS)))

    assert {"queued": 5 * 7, "skipped": EVENTS - 5 * 7} == flows.statuses()


def test_of_many_singletons_one_is_active(concurrent: Database, race: Race) -> None:
    flows = promising(concurrent, singleton={"mode": "skip"})

    race(flows, *range(EVENTS))

    assert {"queued": 1, "skipped": EVENTS - 1} == flows.statuses()


def test_of_many_singletons_that_cancel_each_other_one_is_active(concurrent: Database, race: Race) -> None:
    flows = Flows(
        concurrent,
        a_function(singleton={"mode": "cancel", "key": "event.data"}),
        a_function("other", singleton={"mode": "cancel"}),
    )

    race(flows, *(n % 3 for n in range(EVENTS)))

    assert (3, 1) == (flows.statuses("app-fn")["queued"], flows.statuses("app-other")["queued"])
    assert {"queued", "cancelled", "skipped"} >= set(flows.statuses())
    assert 2 * EVENTS == sum(flows.statuses().values())


def test_all_events_are_in_batches_of_the_right_size_and_none_is_in_two(concurrent: Database, race: Race) -> None:
    flows = promising(concurrent, batchEvents={"maxSize": 10, "timeout": "1m"})

    race(flows, *range(EVENTS))
    flows.work()
    flows.wait(60)

    sizes = sorted(len(call) for call in flows.calls())
    assert [EVENTS % 10] + [10] * (EVENTS // 10) == sizes
    assert list(range(EVENTS)) == sorted(data for call in flows.calls() for data in call)


def test_many_events_are_debounced_to_one_run(concurrent: Database, race: Race, rivals: list[Database]) -> None:
    flows = promising(concurrent, debounce={"period": "5s"})

    race(flows, *range(EVENTS))
    flows.clock.advance(timedelta(seconds=5))
    fired = flows.jobs(*TIMED)
    at_once(*(partial(fire_all, flows.other(database), fired) for database in rivals))

    assert {"queued": 1} == flows.statuses()


def test_a_timer_raced_by_new_events_loses_none(concurrent: Database, rivals: list[Database]) -> None:
    """Each event is in a batch that starts, whether the timer or the next event comes first."""
    flows = promising(concurrent, batchEvents={"maxSize": 50, "timeout": "1s"})
    sent = 0

    for _ in range(10):
        flows.receive(sent)
        flows.clock.advance(timedelta(seconds=1))
        flows.send(sent + 1, sent + 2)
        sent += 3
        matching, timer = flows.jobs(jobs.MATCH), flows.jobs(*TIMED)
        at_once(
            partial(match, flows.other(rivals[0]), matching[:1], 0),
            partial(match, flows.other(rivals[1]), matching[1:], 0),
            partial(fire_all, flows.other(rivals[2]), timer),
        )
    flows.wait(60)
    flows.work()

    assert list(range(sent)) == sorted(data for call in flows.calls() for data in call)


def test_a_throttle_lets_so_many_go_and_those_that_begin_hold_its_pace(
    concurrent: Database, race: Race, rivals: list[Database]
) -> None:
    flows = promising(concurrent, throttle={"limit": 5, "period": "10s", "burst": 4})
    race(flows, *range(40))

    begun = []
    for _ in range(10):
        due, timer = flows.jobs(jobs.CALL), flows.jobs(*TIMED)
        before = len(flows.called)
        workers = [flows.other(database) for database in rivals[:4]]
        at_once(
            *(partial(work_all, parts, due) for parts in workers),
            *(partial(fire_all, parts, timer) for parts in workers),
        )
        flows.fire()
        begun.append(len(flows.called) - before)
        flows.clock.advance(timedelta(seconds=2))
        flows.fire()

    # Five at once, then one every two seconds.
    assert [5, 1, 1, 1, 1, 1, 1, 1, 1, 1] == begun


@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once_ends(concurrent: Database, race: Race, rivals: list[Database], seed: int) -> None:
    """Functions with every option on the same events; a circle of waiting would fail a thread, or cost a retry."""
    key = {"key": "event.data"}
    flows = Flows(
        concurrent,
        a_function("rate", rateLimit={"limit": 3, "period": "1h"} | key),
        a_function("one", singleton={"mode": "cancel"} | key, throttle={"limit": 2, "period": "1s"} | key),
        a_function("later", debounce={"period": "1s"} | key, singleton={"mode": "cancel"} | key),
        a_function("many", batchEvents={"maxSize": 4, "timeout": "1s"} | key, throttle={"limit": 1, "period": "1s"}),
    )

    race(flows, *((n + seed) % 5 for n in range(EVENTS)), together=5)
    flows.clock.advance(timedelta(seconds=1))
    timers = flows.jobs(*TIMED)
    at_once(*(partial(fire_all, flows.other(database), timers) for database in rivals))

    assert {"queued": 15, "skipped": EVENTS - 15} == flows.statuses("app-rate")
    assert EVENTS == sum(flows.statuses("app-one").values())
    assert (5, 5) == (flows.statuses("app-one")["queued"], flows.statuses("app-later")["queued"])
    with concurrent.read() as conn:
        assert 0 == conn.exec_driver_sql("SELECT count(*) FROM jobs WHERE crashes > 0").scalar_one()
        batched = conn.exec_driver_sql("SELECT count(*) FROM batch_events").scalar_one()
    assert EVENTS == batched
