"""Registering an app from many processes at once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from orchestrator.clock import SettableClock
from orchestrator.engine.parts import Parts
from orchestrator.engine.register import add_url, register
from orchestrator.ids import named_uuid
from orchestrator.protocol.sync import parse_registration
from orchestrator.queue.lease import Holdings
from orchestrator.store import functions, schema
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from tests.engine.world import REGISTRATION, Heard, World
from tests.services import own_database
from tests.store.factories import at_once
from tests.wire.harness import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_two_processes_that_register_a_new_app_at_the_same_time_both_succeed():
    with own_database("postgresql") as url:
        schema.upgrade(url)
        database = Database(url)
        registration = parse_registration(REGISTRATION, {})
        parts = Parts(database, SettableClock(NOW), Heard(), Holdings(database, Presence(database)), None, http=None)  # type: ignore[arg-type]
        synced: list[object] = []
        second = threading.Thread(target=lambda: synced.append(register(parts, registration)))

        with database.write() as conn:
            # The first process, in the middle of it.
            values = {"name": registration.app_name, "url": registration.url}
            functions.save_app(conn, named_uuid("app", registration.app_name), values, NOW)
            second.start()
            until(lambda: _waits_for_a_lock(url), "the second to come upon the first")
        second.join(30)

        with database.read() as conn:
            known = [function.slug for function in functions.functions_of(conn)]
        database.close()
    assert 1 == len(synced)
    assert ["app-fn"] == known


def test_processes_that_are_told_of_the_same_app_all_add_it(concurrent: Database):
    world = World(concurrent)

    for number in range(20):
        url = f"http://localhost/{number}"
        at_once(*[lambda url=url: add_url(world.parts, url)] * 4)

    with concurrent.read() as conn:
        added = [app.url for app in functions.all_apps(conn) if app.name is None]
    assert 20 == len(added) == len(set(added))


@pytest.mark.parametrize("sdk", ["py:v0.5.19+" + "x" * 200, "p" * 200 + ":v1"])
def test_an_app_may_run_on_something_with_a_long_name(database: Database, sdk: str):
    world = World(database)

    body = REGISTRATION.replace(b"py:v0.5.19", sdk.encode())
    register(world.parts, parse_registration(body, {"x-inngest-framework": "f" * 200}))

    with database.read() as conn:
        app = functions.app_by_name(conn, "app")
    language, _, version = sdk.partition(":v")
    assert app is not None
    assert (language[:64], version[:64], "f" * 64) == (app.sdk_language, app.sdk_version, app.framework)


def _waits_for_a_lock(url: str) -> bool:
    engine = create_engine(url)
    with engine.connect() as conn:
        waiting = conn.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        ).scalar_one()
    engine.dispose()
    return bool(waiting)
