"""A server with a database of its own, asked through Flask's test client, and rows to ask it about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from orchestrator.api.app import create_app
from orchestrator.clock import SettableClock
from orchestrator.core.effect import Record, SaveStep, Status
from orchestrator.core.event import Event
from orchestrator.core.function import Function, Trigger
from orchestrator.drivers.base import Answer, Call, Response
from orchestrator.engine.parts import Parts
from orchestrator.ids import named_uuid, ulid_at
from orchestrator.queue.lease import Holdings
from orchestrator.store import events, functions, history, runs, steps
from orchestrator.store.database import Database
from orchestrator.store.functions import Declared
from orchestrator.store.jobs import Hint
from orchestrator.store.presence import Presence
from orchestrator.store.runs import NewRun
from orchestrator.store.schema import upgrade

NOW = datetime(2026, 11, 21, 12, 0, 0, 123_456, tzinfo=UTC)


class NobodyListens:
    def announce(self, hints: Sequence[Hint]) -> None:
        pass


class NoApps:
    """No app can be reached: the API itself never calls one."""

    def call(self, call: Call) -> Answer:
        raise AssertionError(call)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes = b"", timeout: timedelta
    ) -> Response:
        raise AssertionError(url)


def ulid(number: int) -> str:
    """The ULID of a test's n-th thing."""
    return ulid_at(int(NOW.timestamp() * 1000), number.to_bytes(10, "big"))


def _config(slug: str, url: str) -> str:
    """A function as SDKs declare it."""
    step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": url}, "retries": {"attempts": 3}}
    declared = {"id": slug, "name": slug.title(), "triggers": [{"event": "shop/sold"}], "steps": {"step": step}}
    return json.dumps(declared)


@dataclass
class World:
    """What is in the database."""

    parts: Parts
    clock: SettableClock
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000)))

    def app(self, name: str = "shop", url: str = "http://localhost:5000/api", slugs: Sequence[str] = ()) -> str:
        app_id = named_uuid("app", name)
        declared = [
            Declared(Function(slug, slug.title(), url, (Trigger("shop/sold"),)), _config(slug, url), slug)
            for slug in slugs
        ]
        with self.parts.database.write() as conn:
            functions.save_app(conn, app_id, {"name": name, "url": url}, NOW)
            functions.save_functions(conn, app_id, declared, NOW)
        return app_id

    def event(self, name: str = "shop/sold", data: str = "{}", **more: object) -> Event:
        event = Event(ulid(next(self.numbers)), name, data, 1_700_000_000_000, NOW)
        event = replace(event, **more)  # type: ignore[arg-type]
        with self.parts.database.write() as conn:
            events.add(conn, [event], event.received_at, match=False)
        return event

    def run(self, event: Event, slug: str = "shop-bill", status: Status = Status.RUNNING) -> str:
        run_id = ulid(next(self.numbers))
        started = None if status is Status.QUEUED else NOW
        new = NewRun(run_id, named_uuid("function", slug), 3, event.id, event.name, status, NOW, started)
        with self.parts.database.write() as conn:
            runs.add(conn, [new])
        return run_id

    def finished(self, event: Event, status: Status, output: str | None = None, error: str | None = None) -> str:
        run_id = self.run(event)
        with self.parts.database.write() as conn:
            runs.finish(conn, run_id, status, output, error, NOW + timedelta(seconds=2))
        return run_id

    def steps(self, run_id: str, *saved: SaveStep) -> None:
        with self.parts.database.write() as conn:
            steps.save(conn, run_id, [replace(step, fresh=True) for step in saved], NOW)

    def history(self, run_id: str, *records: Record) -> None:
        with self.parts.database.write() as conn:
            history.add(conn, run_id, records, NOW)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables and no rows, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def world(empty_database: Path, tmp_path: Path) -> Iterator[World]:
    shutil.copy(empty_database, tmp_path / "test.db")
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", synchronous="OFF")
    clock, apps = SettableClock(NOW), NoApps()
    yield World(Parts(database, clock, NobodyListens(), Holdings(database, Presence(database)), apps, apps), clock)
    database.close()


@pytest.fixture
def client(world: World) -> FlaskClient:
    return create_app(world.parts).test_client()
