"""Slots: never more than a limit allows, and nobody passed over."""

from __future__ import annotations

import time

from orchestrator.core.effect import Status
from orchestrator.core.function import Concurrency
from orchestrator.store import allowances, due, jobs, runs
from orchestrator.store.jobs import Lease
from orchestrator.store.slots import Entry
from tests.store.factories import NOW, UNTIL, after, job, take
from tests.store.slots.hall import TOTAL, USER, Hall, crowd


def test_a_call_takes_a_slot_of_each_pool_and_gives_all_back(hall: Hall):
    hall.declare(USER, TOTAL)

    lease = hall.admitted()
    taken = hall.levels()
    hall.end(lease)

    assert {"ann": (1, 0), "": (1, 0)} == taken
    assert {"ann": (0, 0), "": (0, 0)} == hall.levels()


def test_a_call_without_a_slot_is_parked_where_it_is_missing_and_not_due_any_more(hall: Hall):
    hall.declare(USER, TOTAL)
    hall.admitted()

    waiting = hall.parked()

    assert jobs.WAITING == hall.state(waiting)
    assert {"ann": (1, 1), "": (1, 0)} == hall.levels()
    with hall.database.write() as conn:
        assert [] == jobs.lease(conn, [waiting], "w", NOW, UNTIL)
        assert [] == due.due(conn, after(1e6), after(1e6), 10)


def test_a_parked_call_keeps_the_slots_of_the_pools_before(hall: Hall):
    hall.declare(USER, TOTAL)
    hall.admitted("ann")
    hall.admitted("ben")

    hall.parked("cleo")

    assert {"ann": (1, 0), "ben": (1, 0), "cleo": (1, 0), "": (2, 1)} == hall.levels()


def test_whoever_ends_lets_the_next_in_who_has_its_slots_when_leased(hall: Hall):
    hall.declare(Concurrency(1))
    lease, waiting = hall.admitted(), hall.parked()

    assert [waiting] == hall.end(lease)
    with hall.database.write() as conn:
        taken = take(conn, waiting)

    assert taken.admitted
    assert {"": (1, 0)} == hall.levels()


def test_a_call_that_asks_again_takes_nothing_twice(hall: Hall):
    hall.declare(USER, TOTAL)
    lease = hall.admitted()

    assert Entry.ADMITTED is hall.ask(lease).entry
    assert {"ann": (1, 0), "": (1, 0)} == hall.levels()


def test_a_run_is_queued_until_its_first_call_has_its_slots(hall: Hall):
    hall.declare(Concurrency(1))
    lease = hall.admitted()
    waiting = hall.parked()

    with hall.database.read() as conn:
        begun, queued = runs.get(conn, lease.run_id or ""), runs.get(conn, job(conn, waiting).run_id)

    assert (Status.RUNNING, NOW) == (begun.status, begun.started_at)
    assert (Status.QUEUED, None) == (queued.status, queued.started_at)


def test_a_lost_lease_gets_no_slot(hall: Hall):
    hall.declare(TOTAL)
    lease = hall.admitted()
    stale = Lease(lease.job_id, lease.generation - 1, lease.kind, lease.key, lease.run_id)

    assert Entry.LOST is hall.ask(stale).entry


def test_priority_goes_first_and_age_decides_among_equals(hall: Hall):
    hall.declare(Concurrency(1))
    lease = hall.admitted()
    old, young = hall.parked(at=1), hall.parked(at=2)
    urgent, oldest = hall.parked(at=3, priority=60), hall.parked(at=0)

    order = []
    for _ in range(4):
        [job_id] = hall.end(lease)
        order.append(job_id)
        with hall.database.write() as conn:
            lease = take(conn, job_id)

    assert [urgent, oldest, old, young] == order


def test_keys_take_turns_however_many_of_one_wait(hall: Hall):
    hall.declare(Concurrency(2, "event.data.user"), Concurrency(1))
    lease = hall.admitted("ann")
    of = {hall.parked("ann"): "ann"} | {hall.parked("ben", at=at): "ben" for at in range(2)}
    of |= {hall.parked("cleo", at=9): "cleo"}

    order = []
    for _ in range(4):
        [job_id] = hall.end(lease)
        order.append(of[job_id])
        with hall.database.write() as conn:
            lease = take(conn, job_id)

    assert {"ann", "ben", "cleo"} == set(order[:3])
    assert "ben" == order[3]


def test_one_key_with_a_hundred_thousand_parked_calls_does_not_delay_another(hall: Hall):
    """On their way to the same slot they take turns, and to find the next one costs the same as among a few."""
    hall.declare(Concurrency(100_000, "event.data.user"), Concurrency(1))
    lease = hall.admitted("busy")
    crowd(hall, 100_000)
    newcomer = hall.parked("quiet", at=60)

    served, slowest = list[int](), 0.0
    while newcomer not in served:
        began = time.monotonic()
        [job_id] = hall.end(lease)
        slowest = max(slowest, time.monotonic() - began)
        served.append(job_id)
        with hall.database.write() as conn:
            lease = take(conn, job_id)

    assert len(served) <= 2
    assert slowest < 1
    assert [] == hall.wrong()


def test_a_change_of_the_limit_counts_at_once_for_those_who_wait(hall: Hall):
    hall.declare(Concurrency(1))
    lease = hall.admitted()
    waiting = [hall.parked() for _ in range(30)]
    [limit] = hall.needs().pools

    with hall.database.write() as conn:
        assert allowances.override(conn, "f", limit.limit_id, 26)
        keys = allowances.waiting_pools(conn, "f", [limit.limit_id])
    admitted = hall.admit(*keys)
    with hall.database.write() as conn:
        allowances.override(conn, "f", limit.limit_id, 3)

    assert 25 == admitted
    assert sorted(waiting[:25]) == sorted(hall.heard.take())
    assert [] == hall.end(lease), "26 are at work, three may be"


def test_another_declaration_keeps_what_an_operator_wants(hall: Hall):
    hall.declare(Concurrency(1))
    [limit] = hall.needs().pools
    with hall.database.write() as conn:
        allowances.override(conn, "f", limit.limit_id, 7)

    hall.declare(Concurrency(2))
    with hall.database.read() as conn:
        [found] = allowances.of_function(conn, "f")

    assert (2, 7, 7) == (found.declared, found.override, found.allowed)
