"""Calls that take their slots, and runs that give them back, in one statement with others: nothing is decided wrong.

PostgreSQL alone has these statements.  Two processes send them at once, each from several threads.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import select, text, update

from orchestrator.core import concurrency
from orchestrator.core.concurrency import Needs
from orchestrator.core.effect import Continue, Finish, Status
from orchestrator.core.function import Concurrency
from orchestrator.core.run import Decision, Run
from orchestrator.store import allowances, cure, jobs, runs, schema, slots
from orchestrator.store.database import Database
from orchestrator.store.jobs import Lease
from orchestrator.store.postgresql_slots import Entering
from orchestrator.store.slots import Entered, Entry
from tests.services import own_database
from tests.store.factories import NOW, UNTIL, after, at_once, take
from tests.store.slots.hall import POOLS, SLOTS, Hall
from tests.wire.harness import until

USERS = ("ann", "ben", "cleo")
KINDS = (
    Concurrency(2, "event.data.user"),
    Concurrency(3),
    Concurrency(4, '"api"', "env"),
    Concurrency(2, "event.data.user", whole_run=True),
)


class Together(Hall):
    """A hall on PostgreSQL, where groups are written."""

    def entering(self, lease: Lease) -> Entering:
        wanted = self.needs_of(lease)
        return Entering(lease, "f", wanted, NOW, concurrency.rank(NOW), begins=True)

    def leased(self, count: int, chance: random.Random) -> list[Lease]:
        """The first calls of new runs."""
        ids = [self.job(chance.choice(USERS)) for _ in range(count)]
        with self.database.write() as conn:
            return [take(conn, job_id) for job_id in ids]

    def enter_all(self, leases: Sequence[Lease]) -> list[Entered]:
        assert self.hot is not None
        entered = self.hot.enter_all([self.entering(lease) for lease in leases])
        self.admit(*(key for one in entered for key in one.to_admit))
        return entered

    def end_all(self, leases: Sequence[Lease]) -> None:
        """End the runs of these calls, all at once."""
        outcomes = at_once(*(partial(finish, self.database, lease) for lease in leases))
        assert all(accepted for accepted, _ in outcomes)
        self.admit(*(key for _, freed in outcomes for key in freed))

    def has(self, lease: Lease) -> set[str]:
        """The pools that it has a slot of."""
        with self.database.read() as conn:
            mine = SLOTS.c.job_id.is_(None) | (SLOTS.c.job_id == lease.job_id)
            return {row.pool for row in conn.execute(select(SLOTS).where(SLOTS.c.run_id == lease.run_id, mine))}

    def check(self) -> None:
        """Nothing is taken that is not there, no count is wrong, and nobody waits where there is room."""
        with self.database.read() as conn:
            allowed = {row.id: row.declared for row in conn.execute(select(LIMITS))}
            full = [row for row in conn.execute(select(POOLS)) if row.used > allowed[row.limit_id]]
            assert ([], [], []) == (full, cure.miscounted(conn), cure.stuck(conn))


LIMITS = allowances.concurrency_limits
BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def finish(database: Database, lease: Lease) -> tuple[bool, frozenset[str]]:
    """End the run of a call; whether that was accepted, and where others wait for what it had."""
    hot, run = database.hot, Run(lease.run_id or "")
    assert hot is not None
    decision = Decision(run, (Finish(Status.COMPLETED, "1"),), Continue())
    outcome = hot.settle(lease, run, decision, [], after(1), limited=True)
    assert outcome is not None
    return outcome.accepted, outcome.freed


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with own_database("postgresql") as made:
        schema.upgrade(made)
        yield made


@pytest.fixture
def hall(url: str) -> Iterator[Together]:
    database = Database(url)
    assert database.hot is not None
    with database.write() as conn:
        for table in (SLOTS, POOLS, LIMITS, runs.runs, jobs.jobs):
            conn.execute(table.delete())
    yield Together(database, database.hot.slots)
    database.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_group_takes_what_there_is_and_the_rest_wait_with_what_they_have(hall: Together, seed: int) -> None:
    chance = random.Random(seed)
    hall.declare(*chance.sample(KINDS, chance.randint(1, len(KINDS))))
    left, admitted = 0, list[Lease]()

    for _ in range(4):
        leases = hall.leased(chance.randint(1, 12), chance)
        entered = hall.enter_all(leases)
        left += len(leases)
        for lease, one in zip(leases, entered, strict=True):
            keys = {pool.key for pool in hall.needs_of(lease).pools}
            if one.entry is Entry.ADMITTED:
                assert keys == hall.has(lease)
                admitted.append(lease)
            else:
                assert Entry.PARKED is one.entry
                assert one.waits_at in keys
        hall.check()
    while left:
        left -= len(admitted)
        hall.end_all(admitted)
        hall.check()
        ready = hall.heard.take()
        assert ready or not left, f"{left} are left behind: {hall.levels()}"
        with hall.database.write() as conn:
            admitted = jobs.lease(conn, ready, "worker", NOW, UNTIL)

    assert {(0, 0)} == set(hall.levels().values())
    with hall.database.read() as conn:
        assert [] == conn.execute(select(SLOTS)).all()
        assert {"completed"} == set(conn.execute(select(runs.runs.c.status)).scalars())


def test_of_a_group_the_first_come_is_first_served(hall: Together) -> None:
    hall.declare(Concurrency(2))
    leases = hall.leased(4, random.Random(1))

    entered = hall.enter_all(leases)

    assert [Entry.ADMITTED] * 2 + [Entry.PARKED] * 2 == [one.entry for one in entered]


def test_a_group_does_not_pass_those_who_wait(hall: Together) -> None:
    """Even if there is room: whoever made it is about to serve them, or died, and then whoever comes does."""
    hall.declare(Concurrency(1))
    first, second, third = hall.leased(3, random.Random(1))
    hall.enter_all([first, second])
    _, freed = finish(hall.database, first)

    [entered] = hall.enter_all([third])

    assert (Entry.PARKED, freed) == (entered.entry, entered.to_admit)
    assert [second.job_id] == hall.heard.take()


def test_a_lost_lease_takes_nothing_and_gives_nothing_back_whoever_else_is_in_the_group(hall: Together) -> None:
    hall.declare(Concurrency(9))
    good, lost, late = hall.leased(3, random.Random(1))
    stale, too_late = (replace(lease, generation=lease.generation - 1) for lease in (lost, late))

    entered = hall.enter_all([stale, good, late])
    outcomes = at_once(*(partial(finish, hall.database, lease) for lease in (good, too_late, good)))

    assert [Entry.LOST, Entry.ADMITTED, Entry.ADMITTED] == [one.entry for one in entered]
    assert [False, True] == [outcomes[1][0], outcomes[0][0] or outcomes[2][0]]
    assert {"": (1, 0)} == hall.levels()
    hall.check()


def test_a_pool_that_somebody_else_makes_meanwhile_is_looked_at_again(hall: Together) -> None:
    hall.declare(Concurrency(1))
    [lease] = hall.leased(1, random.Random(1))
    [pool] = hall.needs_of(lease).pools
    assert hall.hot is not None
    with ThreadPoolExecutor(1) as thread:
        with hall.database.write() as conn:
            row = slots.new_row("f", pool) | {"turn": "", "used": 1}
            conn.execute(POOLS.insert(), row)
            entered = thread.submit(hall.hot.enter_all, [hall.entering(lease)])
            until(lambda: conn.execute(BLOCKED).scalar_one(), "a statement that waits for the pool")

        assert [Entry.UNKNOWN] == [one.entry for one in entered.result(20)]

    assert {"": (1, 0)} == hall.levels()
    assert jobs.LEASED == hall.state(lease.job_id)


def test_a_statement_that_comes_twice_takes_no_slot_twice(hall: Together) -> None:
    """A lost connection does not tell whether what was sent was done."""
    hall.declare(*KINDS[:2])
    leases = hall.leased(3, random.Random(1))

    first, again = hall.enter_all(leases), hall.enter_all(leases)

    assert [Entry.ADMITTED] * 3 == [one.entry for one in first] == [one.entry for one in again]
    assert (3, 0) == hall.levels()[""]
    hall.check()


def test_two_processes_that_write_groups_at_once_keep_all_promises(hall: Together, url: str) -> None:
    """Keys that nobody had before, so that both make the same pools in the same moment, again and again."""
    other = Database(url)
    assert other.hot is not None
    halls = [hall, Together(other, other.hot.slots)]
    hall.declare(Concurrency(2, "event.data.user"), Concurrency(6), Concurrency(1_000, '"api"', "env"))
    halls[1].limits = hall.limits
    inside, most = set[int](), [0]

    def come(number: int, job_id: int) -> None:
        mine = halls[number % 2]
        ready = [job_id]
        while ready:
            with mine.database.write() as conn:
                taken = jobs.lease(conn, [ready.pop()], f"process{number % 2}", NOW, UNTIL)
            for lease in taken:
                if lease.admitted or mine.ask(lease).entry is Entry.ADMITTED:
                    leave(mine, lease)
            ready += mine.heard.take()

    def leave(mine: Together, lease: Lease) -> None:
        with hall.lock:
            inside.add(lease.job_id)
            most[0] = max(most[0], len(inside))
        with hall.lock:
            inside.discard(lease.job_id)
        accepted, freed = finish(mine.database, lease)
        assert accepted
        mine.admit(*freed)

    for turn in range(8):
        todo = [hall.job(f"user {turn} {at % 3}") for at in range(12)]
        at_once(*(partial(come, number, job_id) for number, job_id in enumerate(todo)))
        hall.check()
    for one in halls:
        for job_id in one.heard.take():
            come(0, job_id)

    assert most[0] <= 6
    assert {(0, 0)} == set(hall.levels().values())
    with hall.database.read() as conn:
        assert [] == conn.execute(select(jobs.jobs.c.id)).all()
    other.close()


def test_what_an_operator_wants_counts_for_a_group(hall: Together) -> None:
    hall.declare(Concurrency(1))
    [limit] = Needs.read(hall.needs().text()).pools
    with hall.database.write() as conn:
        conn.execute(update(LIMITS).where(LIMITS.c.id == limit.limit_id).values(override=3))

    entered = hall.enter_all(hall.leased(5, random.Random(1)))

    assert 3 == [one.entry for one in entered].count(Entry.ADMITTED)
