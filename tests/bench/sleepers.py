"""Very many sleeping runs on PostgreSQL: what they cost while they sleep, and how late they wake.

    python -m tests.bench.sleepers --sleeping 1000000 --due 5000 --over 50

One run is made to sleep by the engine itself and its rows are copied in the database: to send a million events would
measure something else.  The worker is that of `orchestrator dev`, in this process, with functions of this process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from orchestrator.clock import SystemClock
from orchestrator.core.event import Event as Received
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.branch import Held
from orchestrator.engine.declare import declare
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.match import match
from orchestrator.engine.parts import Parts
from orchestrator.engine.work import work
from orchestrator.ids import new_ulid, ulid_as_uuid
from orchestrator.queue.lease import Holdings
from orchestrator.queue.local import LocalQueue, Own
from orchestrator.queue.sweep import MOST, sweep
from orchestrator.sdk.context import Context
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event
from orchestrator.store import due, schema
from orchestrator.store.database import Database
from orchestrator.store.jobs import Hint
from orchestrator.store.presence import Presence
from orchestrator.store.tables import metadata
from orchestrator.workers.inprocess import InProcessWorker
from orchestrator.workers.pool import Pool
from tests.services import own_database
from tests.store.plans import statements

#: How long those sleep that are not to wake.
FAR = timedelta(days=30)
#: The event whose runs sleep until the time it names.
UNTIL = "bench/until"
_RUN = "('0190' || lpad(to_hex(g.n), 28, '0'))::uuid"
_EVENT = "('0191' || lpad(to_hex(g.n), 28, '0'))::uuid"
_AT = "CAST(:base AS timestamptz) + g.n * CAST(:apart AS interval)"
_ROUSED = "FROM generate_series(1, :due) AS g(n)"
_ROUSE_JOBS = f"UPDATE jobs SET run_at = {_AT}, announced_at = NULL {_ROUSED} WHERE key = 'sleeper:' || g.n"
_ROUSE_STEPS = f"UPDATE steps SET wake_at = {_AT} {_ROUSED} WHERE run_id = {_RUN}"
#: What differs between a run's rows and their copies.
_COPIES: dict[str, dict[str, str]] = {
    "events": {"id": _EVENT},
    "runs": {"id": _RUN, "event_id": _EVENT},
    "steps": {"run_id": _RUN, "wake_at": ":far"},
    "history": {"run_id": _RUN},
    "jobs": {"run_id": _RUN, "key": "'sleeper:' || g.n", "run_at": ":far", "announced_at": "NULL"},
}


@dataclass
class Counting:
    """An announcer that counts what goes through it."""

    inner: Own
    announced: int = 0
    most_at_once: int = 0

    def announce(self, hints: Sequence[Hint]) -> None:
        """Count, and pass on."""
        self.announced += len(hints)
        self.most_at_once = max(self.most_at_once, len(hints))
        self.inner.announce(hints)


@dataclass
class Bedroom:
    """A database of sleeping runs, and a worker that is not started yet."""

    parts: Parts
    queue: LocalQueue
    heard: Counting
    woke: Counter[str] = field(default_factory=Counter)

    def fill(self, sleeping: int) -> None:
        """Let so many runs sleep for long."""
        far = self.parts.clock.now() + FAR
        values: dict[str, Any] = {"run": ulid_as_uuid(self._first()), "sleeping": sleeping, "far": far}
        with self.parts.database.write() as conn:
            for table, copied in _COPIES.items():
                conn.execute(text(_copy(table, copied)), values)
            conn.execute(text("DELETE FROM jobs WHERE run_id = :run"), values)
        with self.parts.database.read() as conn:
            conn.exec_driver_sql("VACUUM ANALYZE")

    def rouse(self, due: int, first: datetime, over: timedelta) -> None:
        """Let the first of them wake from `first` on instead, evenly over a span."""
        values = {"due": due, "base": first, "apart": over / due}
        with self.parts.database.write() as conn:
            conn.execute(text(_ROUSE_JOBS), values)
            conn.execute(text(_ROUSE_STEPS), values)

    @contextmanager
    def working(self, executors: int = 10) -> Iterator[None]:
        """A worker works, with a queue of its own: the one before it closed its queue."""
        self.queue = LocalQueue(self.parts.clock)
        self.heard.inner = Own(self.queue, self.parts.local.holds)
        worker = InProcessWorker(self.parts, self.queue, Pool[Held](executors), alone=False)
        worker.start()
        try:
            yield
        finally:
            worker.stop()

    def awake(self) -> int:
        """How many runs have ended."""
        with self.parts.database.read() as conn:
            return conn.execute(text("SELECT count(*) FROM runs WHERE ended_at IS NOT NULL")).scalar_one()

    def lateness(self) -> list[float]:
        """How many seconds after its time each run that woke was at its end, in order."""
        asked = text(
            "SELECT extract(epoch FROM runs.ended_at - steps.wake_at) AS late FROM runs JOIN steps "
            "ON steps.run_id = runs.id WHERE runs.ended_at IS NOT NULL ORDER BY late"
        )
        with self.parts.database.read() as conn:
            return [float(row.late) for row in conn.execute(asked)]

    def timed_sweep(self, now: datetime) -> float:
        """How many seconds one sweep takes."""
        began = time.perf_counter()
        sweep(self.parts.database, self.heard, now)
        return time.perf_counter() - began

    def _first(self) -> str:
        now = datetime.now(UTC)
        event = Received(new_ulid(), "bench/nap", "{}", int(now.timestamp() * 1000), now)
        Ingest(self.parts).accept([event])
        with self.parts.database.read() as conn:
            job_id = conn.execute(text("SELECT id FROM jobs WHERE kind = 'match'")).scalar_one()
        for held in match(self.parts, [job_id], room=1):
            self.parts.holdings.keep([held.lease])
            work(self.parts, held)
        with self.parts.database.read() as conn:
            return str(conn.execute(metadata.tables["runs"].select()).one().id)


@contextmanager
def bedroom() -> Iterator[Bedroom]:
    """A bedroom on a PostgreSQL database of its own."""
    with own_database("postgresql") as url:
        schema.upgrade(url)
        database = Database(url)
        try:
            yield _furnished(database)
        finally:
            database.close()


def _furnished(database: Database) -> Bedroom:
    woke = Counter[str]()

    def nap(ctx: Context) -> None:
        ctx.step.sleep("nap", FAR)
        woke[ctx.run_id] += 1

    def until(ctx: Context) -> None:
        ctx.step.sleep_until("nap", ctx.event.data["until"])
        woke[ctx.run_id] += 1

    registry = Registry("bench")
    registry.add(until, Event(UNTIL), options=Options())
    registry.add(nap, Event("bench/nap"), options=Options())
    clock = SystemClock()
    queue, local = LocalQueue(clock), LocalDriver({registry.app: registry})
    heard = Counting(Own(queue, local.holds))
    holdings = Holdings(database, Presence(database))
    parts = Parts(database, clock, heard, holdings, driver=local, http=None, local=local)  # type: ignore[arg-type]
    declare(parts, registry, "1")
    return Bedroom(parts, queue, heard, woke)


def _copy(table: str, copied: dict[str, str]) -> str:
    own = {"history": "run_id", "steps": "run_id", "jobs": "run_id", "runs": "id"}.get(table)
    where = f"t.{own} = :run" if own else "true"
    serial = {"id"} if table in ("jobs", "history") else set()
    names = [column.name for column in metadata.tables[table].columns if column.name not in serial]
    values = ", ".join(copied.get(name, f"t.{name}") for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} "
        f"FROM {table} t CROSS JOIN generate_series(1, :sleeping) AS g(n) WHERE {where}"
    )


def resident() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed; they are in order."""
    return values[min(len(values) - 1, int(len(values) * part))]


