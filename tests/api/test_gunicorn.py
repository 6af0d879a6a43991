"""gunicorn with our settings and our worker, in processes of its own, on a database in a file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from orchestrator.store import schema
from tests.crash.process import ROOT, free_port

PATIENCE = 60.0
SIGNING_KEY = "signkey-prod-" + "5e" * 32
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:orchestrator.api.gunicorn_conf"]


class Gunicorn:
    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.database_url = f"sqlite:///{folder / 'orchestrator.db'}"
        schema.upgrade(self.database_url)
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "INNGEST_"))},
            "PYTHONPATH": str(ROOT),
            "ORCHESTRATOR_DATABASE_URL": self.database_url,
            "ORCHESTRATOR_SIGNING_KEY": SIGNING_KEY,
            "ORCHESTRATOR_EVENT_KEYS": "key",
            "ORCHESTRATOR_LOG_LEVEL": "warning",
        }
        command = [*GUNICORN, "-b", f"127.0.0.1:{self.port}", "-w", "1", *options, "orchestrator.api.wsgi:app"]
        self.process = subprocess.Popen(command, env=env, cwd=folder, start_new_session=True)

    def connect(self) -> HTTPConnection:
        """A connection to the server, once it listens and answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().read():
                    return connection
            except OSError:
                connection.close()
                assert self.process.poll() is None, "gunicorn has ended"
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def send(self, connection: HTTPConnection, name: str) -> str:
        connection.request("POST", "/e/key", json.dumps({"name": name}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert 200 == response.status
        (event_id,) = answer["ids"]
        return str(event_id)

    def stored(self) -> int:
        engine = create_engine(self.database_url)
        with engine.connect() as conn:
            count: int = conn.scalar(text("SELECT count(*) FROM events"))
        engine.dispose()
        return count

    def children(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[Gunicorn]:
    server = Gunicorn(tmp_path)
    try:
        yield server
    finally:
        end(server)


def end(server: Gunicorn) -> None:
    if server.process.poll() is None:
        os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait(PATIENCE)


def test_an_event_that_is_answered_is_in_the_database(gunicorn: Gunicorn) -> None:
    with closing(gunicorn.connect()) as connection:
        ids = [gunicorn.send(connection, f"shop/{number}") for number in range(3)]

        assert 3 == len(set(ids)) == gunicorn.stored()


def test_it_ends_at_once_though_clients_keep_their_connections(gunicorn: Gunicorn) -> None:
    with closing(gunicorn.connect()) as first, closing(gunicorn.connect()):
        gunicorn.send(first, "shop/sold")
        began = time.monotonic()

        gunicorn.process.send_signal(signal.SIGTERM)

        assert 0 == gunicorn.process.wait(PATIENCE)
        assert time.monotonic() - began < 7  # the grace, for requests under way, is 8


def test_a_request_that_came_before_the_end_is_answered(gunicorn: Gunicorn) -> None:
    body = b'{"name":"shop/sold"}'
    head = b"POST /e/key HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % len(body)
    gunicorn.connect().close()
    with closing(socket.create_connection(("127.0.0.1", gunicorn.port), timeout=PATIENCE)) as client:
        # Given a request of which the end is missing when the server is told to end
        client.sendall(head + body[:-1])
        time.sleep(0.5)
        gunicorn.process.send_signal(signal.SIGTERM)
        _until_refused(gunicorn.port)

        # When the rest comes
        client.sendall(body[-1:])

        # Then it is answered, and the server ends
        assert b"HTTP/1.1 200 OK\r\n" == client.recv(17, socket.MSG_WAITALL)
    assert 0 == gunicorn.process.wait(PATIENCE)
    assert 1 == gunicorn.stored()


def test_a_process_that_has_served_its_share_is_replaced_without_a_failed_request(tmp_path: Path) -> None:
    server = Gunicorn(tmp_path, "--max-requests", "20")
    try:
        server.connect().close()
        first = server.children()
        for number in range(40):
            with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
                server.send(connection, f"shop/{number}")

        assert 40 == server.stored()
        assert set() == set(first) & set(server.children())
    finally:
        end(server)


def test_a_process_whose_gunicorn_is_gone_ends(gunicorn: Gunicorn) -> None:
    gunicorn.connect().close()
    (child,) = gunicorn.children()

    gunicorn.process.kill()
    gunicorn.process.wait(PATIENCE)

    deadline = time.monotonic() + PATIENCE
    while _lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Whether there is such a process that has not ended; one that nobody has buried has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until_refused(port: int) -> None:
    """Wait until nobody listens any more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError("somebody still listens")


class Sender(threading.Thread):
    """Sends one event after another, each on a connection of its own, until nobody listens any more."""

    def __init__(self, server: Gunicorn, name: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._name = name
        self.answered = 0
        #: Requests that were sent whole and never answered.
        self.lost: list[str] = []

    def run(self) -> None:
        while True:
            try:
                client = socket.create_connection(("127.0.0.1", self._server.port), timeout=PATIENCE)
            except (ConnectionRefusedError, ConnectionResetError):
                return
            with closing(client):
                self._send(client)

    def _send(self, client: socket.socket) -> None:
        body = json.dumps({"name": f"load/{self._name}", "data": {"n": self.answered}}).encode()
        head = f"POST /e/key HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            client.sendall(head.encode() + body)
            answer = client.recv(15, socket.MSG_WAITALL)
        except OSError as error:
            answer = repr(error).encode()
        if answer == b"HTTP/1.1 200 OK":
            self.answered += 1
        else:
            self.lost.append(answer.decode())


def ended_under_load(server: Gunicorn) -> list[str]:
    """End a server that eight clients keep busy; returns what those got that were not answered."""
    server.connect().close()
    senders = [Sender(server, str(number)) for number in range(8)]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + PATIENCE
    while sum(sender.answered for sender in senders) < 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)

    assert 0 == server.process.wait(PATIENCE)
    assert time.monotonic() - began < 10
    for sender in senders:
        sender.join(PATIENCE)
    assert sum(sender.answered for sender in senders) == server.stored()
    return [lost for sender in senders for lost in sender.lost]


def test_under_load_it_ends_in_time_and_what_it_answered_is_stored(tmp_path: Path) -> None:
    found = list[list[str]]()
    for attempt in range(3):
        (tmp_path / str(attempt)).mkdir()
        server = Gunicorn(tmp_path / str(attempt))
        try:
            found.append(ended_under_load(server))
        finally:
            end(server)
        if len(found[-1]) <= 1:
            break

    # Some may come between the last look at what waits and the end of the listener: one, where the machine lets us be
    # quick, which a busy one need not do at once.  None of them has seen a byte of an answer.
    assert len(found[-1]) <= 1, found
    assert {lost for each in found for lost in each} <= {"", "ConnectionResetError(104, 'Connection reset by peer')"}
