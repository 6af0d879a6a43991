"""`orchestrator doctor`: what it finds, what it says to do, and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import create_engine, insert

from orchestrator.cli.exits import Exit
from orchestrator.store import schema, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import jobs
from tests.cli.conftest import FakeServer
from tests.services import own_database

Run = Callable[..., Result]

KEY, FORMER = "signkey-prod-" + "5e" * 32, "signkey-prod-" + "0f" * 32
EVENT_KEY = "a7" * 16
KEYS = {"ORCHESTRATOR_SIGNING_KEY": KEY, "ORCHESTRATOR_EVENT_KEYS": EVENT_KEY}
SDK = {"X-Inngest-SDK": "inngest-py:v0.5.19", "X-Inngest-SDK-Handled": "true"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    schema.upgrade(url)
    return url


def checks(result: Result) -> dict[str, tuple[str, str]]:
    """Each check's verdict, and what was said with the way out."""
    return {
        it["check"]: (it["verdict"], f"{it['said']} -> {it['way_out']}") for it in json.loads(result.stdout)["checks"]
    }


def look(orchestrator: Run, *args: str, **env: str) -> dict[str, tuple[str, str]]:
    return checks(orchestrator("doctor", "--json", *args, **env))


def give_sign(url: str, host: str, ago: timedelta = timedelta()) -> None:
    database, now = Database(url), datetime.now(UTC)
    with database.write() as conn:
        workers.give(conn, workers.Sign(f"{host}-1", host, 1, 100, "0.1.0", now - ago, now - ago))
    database.close()


def add_job(url: str, **values: Any) -> None:
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(insert(jobs), {"kind": "call", "key": os.urandom(4).hex(), **values})
    engine.dispose()


def test_where_nothing_fails_it_ends_well(orchestrator: Run, database_url: str) -> None:
    give_sign(database_url, "there")

    result = orchestrator("doctor", "--json", **KEYS, DATABASE_URL=database_url)

    assert (0, True) == (result.exit_code, json.loads(result.stdout)["ok"])
    found = checks(result)
    assert {"ok"} == {verdict for check, (verdict, _) in found.items() if check != "broker"}
    assert {"signing key", "event keys", "database", "schema", "writing", "workers", "sweep", "dead jobs"} <= set(found)


