"""Liveness and readiness: what is told, to whom, and how soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import create_engine, text

from orchestrator import bootstrap
from orchestrator.api.app import create_app
from orchestrator.api.ready import Readiness, Vital
from orchestrator.clock import SystemClock
from orchestrator.config import load
from orchestrator.engine.parts import Parts
from orchestrator.queue.announce import Announcer, BrokerAnnouncer, Silence
from orchestrator.queue.broker import Broker
from orchestrator.store import schema
from orchestrator.store.jobs import Hint

PATIENCE = 30.0
NOWHERE = Broker("redis://127.0.0.1:1/0")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state.db'}"


@contextmanager
def made(url: str, announcer: Announcer | None = None) -> Iterator[Parts]:
    parts = bootstrap.parts(load({}, {"mode": "dev"}), url, announcer or Silence(), clock=SystemClock())
    try:
        yield parts
    finally:
        parts.database.close()


@pytest.fixture
def parts(url: str) -> Iterator[Parts]:
    schema.upgrade(url)
    with made(url) as parts:
        yield parts


def ask(vital: Vital, path: str, method: str = "GET") -> tuple[str, dict[str, Any]]:
    """What is answered without a thread of the server's."""
    answers: list[tuple[str, dict[str, Any]]] = []
    told = threading.Event()

    def answer(status: str, _headers: object, body: bytes) -> None:
        answers.append((status, orjson.loads(body)))
        told.set()

    assert vital.answer_soon({"PATH_INFO": path, "REQUEST_METHOD": method}, answer)
    assert told.wait(PATIENCE)
    return answers[0]


class Behind:
    """An application that takes nothing without a thread."""

    most_body = 1

    def __call__(self, *_: object) -> list[bytes]:
        raise AssertionError("nobody calls it")

    def answer_soon(self, *_: object) -> bool:
        return False


def vital(readiness: Readiness) -> Vital:
    return Vital(Behind(), readiness, "cloud")


class Hanging(Readiness):
    """A look at a database that does not answer before it is let go."""

    def __init__(self, parts: Parts, patience: float) -> None:
        super().__init__(parts, patience)
        self.looks = 0
        self.let_go = threading.Event()

    def _complaint(self) -> str | None:
        self.looks += 1
        self.let_go.wait(PATIENCE)
        return super()._complaint()


def test_a_process_whose_database_answers_is_ready(parts: Parts) -> None:
    expected = {"status": 200, "message": "ready", "broker": "none"}

    assert ("200 OK", expected) == ask(vital(Readiness(parts)), "/ready")
    assert expected == create_app(parts).test_client().get("/ready").get_json()


def test_a_database_without_tables_is_told_with_the_way_out(url: str) -> None:
    with made(url) as parts:
        schema.upgrade(url)
        engine = create_engine(url)
        with engine.begin() as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        engine.dispose()

        status, told = ask(vital(Readiness(parts)), "/ready")

        assert ("503 Service Unavailable", 503) == (status, told["status"])
        assert "orchestrator db upgrade" in told["message"]
        assert 503 == create_app(parts).test_client().get("/ready").status_code


def test_a_database_that_is_one_release_ahead_is_good_to_work_with(url: str, parts: Parts) -> None:
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    schema.check(url)

    assert "9999" == schema.upgrade(url)
    assert "200 OK" == ask(vital(Readiness(parts)), "/ready")[0]


def test_what_the_driver_says_is_not_told_to_strangers(tmp_path: Path) -> None:
    with made(f"sqlite:///{tmp_path / 'secret-place' / 'state.db'}") as parts:
        _, told = ask(vital(Readiness(parts)), "/ready")

    assert {"status": 503, "message": "the database does not answer as it should", "broker": "none"} == told


def test_a_database_that_hangs_is_told_in_time_by_one_look_for_all(parts: Parts) -> None:
    readiness = Hanging(parts, patience=0.2)
    server = vital(readiness)

    answers = [ask(server, "/ready") for _ in range(20)]

    assert [("503 Service Unavailable", "the database does not answer within 0.2 s")] * 20 == [
        (status, told["message"]) for status, told in answers
    ]
    assert 1 == readiness.looks
    assert "200 OK" == ask(server, "/health")[0]
    readiness.let_go.set()
    deadline = time.monotonic() + PATIENCE
    while ask(server, "/ready")[0] != "200 OK":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_many_who_ask_at_once_cause_one_look(parts: Parts) -> None:
    readiness = Hanging(parts, patience=PATIENCE)
    outcomes: list[str | None] = []
    threads = [threading.Thread(target=lambda: outcomes.append(readiness.wait())) for _ in range(20)]
    for thread in threads:
        thread.start()

    readiness.let_go.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert [None] * 20 == outcomes
    assert 1 == readiness.looks


def test_a_broker_that_is_away_is_told_and_changes_nothing(url: str) -> None:
    schema.upgrade(url)
    announcer = BrokerAnnouncer(NOWHERE)
    with made(url, announcer) as parts:
        server = vital(Readiness(parts))
        assert "not used yet" == ask(server, "/ready")[1]["broker"]

        announcer.announce([Hint(1, "match", SystemClock().now())])

        deadline = time.monotonic() + PATIENCE
        while ask(server, "/ready")[1]["broker"] != "away":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "200 OK" == ask(server, "/ready")[0]


@pytest.mark.parametrize("asked", ["GET /", "GET /health/x", "HEAD /health", "POST /e/k"])
def test_every_other_request_is_left_to_the_application_behind(parts: Parts, asked: str) -> None:
    method, path = asked.split()

    taken = vital(Readiness(parts)).answer_soon({"PATH_INFO": path, "REQUEST_METHOD": method}, lambda *_: None)

    assert not taken
