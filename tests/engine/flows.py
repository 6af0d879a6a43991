"""An engine with the functions a test declares, a settable clock, and hints that go where the test lets them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import select

from orchestrator.clock import SettableClock
from orchestrator.core.event import Event
from orchestrator.drivers.base import Answer, Call
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.match import match
from orchestrator.engine.parts import Parts
from orchestrator.engine.register import register
from orchestrator.engine.timers import fire
from orchestrator.engine.work import take, work
from orchestrator.ids import new_ulid
from orchestrator.protocol.sync import parse_registration
from orchestrator.queue.lease import Holdings
from orchestrator.store import history, jobs
from orchestrator.store.crons import TIMED
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from orchestrator.store.tables import functions, runs
from tests.engine.world import Heard, Scripted, returned

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "http://localhost/x"
SECOND = timedelta(seconds=1)


def a_function(name: str = "fn", event: str = "a/b", **options: object) -> dict[str, object]:
    runtime = {"type": "http", "url": f"{URL}?fnId=app-{name}&stepId=step"}
    step = {"id": "step", "name": "step", "runtime": runtime}
    return {"id": f"app-{name}", "name": name, "triggers": [{"event": event}], "steps": {"step": step}} | options


class Flows:
    """One process, or several with `other`."""

    def __init__(self, database: Database, *declared: object) -> None:
        self.clock, self.heard, self.database = SettableClock(NOW), Heard(), database
        self.called: list[Call] = []
        self.driver = Scripted(self._answer)
        self.parts = self.other()
        self.declare(*declared)

    def other(self, database: Database | None = None) -> Parts:
        """One more process, perhaps with connections of its own to the same database."""
        own = database or self.database
        return Parts(own, self.clock, self.heard, Holdings(own, Presence(own)), self.driver, None)  # type: ignore[arg-type]

    def declare(self, *declared: object) -> None:
        body = {"appName": "app", "url": URL, "sdk": "py:v0.5.19", "functions": list(declared)}
        register(self.parts, parse_registration(json.dumps(body).encode(), {}))

    def send(self, *data: object, name: str = "a/b", ts: datetime | None = None, id: str | None = None) -> list[str]:
        """Take events in, one request each; nothing is matched yet."""
        now = self.clock.now()
        made = [
            Event(new_ulid(), name, orjson.dumps(it).decode(), int((ts or now).timestamp() * 1000), now, external_id=id)
            for it in data
        ]
        ingest = Ingest(self.parts)
        for event in made:
            ingest.accept([event])
        ingest.close()
        return [event.id for event in made]

    def match(self, room: int = 0, parts: Parts | None = None) -> None:
        """Match everything that is to be matched, and begin what is held."""
        parts = parts or self.parts
        for held in match(parts, self.jobs(jobs.MATCH), room):
            work(parts, held)

    def receive(self, *data: object, **options: Any) -> list[str]:
        """Take events in and match them, one after the other."""
        ids = []
        for it in data:
            ids += self.send(it, **options)
            self.match()
        return ids

    def jobs(self, *kinds: str) -> list[int]:
        with self.database.read() as conn:
            query = select(jobs.jobs.c.id).where(jobs.jobs.c.kind.in_(kinds)).order_by(jobs.jobs.c.id)
            return list(conn.execute(query).scalars())

    def fire(self, parts: Parts | None = None, room: int = 1) -> None:
        """Let every timer go off whose time has come, and begin what is held."""
        for job_id in self.jobs(*TIMED):
            for held in fire(parts or self.parts, job_id, room):
                work(parts or self.parts, held)

    def timers(self) -> list[float]:
        """When the timers go off, in seconds from now."""
        with self.database.read() as conn:
            query = select(jobs.jobs.c.run_at).where(jobs.jobs.c.kind.in_(TIMED)).order_by(jobs.jobs.c.run_at)
            return [(at - self.clock.now()) / SECOND for at in conn.execute(query).scalars()]

    def work(self) -> int:
        """Do every call that is due; returns how many."""
        taken = take(self.parts, self.jobs(jobs.CALL))
        for held in taken:
            work(self.parts, held)
        return len(taken)

    def wait(self, seconds: float) -> None:
        """Let time pass, the timers go off, and the calls be made."""
        self.clock.advance(timedelta(seconds=seconds))
        self.fire()
        self.work()

    def runs(self, slug: str | None = None) -> list[Any]:
        with self.database.read() as conn:
            query = select(runs).join(functions, functions.c.id == runs.c.function_id).order_by(runs.c.id)
            return list(conn.execute(query.where(functions.c.slug == slug) if slug else query))

    def statuses(self, slug: str | None = None) -> dict[str, int]:
        found = [run.status for run in self.runs(slug)]
        return {status: found.count(status) for status in sorted(set(found))}

    def told(self, run_id: str, kind: str = "skipped") -> dict[str, Any]:
        """What the run's story says."""
        with self.database.read() as conn:
            [entry] = [it for it in history.of_run(conn, run_id) if it.kind == kind]
        found: dict[str, Any] = orjson.loads(entry.data or "{}")
        return found

    def calls(self) -> list[Any]:
        """The data of the events of each call that was made."""
        return [[orjson.loads(event)["data"] for event in call.events] for call in self.called]

    def _answer(self, call: Call) -> Answer:
        self.called.append(call)
        return returned(call)


def ids(found: Sequence[Any]) -> list[str]:
    return [row.id for row in found]
