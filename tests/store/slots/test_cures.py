"""Slots that nobody gave back, room that nobody served, and many at once."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from orchestrator.core.function import Concurrency
from orchestrator.queue.admit import free_abandoned, set_right
from orchestrator.store import jobs, slots
from orchestrator.store.slots import Entry
from orchestrator.store.tables import jobs as JOBS  # noqa: N812 - as the others of the hall
from tests.store.factories import BY, NOW, PATIENCE, UNTIL, after, at_once, job, let_wait, take
from tests.store.slots.hall import POOLS, SLOTS, TOTAL, USER, Hall, cancel


def test_a_slot_of_a_whole_run_stays_with_the_run_until_its_end(hall: Hall):
    hall.declare(Concurrency(1, whole_run=True))
    lease = hall.admitted()

    with hall.database.write() as conn:
        assert set() == slots.leave(conn, lease.run_id or "", lease.job_id)
    waiting = hall.parked()
    assert Entry.ADMITTED is hall.ask(lease).entry, "the run has it already"
    with hall.database.write() as conn:
        gone = jobs.end_all_of_run(conn, lease.run_id or "")
        freed = slots.end_runs(conn, [lease.run_id or ""], lease, gone)
    hall.admit(*freed)

    assert [waiting] == hall.heard.take()


def test_a_call_that_still_runs_when_its_run_is_cancelled_keeps_its_slot_until_it_is_through(hall: Hall):
    hall.declare(Concurrency(1))
    lease, waiting = hall.admitted(), hall.parked()

    cancel(hall, lease.run_id or "")
    assert {"": (1, 1)} == hall.levels()
    with hall.database.write() as conn:
        freed = slots.let_go(conn, lease)
    hall.admit(*freed)

    assert [waiting] == hall.heard.take()


def test_it_keeps_it_no_longer_than_its_worker_lives(hall: Hall):
    hall.declare(Concurrency(1))
    lease, waiting = hall.admitted(), hall.parked()
    cancel(hall, lease.run_id or "")

    with hall.database.write() as conn:
        slots.extend(conn, BY.owner, [lease], after(60))
    free_abandoned(hall.database, hall.heard, after(45))
    silent = hall.heard.take()
    free_abandoned(hall.database, hall.heard, after(46), ["worker"])

    assert [] == silent
    assert [waiting] == hall.heard.take()


def test_a_run_that_is_cancelled_while_it_waits_leaves_the_line(hall: Hall):
    hall.declare(USER, TOTAL)
    hall.admitted("ann")
    hall.admitted("ben")
    waiting = hall.parked("cleo")
    with hall.database.read() as conn:
        run_id = job(conn, waiting).run_id

    cancel(hall, run_id)

    assert {"ann": (1, 0), "ben": (1, 0), "cleo": (0, 0), "": (2, 0)} == hall.levels()


def test_room_that_nobody_served_is_found(hall: Hall):
    """Whoever freed the slot died before it could admit the next."""
    hall.declare(Concurrency(1))
    lease, waiting = hall.admitted(), hall.parked()
    with hall.database.write() as conn:
        jobs.end(conn, lease)
        slots.leave(conn, lease.run_id or "", lease.job_id)

    free_abandoned(hall.database, hall.heard, NOW)

    assert [waiting] == hall.heard.take()


def test_who_is_next_is_waited_for_where_the_database_seems_to_hold_him_still(hall: Hall):
    if hall.database.kind != "mysql":
        pytest.skip("of a transaction that was committed it holds no lock")
    hall.declare(Concurrency(1))
    lease, waiting = hall.admitted(), hall.parked()

    with ThreadPoolExecutor(1) as pool:
        with hall.database.write() as conn:
            conn.execute(select(JOBS.c.id).where(JOBS.c.id == waiting).with_for_update())
            ended = pool.submit(hall.end, lease)
            let_wait(hall.database, ended)
        admitted = ended.result(PATIENCE)

    assert [waiting] == admitted


def test_a_leaked_slot_and_a_wrong_count_are_set_right_from_the_rows(hall: Hall):
    hall.declare(Concurrency(1))
    lease, waiting = hall.admitted(), hall.parked()
    with hall.database.write() as conn:
        jobs.end(conn, lease)  # and its slot is forgotten
        conn.execute(update(POOLS).values(used=17, waiting=5))

    mended = set_right(hall.database, hall.heard, after(60))

    assert 1 == mended
    assert [waiting] == hall.heard.take()
    assert {"": (1, 0)} == hall.levels()
    assert 0 == set_right(hall.database, hall.heard, after(60))


def test_slots_in_use_are_never_set_right(hall: Hall):
    hall.declare(USER, TOTAL, Concurrency(9, whole_run=True))
    hall.admitted("ann")
    hall.admitted("ben")
    hall.parked("cleo")

    assert 0 == set_right(hall.database, hall.heard, after(3600))
    assert (2, 1) == hall.levels()[""] or (3, 0) == hall.levels()[""]


def test_idle_pools_are_deleted_and_made_again(hall: Hall):
    hall.declare(USER)
    hall.end(hall.admitted("ann"))
    hall.admitted("ben")

    set_right(hall.database, hall.heard, NOW)
    left = hall.levels()
    hall.admitted("ann")

    assert {"ben": (1, 0)} == left
    assert {"ben": (1, 0), "ann": (1, 0)} == hall.levels()


def test_many_at_once_never_take_more_than_there_is_and_all_get_through(hall: Hall):
    """Several pools each, cancellations in between, cures at any time: no deadlock, no leak, no excess."""
    hall.declare(Concurrency(2, "event.data.user"), Concurrency(3), Concurrency(4, '"api"', "env"))
    chance = random.Random(7)
    todo = [hall.job(chance.choice(["ann", "ben", "cleo"])) for _ in range(72)]
    inside: set[int] = set()
    most, done = [0], set[int]()
    ready = [todo.copy()]
    deadline = time.monotonic() + 60

    def worker(number: int) -> None:
        chance = random.Random(number)
        while len(done) < len(todo) and time.monotonic() < deadline:
            with hall.lock:
                hints, hall.heard.hints = hall.heard.hints, []
                ready[0] += [hint.job_id for hint in hints]
                job_id = ready[0].pop(chance.randrange(len(ready[0]))) if ready[0] else None
            if job_id is None:
                time.sleep(0.001)  # another has it
                continue
            step(job_id, f"worker{number}", chance)

    def step(job_id: int, owner: str, chance: random.Random) -> None:
        with hall.database.write() as conn:
            leases = jobs.lease(conn, [job_id], owner, NOW, UNTIL)
        if not leases:
            return
        [lease] = leases
        if not lease.admitted and hall.ask(lease, at=job_id).entry is not Entry.ADMITTED:
            return
        if chance.random() < 0.2:
            with hall.database.write() as conn:
                keys = slots.give_way(conn, lease, hall.needs_of(lease), job_id)
            hall.admit(*keys)
            return
        with hall.lock:
            inside.add(job_id)
            most[0] = max(most[0], len(inside))
        if chance.random() < 0.1:
            set_right(hall.database, hall.heard, NOW)
        with hall.lock:
            inside.discard(job_id)
        if chance.random() < 0.2:
            cancel(hall, lease.run_id or "")
            with hall.database.write() as conn:
                freed = slots.let_go(conn, lease)
        else:
            with hall.database.write() as conn:
                assert jobs.end(conn, lease)
                freed = slots.leave(conn, lease.run_id or "", lease.job_id)
        hall.admit(*freed)
        with hall.lock:
            done.add(job_id)

    at_once(*[lambda number=number: worker(number) for number in range(4)])  # type: ignore[misc]

    assert set(todo) == done, f"{len(todo) - len(done)} were left behind: {hall.levels()}"
    assert most[0] <= 3
    with hall.database.read() as conn:
        assert 0 == conn.execute(select(func.count()).select_from(SLOTS)).scalar_one()
    assert {(0, 0)} == set(hall.levels().values())


def test_shared_pools_are_served_by_each_functions_own_number(hall: Hall):
    shared = '"api"'
    hall.declare(Concurrency(1, shared, "env"), function_id="few")
    hall.declare(Concurrency(2, shared, "env"), function_id="many")
    lease = hall.admitted(function_id="many")

    few = hall.parked(function_id="few")
    many = hall.parked(function_id="many", at=1)
    served, later = hall.heard.take(), hall.end(lease)
    with hall.database.write() as conn:
        second = take(conn, many)

    assert [many] == served, "who is first in line may not begin, and does not keep back who may"
    assert [] == later, "one is at work, which is as many as it allows"
    assert [few] == hall.end(second)


def test_pools_that_are_made_by_several_at_once_are_counted_once(hall: Hall):
    """The first calls of a key come together, again and again: nobody's slot is forgotten, and nobody gets two."""
    hall.declare(Concurrency(3, "event.data.user"), Concurrency(50, '"api"', "env"))

    for number in range(10):
        todo = [hall.job(f"user {number}") for _ in range(4)]
        with hall.database.write() as conn:
            leases = [take(conn, job_id) for job_id in todo]
        entered = at_once(*[lambda lease=lease: hall.ask(lease).entry for lease in leases])  # type: ignore[misc]

        assert [Entry.ADMITTED] * 3 + [Entry.PARKED] == sorted(entered, key=lambda entry: entry.value)
        assert (3, 1) == hall.levels()[f"user {number}"]
    assert [] == hall.wrong()