def test_a_failure_ends_it_with_its_code_and_each_line_says_what_to_do(orchestrator: Run, tmp_path: Path) -> None:
    result = orchestrator("doctor", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.db'}")

    assert Exit.UNWELL == result.exit_code
    lines = dict(line[6:].split(": ", 1) for line in result.stdout.splitlines() if line.startswith("fail"))
    assert "orchestrator db upgrade" in lines["schema"]
    assert "orchestrator keys new" in lines["signing key"]
    assert "orchestrator keys new" in lines["event keys"]


def test_dev_needs_neither_keys_nor_database_nor_broker(orchestrator: Run) -> None:
    found = look(orchestrator, "--mode", "dev")

    assert dict.fromkeys(("keys", "database", "broker"), ("ok", "none needed in dev -> ")) == found


def test_keys_that_are_easily_guessed_or_the_same_twice_are_told(orchestrator: Run) -> None:
    short = {"ORCHESTRATOR_SIGNING_KEY": "abcd", "ORCHESTRATOR_EVENT_KEYS": "short"}

    guessed = look(orchestrator, **short)
    same = look(orchestrator, **KEYS, ORCHESTRATOR_SIGNING_KEY_FALLBACK="5e" * 32)

    assert ("warn", "warn") == (guessed["signing key"][0], guessed["event keys"][0])
    assert "warn" == same["signing key fallback"][0]


@pytest.mark.parametrize("url", ["postgres://u:hunter2@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"])
def test_a_database_that_cannot_be_reached_is_told_without_its_password(orchestrator: Run, url: str) -> None:
    result = orchestrator("doctor", "--json", **KEYS, DATABASE_URL=url)

    assert "fail" == checks(result)["database"][0]
    assert "hunter2" not in result.output


@pytest.mark.parametrize("url", ["redis://:hunter2@127.0.0.1:1/0", "amqp://u:hunter2@127.0.0.1:1//"])
def test_a_broker_that_cannot_be_reached_is_told_without_its_password(orchestrator: Run, url: str) -> None:
    result = orchestrator("doctor", "--json", **KEYS, ORCHESTRATOR_BROKER_URL=url)

    assert "fail" == checks(result)["broker"][0]
    assert "hunter2" not in result.output


def test_no_worker_old_work_and_dead_jobs_are_told(orchestrator: Run, database_url: str) -> None:
    now = datetime.now(UTC)
    give_sign(database_url, "gone", timedelta(minutes=1))
    add_job(database_url, state=2, run_at=now - timedelta(seconds=20))
    add_job(database_url, state=5, run_at=now)

    found = look(orchestrator, **KEYS, DATABASE_URL=database_url)

    assert ("warn", "warn", "warn") == tuple(found[check][0] for check in ("workers", "sweep", "dead jobs"))
    assert "orchestrator requeue" in found["dead jobs"][1]
    add_job(database_url, state=3, run_at=now, lease_until=now - timedelta(minutes=2))
    assert "fail" == look(orchestrator, **KEYS, DATABASE_URL=database_url)["sweep"][0]


def test_a_probe_is_content_with_a_worker_of_this_host_only(orchestrator: Run, database_url: str) -> None:
    give_sign(database_url, "there")
    assert Exit.UNWELL == orchestrator("doctor", "--worker", DATABASE_URL=database_url).exit_code

    give_sign(database_url, socket.gethostname())

    assert Exit.OK == orchestrator("doctor", "--worker", DATABASE_URL=database_url).exit_code
    assert Exit.UNWELL == orchestrator("doctor", "--worker").exit_code


# Apps.


def app(server: FakeServer, status: int, body: dict[str, Any], **headers: str) -> str:
    server.answers["GET /api/inngest"] = (status, body)
    server.headers = SDK | headers
    return f"{server.url}/api/inngest"


def examined(orchestrator: Run, url: str, mode: str = "start", **env: str) -> tuple[str, str]:
    allowed = {"ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8"}
    return look(orchestrator, "--mode", mode, "--app", url, **(KEYS | allowed | env))[f"app {url}"]


def test_an_app_that_takes_our_signature_is_well(orchestrator: Run, server: FakeServer) -> None:
    digest = hashlib.sha256(EVENT_KEY.encode()).hexdigest()
    url = app(server, 200, {"mode": "cloud", "function_count": 3, "event_key_hash": digest})

    verdict, said = examined(orchestrator, url)

    assert "ok" == verdict
    assert "inngest-py:v0.5.19 in cloud mode, 3 functions; it takes our signature" in said
    assert ["x-inngest-signature" in it.headers for it in server.asked] == [False, True]


def test_an_app_whose_event_key_is_none_of_ours_is_told(orchestrator: Run, server: FakeServer) -> None:
    url = app(server, 200, {"mode": "cloud", "event_key_hash": hashlib.sha256(b"other").hexdigest()})
    env = KEYS | {"ORCHESTRATOR_ALLOWED_NETWORKS": "127.0.0.0/8"}

    verdict, said = look(orchestrator, "--app", url, **env)[f"app {url}, events"]

    assert "fail" == verdict
    assert "INNGEST_EVENT_KEY" in said


@pytest.mark.parametrize(
    ("mode", "status", "body", "says"),
    [
        ("start", 401, {"message": "Unauthorized"}, "it refuses our signing key (HTTP 401)"),
        ("start", 200, {"mode": "dev"}, "it is in development mode"),
        ("start", 403, {}, "it is in development mode"),
        ("dev", 401, {"message": "Unauthorized"}, "it is in production mode"),
    ],
)
def test_an_app_that_does_not_fit_is_told_why(
    orchestrator: Run, server: FakeServer, mode: str, status: int, body: dict[str, Any], says: str
) -> None:
    verdict, said = examined(orchestrator, app(server, status, body), mode)

    assert "fail" == verdict
    assert says in said
    assert "INNGEST_" in said


def test_what_is_no_app_on_an_sdk_is_told(orchestrator: Run, server: FakeServer) -> None:
    verdict, said = examined(orchestrator, f"{server.url}/elsewhere")

    assert "fail" == verdict
    assert "not as an app on an SDK" in said


def test_an_app_where_it_may_not_be_called_is_told_with_the_way_out(orchestrator: Run, server: FakeServer) -> None:
    verdict, said = examined(orchestrator, f"{server.url}/api/inngest", ORCHESTRATOR_ALLOWED_NETWORKS="")

    assert "fail" == verdict
    assert "ORCHESTRATOR_ALLOWED_NETWORKS" in said


def test_mariadb_is_asked_for_its_version_its_clock_and_its_settings(orchestrator: Run) -> None:
    with own_database("mariadb") as url:
        schema.upgrade(url)
        found = look(orchestrator, DATABASE_URL=url.replace("mysql+pymysql", "mysql"))

    assert {"ok"} == {found[check][0] for check in ("database", "schema", "writing", "connections", "clock")}
    assert found["database"][1].startswith("mariadb 1")
    assert "database settings" not in found
