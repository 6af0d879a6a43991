"""Slots: never more than a limit allows, never leaked, nobody passed over; the rows are the truth."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import String, cast, func, insert, literal, select, update

from orchestrator.core import concurrency
from orchestrator.core.concurrency import Needs
from orchestrator.core.effect import Status
from orchestrator.core.function import Concurrency
from orchestrator.queue.admit import admit, free_abandoned, set_right
from orchestrator.store import allowances, cure, due, jobs, runs, slots
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.postgresql_slots import HotSlots
from orchestrator.store.slots import Entered, Entry
from orchestrator.store.tables import metadata
from tests.store.factories import BY, NOW, UNTIL, add_run, after, at_once, job, take

USER, TOTAL = Concurrency(1, "event.data.user"), Concurrency(2)
POOLS, SLOTS = metadata.tables["pools"], metadata.tables["slots"]


@dataclass
class Heard:
    hints: list[Hint] = field(default_factory=list)

    def announce(self, hints: list[Hint]) -> None:
        self.hints += hints

    def take(self) -> list[int]:
        ids = [hint.job_id for hint in self.hints]
        self.hints.clear()
        return ids


class Hall:
    """Runs of functions with limits, and their calls."""

    def __init__(self, database: Database, hot: HotSlots | None) -> None:
        self.database, self.hot, self.heard = database, hot, Heard()
        self.lock = threading.Lock()

    def declare(self, *limits: Concurrency, function_id: str = "f") -> None:
        self.limits = limits
        with self.database.write() as conn:
            allowances.save(conn, function_id, limits)

    def needs(self, user: str = "ann", function_id: str = "f") -> Needs:
        wanted, _ = concurrency.needs(function_id, self.limits, {"data": {"user": user}})
        assert wanted is not None
        return wanted

    def job(self, user: str = "ann", function_id: str = "f") -> int:
        """A ready call of a new run."""
        wanted = self.needs(user, function_id)
        with self.database.write() as conn:
            run_id = add_run(conn, function_id=function_id, limits=wanted.text(), status=Status.QUEUED)
            return jobs.add(conn, jobs.CALL, jobs.call_key(run_id), NOW, run_id=run_id).job_id

    def enter(self, job_id: int, owner: str = "worker", priority: int = 0, at: float = 0) -> tuple[Lease, Entered]:
        """Lease the job and ask for its slots."""
        with self.database.write() as conn:
            lease = take(conn, job_id, owner=owner)
        return lease, self.ask(lease, priority, at)

    def ask(self, lease: Lease, priority: int = 0, at: float = 0) -> Entered:
        with self.database.read() as conn:
            run = conn.execute(
                select(metadata.tables["runs"]).where(metadata.tables["runs"].c.id == lease.run_id)
            ).one()
        wanted = Needs.read(run.limits)
        place = concurrency.rank(after(at), priority)
        while (entered := self.enter_once(lease, run, wanted, place)).entry is Entry.UNKNOWN:
            self.ensure(run.function_id, wanted)
        self.admit(*entered.to_admit)
        return entered

    def needs_of(self, lease: Lease) -> Needs:
        with self.database.read() as conn:
            return Needs.read(runs.get(conn, lease.run_id or "").limits)

    def enter_once(self, lease: Lease, run: Any, wanted: Needs, rank: int) -> Entered:
        begins = run.status == Status.QUEUED
        if self.hot is not None:
            return self.hot.enter(lease, run.function_id, wanted, NOW, rank, begins=begins)
        with self.database.write() as conn:
            return slots.enter(conn, lease, run.function_id, wanted, NOW, rank, begins=begins)

    def ensure(self, function_id: str, wanted: Needs) -> None:
        if self.hot is not None:
            return  # it makes them itself, unless somebody else does so at this moment
        with self.database.write() as conn:
            slots.ensure(conn, function_id, wanted.pools)

    def admitted(self, user: str = "ann", **values: str) -> Lease:
        """A call that has its slots."""
        lease, entered = self.enter(self.job(user, **values))
        assert Entry.ADMITTED is entered.entry
        return lease

    def parked(self, user: str = "ann", priority: int = 0, at: float = 0, **values: str) -> int:
        """A call that waits."""
        lease, entered = self.enter(self.job(user, **values), priority=priority, at=at)
        assert Entry.PARKED is entered.entry
        return lease.job_id

    def end(self, lease: Lease) -> list[int]:
        """End the call; returns the jobs that were admitted for it."""
        with self.database.write() as conn:
            assert jobs.end(conn, lease)
            freed = slots.leave(conn, lease.run_id or "", lease.job_id)
        self.admit(*freed)
        return self.heard.take()

    def admit(self, *keys: str) -> int:
        return admit(self.database, self.heard, keys, NOW)

    def levels(self) -> dict[str, tuple[int, int]]:
        """What is taken and who waits, by the value of the key."""
        with self.database.read() as conn:
            return {row.value: (row.used, row.waiting) for row in conn.execute(select(POOLS))}

    def state(self, job_id: int) -> int:
        with self.database.read() as conn:
            return int(job(conn, job_id).state)

    def wrong(self) -> list[str]:
        with self.database.read() as conn:
            return cure.miscounted(conn)


@pytest.fixture(params=["general", "hot"])
def hall(request: pytest.FixtureRequest, database: Database) -> Hall:
    """The statements that every database is given, and those that PostgreSQL is given for the frequent case."""
    if request.param == "general":
        return Hall(database, None)
    if database.hot is None:
        pytest.skip("this database has none")
    return Hall(database, database.hot.slots)


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


def crowd(hall: Hall, count: int) -> None:
    """Park calls of the busy key at the pool of all, as entering would have done."""
    wanted = hall.needs("busy")
    narrow, wide = (pool.key for pool in wanted.pools)
    with hall.database.write() as conn:
        run_id = add_run(conn, function_id="f", limits=wanted.text())
        table = metadata.tables["jobs"]
        numbers = select(literal(1).label("at")).cte(recursive=True)
        numbers = numbers.union_all(select(numbers.c.at + 1).where(numbers.c.at < count))
        row = {"kind": jobs.CALL, "run_at": NOW, "state": jobs.WAITING, "waits_at": wide, "lane": wanted.lane}
        row |= {"attempt": 0, "generation": 0, "crashes": 0, "again": False, "admitted": False, "run_id": run_id}
        values = [literal(value, table.c[name].type) for name, value in row.items()]
        values += [literal("crowd:").concat(cast(numbers.c.at, String)), numbers.c.at]
        conn.execute(insert(table).from_select([*row, "key", "rank"], select(*values)))
        held = [literal(narrow), literal(run_id, SLOTS.c.run_id.type), literal(NOW, SLOTS.c.since.type), table.c.id]
        conn.execute(
            insert(SLOTS).from_select(
                ["pool", "run_id", "since", "job_id"], select(*held).where(table.c.waits_at == wide)
            )
        )
        cure.recount(conn, [narrow, wide])
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("ANALYZE jobs")


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


def cancel(hall: Hall, run_id: str) -> None:
    with hall.database.write() as conn:
        gone = jobs.end_all_of_run(conn, run_id)
        freed = slots.end_runs(conn, [run_id], None, gone)
    hall.admit(*freed)


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
    todo = [hall.job(chance.choice(["ann", "ben", "cleo"])) for _ in range(120)]
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
