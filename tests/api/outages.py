"""A guarded server of every family of routes, whose database can be taken away from it in many ways."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, select
from sqlalchemy.exc import DBAPIError
from werkzeug.test import Client, EnvironBuilder, TestResponse

from orchestrator import bootstrap
from orchestrator.api.front import front
from orchestrator.clock import SystemClock
from orchestrator.config import Config
from orchestrator.core.role import Role
from orchestrator.core.scope import Scope
from orchestrator.engine.ingest import Ingest
from orchestrator.engine.parts import Parts
from orchestrator.engine.register import register
from orchestrator.engine.sign_in import csrf_token
from orchestrator.engine.tokens import create
from orchestrator.ids import new_uuid
from orchestrator.protocol.sync import parse_registration
from orchestrator.queue.announce import Silence
from orchestrator.queue.lease import Holdings
from orchestrator.store import functions, schema, sessions, users
from orchestrator.store.database import Database
from orchestrator.store.presence import Presence
from orchestrator.store.tables import events
from orchestrator.store.users import User
from tests.cluster.link import Link, Network
from tests.services import own_database, require

EVENT_KEY = "event-key-of-outages"
SIGNING_KEY = "signkey-test-12345678"
REGISTRATION = (
    b'{"appName":"shop","url":"http://127.0.0.1:1/x","sdk":"py:v0.5.19","functions":[{"id":"shop-bill","name":"bill",'
    b'"triggers":[{"event":"shop/sold"}],"concurrency":[{"limit":%d}],"steps":{"step":{"id":"step","name":"step",'
    b'"runtime":{"type":"http","url":"http://127.0.0.1:1/x?fnId=shop-bill&stepId=step"}}}}]}'
)
#: Seconds that anything of these tests may take.
DEADLINE = 20.0


@dataclass
class Guarded:
    """One server, and how its database is reached."""

    database: Database
    app: Any
    parts: Parts
    token: str
    cookie: str
    link: Link | None
    #: The database, not by way of the link.
    url: str
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(2, 1_000)))

    def ask(self, method: str, path: str, bearer: str | None = None, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}
        client = Client(self.app, TestResponse)
        client.set_cookie("orchestrator_session", self.cookie)
        return client.open(path, method=method, headers=headers, **more)

    def soon(self, name: str) -> tuple[str, dict[str, str], bytes]:
        """Send an event as an event loop does, which waits for nothing."""
        asked = EnvironBuilder(path=f"/e/{EVENT_KEY}", method="POST", json={"name": name}).get_environ()
        answers, told = list[tuple[str, dict[str, str], bytes]](), threading.Event()

        def answer(status: str, headers: Sequence[tuple[str, str]], body: bytes) -> None:
            answers.append((status, dict(headers), body))
            told.set()

        assert self.app.answer_soon(asked, answer)
        assert told.wait(DEADLINE)
        return answers[0]

    def until_forgotten(self) -> None:
        """Wait until the process no longer goes by the tokens that it has read; the route itself asks no database."""
        deadline = time.monotonic() + DEADLINE
        while self.ask("GET", "/v2/envs", self.token).status_code != 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    @contextmanager
    def away(self) -> Iterator[None]:
        """The database is not to be reached, for a while."""
        assert self.link is not None
        self.link.refuse()
        try:
            self.until_forgotten()
            yield
        finally:
            self.link.allow()

    def family(self, name: str) -> TestResponse:
        """Ask for something that writes, in the way of a family of routes."""
        invoke = 'mutation { invokeFunction(functionSlug: "shop-bill") }'
        form = {"csrf": csrf_token(self.cookie), "function": "shop-bill"}
        asked: Mapping[str, tuple[str, str, str | None, dict[str, Any]]] = {
            "events": (
                "POST",
                f"/e/{EVENT_KEY}",
                None,
                {"json": {"name": "shop/sold", "id": f"e{next(self.numbers)}"}},
            ),
            "events, by the short way": ("POST", f"/e/{EVENT_KEY}", None, {"json": {"name": "shop/sold"}}),
            "events, with a token": ("POST", f"/e/{self.token}", None, {"json": {"name": "shop/sold"}}),
            "/v1": ("POST", "/v1/functions/shop-bill/pause", self.token, {}),
            "/v1, signed": ("POST", "/v1/functions/shop-bill/pause", SIGNING_KEY, {}),
            "/v2": ("POST", "/v2/apps/shop/functions/shop-bill/invoke", self.token, {"json": {}}),
            "invoke": ("POST", "/invoke/shop-bill", self.token, {"json": {}}),
            "GraphQL": ("POST", "/v0/gql", self.token, {"json": {"query": invoke}}),
            "dashboard": ("POST", "/functions/pause", None, {"data": form}),
            "sync": ("PUT", "/fn/register", SIGNING_KEY, {"data": REGISTRATION % next(self.numbers)}),
        }
        method, path, bearer, more = asked[name]
        return self.ask(method, path, bearer, **more)

    def written(self) -> tuple[int, bool]:
        """What the families write, as whoever looks from beside sees it: events, and whether the function is paused."""
        beside = Database(self.url)
        try:
            with beside.read() as conn:
                paused = functions.function(conn, "shop-bill").paused_at is not None  # type: ignore[union-attr]
                return len(conn.execute(select(events.c.id)).all()), paused
        finally:
            beside.close()


FAMILIES = (
    "events", "events, by the short way", "events, with a token", "/v1", "/v1, signed", "/v2", "invoke", "GraphQL",
    "dashboard", "sync",
)  # fmt: skip


@contextmanager
def guarded(kind: str, folder: Path, patience: float = 30.0) -> Iterator[Guarded]:
    """A server on a database of its own; one that is a server is reached by a link."""
    with ExitStack() as stack:
        link = None
        if kind == "sqlite":
            url = through = f"sqlite:///{folder / 'state.db'}"
        else:
            url = stack.enter_context(own_database(kind))
            network = Network()
            stack.callback(network.stop)
            link = network.link(make_url(require(kind)).port or {"postgresql": 5432, "mariadb": 3306}[kind])
            through = make_url(url).set(host="127.0.0.1", port=link.port).render_as_string(hide_password=False)
        schema.upgrade(url)
        yield stack.enter_context(serving(through, url, link, patience))


@contextmanager
def serving(url: str, beside: str, link: Link | None = None, patience: float = 30.0) -> Iterator[Guarded]:
    """A server on a migrated database."""
    config = Config(event_keys=(EVENT_KEY,), signing_key=SIGNING_KEY, allowed_networks=("127.0.0.0/8",))
    database = Database(url, synchronous="OFF", patience=patience)
    made = bootstrap.parts(config, "sqlite:///nowhere.db", Silence(), clock=SystemClock())
    parts = replace(made, database=database, holdings=Holdings(database, Presence(database)))
    ingest = Ingest(parts)
    register(parts, parse_registration(REGISTRATION % 1, {}))
    _, token = create(parts, "tool", list(Scope))
    app = front(config, parts, ingest)
    try:
        yield Guarded(database, app, parts, token, _signed_in(parts), link, beside)
    finally:
        ingest.close()
        database.close()


def _signed_in(parts: Parts) -> str:
    """The secret of somebody's session."""
    secret, now = "secret-of-a-session", parts.clock.now()
    user = User(new_uuid(), "ada", "no hash", Role.ADMIN, now, None)
    with parts.database.write() as conn:
        users.add(conn, user)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        sessions.add(conn, digest, user.id, now, now + timedelta(hours=12))
    return secret


