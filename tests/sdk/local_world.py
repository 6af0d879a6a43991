"""An engine that holds an app's functions in its process, on a database and with a settable clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import orjson

from orchestrator.clock import SettableClock
from orchestrator.core.event import Event
from orchestrator.drivers.local import LocalDriver
from orchestrator.engine.declare import declare
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.match import match
from orchestrator.engine.parts import Parts
from orchestrator.engine.work import take, work
from orchestrator.ids import new_ulid
from orchestrator.queue.lease import Holdings
from orchestrator.queue.sweep import sweep
from orchestrator.sdk.function import Registry
from orchestrator.store import history, runs, steps
from orchestrator.store.database import Database
from orchestrator.store.jobs import MATCH
from orchestrator.store.presence import Presence
from tests.engine.world import NOW, Heard, Scripted, returned


class LocalWorld:
    """Everything happens when the test says so: `settle` does what is due, `skip` moves the clock."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self.clock, self.heard = SettableClock(NOW), Heard()
        self.parts = Parts(
            database,
            self.clock,
            self.heard,
            Holdings(database, Presence(database)),
            Scripted(returned),
            http=None,  # type: ignore[arg-type]
            local=LocalDriver({registry.app: registry}),
        )
        declare(self.parts, registry, "1")
        self._ingest = Ingest(self.parts)

    def send(self, name: str, data: object = None) -> str:
        """Take one event in; returns its id."""
        now = self.clock.now()
        event = Event(new_ulid(), name, orjson.dumps(data or {}).decode(), int(now.timestamp() * 1000), now)
        self._ingest.accept([event])
        return event.id

    def settle(self) -> None:
        """Do everything that is due, and what becomes due by it."""
        for _ in range(1000):
            sweep(self.parts.database, self.heard, self.clock.now(), grace=timedelta())
            due = [hint for hint in self.heard.hints if hint.run_at <= self.clock.now()]
            self.heard.hints = [hint for hint in self.heard.hints if hint.run_at > self.clock.now()]
            if not due:
                return
            held = match(self.parts, [hint.job_id for hint in due if hint.kind == MATCH], room=10)
            self.parts.holdings.keep([one.lease for one in held])
            held += take(self.parts, [hint.job_id for hint in due if hint.kind != MATCH])
            for one in held:
                work(self.parts, one)
        raise AssertionError("it never comes to rest")

    def skip(self, span: timedelta) -> None:
        """Move the clock and do what is due then."""
        self.clock.advance(span)
        self.settle()

    def runs(self, event_id: str) -> list[runs.StoredRun]:
        with self.parts.database.read() as conn:
            return runs.of_event(conn, event_id)

    def run(self, event_id: str) -> runs.StoredRun:
        [run] = [run for run in self.runs(event_id) if run.original_run_id is None]
        return run

    def output(self, event_id: str) -> Any:
        run = self.run(event_id)
        assert run.status == "completed", (run.status, run.error)
        return orjson.loads(run.output or "null")

    def error(self, event_id: str) -> Any:
        run = self.run(event_id)
        assert run.status == "failed", (run.status, run.output)
        return orjson.loads(run.error or "null")

    def steps(self, event_id: str) -> list[tuple[str, str]]:
        with self.parts.database.read() as conn:
            return [(step.name, step.status.value) for step in steps.of_run(conn, self.run(event_id).id)]

    def story(self, event_id: str) -> list[tuple[str, str | None]]:
        with self.parts.database.read() as conn:
            return [(entry.kind, entry.data) for entry in history.of_run(conn, self.run(event_id).id)]

    @property
    def now(self) -> datetime:
        return self.clock.now()


#: Makes a world that holds these handlers.
Make = Callable[..., LocalWorld]
