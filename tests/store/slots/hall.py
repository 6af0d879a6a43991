"""A hall of calls that want slots, moved by hand."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import String, cast, insert, literal, select

from orchestrator.core import concurrency
from orchestrator.core.concurrency import Needs
from orchestrator.core.effect import Status
from orchestrator.core.function import Concurrency
from orchestrator.queue.admit import admit
from orchestrator.store import allowances, cure, jobs, runs, slots
from orchestrator.store.database import Database
from orchestrator.store.jobs import Lease
from orchestrator.store.postgresql_slots import HotSlots
from orchestrator.store.slots import Entered, Entry
from orchestrator.store.tables import metadata
from tests.store.factories import NOW, Heard, add_run, after, job, take

USER, TOTAL = Concurrency(1, "event.data.user"), Concurrency(2)
POOLS, SLOTS = metadata.tables["pools"], metadata.tables["slots"]


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


def crowd(hall: Hall, count: int) -> None:
    """Park calls of the busy key at the pool of all, as entering would have done."""
    wanted = hall.needs("busy")
    narrow, wide = (pool.key for pool in wanted.pools)
    with hall.database.write() as conn:
        run_id = add_run(conn, function_id="f", limits=wanted.text())
        table = metadata.tables["jobs"]
        if conn.dialect.name == "mysql":
            conn.exec_driver_sql("SET max_recursive_iterations = 1000000")
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


def cancel(hall: Hall, run_id: str) -> None:
    with hall.database.write() as conn:
        gone = jobs.end_all_of_run(conn, run_id)
        freed = slots.end_runs(conn, [run_id], None, gone)
    hall.admit(*freed)
