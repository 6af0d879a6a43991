"""A 2xx of the event API, followed at once by `kill -9` of everything: no event is lost, on any database.

Several senders send at once, so that events are committed together; the one that reads the answer that a seed chose
kills the server before anything else.  Then the server is started again, and so on.  What was answered must have
exactly one run that completed, and the app must have been called for it.  What was not may be there or not.

CI sends few events; `make answered` the full number to each database.
"""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import inngest
import orjson
import pytest
from sqlalchemy import func, select

from orchestrator.store.database import Database
from orchestrator.store.runs import of_events
from orchestrator.store.tables import runs
from tests.crash.process import DevProcess
from tests.services import own_database
from tests.wire.harness import App, request, until

#: What a sender sees of a server that dies.
GONE = (OSError, http.client.HTTPException)
#: How many events are to be answered, in all and at most before each kill.
EVENTS = int(os.environ.get("ANSWERED_EVENTS", "40"))
MOST = max(20, EVENTS // 10)
SEED = int(os.environ.get("ANSWERED_SEED", "1"))
SENDERS = 4
#: Seconds for all runs to end, after the last start.
PATIENCE = 60 + EVENTS / 5

pytestmark = pytest.mark.timeout(60 + EVENTS * 2)


@dataclass
class Senders:
    """Threads that send until one of them has read the answer that is to be the server's last."""

    server: DevProcess
    answered: dict[int, str] = field(default_factory=dict)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send_until(self, last: int) -> None:
        """Send until so many more were answered, and kill the server at that moment."""
        until_now, dead = len(self.answered), threading.Event()

        def send() -> None:
            while not dead.is_set():
                link = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
                try:
                    while not dead.is_set():
                        self._one(link, until_now + last, dead)
                except GONE:  # dead, or too busy for this one
                    assert dead.is_set() or self.server.alive(), "the server died by itself"
                finally:
                    link.close()

        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _one(self, link: http.client.HTTPConnection, last: int, dead: threading.Event) -> None:
        with self.lock:
            self.sent += 1
            number = self.sent
        link.request("POST", "/e/test", orjson.dumps({"name": "answered/sent", "data": {"number": number}}))
        answer = link.getresponse()
        assert 200 == answer.status
        with self.lock:
            if len(self.answered) + 1 == last and not dead.is_set():
                dead.set()
                self.server.kill()
            self.answered[number] = orjson.loads(answer.read())["ids"][0]


@contextmanager
def served(kind: str, folder: Path) -> Iterator[tuple[DevProcess, str]]:
    """A server, and the URL of its database."""
    if kind == "sqlite":
        yield DevProcess(folder / "state"), f"sqlite:///{folder / 'state' / 'state.db'}"
        return
    with own_database(kind) as url:
        yield DevProcess(folder / "state", database_url=url), url


def missing(database: Database, answered: dict[int, str], called: set[int]) -> set[int]:
    """The numbers of events that have no completed run, or none that the app knows of."""
    with database.read() as conn:
        found = {it.event_id: it.status for it in of_events(conn, list(answered.values()))}
    return {
        number for number, event_id in answered.items() if found.get(event_id) != "completed" or number not in called
    }


def doubled(database: Database) -> int:
    """Events with more than one run."""
    several = select(runs.c.event_id).group_by(runs.c.event_id).having(func.count() > 1).subquery()
    with database.read() as conn:
        return int(conn.execute(select(func.count()).select_from(several)).scalar_one())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_no_event_that_was_answered_is_lost_though_everything_dies_at_once(tmp_path: Path, kind: str) -> None:
    chance, called = random.Random(SEED), set[int]()

    def note(ctx: inngest.ContextSync) -> None:
        called.add(int(str(ctx.event.data["number"])))

    with served(kind, tmp_path) as (server, url):
        app, senders, kills = App(server.url, "answered"), Senders(server), 0
        app.serve([app.function("note", "answered/sent")(note)], sync=False)
        server.start()
        assert 200 == request("PUT", app.url, {})[0]
        while len(senders.answered) < EVENTS:
            senders.send_until(min(chance.randint(1, MOST), EVENTS - len(senders.answered)))
            kills += 1
            server.start()
        database = Database(url)
        try:
            began = time.monotonic()
            until(lambda: not missing(database, senders.answered, called), "all runs", server.log, PATIENCE)
            took = time.monotonic() - began
            assert 0 == doubled(database)
        finally:
            lost = missing(database, senders.answered, called)
            told = f"{len(senders.answered)} answered of {senders.sent}, {kills} kills, {len(lost)} lost, seed {SEED}"
            print(f"{kind}: {told}")
            database.close()
            server.kill()
            app.stop()

    assert EVENTS <= len(senders.answered)
    print(f"{kind}: all runs had ended {took:.1f} s after the last start")