@contextmanager
def locked(url: str, *tables: str) -> Iterator[Killer]:
    """Tables that nobody else can write to, and somebody who ends the sessions of whoever waits for them."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    mysql = engine.dialect.name != "postgresql"
    with engine.connect() as holder, engine.connect() as admin:
        if mysql:
            holder.exec_driver_sql("LOCK TABLES " + ", ".join(f"{table} WRITE" for table in tables))
        else:
            holder.exec_driver_sql("BEGIN")
            holder.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield Killer(admin, mysql)
        holder.exec_driver_sql("UNLOCK TABLES" if mysql else "ROLLBACK")
    engine.dispose()


@dataclass
class Killer:
    """Ends sessions that wait for a lock."""

    admin: Any
    mysql: bool

    def kill_waiters(self) -> int:
        """Returns how many it has ended."""
        if not self.mysql:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            return len(self.admin.exec_driver_sql(ended + "AND datname = current_database()").all())
        waiting = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE '%%lock%%'"
        found = self.admin.exec_driver_sql(waiting).scalars().all()
        for session in found:
            try:
                self.admin.exec_driver_sql(f"KILL {session}")
            except DBAPIError:  # it has ended meanwhile
                continue
        return len(found)


def while_killed(killer: Killer, ask: Any) -> TestResponse:
    """The answer to a request each of whose transactions is ended in its middle."""
    answers, killed = list[TestResponse](), 0
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    waiting = threading.Event()
    for _ in range(int(DEADLINE / 0.02)):
        killed += killer.kill_waiters()
        if not thread.is_alive():
            break
        waiting.wait(0.02)
    thread.join(1)
    assert killed, "nothing waited for the lock"
    [answer] = answers
    return answer


def without_file(path: Path) -> None:
    """Put a folder where SQLite's file was."""
    for name in (path, *path.parent.glob(f"{path.name}-*")):
        name.unlink()
    path.mkdir()
