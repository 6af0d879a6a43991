"""Rows with defaults: a test spells out only what it is about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError

from orchestrator.core.effect import SaveStep, Status, StepStatus
from orchestrator.core.event import Event
from orchestrator.core.function import Function, Trigger
from orchestrator.ids import named_uuid, new_ulid
from orchestrator.store import functions, jobs, losses, mysql, runs, steps
from orchestrator.store.apply import Holder, call_key
from orchestrator.store.database import Database
from orchestrator.store.functions import Declared
from orchestrator.store.jobs import Hint, Lease
from orchestrator.store.runs import NewRun
from orchestrator.store.tables import metadata

T = TypeVar("T")

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
#: No test waits longer than this for another thread.
PATIENCE = 20
BETWEEN_LOOKS = 0.15
"""Seconds between two looks at who waits. MariaDB keeps its answer until nobody has asked for 100 ms, so that looking
more often shows the first one for ever (its `trx0i_s.cc`, and INNODB_TRX in the manual)."""


def be_impatient(conn: Connection) -> None:
    """Let no statement of this transaction wait long for a lock; on MySQL none of ours ever does."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL lock_timeout = '5s'")


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


UNTIL = after(30)
BY = Holder("worker", NOW, UNTIL)


def an_event(name: str = "shop/order.paid", **values: Any) -> Event:
    defaults = {"id": new_ulid(), "data": '{"n":1}', "ts": 1_767_000_000_000, "received_at": NOW}
    return Event(name=name, **(defaults | values))


def a_run(**values: Any) -> NewRun:
    defaults = {
        "id": new_ulid(),
        "function_id": "f",
        "function_version": 1,
        "event_id": new_ulid(),
        "event_name": "shop/order.paid",
        "status": Status.RUNNING,
        "queued_at": NOW,
    }
    return NewRun(**(defaults | values))


def a_step(step_id: str, status: StepStatus = StepStatus.COMPLETED, **values: Any) -> SaveStep:
    defaults = {"name": step_id, "op": "StepRun", "fresh": True}
    if status.done:
        defaults["memo"] = f'{{"data":"{step_id}"}}'
    return SaveStep(id=step_id, status=status, **(defaults | values))


def a_function(slug: str = "shop-pay", *events: str, checksum: str = "1", **values: Any) -> Declared:
    triggers = tuple(Trigger(event=event) for event in events or ("shop/order.paid",))
    defaults = {"name": slug, "url": "http://app", "triggers": triggers}
    return Declared(Function(slug=slug, **(defaults | values)), f'{{"id":"{slug}"}}', checksum)


def add_app(conn: Connection, name: str = "shop", *declared: Declared, now: datetime = NOW) -> str:
    app_id = named_uuid("app", name)
    functions.save_app(conn, app_id, {"name": name, "url": f"http://{name}"}, now)
    functions.save_functions(conn, app_id, declared, now)
    return app_id


def add_run(conn: Connection, **values: Any) -> str:
    run = a_run(**values)
    runs.add(conn, [run])
    return run.id


def add_steps(conn: Connection, run_id: str, *saved: SaveStep) -> None:
    steps.save(conn, run_id, saved, NOW)


def add_job(conn: Connection, key: str = "job", run_at: datetime = NOW, kind: str = jobs.CALL, **values: Any) -> int:
    return jobs.add(conn, kind, key, run_at, **values).job_id


def take(conn: Connection, *ids: int, owner: str = "worker", now: datetime = NOW, until: datetime = UNTIL) -> Lease:
    """The lease of the first of these jobs, all of which are leased."""
    return jobs.lease(conn, ids, owner, now, until)[0]


def add_leased(conn: Connection, key: str = "job", **values: Any) -> Lease:
    return take(conn, add_job(conn, key, **values))


def add_discovery(conn: Connection, run_id: str) -> Lease:
    return jobs.add_leased(conn, jobs.CALL, call_key(run_id), run_id, BY.owner, NOW, UNTIL)


def lose(conn: Connection, lease: Lease) -> Lease:
    """Let the lease be lost: the job is leased anew, by another process."""
    losses.recover(conn, lease, NOW)
    return take(conn, lease.job_id, owner="another")


def job(conn: Connection, job_id: int) -> Any:
    """The job's row, or None."""
    return conn.execute(select(metadata.tables["jobs"]).where(metadata.tables["jobs"].c.id == job_id)).first()


def content(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    return {
        table.name: sorted((tuple(row) for row in conn.execute(select(table))), key=repr)
        for table in metadata.sorted_tables
    }


def counts(conn: Connection) -> dict[str, int]:
    """How many rows each table has; empty tables are left out."""
    return {name: len(rows) for name, rows in content(conn).items() if rows}


def insert_rows(conn: Connection, table: str, rows: Sequence[dict[str, Any]]) -> None:
    conn.execute(insert(metadata.tables[table]), rows)


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Make the calls in a thread each, all starting together; returns their results in order.

    What InnoDB took back for another's sake is done again, as whoever calls the store does (see `store.mysql`); on the
    other databases nobody may stand in another's way.
    """
    barrier = Barrier(len(calls))

    def start(call: Callable[[], T]) -> T:
        barrier.wait(PATIENCE)
        while True:
            try:
                return call()
            except DBAPIError as error:
                if not mysql.is_disturbance(error):
                    raise

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(start, call) for call in calls]]


@dataclass
class Heard:
    """An announcer that remembers."""

    hints: list[Hint] = field(default_factory=list)

    def announce(self, hints: list[Hint]) -> None:
        self.hints += hints

    def take(self) -> list[int]:
        ids = [hint.job_id for hint in self.hints]
        self.hints.clear()
        return ids


def waiting(database: Database) -> int:
    asked = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
        "ON p.id = t.trx_mysql_thread_id WHERE p.db = database() AND t.trx_state = 'LOCK WAIT'",
    }
    with database.read() as conn:
        return int(conn.execute(text(asked[database.kind])).scalar_one())


def let_wait(database: Database, thing: Future[Any]) -> None:
    """Return when somebody waits for a lock, or `thing` is done."""
    deadline = time.monotonic() + PATIENCE
    while not thing.done() and not waiting(database):
        assert time.monotonic() < deadline
        threading.Event().wait(BETWEEN_LOOKS)