def plan_of_sweep(conn: Connection, now: datetime) -> str:
    """How PostgreSQL looks for due jobs, in its own words."""
    [(statement, values)] = statements(conn, lambda asked: due.due(asked, now, now, MOST))
    return "\n".join(str(row[0]) for row in conn.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", values))


def main() -> None:
    """Fill, look, let wake, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sleeping", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=5_000, help="how many of them wake")
    parser.add_argument("--over", type=float, default=50, help="seconds over which they wake; 0: all at once")
    parser.add_argument("--idle", type=float, default=20, help="seconds for which is looked what sleepers cost")
    parser.add_argument("--patience", type=float, default=600, help="seconds after which no more is waited for (600)")
    asked = parser.parse_args()
    with bedroom() as room:
        _measure(room, asked)


def _measure(room: Bedroom, asked: argparse.Namespace) -> None:
    now = room.parts.clock.now
    empty = [room.timed_sweep(now()) for _ in range(20)]
    before, began = resident(), time.perf_counter()
    room.fill(asked.sleeping)
    print(f"{asked.sleeping} asleep after {time.perf_counter() - began:.0f} s")
    full = [room.timed_sweep(now()) for _ in range(20)]
    print(f"a sweep: {1000 * min(empty):.2f} ms without sleepers, {1000 * min(full):.2f} ms with them")
    with room.parts.database.write() as conn:
        print(plan_of_sweep(conn, now()))
    with room.working():
        spent, at = time.process_time(), time.monotonic()
        time.sleep(asked.idle)
        idle = 100 * (time.process_time() - spent) / (time.monotonic() - at)
        print(f"idle worker: {idle:.2f} % of a core, {resident() - before:.1f} MiB more than before")
        first = now() + timedelta(seconds=5)
        room.rouse(asked.due, first, timedelta(seconds=asked.over))
        most, deepest = resident(), 0
        stop, look = time.monotonic() + asked.patience, time.monotonic()
        while time.monotonic() < stop:
            time.sleep(0.5)
            most, deepest = max(most, resident()), max(deepest, room.queue.depth)
            # To count a million runs takes the database long enough to be in the way.
            if time.monotonic() >= look:
                if room.awake() >= asked.due:
                    break
                look = time.monotonic() + asked.sleeping / 200_000
    late, ended = room.lateness(), now()
    rate = len(late) / (ended - first).total_seconds()
    print(f"{len(late)} woke, {max(room.woke.values())} times at most, {rate:.0f} a second")
    quantiles = [percentile(late, part) for part in (0, 0.5, 0.99, 1)]
    print("late: earliest {:.3f} s, p50 {:.2f} s, p99 {:.2f} s, latest {:.2f} s".format(*quantiles))
    print(f"memory: {most - before:.1f} MiB more, {deepest} due hints in it at most")
    print(f"{room.heard.announced} hints announced, {room.heard.most_at_once} at once")


if __name__ == "__main__":
    main()
