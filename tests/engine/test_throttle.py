"""Throttle and priority: every run starts in the end, in its turn, and never more than may."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.engine.cancel import cancel
from orchestrator.engine.match import match
from orchestrator.engine.recover import recover
from orchestrator.engine.work import take, work
from orchestrator.queue.local import LocalQueue
from orchestrator.store import functions, jobs, throttles
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint
from tests.engine.flows import NOW, Flows, a_function

#: One every ten seconds.
SLOW = {"limit": 1, "period": "10s", "burst": 0}


def throttled(database: Database, **options: object) -> Flows:
    return Flows(database, a_function(throttle=SLOW | options))


def test_starts_come_one_by_one_in_the_order_of_their_events(database: Database) -> None:
    flows = throttled(database)

    flows.send(*range(5))
    flows.match()
    exists, at_once = flows.statuses(), flows.work()
    seen = []
    for _ in range(45):
        flows.wait(1)
        seen.append(len(flows.called))

    assert (1, {"queued": 5}) == (at_once, exists)
    assert [1] * 9 + [2] * 10 + [3] * 10 + [4] * 10 + [5] * 6 == seen
    assert ([[it] for it in range(5)], []) == (flows.calls(), flows.timers())


def test_those_that_wait_for_it_are_counted_as_far_as_one_looks(database: Database) -> None:
    flows = throttled(database)

    def held(most: int) -> tuple[int, bool]:
        with database.read() as conn:
            [function] = functions.functions_of(conn)
            count = throttles.held_of(conn, function.id, most)
            return count.number, count.exact

    flows.receive(*range(5))
    flows.work()
    before = held(100), held(2)[1]
    flows.wait(10)
    after = held(100)
    for _ in range(4):
        flows.wait(10)

    assert (((4, True), False), (3, True), (0, True)) == (before, after, held(100))


def test_what_is_begun_by_who_matches_counts_as_well(database: Database) -> None:
    flows = throttled(database)

    flows.send(*range(3))
    flows.match(room=10)

    assert ([[0]], [10]) == (flows.calls(), flows.timers())


def test_a_burst_comes_at_once_and_then_the_pace_holds(database: Database) -> None:
    flows = throttled(database, burst=2)

    flows.send(*range(6))
    flows.match()
    counts = [flows.work()]
    for _ in range(3):
        flows.wait(10)
        counts.append(len(flows.called))

    assert [3, 4, 5, 6] == counts


def test_each_value_of_the_key_has_its_own_pace(database: Database) -> None:
    flows = throttled(database, key="event.data")

    flows.receive("a", "a", "b")

    assert 2 == flows.work()


def test_after_an_outage_what_is_late_does_not_start_all_at_once(database: Database) -> None:
    flows = throttled(database)
    flows.send(*range(5))
    flows.match()

    flows.clock.advance(timedelta(hours=1))
    flows.fire()
    flows.work()

    assert [[0]] == flows.calls()
    flows.wait(10)
    assert [[0], [1]] == flows.calls()


def test_those_let_go_while_no_worker_is_free_do_not_pile_up(database: Database) -> None:
    flows = throttled(database)
    flows.send(*range(5))
    flows.match()

    for _ in range(10):
        flows.clock.advance(timedelta(seconds=10))
        flows.fire()

    assert 1 == flows.work()
    assert [10] == flows.timers()


def test_a_newcomer_does_not_overtake_those_that_wait(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0, 1)
    flows.work()

    flows.clock.advance(timedelta(seconds=10))
    flows.receive(2)
    early = flows.work()
    flows.wait(0)

    assert (0, [[0], [1]]) == (early, flows.calls())


def test_who_came_first_starts_first_whoever_was_matched_first(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0)
    flows.work()
    for number in (1, 2, 3):
        flows.clock.advance(timedelta(seconds=1))
        flows.send(number)

    for job_id in reversed(flows.jobs(jobs.MATCH)):
        assert [] == match(flows.parts, [job_id], room=0)
    for _ in range(3):
        flows.wait(10)

    assert [[0], [1], [2], [3]] == flows.calls()


def test_a_run_of_priority_overtakes_those_that_came_less_than_so_long_before_it(database: Database) -> None:
    flows = Flows(database, a_function(throttle=SLOW, priority={"run": "event.data.p"}))
    flows.receive({"n": 0, "p": 0}, {"n": 1, "p": 0})
    flows.clock.advance(timedelta(seconds=2))
    flows.receive({"n": 2, "p": 0}, {"n": 3, "p": 1}, {"n": 4, "p": 300}, {"n": 5, "p": -5})
    flows.work()

    for _ in range(6):
        flows.wait(10)

    assert [0, 4, 1, 3, 2, 5] == [call[0]["n"] for call in flows.calls()]


def test_a_cancelled_run_leaves_no_hole(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0, 1, 2)
    flows.work()

    cancel(flows.parts, flows.runs()[1].id, "test")
    flows.wait(10)

    assert [[0], [2]] == flows.calls()


def test_a_run_that_was_let_go_and_cancelled_takes_no_room(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0, 1)

    cancel(flows.parts, flows.runs()[0].id, "test")
    flows.wait(10)
    flows.wait(5)

    assert [[1]] == flows.calls()
    with database.read() as conn:
        assert 0 == conn.exec_driver_sql("SELECT count(*) FROM throttled").scalar_one()


def test_a_run_whose_worker_was_lost_before_its_call_began_goes_first_still(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0, 1)
    assert take(flows.parts, flows.jobs(jobs.CALL))

    flows.clock.advance(timedelta(seconds=31))
    recover(flows.parts)
    flows.fire()
    flows.work()

    assert [[0]] == flows.calls()


def test_a_run_dated_ahead_waits_for_its_time_and_holds_up_nobody(database: Database) -> None:
    flows = throttled(database)
    flows.receive("later", ts=NOW + timedelta(seconds=60))
    flows.receive("now")

    flows.wait(0)
    flows.wait(59)
    early = flows.calls()
    flows.wait(1)

    assert ([["now"]], [["now"], ["later"]]) == (early, flows.calls())


def test_a_changed_throttle_holds_for_those_that_wait_when_the_next_event_comes(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0, 1, 2)
    flows.work()

    flows.declare(a_function(throttle={"limit": 1, "period": "1s", "burst": 0}))
    flows.clock.advance(timedelta(seconds=10))
    flows.receive(3)
    flows.wait(0)
    for _ in range(2):
        flows.wait(1)

    assert [[0], [1], [2], [3]] == flows.calls()


def test_a_function_that_is_throttled_no_more_lets_all_go(database: Database) -> None:
    flows = throttled(database)
    flows.receive(0, 1)
    flows.work()

    flows.declare(a_function())
    flows.receive(2)
    flows.work()
    flows.wait(10)

    assert [[0], [2], [1]] == flows.calls()


def test_due_hints_are_taken_by_priority_and_then_by_age() -> None:
    from orchestrator.clock import SettableClock

    queue = LocalQueue(SettableClock(NOW))
    ages = {1: (10, 0), 2: (20, 0), 3: (5, 8), 4: (0, 30), 5: (0, -9)}
    queue.announce(
        [
            Hint(job_id, jobs.CALL, NOW - timedelta(seconds=age), priority=priority)
            for job_id, (age, priority) in ages.items()
        ]
    )

    assert [4, 2, 3, 1, 5] == queue.due(10)


def test_the_first_call_carries_the_priority(database: Database) -> None:
    flows = Flows(database, a_function(priority={"run": "event.data"}))
    flows.send(120)
    flows.heard.hints.clear()

    assert [] == match(flows.parts, flows.jobs(jobs.MATCH), room=0)

    [hint] = flows.heard.hints
    with database.read() as conn:
        [job] = conn.execute(jobs.jobs.select())
    assert (120, 120) == (hint.priority, job.priority)


def test_a_run_that_waits_longer_than_it_may_is_cancelled_and_leaves_its_place(database: Database) -> None:
    flows = Flows(database, a_function(throttle=SLOW, timeouts={"start": "12s"}))
    flows.receive(0, 1, 2)
    flows.work()
    flows.wait(10)

    flows.clock.advance(timedelta(seconds=3))
    for held in take(flows.parts, flows.jobs(jobs.RUN_TIMEOUT)):
        work(flows.parts, held)
    flows.receive(3)
    flows.wait(7)

    assert {"cancelled": 1, "completed": 3} == flows.statuses()
    assert [[0], [1], [3]] == flows.calls()
