"""How fast an order cancels many sleeping runs, or runs many failed ones again, on PostgreSQL; one worker, one thread.

`python -m tests.bench.orders cancel 100000` inserts the runs into a database of its own, gives the order, carries it
out, and prints runs a second and the CPU time of each, ours and that of the database's process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.clock import SystemClock
from orchestrator.core.effect import Status
from orchestrator.engine.bulk import Wish, count, give
from orchestrator.engine.work import take, work
from orchestrator.ids import new_ulid
from orchestrator.store import jobs, orders, schema, tables
from orchestrator.store.database import Connection, Database
from orchestrator.store.filters import RunFilter
from orchestrator.store.orders import Kind
from tests.engine.world import World
from tests.services import own_database

_PAGE = 5_000
_PAYLOAD = '{"data":{"text":"' + "x" * 200 + '"},"id":"%s","name":"a/b","ts":1,"user":{}}'


def main() -> None:
    """Measure one order."""
    kind, many = Kind(sys.argv[1]), int(sys.argv[2])
    with own_database("postgresql") as url:
        schema.upgrade(url)
        database = Database(url)
        world = World(database)
        world.start()
        world.work()
        world.parts = replace(world.parts, clock=SystemClock())
        _fill(database, many, live=kind is Kind.CANCEL)
        wish = Wish(kind, RunFilter(statuses=() if kind is Kind.CANCEL else (Status.FAILED,)))
        counted, seconds, _, _ = _timed(url, lambda: count(world.parts, wish))
        print(f"counted {counted.number} in {seconds:.2f} s", flush=True)
        order = give(world.parts, wish)
        _, seconds, ours, services = _timed(url, lambda: _carry_out(world))
        with database.read() as conn:
            done = orders.get(conn, order.id)
        assert done is not None
        assert done.done == many
        print(f"{kind.value} {many}: {seconds:.1f} s, {many / seconds:.0f} a second")
        each = [spent / many * 1000 for spent in (ours, services)]
        print(f"CPU-ms a run: ours {each[0]:.2f}, the database's {each[1]:.2f}; load1 {os.getloadavg()[0]:.1f}")
        database.close()


def _timed(url: str, what: Callable[[], Any]) -> tuple[Any, float, float, float]:
    """What came of it, how long it took, and the CPU seconds, ours and those of the database's processes."""
    services, ours, began = _services(url), time.process_time(), time.monotonic()
    came = what()
    return came, time.monotonic() - began, time.process_time() - ours, _services(url) - services


def _services(url: str) -> float:
    name, seconds = url.rpartition("/")[2].partition("?")[0], 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_text()
            if "postgres" in title and name in title:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return seconds


def _carry_out(world: World) -> None:
    while due := _due(world):
        for held in take(world.parts, due):
            work(world.parts, held)
        world.heard.hints.clear()


def _due(world: World) -> list[int]:
    with world.parts.database.read() as conn:
        return [row.id for row in conn.execute(jobs.jobs.select().where(jobs.jobs.c.kind == jobs.BULK))]


def _fill(database: Database, many: int, *, live: bool) -> None:
    with database.read() as conn:
        function_id = conn.execute(tables.functions.select()).one().id
    now = datetime.now(UTC) - timedelta(minutes=5)
    for at in range(0, many, _PAGE):
        with database.write() as conn:
            _page(conn, function_id, min(_PAGE, many - at), now + timedelta(microseconds=at), live)


def _page(conn: Connection, function_id: str, many: int, now: datetime, live: bool) -> None:
    ids = [(new_ulid(), new_ulid()) for _ in range(many)]
    events = [{"id": it, "name": "a/b", "ts": 1, "payload": _PAYLOAD % it, "received_at": now} for _, it in ids]
    run = {"function_id": function_id, "function_version": 1, "event_name": "a/b", "started_at": now}
    run |= {"status": "running", "open": 1} if live else {"status": "failed", "open": 0, "ended_at": now, "error": "{}"}
    rows = [
        run | {"id": run_id, "event_id": event_id, "queued_at": now + timedelta(microseconds=at)}
        for at, (run_id, event_id) in enumerate(ids)
    ]
    conn.execute(tables.events.insert(), events)
    conn.execute(tables.runs.insert(), rows)
    if not live:
        return
    step = {"id": "nap", "name": "nap", "op": "Sleep", "status": "sleeping", "counted": True, "attempts": 0}
    conn.execute(tables.steps.insert(), [step | {"run_id": run_id} for run_id, _ in ids])
    job = {"kind": jobs.WAKE, "step_id": "nap", "run_at": now + timedelta(days=1), "state": jobs.READY}
    conn.execute(tables.jobs.insert(), [job | {"key": f"wake:{it}:nap", "run_id": it} for it, _ in ids])


if __name__ == "__main__":
    main()
