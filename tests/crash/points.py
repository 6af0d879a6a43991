"""A function of ten steps, in processes that kill themselves around its n-th commit, one after another.

`python -m tests.crash.points URL RECORDS` reads lines `POINT KILL_AT before|after RERUNS` (KILL_AT 0: nobody is killed)
and answers each with the exit status of a process that took the event of this point in, unless one before it had, ran
its run again from one of its steps, unless there are RERUNS already, and worked until all of these were over.  The
processes are forked from this one, which has loaded everything and opened nothing: so each is as fresh as one that was
started, without the second that starting takes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator import bootstrap, config, log
from orchestrator.clock import SystemClock
from orchestrator.core.event import Event
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.branch import Held
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.parts import Parts
from orchestrator.engine.rerun import FromStep, rerun
from orchestrator.ids import new_ulid
from orchestrator.queue.local import LocalQueue, Own
from orchestrator.sdk.context import Context
from orchestrator.sdk.function import Registry
from orchestrator.sdk.options import Options
from orchestrator.sdk.triggers import Event as On
from orchestrator.store import postgresql, runs
from orchestrator.store.database import Database
from orchestrator.store.tables import events
from orchestrator.workers.inprocess import InProcessWorker
from orchestrator.workers.modules import declare_all
from orchestrator.workers.pool import Pool

STEPS = 10
#: A rerun begins at this one.
FROM = 7
EVENT = "crash/ten"
DEADLINE = 60.0
#: What these threads write is nobody's run.
BYSTANDERS = ("sweeper", "heartbeat")
HOPS = (postgresql._ACCEPT, postgresql._START, postgresql._STEP, postgresql._FINISH)


def mixed(value: int, at: int) -> int:
    """What a step makes of the one before: no step can be left out, doubled or moved without another end."""
    return (value * 31 + at) % 1_000_003


class Killer:
    """Counts commits, and kills the process around one of them."""

    def __init__(self, kill_at: int, moment: str) -> None:
        self._kill_at, self._moment = kill_at, moment
        self._count, self._lock = 0, threading.Lock()

    def arm(self) -> None:
        """Count from now on."""
        write, send = Database.write, postgresql.HotPath._send

        @contextmanager
        def killing_write(database: Database) -> Iterator[Connection]:
            with write(database) as connection:
                yield connection
                last = self._reached()
                self._kill(last, "before")
            self._kill(last, "after")

        def killing_send(hot: postgresql.HotPath, statement: str, values: dict[str, Any]) -> Any:
            last = statement in HOPS and self._reached()
            self._kill(last, "before")
            cursor = send(hot, statement, values)
            self._kill(last, "after")
            return cursor

        Database.write = killing_write  # type: ignore[method-assign]
        postgresql.HotPath._send = killing_send  # type: ignore[method-assign]

    def _reached(self) -> bool:
        if threading.current_thread().name in BYSTANDERS:
            return False
        with self._lock:
            self._count += 1
            return self._count == self._kill_at

    def _kill(self, now: bool, moment: str) -> None:
        if now and moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


def work(url: str, records: int, point: str, killer: Killer, reruns: int = 0) -> None:
    """Be a process with an engine, a worker and the function, until the run of this point is over."""
    registry = Registry("crash")

    def ten(ctx: Context) -> int:
        value = 0
        for at in range(STEPS):
            value = ctx.step.run(f"step {at}", body, ctx.event.data["point"], at, value)
        return value

    def body(of: str, at: int, value: int) -> int:
        os.write(records, f"{of} {at}\n".encode())
        return mixed(value, at)

    registry.add(ten, On(EVENT), options=Options())
    settings, queue = config.load({}, {"mode": "dev"}), LocalQueue(SystemClock())
    local = LocalDriver({registry.app: registry})
    parts = bootstrap.parts(settings, url, Own(queue, local.holds), clock=SystemClock(), local=local)
    declare_all(parts, local.registries)
    InProcessWorker(parts, queue, Pool[Held](2), alone=True).start()
    killer.arm()
    event_id = _stored(parts.database, point) or _sent(Ingest(parts), point)
    if reruns:
        _run_again(parts, event_id, reruns)
    end = time.monotonic() + DEADLINE
    while not _over(parts.database, event_id):
        assert time.monotonic() < end, f"the run of point {point} did not end"
        time.sleep(0.005)


def _sent(ingest: Ingest, point: str) -> str:
    now = datetime.now(UTC)
    data = f'{{"point":"{point}"}}'
    [event_id] = ingest.accept([Event(new_ulid(), EVENT, data, int(now.timestamp() * 1000), now)])
    return event_id


def _stored(database: Database, point: str) -> str | None:
    with database.read() as conn:
        rows = conn.execute(events.select().where(events.c.name == EVENT, events.c.payload.contains(f'"{point}"')))
        found: str | None = next((row.id for row in rows), None)
        return found


def _over(database: Database, event_id: str) -> bool:
    with database.read() as conn:
        found = runs.of_event(conn, event_id)
        return bool(found) and all(run.status in ("completed", "failed") for run in found)


def _run_again(parts: Parts, event_id: str, reruns: int) -> None:
    with parts.database.read() as conn:
        original, *made = runs.of_event(conn, event_id)
    if len(made) < reruns:
        rerun(parts, original.id, FromStep(f"step {FROM}"))


def main() -> None:
    """Fork a process for each line."""
    url, records = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    for line in sys.stdin:
        point, kill_at, moment, reruns = line.split()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                log.configure(log.render_json, "warning", sys.stderr)
                work(url, records, point, Killer(int(kill_at), moment), int(reruns))
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
