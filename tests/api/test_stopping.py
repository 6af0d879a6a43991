"""A web process that stops lets those go at once who wait for the output of a run."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest

from orchestrator.api.outputs import OutputTokens
from orchestrator.core.effect import Status
from orchestrator.core.event import Event
from orchestrator.ids import named_uuid, new_ulid
from orchestrator.store import events, runs
from orchestrator.store.database import Database
from orchestrator.store.runs import NewRun
from tests.api.test_gunicorn import PATIENCE, SIGNING_KEY, Gunicorn, end


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Gunicorn]:
    """A server of two processes."""
    server = Gunicorn(tmp_path, "-w", "2")
    try:
        server.connect().close()
        yield server
    finally:
        end(server)


def a_run(server: Gunicorn) -> str:
    """A run that has not ended."""
    at = datetime.now(UTC)
    event = Event(new_ulid(), "http/run.started", "{}", round(at.timestamp() * 1000), at)
    run = NewRun(new_ulid(), named_uuid("function", "shop"), 1, event.id, event.name, Status.RUNNING, at, at)
    database = Database(server.database_url)
    with database.write() as conn:
        events.add(conn, [event], at, match=False)
        runs.add(conn, [run])
    database.close()
    return run.id


def finish(server: Gunicorn, run_id: str) -> None:
    database = Database(server.database_url)
    with database.write() as conn:
        assert runs.finish(conn, run_id, Status.COMPLETED, '"fried"', None, datetime.now(UTC))
    database.close()


def path_of(run_id: str) -> str:
    return f"/v1/http/runs/{run_id}/output?token={OutputTokens([SIGNING_KEY]).make(run_id)}"


def test_clients_that_wait_for_an_output_do_not_keep_a_server_from_ending(two: Gunicorn) -> None:
    path = path_of(a_run(two))
    clients = [HTTPConnection("127.0.0.1", two.port, timeout=PATIENCE) for _ in range(20)]
    for client in clients:
        client.request("GET", path)
    time.sleep(0.5)  # that they all wait is what makes it hard; what follows holds in any case
    began = time.monotonic()

    two.process.send_signal(signal.SIGTERM)
    answers = [client.getresponse() for client in clients]

    assert time.monotonic() - began < 4  # the grace, which they would have taken, is 8
    assert {(307, path, "1")} == {(it.status, it.headers["Location"], it.headers["Retry-After"]) for it in answers}
    # How long an interpreter takes to end says more about the machine; the grace that they would have taken is 8 s.
    assert 0 == two.process.wait(PATIENCE)
    assert time.monotonic() - began < 7


def test_who_is_sent_on_by_a_process_that_stops_gets_the_output_from_another(two: Gunicorn) -> None:
    run_id = a_run(two)
    url = f"http://127.0.0.1:{two.port}{path_of(run_id)}"

    def wait() -> tuple[int, bytes]:
        with closing(urllib.request.urlopen(url, timeout=PATIENCE)) as answer:
            return answer.status, answer.read()

    with ThreadPoolExecutor(10) as clients:
        waiting = [clients.submit(wait) for _ in range(10)]
        time.sleep(0.5)
        former = two.children()
        os.kill(former[0], signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while former[0] in two.children():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not any(it.done() for it in waiting)
        finish(two, run_id)

        assert [(200, b'"fried"')] * 10 == [it.result(PATIENCE) for it in waiting]
